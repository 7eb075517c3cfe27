package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"pharos/account"
	"pharos/presence"
	"pharos/sqldump"
	"pharos/store"
	"pharos/xcap"
	"pharos/xdm"
)

// MaxImport bounds an import file, in bytes.
const MaxImport = 256 << 20

// importBatch accounts are committed together.
const importBatch = 200

// Import is what an import did, or would do.
type Import struct {
	Accounts  int      `json:"accounts"`  // new or with a new password
	Contacts  int      `json:"contacts"`  // roster entries
	Rules     int      `json:"rules"`     // approvals and blocks
	Documents int      `json:"documents"` // XCAP documents
	Messages  int      `json:"messages"`  // stored messages (XEP-0227)
	Total     int      `json:"total"`     // users in the file
	Ignored   []string `json:"ignored,omitempty"`
	Problems  []string `json:"problems,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
	Done      bool     `json:"done"`
}

// maxProblems are listed; more are counted only.
const maxProblems = 100

// newcomer is one user of an import: with a password, with keys ready made, or
// with neither where the account is there already.
type newcomer struct {
	user      presence.Entity
	typed     string // user part as written, which SIP clients may use for the digest
	password  string
	keys      *store.Account // used when password is empty
	contacts  []store.Item
	blocks    []string
	documents []importDocument
	where     string // for people: line or file
}

type importDocument struct {
	auid, path string
	body       []byte
	where      string
}

// material is what has been read so far.
type material struct {
	admin    *Admin
	users    []*newcomer
	byUser   map[presence.Entity]*newcomer
	problems []string
	count    int // of problems
	ignored  []string
}

// problem notes what is wrong; the import goes on to find the others.
func (m *material) problem(format string, args ...any) {
	if m.count++; m.count <= maxProblems {
		m.problems = append(m.problems, fmt.Sprintf(format, args...))
	}
}

// ignore notes what was passed over, each once.
func (m *material) ignore(what string) {
	for _, i := range m.ignored {
		if i == what {
			return
		}
	}
	if len(m.ignored) < maxProblems {
		m.ignored = append(m.ignored, what)
	}
}

// user finds or makes the newcomer of an address; nil when it is no address of ours.
func (m *material) user(addr, where string) *newcomer {
	u, err := m.admin.Address(addr)
	if err != nil {
		m.problem("%s: %v", where, err)
		return nil
	}
	if n := m.byUser[u]; n != nil {
		return n
	}
	n := &newcomer{user: u, typed: typed(addr), where: where}
	m.byUser[u] = n
	m.users = append(m.users, n)
	return n
}

// account gives a newcomer its credentials, once.
func (m *material) account(n *newcomer, typed, password string, keys *store.Account, where string) {
	if n.password != "" || n.keys != nil {
		if n.where == where {
			m.problem("%s stands twice in the file", n.user)
		} else {
			m.problem("%s: %s is in %s already", where, n.user, n.where)
		}
		return
	}
	n.typed, n.password, n.keys, n.where = typed, password, keys, where
}

// contact adds a roster entry, or what more is known of one that is there.
func (n *newcomer) contact(it store.Item) {
	for i := range n.contacts {
		if h := &n.contacts[i]; h.Contact == it.Contact {
			addTo(h, &it)
			return
		}
	}
	n.contacts = append(n.contacts, it)
}

// Import reads what another server kept, and tells by its content what it is:
// CSV, a XEP-0227 document, an SQL dump of Kamailio, OpenSIPS or OpenXCAP, a tar
// file of these or of a tree of XCAP documents. All is checked first: with any
// problem nothing is imported. Accounts that exist get the new password, documents
// that exist the new content. progress is called now and then, and may be nil.
func (a *Admin) Import(ctx context.Context, r io.Reader, dryRun bool, progress func(Import)) (Import, error) {
	if progress == nil {
		progress = func(Import) {}
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxImport+1))
	if err != nil {
		return Import{}, err
	}
	if len(b) > MaxImport {
		return Import{}, fmt.Errorf("the file is larger than %d bytes; split it", MaxImport)
	}
	m := &material{admin: a, byUser: map[presence.Entity]*newcomer{}}
	m.read("", b)
	if len(m.users) == 0 && m.count == 0 {
		m.problem("there is nothing in it that could be imported")
	}
	a.check(ctx, m)
	im := Import{Total: len(m.users), Problems: m.problems, Ignored: m.ignored, DryRun: dryRun}
	if m.count > 0 {
		problems := "1 problem"
		if m.count > 1 {
			problems = fmt.Sprintf("%d problems", m.count)
		}
		return im, fmt.Errorf("%s in the file; nothing was imported", problems)
	}
	if err := a.change(); err != nil && !dryRun {
		return im, err
	}
	if dryRun {
		for _, u := range m.users {
			im.add(u)
		}
		im.Done = true
		return im, nil
	}
	err = a.importAll(ctx, m.users, &im, progress)
	im.Done = err == nil
	return im, err
}

func (im *Import) add(n *newcomer) {
	if n.hasAccount() {
		im.Accounts++
	}
	for i := range n.contacts {
		if n.contacts[i].Visible {
			im.Contacts++
		}
		if c := &n.contacts[i]; c.From || c.Approved || c.PendingIn {
			im.Rules++
		}
	}
	im.Rules += len(n.blocks)
	im.Documents += len(n.documents)
}

func (n *newcomer) hasAccount() bool { return n.password != "" || n.keys != nil }

// read tells by its content what a file is. name is "" for the import itself.
func (m *material) read(name string, b []byte) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	where := name
	if where != "" {
		where += ": "
	}
	switch first := bytes.TrimLeft(b, " \t\r\n"); {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")), bytes.HasPrefix(b, []byte("BZh")), bytes.HasPrefix(b, []byte("PK\x03\x04")), bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		m.problem("%sthe file is compressed; unpack it first", where)
	case isTar(b):
		m.readTar(b)
	case bytes.HasPrefix(first, []byte("<")):
		m.readServerData(where, first)
	case sqldump.Looks(b):
		m.readDump(where, b)
	default:
		m.readCSV(where, b)
	}
}

// check holds what was read against the server.
func (a *Admin) check(ctx context.Context, m *material) {
	for _, n := range m.users {
		if !n.hasAccount() {
			if _, err := a.store.Account(ctx, n.user); errors.Is(err, store.ErrNotFound) {
				m.problem("%s: %s has no account here and brings no password", n.where, n.user)
			} else if err != nil {
				m.problem("%s: %v", n.user, err)
			}
		}
		for i := range n.documents {
			d := &n.documents[i]
			name, err := xcap.Valid(xdm.Name{AUID: d.auid, User: n.user, Path: d.path}, d.body)
			if err != nil {
				m.problem("%s: %v", d.where, err)
			}
			d.auid, d.path = name.AUID, name.Path
		}
	}
}

// importAll derives keys on all cores, which is most of the work (RFC 5802 asks
// for 4096 rounds and two hashes), and commits in batches. Documents come before
// contacts, so that what a contact list in another form says is added to them.
func (a *Admin) importAll(ctx context.Context, users []*newcomer, im *Import, progress func(Import)) error {
	for len(users) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := users[:min(importBatch, len(users))]
		users = users[len(batch):]
		accounts, err := derive(ctx, batch)
		if err != nil {
			return err
		}
		if err := a.store.PutAccounts(ctx, accounts); err != nil {
			return err
		}
		for _, n := range batch {
			if n.hasAccount() {
				a.changed(n.user)
			}
			if err := a.importData(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", n.user, err)
			}
			im.add(n)
		}
		progress(*im)
	}
	return nil
}

// importData writes what belongs to one user.
func (a *Admin) importData(ctx context.Context, n *newcomer) error {
	for _, d := range n.documents {
		name := xdm.Name{AUID: d.auid, User: n.user, Path: d.path}
		_, _, err := a.docs.Update(ctx, name, func(*xdm.Document) ([]byte, error) { return d.body, nil })
		if err != nil {
			return fmt.Errorf("%s/%s: %w", d.auid, d.path, err)
		}
	}
	if len(n.contacts)+len(n.blocks) == 0 {
		return nil
	}
	ctx, release := a.docs.Hold(ctx, n.user)
	defer release()
	if a.policy != nil {
		defer a.policy(n.user) // also where not all was taken
	}
	if len(n.contacts) > 0 {
		changes := make([]xdm.ItemChange, len(n.contacts))
		for i := range n.contacts {
			row := n.contacts[i]
			changes[i].ItemChange = store.ItemChange{User: n.user, Contact: row.Contact, Change: func(it *store.Item) bool {
				addTo(it, &row)
				return true
			}}
		}
		if err := a.docs.UpdateItems(ctx, changes); err != nil {
			return fmt.Errorf("roster: %w", err)
		}
	}
	if len(n.blocks) > 0 {
		if err := a.docs.SetBlocks(ctx, n.user, n.blocks, nil, false); err != nil {
			return fmt.Errorf("blocks: %w", err)
		}
	}
	return nil
}

// addTo adds what an import says of a contact to what is there.
func addTo(it, more *store.Item) {
	if it.Removed {
		*it = store.Item{Contact: it.Contact, Version: it.Version}
	}
	it.To, it.From, it.Ask = it.To || more.To, it.From || more.From, it.Ask || more.Ask
	it.PendingIn, it.Approved = it.PendingIn || more.PendingIn, it.Approved || more.Approved
	if !more.Visible {
		return
	}
	it.Visible = true
	if more.Name != "" {
		it.Name = more.Name
	}
	if len(more.Groups) > 0 {
		it.Groups = more.Groups
	}
}

func derive(ctx context.Context, batch []*newcomer) ([]store.Account, error) {
	var (
		out  []store.Account
		list []account.Credentials
		of   []presence.Entity
	)
	for _, n := range batch {
		switch {
		case n.password != "":
			list = append(list, account.Credentials{User: presence.Entity{User: n.typed, Domain: n.user.Domain}, Password: n.password})
			of = append(of, n.user)
		case n.keys != nil:
			out = append(out, *n.keys)
		}
	}
	derived, err := account.DeriveAll(ctx, list)
	if err != nil {
		return nil, err
	}
	for i := range derived {
		derived[i].User = of[i]
	}
	return append(out, derived...), nil
}
