package store

import (
	"context"
	"database/sql"
	"fmt"

	"pharos/presence"
)

// All SQL is in this file and schema.sql, in the dialect that SQLite and
// PostgreSQL share; placeholders are numbered by their order. Prepared once:
// parsing costs more than running.

const (
	accountColumns = `domain, name, digests, scram_sha1, scram_sha256, created`
	itemColumns    = `contact_domain, contact_name, title, groups, flags, version, stanza`
)

// statements are those of the writing connection.
type statements struct {
	begin, commit, rollback                     *sql.Stmt
	putAccount, dropAccount                     *sql.Stmt
	item, putItem, dropItem, dropRoster         *sql.Stmt
	nextRoster, bump, nextMail, tombstones      *sql.Stmt
	pruneTombstones, raiseFloor                 *sql.Stmt
	putBlock, dropBlock, dropBlocks, countBlock *sql.Stmt
	putMail, dropMail, dropMails, countMail     *sql.Stmt
	secret, putSecret                           *sql.Stmt

	// Of the transaction under way: users whose rows it has changed, and what is
	// to be done when it is committed.
	touched map[presence.Entity]bool
	commits []func()
}

// after has f called after the commit and before the acknowledgements.
func (q *statements) after(u presence.Entity, f func()) {
	q.touched[u] = true
	q.commits = append(q.commits, f)
}

func (q *statements) list() []statement {
	return []statement{
		{&q.begin, `BEGIN IMMEDIATE`},
		{&q.commit, `COMMIT`},
		{&q.rollback, `ROLLBACK`},

		{&q.putAccount, `INSERT INTO accounts (` + accountColumns + `) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (domain, name) DO UPDATE SET digests = excluded.digests,
			scram_sha1 = excluded.scram_sha1, scram_sha256 = excluded.scram_sha256`},
		{&q.dropAccount, `DELETE FROM accounts WHERE domain = ? AND name = ?`},

		{&q.item, `SELECT ` + itemColumns + ` FROM roster
			WHERE domain = ? AND name = ? AND contact_domain = ? AND contact_name = ?`},
		{&q.putItem, `INSERT INTO roster (domain, name, ` + itemColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (domain, name, contact_domain, contact_name) DO UPDATE SET title = excluded.title,
			groups = excluded.groups, flags = excluded.flags, version = excluded.version, stanza = excluded.stanza`},
		{&q.dropItem, `DELETE FROM roster WHERE domain = ? AND name = ? AND contact_domain = ? AND contact_name = ?`},
		{&q.dropRoster, `DELETE FROM roster WHERE domain = ? AND name = ?`},
		{&q.tombstones, `SELECT version FROM roster WHERE domain = ? AND name = ? AND flags = ?
			ORDER BY version DESC LIMIT 1 OFFSET ?`},
		{&q.pruneTombstones, `DELETE FROM roster WHERE domain = ? AND name = ? AND flags = ? AND version <= ?`},
		{&q.raiseFloor, `UPDATE counters SET floor = ? WHERE domain = ? AND name = ?`},

		{&q.nextRoster, `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 1, 0, 1, 0)
			ON CONFLICT (domain, name) DO UPDATE SET roster = counters.roster + 1, revision = counters.revision + 1
			RETURNING roster, revision`},
		{&q.bump, `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 0, 0, 1, 0)
			ON CONFLICT (domain, name) DO UPDATE SET revision = counters.revision + 1`},
		{&q.nextMail, `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 0, 0, 0, 1)
			ON CONFLICT (domain, name) DO UPDATE SET mail = counters.mail + 1 RETURNING mail`},

		{&q.putBlock, `INSERT INTO blocks (domain, name, address) VALUES (?, ?, ?)
			ON CONFLICT (domain, name, address) DO NOTHING`},
		{&q.dropBlock, `DELETE FROM blocks WHERE domain = ? AND name = ? AND address = ?`},
		{&q.dropBlocks, `DELETE FROM blocks WHERE domain = ? AND name = ?`},
		{&q.countBlock, `SELECT COUNT(*) FROM blocks WHERE domain = ? AND name = ?`},

		{&q.putMail, `INSERT INTO offline (domain, name, id, at, message) VALUES (?, ?, ?, ?, ?)`},
		{&q.dropMail, `DELETE FROM offline WHERE domain = ? AND name = ? AND id = ?`},
		{&q.dropMails, `DELETE FROM offline WHERE domain = ? AND name = ?`},
		{&q.countMail, `SELECT COUNT(*) FROM offline WHERE domain = ? AND name = ?`},

		{&q.secret, `SELECT value FROM secrets WHERE name = ?`},
		{&q.putSecret, `INSERT INTO secrets (name, value) VALUES (?, ?)`},
	}
}

// reads are the statements of the reading pool.
type reads struct {
	account, accounts, roster, counters, blocks, mails *sql.Stmt
}

func (q *reads) list() []statement {
	return []statement{
		{&q.account, `SELECT ` + accountColumns + ` FROM accounts WHERE domain = ? AND name = ?`},
		{&q.accounts, `SELECT ` + accountColumns + ` FROM accounts WHERE (domain, name) > (?, ?)
			ORDER BY domain, name LIMIT ?`},
		{&q.roster, `SELECT ` + itemColumns + ` FROM roster WHERE domain = ? AND name = ?
			ORDER BY contact_domain, contact_name`},
		{&q.counters, `SELECT roster, floor, revision FROM counters WHERE domain = ? AND name = ?`},
		{&q.blocks, `SELECT address FROM blocks WHERE domain = ? AND name = ? ORDER BY address`},
		{&q.mails, `SELECT id, at, message FROM offline WHERE domain = ? AND name = ? ORDER BY id`},
	}
}

// statement is a place for a prepared statement, and its text.
type statement struct {
	to   **sql.Stmt
	text string
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func prepare(ctx context.Context, p preparer, list []statement) error {
	for _, s := range list {
		st, err := p.PrepareContext(ctx, s.text)
		if err != nil {
			return fmt.Errorf("%w in %q", err, s.text)
		}
		*s.to = st
	}
	return nil
}

// nonNil: an empty column is not NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
