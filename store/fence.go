package store

import (
	"database/sql"
	"errors"
)

// ErrFenced: this node has been declared dead, or its row was taken by another
// process; nothing was written.
var ErrFenced = errors.New("store: fenced: this node's lease is not its own any more")

// fence is what a node was when it last entered.
type fence struct {
	node  string
	epoch uint64
}

// Fence has every save from now on carry the node's epoch: it fails with ErrFenced
// once the node was declared dead. It also has what is cached of users checked
// against their revision when it is read, since others write too. With node "" the
// saves carry nothing again.
func (s *Store) Fence(node string, epoch uint64) {
	s.others.Store(true)
	if node == "" {
		s.fence.Store(nil)
		return
	}
	s.fence.Store(&fence{node, epoch})
}

// standing is nil while the node's fence stands, and ErrFenced when it does not. Where one
// process has everything, nobody is declared dead between this and what follows at once.
func (s *Store) standing() error {
	f := s.fence.Load()
	if f == nil {
		return nil
	}
	var epoch int64
	err := s.reads.fence.QueryRow(f.node, int64(f.epoch)).Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrFenced
	}
	return err
}

// checkFence looks, within the transaction, whether a fence stands. From then on it
// does until the commit: to change the epoch waits for us.
func (q *statements) checkFence(f *fence) error {
	if f == nil {
		return nil
	}
	if _, known := q.fences[*f]; known {
		return nil
	}
	var epoch int64
	err := q.fence.QueryRow(f.node, int64(f.epoch)).Scan(&epoch)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	q.fences[*f] = err == nil
	return nil
}
