package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"pharos/server"
)

type importCmd struct {
	place
	File   string `arg:"" help:"File or folder; - for standard input." placeholder:"FILE"`
	DryRun bool   `help:"Check everything, change nothing, and say what would be done."`
	JSON   bool   `help:"As JSON." name:"json"`
}

func (importCmd) Help() string {
	return `What a file is, is told by its content:

CSV: lines user@domain,password. After a line "user,contact,name,groups" come contacts, the groups with semicolons between them; after "user,rule,address" come rules, allow or block.

XEP-0227: users with passwords or SCRAM keys, rosters and block lists, as ejabberd, Prosody and Openfire export them.

SQL dump (mysqldump, sqlite3 .dump, pg_dump) of Kamailio, OpenSIPS or OpenXCAP: tables subscriber (password or ha1), xcap, watchers.

Folder or tar file: XCAP documents as AUID/users/USER/DOCUMENT, and any of the above as .csv, .xml, .sql.

Everything is checked first; with any problem nothing is imported. Who exists already gets the new password and documents; contacts are added. Subscriptions and publications are not taken over: phones make them anew.`
}

func (c *importCmd) Run(ctx context.Context) error {
	in, err := c.open()
	if err != nil {
		return err
	}
	defer in.Close()
	return c.with(false, func(a admin) error {
		bar := term.IsTerminal(int(os.Stderr.Fd())) && !c.JSON
		im, err := a.Import(ctx, in, c.DryRun, func(im server.Import) {
			if bar && im.Total > 0 {
				fmt.Fprintf(os.Stderr, "\r%d of %d users", im.Accounts, im.Total)
			}
		})
		if bar && im.Total > 0 {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
		if c.JSON {
			return errors.Join(printJSON(im), err)
		}
		for _, p := range im.Problems {
			fmt.Fprintln(os.Stderr, p)
		}
		if err != nil {
			return err
		}
		for _, i := range im.Ignored {
			fmt.Fprintln(os.Stderr, "passed over: "+i)
		}
		verb := "imported"
		if c.DryRun {
			verb = "would be imported"
		}
		fmt.Printf("%d users %s, %d contacts, %d rules, %d documents\n", im.Accounts, verb, im.Contacts, im.Rules, im.Documents)
		return nil
	})
}

// open opens the file; a folder becomes a tar file on the way.
func (c *importCmd) open() (io.ReadCloser, error) {
	if c.File == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	st, err := os.Stat(c.File)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return os.Open(c.File)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(pack(w, c.File)) }()
	return r, nil
}

func pack(to io.Writer, folder string) error {
	w := tar.NewWriter(to)
	root, err := os.OpenRoot(folder) // no symbolic link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := root.ReadFile(path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(path), Mode: 0o600, Size: int64(len(b)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	return errors.Join(err, w.Close())
}
