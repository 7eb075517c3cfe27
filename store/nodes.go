package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// States of a node's row that the store itself knows; the others are those of the
// node's own choice.
const (
	stateDead = "dead"
	stateLeft = "left"
)

// Member is one row of the table of nodes.
type Member struct {
	Name    string
	Epoch   uint64 // rises with each start of the node, each declaration of its death, and when it leaves
	State   string // standby, joining, active, draining, dead, left
	Expires time.Time
	Address Address
	Level   float64
	Max     float64
	Users   int
	Version string // of the program
	Spare   bool   // it has waited as a standby since it was started, so whoever leads may have it wait again
	Leader  bool
}

// Address is where clients and servers find a node.
type Address struct {
	Bus  string // host:port of its bus
	SIP  string // sip:host:port;transport=..., for 302 and between servers
	XMPP string // host:port, for redirects
	HTTP string // https://host:port
}

// Enter takes the node's row under a new epoch and makes its lease. Whoever had the
// name before is fenced. The homes at this name stay, unless they were inherited.
func (s *Store) Enter(ctx context.Context, m Member, lease time.Duration) (epoch uint64, err error) {
	err = s.registry(ctx, func(t *registryTx) error {
		return t.queryRow(`INSERT INTO nodes (name, epoch, `+memberColumns+`, expires)
			VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now} + ?)
			ON CONFLICT (name) DO UPDATE SET epoch = nodes.epoch + 1, state = excluded.state, bus = excluded.bus, sip = excluded.sip,
			xmpp = excluded.xmpp, http = excluded.http, level = excluded.level, max = excluded.max,
			users = excluded.users, version = excluded.version, spare = excluded.spare, expires = excluded.expires
			RETURNING epoch`,
			append(append([]any{m.Name}, m.columns()...), int64(lease))...).Scan(&epoch)
	})
	return epoch, err
}

// Renew prolongs the lease and writes what the node says of itself; ErrFenced when
// the epoch is not the node's any more. A lease that has run out may be prolonged as
// long as nobody has declared the node dead.
func (s *Store) Renew(ctx context.Context, m Member, lease time.Duration) error {
	return s.registry(ctx, func(t *registryTx) error {
		// No column of a key changes, so in PostgreSQL this waits for nobody who saves under the epoch.
		n, err := t.exec(`UPDATE nodes SET state = ?, bus = ?, sip = ?, xmpp = ?, http = ?, level = ?, max = ?,
			users = ?, version = ?, spare = ?, expires = {now} + ? WHERE name = ? AND epoch = ? AND state NOT IN ('dead', 'left')`,
			append(m.columns(), int64(lease), m.Name, int64(m.Epoch))...)
		if err == nil && n == 0 {
			err = refusal{ErrFenced}
		}
		return err
	})
}

// Leave gives the lease back, and the leader's if the node has it: others may inherit
// what is left of its homes at once. Its epoch rises, so that nothing it has under way is
// saved any more. Who is fenced already has left nothing, which is no error.
func (s *Store) Leave(ctx context.Context, name string, epoch uint64) error {
	return s.registry(ctx, func(t *registryTx) error {
		_, err := t.end(name, epoch, stateLeft, false)
		return err
	})
}

// Bury declares a node dead whose lease has run out: its epoch rises, so that its
// saves fail from now on. False: it is alive, or was buried by another.
func (s *Store) Bury(ctx context.Context, name string, epoch uint64) (buried bool, err error) {
	err = s.registry(ctx, func(t *registryTx) error {
		buried, err = t.end(name, epoch, stateDead, true)
		return err
	})
	return buried && err == nil, err
}

// end closes a node's epoch.
func (t *registryTx) end(name string, epoch uint64, state string, expired bool) (bool, error) {
	until := ""
	if expired {
		until = ` AND expires < {now}`
	}
	n, err := t.exec(`UPDATE nodes SET epoch = epoch + 1, state = ? WHERE name = ? AND epoch = ? AND state NOT IN ('dead', 'left')`+until,
		state, name, int64(epoch))
	return n == 1, err
}

// Members are all nodes in the order of their names, as of the database's clock: Expires is
// translated to this process's. The leader is the one whose leader's lease has not run out.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	var list []Member
	err := s.registry(ctx, func(t *registryTx) error {
		list = nil
		rows, err := t.query(`SELECT n.name, n.epoch, ` + memberColumns + `, n.expires - {now},
			l.name IS NOT NULL AND n.state NOT IN ('dead', 'left')
			FROM nodes n LEFT JOIN leader l ON l.name = n.name AND l.epoch = n.epoch AND l.expires > {now}
			ORDER BY n.name`)
		if err != nil {
			return err
		}
		defer rows.Close()
		now := time.Now()
		for rows.Next() {
			var m Member
			var epoch, left, spare int64
			a := &m.Address
			if err := rows.Scan(&m.Name, &epoch, &m.State, &a.Bus, &a.SIP, &a.XMPP, &a.HTTP,
				&m.Level, &m.Max, &m.Users, &m.Version, &spare, &left, &m.Leader); err != nil {
				return err
			}
			m.Spare = spare != 0
			m.Epoch, m.Expires = uint64(epoch), now.Add(time.Duration(left))
			list = append(list, m)
		}
		return rows.Err()
	})
	return list, err
}

const memberColumns = `state, bus, sip, xmpp, http, level, max, users, version, spare`

func (m *Member) columns() []any {
	a := &m.Address
	spare := int64(0)
	if m.Spare {
		spare = 1
	}
	return []any{m.State, a.Bus, a.SIP, a.XMPP, a.HTTP, m.Level, m.Max, int64(m.Users), m.Version, spare}
}

// Lead takes or keeps the leader's lease; leader is who has it. The term rises
// with each change of the leader. The lease is void as soon as the leader's own epoch is
// over. ErrFenced when the caller's is.
func (s *Store) Lead(ctx context.Context, name string, epoch uint64, lease time.Duration) (leader string, term uint64, err error) {
	err = s.registry(ctx, func(t *registryTx) error {
		have, err := t.lockNode(name, keepEpoch)
		if errors.Is(err, ErrNotFound) || err == nil && (have.epoch != epoch || have.over()) {
			return refusal{ErrFenced}
		}
		if err != nil {
			return err
		}
		var n int64
		err = t.queryRow(`INSERT INTO leader (one, name, epoch, term, expires) VALUES (1, ?, ?, 1, {now} + ?)
			ON CONFLICT (one) DO UPDATE SET name = excluded.name, epoch = excluded.epoch, expires = excluded.expires,
			term = leader.term + CASE WHEN leader.name = excluded.name AND leader.epoch = excluded.epoch AND leader.expires > {now} THEN 0 ELSE 1 END
			WHERE leader.name = excluded.name AND leader.epoch = excluded.epoch OR leader.expires <= {now} OR NOT EXISTS
			(SELECT 1 FROM nodes WHERE nodes.name = leader.name AND nodes.epoch = leader.epoch AND nodes.state NOT IN ('dead', 'left'))
			RETURNING term`, name, int64(epoch), int64(lease)).Scan(&n)
		leader, term = name, uint64(n)
		if errors.Is(err, sql.ErrNoRows) { // another's
			err = t.queryRow(`SELECT name, term FROM leader`).Scan(&leader, &n)
			term = uint64(n)
		}
		return err
	})
	if err != nil {
		return "", 0, err
	}
	return leader, term, nil
}

// nodeRow is what the registry's own rules look at.
type nodeRow struct {
	epoch uint64
	state string
	left  time.Duration // of the lease
}

// over tells whether the node's last epoch has ended.
func (n nodeRow) over() bool { return n.state == stateDead || n.state == stateLeft }

// alive tells whether it has a lease; the zero nodeRow has none.
func (n nodeRow) alive() bool { return !n.over() && n.left > 0 }

// Locks of a node's row, until the transaction ends. A renewal goes with keepEpoch, what ends the epoch or begins
// another goes with neither. SQLite has one writer, and no locks.
const (
	keepEpoch = " FOR KEY SHARE"
	alone     = " FOR UPDATE" // not beside keepEpoch either
)

// lockNode reads and locks the row of a node; ErrNotFound.
func (t *registryTx) lockNode(name, lock string) (nodeRow, error) {
	if !t.postgres {
		lock = ""
	}
	var n nodeRow
	var epoch, left int64
	err := t.queryRow(`SELECT epoch, state, expires - {now} FROM nodes WHERE name = ?`+lock, name).Scan(&epoch, &n.state, &left)
	n.epoch, n.left = uint64(epoch), time.Duration(left)
	if errors.Is(err, sql.ErrNoRows) {
		return n, ErrNotFound
	}
	if err != nil {
		return n, fmt.Errorf("node %s: %w", name, err)
	}
	return n, nil
}

// lockNodes is lockNode of all, in their order, that there are.
func (t *registryTx) lockNodes(names []string) (map[string]nodeRow, error) {
	rows := make(map[string]nodeRow, len(names))
	if t.postgres { // in one round trip
		list, err := t.query(`SELECT name, epoch, state, expires - {now} FROM nodes WHERE name = ANY (?::text[]) ORDER BY name`+keepEpoch, names)
		if err != nil {
			return nil, err
		}
		defer list.Close()
		for list.Next() {
			var n nodeRow
			var name string
			var epoch, left int64
			if err := list.Scan(&name, &epoch, &n.state, &left); err != nil {
				return nil, err
			}
			n.epoch, n.left = uint64(epoch), time.Duration(left)
			rows[name] = n
		}
		return rows, list.Err()
	}
	for _, name := range names {
		n, err := t.lockNode(name, keepEpoch)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows[name] = n
	}
	return rows, nil
}
