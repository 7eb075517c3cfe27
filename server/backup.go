package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"pharos/store"
)

// What the commands for backups and moves need of the store.
type (
	// CopyProgress is how far they are.
	CopyProgress = store.Progress
	// Copied is what Restore and Migrate have written, and found to be the same afterwards.
	Copied = store.Copied
	// Archived is what is in a backup.
	Archived = store.Archived
)

// Backup writes everything into a file, which it makes: from the running server at data, from
// the data folder of a stopped one, or, with the URL of a PostgreSQL database, from there. The
// file appears when it is whole and was read back. File "-" is standard output, which is not.
func Backup(ctx context.Context, database, data, file, program string, progress func(CopyProgress)) (Archived, error) {
	if file == "-" {
		return Archived{}, writeBackup(ctx, database, data, os.Stdout, program, progress)
	}
	if _, err := os.Lstat(file); err == nil {
		return Archived{}, fmt.Errorf("%s exists already", file)
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Archived{}, err
	}
	err = writeBackup(ctx, database, data, f, program, progress)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	var in Archived
	if err == nil {
		in, err = store.CheckBackup(ctx, part)
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		_ = os.Remove(part) // of no use to anybody
		return Archived{}, err
	}
	return in, syncFolder(filepath.Dir(file))
}

// syncFolder makes a new name in it outlive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func writeBackup(ctx context.Context, database, data string, w io.Writer, program string, progress func(CopyProgress)) error {
	if database != "" {
		return store.BackupPostgres(ctx, database, w, program, progress)
	}
	c, err := Dial(data)
	if errors.Is(err, ErrNotRunning) {
		return noStore(store.BackupDir(ctx, data, w, program, progress), data)
	}
	if err != nil {
		return err
	}
	return c.copy(ctx, "/backup", w)
}

// noStore says in words that there is nothing in a folder.
func noStore(err error, data string) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds no users: name the data folder of the server with --data", data)
	}
	return err
}

// controlBackup answers with the archive.
func (s *Server) controlBackup(w http.ResponseWriter, r *http.Request) {
	body := &begun{to: w}
	err := s.backup(r.Context(), body)
	if err == nil {
		return
	}
	if !body.yes {
		answer(w, nil, err)
		return
	}
	if r.Context().Err() == nil {
		s.Log.Warn("backup", "err", err)
	}
	panic(http.ErrAbortHandler) // so that the reader does not take it for the whole
}

func (s *Server) backup(ctx context.Context, w io.Writer) error {
	if u := s.Config.Store.URL; u != "" {
		return store.BackupPostgres(ctx, u, w, s.Version, func(CopyProgress) {})
	}
	return s.store.Backup(ctx, w, s.Version)
}

// begun notes whether anything was written.
type begun struct {
	to  io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.to.Write(p)
}

// copy asks for path and writes the answer to w as it is.
func (c *Client) copy(ctx context.Context, path string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pharos"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its address is of no use to people
		}
		return broken(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return errors.New(e.Error)
	}
	_, err = io.Copy(w, resp.Body)
	return broken(err)
}

// Restore puts a backup into a data folder or, with its URL, a PostgreSQL database. Either
// has to be empty.
func Restore(ctx context.Context, file, data, database string, progress func(CopyProgress)) (Copied, error) {
	if database != "" {
		return store.RestorePostgres(ctx, file, database, progress)
	}
	return store.Restore(ctx, file, data, progress)
}

// Migrate copies the data folder of a stopped server into an empty PostgreSQL database.
func Migrate(ctx context.Context, data, database string, progress func(CopyProgress)) (Copied, error) {
	c, err := store.Migrate(ctx, data, database, progress)
	return c, noStore(err, data)
}
