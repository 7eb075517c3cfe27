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
//
// The node is compared as node || '' there, which no index has: else the planner reads all the homes of
// the node by homes_node for each group (10,000: 6 ms), and not the group's by their names (0.7 ms).

// sortedEntities are without doubles, in the order in which rows are locked, and without
// those that PostgreSQL could not hold: they have no home.
func sortedEntities(of []presence.Entity) []presence.Entity {
	list := slices.DeleteFunc(slices.Clone(of), func(e presence.Entity) bool { return !text(e.Domain) || !text(e.User) })
	slices.SortFunc(list, func(a, b presence.Entity) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.User, b.User))
	})
	return slices.Compact(list)
}

// homes adds those that there are to found.
func (t *registryTx) homes(of []presence.Entity, found map[presence.Entity]Home) error {
	if t.postgres {
		domains, names := columnsOf(of)
		return t.arrays(found, of, `SELECT homes.domain, homes.name, node, epoch FROM unnest(?::text[], ?::text[]) AS asked (domain, name)
			JOIN homes ON homes.domain = asked.domain AND homes.name = asked.name`, domains, names)
	}
	return t.each(`SELECT node, epoch FROM homes WHERE domain = ? AND name = ?`, func(st *sql.Stmt) error {
		for _, e := range of {
			if err := scanHome(st.QueryRow(e.Domain, e.User), e, found); err != nil {
				return err
			}
		}
		return nil
	})
}

// insert adds those that were first to found.
func (t *registryTx) insert(of []presence.Entity, wish map[presence.Entity]string, found map[presence.Entity]Home) error {
	if t.postgres {
		domains, names := columnsOf(of)
		return t.arrays(found, of, `INSERT INTO homes (domain, name, node, epoch)
			SELECT domain, name, node, {stamp} FROM unnest(?::text[], ?::text[], ?::text[]) AS wished (domain, name, node)
			ON CONFLICT (domain, name) DO NOTHING RETURNING domain, name, node, epoch`, domains, names, wishesOf(of, wish))
	}
	return t.each(`INSERT INTO homes (domain, name, node, epoch) VALUES (?, ?, ?, {stamp})
		ON CONFLICT (domain, name) DO NOTHING RETURNING node, epoch`, func(st *sql.Stmt) error {
		for _, e := range of {
			if err := scanHome(st.QueryRow(e.Domain, e.User, wish[e]), e, found); err != nil {
				return err
			}
		}
		return nil
	})
}

// take takes homes from a dead node, and adds those that were still there to found.
func (t *registryTx) take(dead string, of []presence.Entity, wish map[presence.Entity]string, found map[presence.Entity]Home) error {
	if t.postgres {
		domains, names := columnsOf(of)
		return t.arrays(found, of, `UPDATE homes SET node = wished.node, epoch = {rise}
			FROM unnest(?::text[], ?::text[], ?::text[]) AS wished (domain, name, node)
			WHERE homes.domain = wished.domain AND homes.name = wished.name AND homes.node || '' = ?
			RETURNING homes.domain, homes.name, homes.node, homes.epoch`, domains, names, wishesOf(of, wish), dead)
	}
	return t.each(`UPDATE homes SET node = ?, epoch = {rise} WHERE domain = ? AND name = ? AND node = ?
		RETURNING node, epoch`, func(st *sql.Stmt) error {
		for _, e := range of {
			if err := scanHome(st.QueryRow(wish[e], e.Domain, e.User, dead), e, found); err != nil {
				return err
			}
		}
		return nil
	})
}

func wishesOf(of []presence.Entity, wish map[presence.Entity]string) []string {
	list := make([]string, len(of))
	for i, e := range of {
		list[i] = wish[e]
	}
	return list
}

// move adds those that moved to moved.
func (t *registryTx) move(from, to string, of []presence.Entity, epochs map[presence.Entity]uint64, moved map[presence.Entity]Home) error {
	if t.postgres {
		domains, names := columnsOf(of)
		return t.arrays(moved, of, `UPDATE homes SET node = ?, epoch = {rise}
			FROM unnest(?::text[], ?::text[], ?::bigint[]) AS asked (domain, name, epoch)
			WHERE homes.domain = asked.domain AND homes.name = asked.name AND homes.node || '' = ? AND homes.epoch = asked.epoch
			RETURNING homes.domain, homes.name, homes.node, homes.epoch`, to, domains, names, epochsOf(of, epochs), from)
	}
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

func epochsOf(of []presence.Entity, epochs map[presence.Entity]uint64) []int64 {
	list := make([]int64, len(of))
	for i, e := range of {
		list[i] = int64(epochs[e])
	}
	return list
}

func (t *registryTx) release(node string, of []presence.Entity, epochs map[presence.Entity]uint64) error {
	if t.postgres {
		domains, names := columnsOf(of)
		_, err := t.exec(`DELETE FROM homes USING unnest(?::text[], ?::text[], ?::bigint[]) AS asked (domain, name, epoch)
			WHERE homes.domain = asked.domain AND homes.name = asked.name AND homes.node || '' = ? AND homes.epoch = asked.epoch`,
			domains, names, epochsOf(of, epochs), node)
		return err
	}
	return t.each(`DELETE FROM homes WHERE domain = ? AND name = ? AND node = ? AND epoch = ?`, func(st *sql.Stmt) error {
		for _, e := range of {
			if _, err := st.Exec(e.Domain, e.User, node, int64(epochs[e])); err != nil {
				return err
			}
		}
		return nil
	})
}

// arrays runs a statement that has whole columns of PostgreSQL's as its values, and adds the
// homes that it returns to found.
func (t *registryTx) arrays(found map[presence.Entity]Home, of []presence.Entity, q string, args ...any) error {
	if len(of) == 0 {
		return nil
	}
	rows, err := t.query(q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e presence.Entity
		var h Home
		var epoch int64
		if err := rows.Scan(&e.Domain, &e.User, &h.Node, &epoch); err != nil {
			return err
		}
		h.Epoch = uint64(epoch)
		found[e] = h
	}
	return rows.Err()
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
