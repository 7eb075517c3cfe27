package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrNotEmpty: there is something already where a copy was to go; it was not touched.
var ErrNotEmpty = errors.New("store: not empty")

// Archived says what is in an archive.
type Archived struct {
	ArchiveHead
	Tables map[string]int64 `json:"tables"` // rows
}

// Backup writes an archive of everything but nodes and homes, while the store is in use:
// what a power cut at the moment of the call would have left. All that was acknowledged before
// is in it. While it is written the database's log (pharos.db-wal) grows. program is
// the version of the program, for the archive's head. A store in PostgreSQL is BackupPostgres's.
func (s *Store) Backup(ctx context.Context, w io.Writer, program string) error {
	if s.j == nil {
		return errors.New("store: backup of a database that is not in the process")
	}
	n, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	return n.archive(ctx, w, ArchiveHead{Database: "SQLite", Program: program}, func(Progress) {})
}

// BackupDir is Backup of the directory of a stopped process, which it changes nothing
// in; ErrLocked when it runs.
func BackupDir(ctx context.Context, dir string, w io.Writer, program string, progress func(Progress)) error {
	d, err := readDir(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(d.archive(ctx, w, ArchiveHead{Database: "SQLite", Program: program}, progress), d.close())
}

// BackupPostgres is Backup of a database in PostgreSQL, which nobody has to stop for.
func BackupPostgres(ctx context.Context, url string, w io.Writer, program string, progress func(Progress)) error {
	n, err := snapshotPostgres(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(n.archive(ctx, w, ArchiveHead{Database: "PostgreSQL", Program: program}, progress), n.close())
}

func (n *snapshot) archive(ctx context.Context, w io.Writer, head ArchiveHead, progress func(Progress)) error {
	if n.journal != nil {
		if err := n.journal.find(ctx); err != nil {
			return err
		}
	}
	head.Format, head.Schema, head.Created = archiveFormat, n.schema, time.Now().UTC().Truncate(time.Second)
	a, err := newArchiveWriter(w, head)
	if err != nil {
		return err
	}
	for _, t := range copiedTables {
		rows := int64(0)
		err := a.table(ctx, t, n, func() {
			if rows++; rows%copyRows == 0 {
				progress(Progress{"writing", t.name, rows})
			}
		})
		if err != nil {
			return err
		}
	}
	return a.close()
}

// CheckBackup reads an archive to its end and says what is in it; ErrArchive when it is damaged
// or not whole.
func CheckBackup(ctx context.Context, file string) (Archived, error) {
	f, err := os.Open(file)
	if err != nil {
		return Archived{}, err
	}
	defer f.Close()
	a, err := readArchive(ctx, f, func(*archiveReader) error { return nil })
	if err != nil {
		return Archived{}, err
	}
	return Archived{a.head, a.got.Tables}, nil
}

// readArchive has fn read some of an archive, reads the rest, and checks the end.
func readArchive(ctx context.Context, r io.Reader, fn func(*archiveReader) error) (*archiveReader, error) {
	a, err := openArchive(r)
	if err != nil {
		return nil, err
	}
	if err := fn(a); err != nil {
		return nil, err
	}
	for _, t := range copiedTables {
		if err := a.each(ctx, t, func(row) error { return nil }); err != nil {
			return nil, err
		}
	}
	return a, a.end()
}

// staging is the folder within the target in which a restored database is made.
const staging = "pharos.restoring"

// Restore makes the store of an archive in dir, which is made, or has none yet (ErrNotEmpty). It
// is written beside its place, compared row by row with the archive, and only then put there.
//
// The counters of each user are raised: what was given out after the backup was made is not
// given out again, and clients that know of a later roster get it whole.
func Restore(ctx context.Context, file, dir string, progress func(Progress)) (Copied, error) {
	if _, err := CheckBackup(ctx, file); err != nil {
		return Copied{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Copied{}, fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return Copied{}, err
	}
	defer lock.Close()
	for _, name := range []string{"pharos.db", "pharos.db-wal", softLog} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return Copied{}, fmt.Errorf("%w: there is a %s in %s", ErrNotEmpty, name, dir)
		} else if !errors.Is(err, os.ErrNotExist) {
			return Copied{}, fmt.Errorf("store: %w", err)
		}
	}
	at := filepath.Join(dir, staging)
	if err := os.RemoveAll(at); err != nil { // of an attempt that was killed
		return Copied{}, fmt.Errorf("store: %w", err)
	}
	c, err := restoreTo(ctx, file, at, progress)
	if err == nil {
		err = foldLog(ctx, filepath.Join(at, "pharos.db"))
	}
	if err == nil {
		err = settleIn(at, dir)
	}
	if err != nil {
		return c, errors.Join(err, os.RemoveAll(at))
	}
	return c, os.RemoveAll(at)
}

func restoreTo(ctx context.Context, file, dir string, progress func(Progress)) (c Copied, err error) {
	s, err := Open(ctx, dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := fromArchive(ctx, file, func(a rowSource) error {
		return copyTables(ctx, a, sqliteSink{s}, raised, progress)
	}); err != nil {
		return c, err
	}
	n, err := s.snapshot(ctx)
	if err != nil {
		return c, err
	}
	defer n.close()
	err = fromArchive(ctx, file, func(a rowSource) error {
		c.Tables, err = compareTables(ctx, a, n, raised, progress)
		return err
	})
	return c, err
}

func fromArchive(ctx context.Context, file string, fn func(rowSource) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readArchive(ctx, f, func(a *archiveReader) error { return fn(a) })
	return err
}

// foldLog has all of a closed database in its one file.
func foldLog(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dsn(path, "synchronous(FULL)"))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var busy, frames, done int
	err = db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done)
	if err == nil && busy != 0 {
		err = errors.New("in use")
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	return nil
}

// settleIn puts the files of a store that was closed into their place. The database is
// the last: without it the place still counts as empty, or as half done.
func settleIn(from, to string) error {
	for _, name := range []string{softLog, "pharos.db"} {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if err := osDisk(to).SyncDir(); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// afterBackup is added to the counters of users: more than what anybody can have been
// given between a backup and its return.
const afterBackup = 1 << 32

// raised is what a row of an archive becomes when it is restored.
func raised(t *table, r row) row {
	if t.name != "counters" {
		return r
	}
	n := append(row(nil), r...)
	for i, c := range t.columns {
		switch c.name {
		case "roster", "revision", "mail":
			n[i] = r[i].(int64) + afterBackup
		case "floor": // no change since an earlier version is known to be all of them
			n[i] = r[2].(int64) + afterBackup
		}
	}
	return n
}
