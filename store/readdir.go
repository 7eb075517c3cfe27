package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// readDir is a snapshot of the directory of a stopped process, in which it changes nothing:
// neither is the database brought up to date nor is the end of the journal mended.
// ErrLocked when the process runs.
func readDir(ctx context.Context, dir string) (*snapshot, error) {
	path := filepath.Join(dir, "pharos.db")
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	n := &snapshot{release: []func() error{lock.Close}}
	if err := n.openDir(ctx, dir, path); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *snapshot) openDir(ctx context.Context, dir, path string) error {
	db, err := sql.Open("sqlite", dsn(path, "query_only(1)")+"&mode=ro")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	n.release = append(n.release, db.Close)
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	n.release = append(n.release, conn.Close)
	if err := n.begin(ctx, conn, nil); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.Open(filepath.Join(dir, softLog))
	if errors.Is(err, os.ErrNotExist) {
		n.journal = &journalSnapshot{places: []softPlace{}}
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	n.release = append(n.release, f.Close)
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	head := make([]byte, min(st.Size(), int64(softHead)))
	if _, err := f.ReadAt(head, 0); err != nil && len(head) > 0 {
		return fmt.Errorf("store: %s: %w", f.Name(), err)
	}
	gen, ok := parseFileHead(head)
	if !ok && len(head) == softHead {
		return fmt.Errorf("store: %s is not a journal that this version can read", f.Name())
	}
	n.journal = &journalSnapshot{f: f, gen: gen, end: st.Size()}
	if !ok { // it died before the head was whole: nothing was acknowledged
		n.journal.places = []softPlace{}
	}
	return nil
}
