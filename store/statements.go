package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"pharos/presence"
)

// The SQL that SQLite and PostgreSQL share is in this file and schema.sql;
// placeholders are numbered by their order. Prepared once: parsing costs more than
// running.

const (
	accountColumns = `domain, name, digests, scram_sha1, scram_sha256, created`
	itemColumns    = `contact_domain, contact_name, title, groups, flags, version, stanza`

	selectRoster = `SELECT ` + itemColumns + ` FROM roster WHERE domain = ? AND name = ?
			ORDER BY contact_domain, contact_name`
	selectCounters = `SELECT roster, floor, revision, documents, mail,
			EXISTS (SELECT 1 FROM blocks b WHERE b.domain = counters.domain AND b.name = counters.name)
			FROM counters WHERE domain = ? AND name = ?`
	selectBlocks    = `SELECT address FROM blocks WHERE domain = ? AND name = ? ORDER BY address`
	selectDocuments = `SELECT auid, path, version, modified, LENGTH(body) FROM documents WHERE domain = ? AND name = ?
			ORDER BY auid, path`
	selectFence    = `SELECT epoch FROM nodes WHERE name = ? AND epoch = ?`
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

	fence         *sql.Stmt
	lock, tryLock *sql.Stmt // PostgreSQL's

	// Of the transaction under way: how often it has changed something of a user,
	// and what is to be done when it is committed.
	touched map[presence.Entity]int
	rows    map[presence.Entity]int // of those the changes of roster rows
	commits []func()
	held    map[presence.Entity]uint64 // users nobody else changes meanwhile, with their revision; see hold
	fences  map[fence]bool             // whether they stand

	contended bool              // one of wanted was not to be had
	wanted    []presence.Entity // to be locked at the next attempt
	wait      bool              // it is the last
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
		{to: &q.begin, text: `BEGIN IMMEDIATE`, postgreSQL: `BEGIN`},
		{to: &q.fence, text: selectFence},
		{to: &q.commit, text: `COMMIT`},
		{to: &q.rollback, text: `ROLLBACK`},

		{to: &q.putAccount, text: `INSERT INTO accounts (` + accountColumns + `) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (domain, name) DO UPDATE SET digests = excluded.digests,
			scram_sha1 = excluded.scram_sha1, scram_sha256 = excluded.scram_sha256`},
		{to: &q.dropAccount, text: `DELETE FROM accounts WHERE domain = ? AND name = ?`},

		{to: &q.item, text: `SELECT ` + itemColumns + ` FROM roster
			WHERE domain = ? AND name = ? AND contact_domain = ? AND contact_name = ?`},
		{to: &q.roster, text: selectRoster},
		{to: &q.putItem, text: `INSERT INTO roster (domain, name, ` + itemColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (domain, name, contact_domain, contact_name) DO UPDATE SET title = excluded.title,
			groups = excluded.groups, flags = excluded.flags, version = excluded.version, stanza = excluded.stanza`},
		{to: &q.dropItem, text: `DELETE FROM roster WHERE domain = ? AND name = ? AND contact_domain = ? AND contact_name = ?`},
		{to: &q.dropRoster, text: `DELETE FROM roster WHERE domain = ? AND name = ?`},
		{to: &q.tombstones, text: `SELECT version FROM roster WHERE domain = ? AND name = ? AND flags = ?
			ORDER BY version DESC LIMIT 1 OFFSET ?`},
		{to: &q.pruneTombstones, text: `DELETE FROM roster WHERE domain = ? AND name = ? AND flags = ? AND version <= ?`},
		{to: &q.raiseFloor, text: `UPDATE counters SET floor = ? WHERE domain = ? AND name = ?`},

		{to: &q.nextRoster, text: `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 1, 0, 1, 0)
			ON CONFLICT (domain, name) DO UPDATE SET roster = counters.roster + 1, revision = counters.revision + 1
			RETURNING roster, revision`},
		{to: &q.bump, text: `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 0, 0, 1, 0)
			ON CONFLICT (domain, name) DO UPDATE SET revision = counters.revision + 1`},
		{to: &q.revision, text: `SELECT revision FROM counters WHERE domain = ? AND name = ?`},
		{to: &q.countDocuments, text: `UPDATE counters SET documents = documents + ? WHERE domain = ? AND name = ?`},
		{to: &q.noDocuments, text: `UPDATE counters SET documents = 0 WHERE domain = ? AND name = ?`},
		{to: &q.nextMail, text: `INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES (?, ?, 0, 0, 0, 1)
			ON CONFLICT (domain, name) DO UPDATE SET mail = counters.mail + 1 RETURNING mail`},

		{to: &q.blocks, text: selectBlocks},
		{to: &q.putBlock, text: `INSERT INTO blocks (domain, name, address) VALUES (?, ?, ?)
			ON CONFLICT (domain, name, address) DO NOTHING`},
		{to: &q.dropBlock, text: `DELETE FROM blocks WHERE domain = ? AND name = ? AND address = ?`},
		{to: &q.dropBlocks, text: `DELETE FROM blocks WHERE domain = ? AND name = ?`},
		{to: &q.countBlock, text: `SELECT COUNT(*) FROM blocks WHERE domain = ? AND name = ?`},

		{to: &q.document, text: selectDocument},
		{to: &q.addDocument, text: `INSERT INTO documents (version, modified, body, domain, name, auid, path) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{to: &q.setDocument, text: `UPDATE documents SET version = ?, modified = ?, body = ?
			WHERE domain = ? AND name = ? AND auid = ? AND path = ?`},
		{to: &q.dropDocument, text: `DELETE FROM documents WHERE domain = ? AND name = ? AND auid = ? AND path = ?`},
		{to: &q.dropDocuments, text: `DELETE FROM documents WHERE domain = ? AND name = ?`},

		{to: &q.putMail, text: `INSERT INTO offline (domain, name, id, at, message) VALUES (?, ?, ?, ?, ?)`},
		{to: &q.dropMail, text: `DELETE FROM offline WHERE domain = ? AND name = ? AND id = ?`},
		{to: &q.dropMails, text: `DELETE FROM offline WHERE domain = ? AND name = ?`},
		{to: &q.countMail, text: `SELECT COUNT(*) FROM offline WHERE domain = ? AND name = ?`},

		{to: &q.tryLock, postgreSQL: `SELECT pg_try_advisory_xact_lock(?)`},
		{to: &q.lock, postgreSQL: `SELECT pg_advisory_xact_lock(?)`},

		{to: &q.secret, text: `SELECT value FROM secrets WHERE name = ?`},
		{to: &q.putSecret, text: `INSERT INTO secrets (name, value) VALUES (?, ?)`},
	}
}

// reads are the statements of the reading pool.
type reads struct {
	account, accounts, roster, counters, blocks, mails *sql.Stmt
	document, documents, everyDocument, holders        *sql.Stmt
	revision, fence                                    *sql.Stmt
	softRange, softSaved, softGet                      *sql.Stmt // PostgreSQL's
}

func (q *reads) list() []statement {
	return []statement{
		{to: &q.account, text: `SELECT ` + accountColumns + ` FROM accounts WHERE domain = ? AND name = ?`},
		{to: &q.accounts, text: `SELECT ` + accountColumns + ` FROM accounts WHERE (domain, name) > (?, ?)
			ORDER BY domain, name LIMIT ?`},
		{to: &q.roster, text: selectRoster},
		{to: &q.counters, text: selectCounters},
		{to: &q.blocks, text: selectBlocks},
		{to: &q.document, text: selectDocument},
		{to: &q.documents, text: selectDocuments},
		{to: &q.everyDocument, text: `SELECT domain, name, path, version, modified, body FROM documents WHERE auid = ? AND
			(domain, name, path) > (?, ?, ?) ORDER BY domain, name, path LIMIT ?`},
		{to: &q.holders, text: `SELECT domain, name FROM documents WHERE auid = ? AND path = ?`},
		{to: &q.revision, text: `SELECT revision FROM counters WHERE domain = ? AND name = ?`},
		{to: &q.fence, text: selectFence},
		{to: &q.softRange, postgreSQL: `SELECT key, value FROM soft WHERE domain = '' AND name = '' AND kind = ? AND key >= ?
			ORDER BY key LIMIT ?`},
		{to: &q.softSaved, postgreSQL: `SELECT domain, name, kind, key, value FROM soft
			WHERE (domain, name, kind, key) > (?, ?, ?, ?) AND kind IN (112, 115) ORDER BY domain, name, kind, key LIMIT ?`},
		{to: &q.softGet, postgreSQL: `SELECT value FROM soft WHERE domain = ? AND name = ? AND kind = ? AND key = ?`},
		{to: &q.mails, text: `SELECT id, at, message FROM offline WHERE domain = ? AND name = ? ORDER BY id`},
	}
}

// dialect is of the database: what the two do not share.
type dialect int

const (
	sqlite dialect = iota
	postgres
)

// statement is a place for a prepared statement, and its text. Where the two
// databases differ, the second text is PostgreSQL's; one without a first is only there.
type statement struct {
	to         **sql.Stmt
	text       string
	postgreSQL string
}

func (d dialect) text(s statement) string {
	switch {
	case d == sqlite:
		return s.text
	case s.postgreSQL != "":
		return numbered(s.postgreSQL)
	}
	return numbered(s.text)
}

// numbered makes $1, $2 of the placeholders.
func numbered(text string) string {
	var b strings.Builder
	n := 0
	for i := range len(text) {
		if text[i] != '?' {
			b.WriteByte(text[i])
			continue
		}
		n++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// preparer is a *sql.DB or a *sql.Conn.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func prepare(ctx context.Context, p preparer, d dialect, list []statement) error {
	for _, s := range list {
		text := d.text(s)
		if text == "" {
			continue // of the other database
		}
		st, err := p.PrepareContext(ctx, text)
		if err != nil {
			return fmt.Errorf("%w in %q", err, text)
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
