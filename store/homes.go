package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pharos/presence"
)

// ErrNoHeir: none of those named to inherit is alive.
var ErrNoHeir = errors.New("store: no node to inherit is alive")

// Home is where a presentity lives.
type Home struct {
	Node  string
	Epoch uint64 // rises with each change
}

// Homes looks homes up; those without one are missing. A home may be at a node
// that is dead, until it is inherited or settled anew.
func (s *Store) Homes(ctx context.Context, of []presence.Entity) (map[presence.Entity]Home, error) {
	found := make(map[presence.Entity]Home, len(of))
	err := s.registry(ctx, func(t *registryTx) error {
		clear(found)
		return t.homes(sortedEntities(of), found)
	})
	return found, err
}

// Settle takes homes for those who have none, or one at a node that is dead or has
// left: the answer is who has them now, the wish or what was there already. A wish for a
// node without a lease is not fulfilled, and missing in the answer.
func (s *Store) Settle(ctx context.Context, wish map[presence.Entity]string) (map[presence.Entity]Home, error) {
	of := sortedEntities(slices.Collect(maps.Keys(wish)))
	found := make(map[presence.Entity]Home, len(wish))
	err := s.registry(ctx, func(t *registryTx) error { return t.settle(of, wish, found) })
	return found, err
}

// settle fills found with the homes that all have at last.
func (t *registryTx) settle(of []presence.Entity, wish map[presence.Entity]string, found map[presence.Entity]Home) error {
	clear(found)
	if err := t.homes(of, found); err != nil {
		return err
	}
	living, err := t.living()
	if err != nil {
		return err
	}
	nodes := make(map[string]bool)
	var open []presence.Entity
	for _, e := range of {
		h, ok := found[e]
		if ok && living[h.Node] {
			continue
		}
		if open = append(open, e); ok {
			nodes[h.Node] = true
		}
		nodes[wish[e]] = true
	}
	if len(open) == 0 {
		return nil
	}
	// Locked until the commit: neither does a node die with a home under way to it, which
	// nobody would inherit, nor does a dead one come back for the homes that are taken from it.
	rows, err := t.lockNodes(slices.Sorted(maps.Keys(nodes)))
	if err != nil {
		return err
	}
	var fresh []presence.Entity
	from := make(map[string][]presence.Entity) // by the dead node
	for _, e := range open {
		h, ok := found[e]
		row, known := rows[h.Node]
		switch {
		case !rows[wish[e]].alive():
		case !ok:
			fresh = append(fresh, e)
		case !known || row.over():
			from[h.Node] = append(from[h.Node], e)
		}
		delete(found, e)
	}
	if err := t.insert(fresh, wish, found); err != nil {
		return err
	}
	for _, dead := range slices.Sorted(maps.Keys(from)) {
		if err := t.take(dead, from[dead], wish, found); err != nil {
			return err
		}
	}
	return t.homes(without(open, found), found) // others were first
}

// living are the nodes that are neither dead nor have left.
func (t *registryTx) living() (map[string]bool, error) {
	rows, err := t.query(`SELECT name FROM nodes WHERE state NOT IN ('dead', 'left')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	living := make(map[string]bool)
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		living[name] = true
	}
	return living, rows.Err()
}

// without are those of which nothing was found.
func without(of []presence.Entity, found map[presence.Entity]Home) []presence.Entity {
	var rest []presence.Entity
	for _, e := range of {
		if _, ok := found[e]; !ok {
			rest = append(rest, e)
		}
	}
	return rest
}

// Move changes homes of one node to another, those only that are still at from with
// the epoch given; moved are those which did. None moves to a node without a lease.
func (s *Store) Move(ctx context.Context, from, to string, of map[presence.Entity]uint64) (moved map[presence.Entity]Home, err error) {
	list := sortedEntities(slices.Collect(maps.Keys(of)))
	moved = make(map[presence.Entity]Home, len(of))
	err = s.registry(ctx, func(t *registryTx) error {
		clear(moved)
		// Inherit locks the row of a dead from alone: it is before or after this, never in between.
		rows, err := t.lockNodes(slices.Sorted(slices.Values([]string{from, to})))
		if err != nil || !rows[to].alive() {
			return err
		}
		return t.move(from, to, list, of, moved)
	})
	return moved, err
}

// Release deletes homes at a node that nobody needs any more, those only that are still there with
// the epoch given.
func (s *Store) Release(ctx context.Context, node string, of map[presence.Entity]uint64) error {
	list := sortedEntities(slices.Collect(maps.Keys(of)))
	return s.registry(ctx, func(t *registryTx) error { return t.release(node, list, of) })
}

// InheritMost is how many homes Inherit gives away at once, so that what it locks and how long it takes does not
// depend on how many a node had.
const InheritMost = 10_000

// Inherit gives homes of a node that is dead or has left to others, by the given shares, and returns how
// many each has got: InheritMost at most, in one statement, and none when there are no more. So it is called until
// then. Who calls it may die in between, so whoever leads calls it again for each member that is dead or has
// left; without homes it costs nothing. A node that has entered again keeps what homes it has; heirs that
// died meanwhile get none, and what they had got before is inherited from them. ErrNoHeir when no heir is alive.
func (s *Store) Inherit(ctx context.Context, dead string, heirs map[string]int) (map[string]int, error) {
	return s.inherit(ctx, dead, heirs, InheritMost)
}

func (s *Store) inherit(ctx context.Context, dead string, heirs map[string]int, most int) (map[string]int, error) {
	got := make(map[string]int)
	err := s.registry(ctx, func(t *registryTx) error {
		clear(got)
		// The lock keeps the node from entering again meanwhile, and others from taking its homes.
		n, err := t.lockNode(dead, alone)
		if errors.Is(err, ErrNotFound) {
			n.state = stateDead // its row was deleted
		} else if err != nil || !n.over() {
			return err
		}
		rows, err := t.lockNodes(slices.Sorted(maps.Keys(heirs)))
		if err != nil {
			return err
		}
		var shares []share
		sum := 0
		for _, h := range slices.Sorted(maps.Keys(heirs)) {
			if w := heirs[h]; w > 0 && rows[h].alive() && h != dead {
				sum += w
				shares = append(shares, share{h, sum})
			}
		}
		if sum == 0 {
			return refusal{fmt.Errorf("%w: homes of %s", ErrNoHeir, dead)}
		}
		return t.inherit(dead, shares, most, got)
	})
	return got, err
}

// share of an heir: from where the one before ends to its own end, of all.
type share struct {
	node string
	end  int
}

// inherit deals so many homes, at most, out by their places in the order of names.
func (t *registryTx) inherit(dead string, shares []share, most int, got map[string]int) error {
	update, args := inheritance(dead, shares, most)
	if t.postgres {
		update = `WITH updated AS (` + update + `) SELECT node, COUNT(*) FROM updated GROUP BY node`
	} else {
		update += `, 1`
	}
	rows, err := t.query(update, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var node string
		var n int
		if err := rows.Scan(&node, &n); err != nil {
			return err
		}
		got[node] += n
	}
	return rows.Err()
}

// inheritance is the statement of inherit. It finds the homes by their names (by node and an empty text, see homerows.go): where the planner
// has last heard of a node with few homes, it would look through all of them for each.
func inheritance(dead string, shares []share, most int) (update string, args []any) {
	var pick strings.Builder
	for _, sh := range shares {
		pick.WriteString(` WHEN ranked.place < ? THEN ?`)
		args = append(args, int64(sh.end), sh.node)
	}
	args = append(args, int64(shares[len(shares)-1].end), dead, int64(most), dead)
	return `UPDATE homes SET node = CASE` + pick.String() + ` END, epoch = {rise}
		FROM (SELECT domain, name, (ROW_NUMBER() OVER (ORDER BY domain, name) - 1) * ? / COUNT(*) OVER () AS place
			FROM (SELECT domain, name FROM homes WHERE node = ? LIMIT ?) portion) ranked
		WHERE homes.domain = ranked.domain AND homes.name = ranked.name AND homes.node || '' = ? RETURNING node`, args
}

// HomesOf lists the homes at a node; with durable only those which hold soft state.
func (s *Store) HomesOf(ctx context.Context, node string, durable bool) ([]presence.Entity, error) {
	query := `SELECT domain, name FROM homes WHERE node = ?`
	if durable && s.rows != nil {
		query += ` AND EXISTS (SELECT 1 FROM soft WHERE soft.domain = homes.domain AND soft.name = homes.name)`
	}
	var list []presence.Entity
	err := s.registry(ctx, func(t *registryTx) error {
		list = nil
		rows, err := t.query(query+` ORDER BY domain, name`, node)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e presence.Entity
			if err := rows.Scan(&e.Domain, &e.User); err != nil {
				return err
			}
			list = append(list, e)
		}
		return rows.Err()
	})
	if err != nil || !durable || s.rows != nil || len(list) == 0 {
		return list, err
	}
	return s.holding(list)
}

// holding keeps those of list which have soft state.
func (s *Store) holding(list []presence.Entity) ([]presence.Entity, error) {
	has := make(map[presence.Entity]bool)
	want := func(kind byte, key []byte) bool { return kind == kindSource || kind == kindSubscription }
	err := s.j.each(want, func(f frame) error {
		if e, err := keyEntity(f.key); err == nil { // what cannot be read is reported by Saved
			has[e] = true
		}
		return nil
	})
	return slices.DeleteFunc(list, func(e presence.Entity) bool { return !has[e] }), err
}
