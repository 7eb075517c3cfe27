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

	selectRoster = `SELECT ` + itemColumns + ` FROM roster WHERE domain = ? AND name = ?
			ORDER BY contact_domain, contact_name`
	selectBlocks   = `SELECT address FROM blocks WHERE domain = ? AND name = ? ORDER BY address`
	selectDocument = `SELECT version, modified, body FROM documents
			WHERE domain = ? AND name = ? AND auid = ? AND path = ?`
)

// statements are those of the writing connection.
type statements struct {
	begin, commit, rollback                     *sql.Stmt
	putAccount, dropAccount                     *sql.Stmt
	item, roster, putItem, dropItem, dropRoster *sql.Stmt
	nextRoster, bump, nextMail, tombstones      *sql.Stmt
	pruneTombstones, raiseFloor                 *sql.Stmt
	blocks, putBlock, dropBlock, dropBlocks     *sql.Stmt
	countBlock, revision                        *sql.Stmt
	document, addDocument, setDocument          *sql.Stmt
	dropDocument, dropDocuments                 *sql.Stmt
	countDocuments, noDocuments                 *sql.Stmt
	putMail, dropMail, dropMails, countMail     *sql.Stmt
	secret, putSecret                           *sql.Stmt

	// Of the transaction under way: how often it has changed something of a user,
	// and what is to be done when it is committed.
	touched map[presence.Entity]int
	rows    map[presence.Entity]int // of those the changes of roster rows
	commits []func()
}

// after has f called after the commit and before the acknowledgements.
func (q *statements) after(u presence.Entity, f func()) {
	q.touched[u]++
	q.commits = append(q.commits, f)
}

// next is the next version of a user's roster and documents, and the revision.
func (q *statements) next(u presence.Entity) (version, revision uint64, err error) {
	err = q.nextRoster.QueryRow(u.Domain, u.User).Scan(&version, &revision)
	return version, revision, err
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
		{&q.roster, selectRoster},
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
		{&q.revision, `SELECT revision FROM counters WHERE domain = ? AND name = ?`},
		{&q.countDocuments, `UPDATE counters SET documents = documents + ? WHERE domain = ? AND name = ?`},
		{&q.noDocuments, `UPDATE counters SET documents = 0 WHERE domain = ? AND name = ?`},
		{&q.nextMail, `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 0, 0, 0, 1)
			ON CONFLICT (domain, name) DO UPDATE SET mail = counters.mail + 1 RETURNING mail`},

		{&q.blocks, selectBlocks},
		{&q.putBlock, `INSERT INTO blocks (domain, name, address) VALUES (?, ?, ?)
			ON CONFLICT (domain, name, address) DO NOTHING`},
		{&q.dropBlock, `DELETE FROM blocks WHERE domain = ? AND name = ? AND address = ?`},
		{&q.dropBlocks, `DELETE FROM blocks WHERE domain = ? AND name = ?`},
		{&q.countBlock, `SELECT COUNT(*) FROM blocks WHERE domain = ? AND name = ?`},

		{&q.document, selectDocument},
		{&q.addDocument, `INSERT INTO documents (version, modified, body, domain, name, auid, path) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&q.setDocument, `UPDATE documents SET version = ?, modified = ?, body = ?
			WHERE domain = ? AND name = ? AND auid = ? AND path = ?`},
		{&q.dropDocument, `DELETE FROM documents WHERE domain = ? AND name = ? AND auid = ? AND path = ?`},
		{&q.dropDocuments, `DELETE FROM documents WHERE domain = ? AND name = ?`},

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
	document, documents, everyDocument, holders        *sql.Stmt
}

func (q *reads) list() []statement {
	return []statement{
		{&q.account, `SELECT ` + accountColumns + ` FROM accounts WHERE domain = ? AND name = ?`},
		{&q.accounts, `SELECT ` + accountColumns + ` FROM accounts WHERE (domain, name) > (?, ?)
			ORDER BY domain, name LIMIT ?`},
		{&q.roster, selectRoster},
		{&q.counters, `SELECT roster, floor, revision, documents FROM counters WHERE domain = ? AND name = ?`},
		{&q.blocks, selectBlocks},
		{&q.document, selectDocument},
		{&q.documents, `SELECT auid, path, version, modified, LENGTH(body) FROM documents WHERE domain = ? AND name = ?
			ORDER BY auid, path`},
		{&q.everyDocument, `SELECT domain, name, path, version, modified, body FROM documents WHERE auid = ? AND
			(domain, name, path) > (?, ?, ?) ORDER BY domain, name, path LIMIT ?`},
		{&q.holders, `SELECT domain, name FROM documents WHERE auid = ? AND path = ?`},
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
