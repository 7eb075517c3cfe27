package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"pharos/account"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
	"pharos/xmpp"
)

// Admin manages users, on a running server or on the store of a stopped one.
type Admin struct {
	store    *store.Store
	accounts *account.Accounts // nil when stopped
	docs     *xdm.Documents
	domains  []string
	removed  func(context.Context, presence.Entity) error // tells the running parts; nil when stopped
	policy   func(presence.Entity)                        // the same of who a user lets in
	inUse    bool                                         // by servers that would not hear of changes
	told     func(presence.Entity)                        // tells other nodes of a changed account; nil: there are none
}

// OpenAdmin opens the store of a stopped server: its data folder or, with a URL, PostgreSQL. Where servers
// run on that database it is for reading only: what is changed beside them they would not hear of.
func OpenAdmin(data, url string, domains []string) (*Admin, error) {
	a := &Admin{domains: domains}
	var err error
	if url == "" {
		a.store, err = store.Open(context.Background(), data)
	} else if a.inUse, err = store.InUse(context.Background(), url); err == nil {
		a.store, err = store.OpenPostgres(context.Background(), namedAdmin(url), data)
	}
	if err != nil {
		return nil, err
	}
	a.docs = xdm.New(xdm.Config{Store: a.store})
	return a, nil
}

// namedAdmin has the database show these connections under a name that is not a server's.
func namedAdmin(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	q := u.Query()
	q.Set("application_name", "pharos command")
	u.RawQuery = q.Encode()
	return u.String()
}

// ErrInUse: servers run on the database, and none of them was asked.
var ErrInUse = errors.New("servers run on this database and would not hear of the change: run this where one of them runs, with --data and its data folder")

// change is ErrInUse where nothing may be changed.
func (a *Admin) change() error {
	if a.inUse {
		return ErrInUse
	}
	return nil
}

// Close closes what OpenAdmin opened.
func (a *Admin) Close() error { return a.store.Close() }

// ErrExists: the user has an account already.
var ErrExists = errors.New("there is an account with this address already")

// Address reads user@domain (a leading "sip:" or "xmpp:" is tolerated) and
// checks that the domain is ours.
func (a *Admin) Address(s string) (presence.Entity, error) {
	s = withoutScheme(s)
	j, err := xmpp.ParseJID(s)
	switch {
	case err != nil:
		return presence.Entity{}, fmt.Errorf("%q is not an address: %w", s, err)
	case j.Local == "" || j.Resource != "":
		return presence.Entity{}, fmt.Errorf("%q is not of the form user@domain", s)
	case !slices.Contains(a.domains, j.Domain):
		return presence.Entity{}, fmt.Errorf("%q: this server answers for %s (key 'domains')", s, strings.Join(a.domains, ", "))
	}
	return presence.Entity{User: j.Local, Domain: j.Domain}, nil
}

// Add makes an account; ErrExists when there is one.
func (a *Admin) Add(ctx context.Context, addr, password string) error {
	u, err := a.Address(addr)
	if err != nil {
		return err
	}
	if _, err := a.store.Account(ctx, u); err == nil {
		return fmt.Errorf("%s: %w", u, ErrExists)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return a.put(ctx, u, typed(addr), password)
}

// Check tells whether the account exists and has this password.
func (a *Admin) Check(ctx context.Context, addr, password string) bool {
	u, err := a.Address(addr)
	if err != nil {
		return false
	}
	have, err := a.store.Account(ctx, u)
	if err != nil {
		return false
	}
	want, err := account.Derive(u, password)
	return err == nil && want.SHA256 == have.SHA256
}

// Password sets a new password; store.ErrNotFound when there is no account.
func (a *Admin) Password(ctx context.Context, addr, password string) error {
	u, err := a.Address(addr)
	if err != nil {
		return err
	}
	if _, err := a.store.Account(ctx, u); err != nil {
		return fmt.Errorf("%s: %w", u, noAccount(err))
	}
	return a.put(ctx, u, typed(addr), password)
}

func noAccount(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errors.New("there is no account with this address")
	}
	return err
}

// typed is the user part as it was written. The account is that of the folded
// name, but digest is over what a phone's owner types.
func typed(addr string) string {
	user, _, _ := strings.Cut(withoutScheme(addr), "@")
	return user
}

func withoutScheme(s string) string {
	for _, p := range []string{"sip:", "sips:", "xmpp:", "pres:"} {
		s = strings.TrimPrefix(s, p)
	}
	return s
}

func (a *Admin) put(ctx context.Context, u presence.Entity, typed, password string) error {
	if err := a.change(); err != nil {
		return err
	}
	acct, err := account.Derive(presence.Entity{User: typed, Domain: u.Domain}, password)
	if err != nil {
		return err
	}
	acct.User = u
	if err := a.store.PutAccounts(ctx, []store.Account{acct}); err != nil {
		return err
	}
	a.changed(u)
	return nil
}

// changed drops what is known of an account, here and on other nodes.
func (a *Admin) changed(u presence.Entity) {
	if a.accounts != nil {
		a.accounts.Changed(u)
	}
	if a.told != nil {
		a.told(u)
	}
}

// Remove deletes an account and all that belongs to it.
func (a *Admin) Remove(ctx context.Context, addr string) error {
	u, err := a.Address(addr)
	if err != nil {
		return err
	}
	if _, err := a.store.Account(ctx, u); err != nil {
		return fmt.Errorf("%s: %w", u, noAccount(err))
	}
	if err := a.change(); err != nil {
		return err
	}
	if err := a.store.RemoveAccount(ctx, u); err != nil {
		return err
	}
	a.changed(u)
	if a.removed != nil {
		return a.removed(ctx, u)
	}
	return nil
}

// User is one row of List.
type User struct {
	Address string `json:"address"`
	Created string `json:"created"` // RFC 3339
}

// List calls fn for every user, in order of address.
func (a *Admin) List(ctx context.Context, fn func(User) error) error {
	const page = 500
	var after presence.Entity
	for {
		rows, err := a.store.Accounts(ctx, after, page)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := fn(User{Address: r.User.String(), Created: r.Created.UTC().Format("2006-01-02T15:04:05Z")}); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		after = rows[len(rows)-1].User
	}
}
