package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"pharos/server"
)

type backupCmd struct {
	place
	Out  string `required:"" help:"File to write, which must not exist; - is standard output." placeholder:"FILE"`
	JSON bool   `help:"Say what was written as JSON." name:"json"`
}

func (c *backupCmd) Help() string {
	return `The server may run and be in use. What is written is one moment of it: everything that was acknowledged before the command began is in it, and nothing of it depends on anything that is not. Which moment it was is in the file.

Where it is read from: with a --config that has a PostgreSQL URL under [store], from that database, whatever servers use it (one REPEATABLE READ transaction). Else from the server that runs on --data, through its socket. Else from the data folder of a stopped server, which is not changed.

What is in it: accounts, rosters, block lists, XCAP documents, stored messages, the server's secrets, publications, subscriptions with their SIP dialogs, registrations. What is not: the configuration and certificates, which are files of yours; XMPP sessions; and which node of a cluster has which user.

The file appears under its name when it is whole and was read back; with - it is not read back, so that it can be piped through an encryption. It holds the keys that passwords are checked by, and is readable by its owner only: keep it so. Its form is described in the manual, and is the same for SQLite and PostgreSQL: 'pharos restore' puts it into either.`
}

func (c *backupCmd) Run(ctx context.Context) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	start, bar := time.Now(), newBar(c.JSON)
	in, err := server.Backup(ctx, cfg.Store.URL, c.Data, c.Out, programVersion(), bar.show)
	bar.end()
	if err != nil || c.Out == "-" {
		return err
	}
	st, err := os.Stat(c.Out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
			server.Archived
		}{c.Out, st.Size(), in})
	}
	fmt.Printf("%s written and read back: %s\n%d bytes, %s as of %s, in %s\n", c.Out, inWords(in.Tables), st.Size(),
		in.Database, in.Created.Local().Format(time.DateTime), time.Since(start).Round(time.Millisecond))
	return nil
}

// inWords says how much there is of what people count.
func inWords(rows map[string]int64) string {
	return fmt.Sprintf("%d accounts, %d contacts, %d blocks, %d documents, %d stored messages, %d publications, subscriptions and registrations",
		rows["accounts"], rows["roster"], rows["blocks"], rows["documents"], rows["offline"], rows["soft"])
}

type restoreCmd struct {
	File string `arg:"" help:"The backup." placeholder:"FILE"`
	Data string `help:"Data folder to make; it may exist, without a database in it." placeholder:"DIR" xor:"target"`
	To   string `help:"Or the URL of an empty PostgreSQL database, such as postgres://user:password@host/name." placeholder:"URL" xor:"target"`
	JSON bool   `help:"As JSON." name:"json"`
}

// Validate says which flag is missing.
func (c *restoreCmd) Validate() error {
	if c.Data == "" && c.To == "" {
		return errors.New("say where to: --data DIR or --to URL")
	}
	return nil
}

func (c *restoreCmd) Help() string {
	return `Where to: either --data or --to.

The file is checked whole before anything is written: each part has a SHA-256. Then all is written, read again and compared with the file, row by row; only what is the same in every column stays. After a difference, which is named, or any other failure, nothing is left in the place, and the exit status is 1.

A place that holds anything is refused; nothing is ever written over. A backup of SQLite may go into PostgreSQL and the other way round.

What was given out after the backup was made is gone: changes of lists, messages, passwords. So that no number is given out a second time, versions of rosters and documents go on far above those in the backup; XMPP clients get their roster whole once, XCAP clients have to fetch documents before they change them. A phone whose subscription went on after the backup refuses the first NOTIFY, since its CSeq is too low, and subscribes anew. Subscriptions and publications that have run out meanwhile are gone after the first minute.`
}

func (c *restoreCmd) Run(ctx context.Context) error {
	start, bar := time.Now(), newBar(c.JSON)
	done, err := server.Restore(ctx, c.File, c.Data, c.To, bar.show)
	bar.end()
	if err != nil {
		return withPlace(err, c.Data, c.To)
	}
	if c.JSON {
		return printJSON(done)
	}
	printCopied(done, start)
	if c.To != "" {
		fmt.Printf("It is in %s. Servers with this URL under [store] may start.\n", redacted(c.To))
		return nil
	}
	fmt.Printf("It is in %s. Start the server with --data %s.\n", c.Data, c.Data)
	return nil
}

type storeCmd struct {
	Migrate migrateCmd `cmd:"" help:"Copy a stopped server's data folder into an empty PostgreSQL database."`
}

type migrateCmd struct {
	Data string `help:"Data folder of the stopped server (default: data)." default:"data" placeholder:"DIR"`
	To   string `required:"" help:"URL of an empty PostgreSQL database, such as postgres://user:password@host/name." placeholder:"URL"`
	JSON bool   `help:"As JSON." name:"json"`
}

func (c *migrateCmd) Help() string {
	return `The way from one server to several: everything that is in SQLite and the journal of the data folder goes into the database, in one transaction. Then each row of both sides is compared, in every column; only if all are the same the transaction is committed. With any difference, which is named, the database stays empty and the exit status is 1.

The server must be stopped; one that runs is refused, and none can start on the folder meanwhile. A database in which any table has rows is refused. The data folder is not changed, and stays what it was: the way back, as long as no server has run on the database.

The database has to be of encoding UTF8, and its user must be allowed to make tables in it. To make one:
  CREATE ROLE pharos LOGIN PASSWORD '...'; CREATE DATABASE pharos OWNER pharos ENCODING 'UTF8' TEMPLATE template0;

To go back from PostgreSQL to a data folder, take a backup and restore it: 'pharos backup --config FILE --out B', 'pharos restore B --data DIR'.`
}

func (c *migrateCmd) Run(ctx context.Context) error {
	start, bar := time.Now(), newBar(c.JSON)
	done, err := server.Migrate(ctx, c.Data, c.To, bar.show)
	bar.end()
	if err != nil {
		return withPlace(err, c.Data, c.To)
	}
	if c.JSON {
		return printJSON(done)
	}
	printCopied(done, start)
	if done.Damaged > 0 {
		fmt.Printf("%d places of the journal could not be read; the records in them were lost before.\n", done.Damaged)
	}
	fmt.Printf(`
%s is unchanged. What to do next:
  1. Write into the configuration, under [store]: url = %q
  2. Start the server with it, and see that it works: pharos status
  3. Start no server on the old folder without the URL: what is changed there does not come over.
     Keep %s and %s as the way back, then delete them.
`, c.Data, redacted(c.To), filepath.Join(c.Data, "pharos.db"), filepath.Join(c.Data, "soft.log"))
	return nil
}

func printCopied(done server.Copied, start time.Time) {
	for _, t := range done.Tables {
		fmt.Printf("%-10s %9d rows, the same on both sides\n", t.Table, t.Rows)
	}
	fmt.Printf("Written and compared row by row in %s.\n", time.Since(start).Round(time.Millisecond))
}

// withPlace keeps passwords out of errors.
func withPlace(err error, data, to string) error {
	if to == "" || !strings.Contains(err.Error(), to) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), to, redacted(to)))
}

// redacted is a URL as it may be shown.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the database"
	}
	return u.Redacted()
}

// bar shows on a terminal how far a copy is.
type bar bool

func newBar(json bool) bar { return bar(term.IsTerminal(int(os.Stderr.Fd())) && !json) }

func (b bar) show(p server.CopyProgress) {
	if b {
		fmt.Fprintf(os.Stderr, "\r\033[K%s %s: %d rows", p.Step, p.Table, p.Rows)
	}
}

func (b bar) end() {
	if b {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}
