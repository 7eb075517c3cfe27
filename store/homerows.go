package store

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"pharos/presence"
)

// Rows of homes in bulk. SQLite is in the process, and a prepared statement a row costs
// less than to build a long one; PostgreSQL is a round trip away, and gets arrays.

// sortedEntities are without doubles, in the order in which rows are locked.
func sortedEntities(of []presence.Entity) []presence.Entity {
	list := slices.Clone(of)
	slices.SortFunc(list, func(a, b presence.Entity) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.User, b.User))
	})
	return slices.Compact(list)
}

// alive are those of nodes, which are sorted, that have a lease; their rows are locked.
func (t *registryTx) alive(nodes []string) (map[string]bool, error) {
	alive := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		row, err := t.lockNode(n)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		alive[n] = err == nil && !row.over() && row.left > 0
	}
	return alive, nil
}

// homes adds those that there are to found.
func (t *registryTx) homes(of []presence.Entity, found map[presence.Entity]Home) error {
	return t.each(`SELECT node, epoch FROM homes WHERE domain = ? AND name = ?`, func(st *sql.Stmt) error {
		for _, e := range of {
			if err := scanHome(st.QueryRow(e.Domain, e.User), e, found); err != nil {
				return err
			}
		}
		return nil
	})
}

// settle adds all that have a home at last to found.
func (t *registryTx) settle(of []presence.Entity, wish map[presence.Entity]string, alive map[string]bool, found map[presence.Entity]Home) error {
	err := t.each(`INSERT INTO homes (domain, name, node, epoch) VALUES (?, ?, ?, {stamp})
		ON CONFLICT (domain, name) DO UPDATE SET node = excluded.node, epoch = {rise}
		WHERE homes.node NOT IN (SELECT name FROM nodes WHERE state NOT IN ('dead', 'left')) RETURNING node, epoch`,
		func(st *sql.Stmt) error {
			for _, e := range of {
				if !alive[wish[e]] {
					continue
				}
				if err := scanHome(st.QueryRow(e.Domain, e.User, wish[e]), e, found); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return err
	}
	return t.homes(without(of, found), found)
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

// move adds those that moved to moved.
func (t *registryTx) move(from, to string, of []presence.Entity, epochs map[presence.Entity]uint64, moved map[presence.Entity]Home) error {
	return t.each(`UPDATE homes SET node = ?, epoch = {rise} WHERE domain = ? AND name = ? AND node = ? AND epoch = ?
		RETURNING node, epoch`, func(st *sql.Stmt) error {
		for _, e := range of {
			if err := scanHome(st.QueryRow(to, e.Domain, e.User, from, int64(epochs[e])), e, moved); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *registryTx) release(node string, of []presence.Entity, epochs map[presence.Entity]uint64) error {
	return t.each(`DELETE FROM homes WHERE domain = ? AND name = ? AND node = ? AND epoch = ?`, func(st *sql.Stmt) error {
		for _, e := range of {
			if _, err := st.Exec(e.Domain, e.User, node, int64(epochs[e])); err != nil {
				return err
			}
		}
		return nil
	})
}

// scanHome adds what a row says to found; none is no error.
func scanHome(row scannable, e presence.Entity, found map[presence.Entity]Home) error {
	var h Home
	var epoch int64
	err := row.Scan(&h.Node, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	h.Epoch = uint64(epoch)
	found[e] = h
	return err
}
