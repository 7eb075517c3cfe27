package store

// Node is the same store as another node of the service sees it: with caches and
// a fence of its own. It is for several nodes in one process. Its Close does nothing:
// who has opened the store closes it, after all nodes.
func (s *Store) Node() *Store {
	s.others.Store(true)
	n := &Store{
		dir: s.dir, log: s.log, read: s.read, reads: s.reads, reader: s.reader,
		w: s.w, control: s.control, j: s.j, rows: s.rows, health: s.health, node: true,
	}
	n.loads.ask, n.checks.ask, n.users.ask = n.loadRows, n.revisions, n.readUsers
	n.others.Store(true)
	n.cache.init(maxCachedRows)
	n.bodies.init(maxCachedBytes)
	return n
}
