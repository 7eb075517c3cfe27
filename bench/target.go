package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/account"
	"pharos/store"
)

// Population is who the users of a server are: u0@localhost to u<Users-1>@localhost,
// with the passwords pw0, pw1, ... .
type Population struct {
	Users   int
	Group   int  // users are in groups of so many who have each other in their rosters, with subscription both; less than two: nobody has anybody
	Trusted bool // SIP requests need no digest
	Weighed bool // memory will be measured: nothing is to be touched in advance
	Asked   bool // who wants to subscribe waits for the user's word; else he is let in

	// Contacts, if set, says instead of Group whom user i has in his roster, with subscription both.
	// It is symmetric.
	Contacts func(i int) []int
}

// User is the local part of user i's address, and PasswordOf is his password.
func User(i int) string       { return fmt.Sprintf("u%d", i) }
func PasswordOf(i int) string { return fmt.Sprintf("pw%d", i) }

// Roster has the contacts of user i.
func (p Population) Roster(i int) []int {
	if p.Contacts != nil {
		return p.Contacts(i)
	}
	var all []int
	if p.Group > 1 {
		first := i / p.Group * p.Group
		for j := first; j < min(first+p.Group, p.Users); j++ {
			if j != i {
				all = append(all, j)
			}
		}
	}
	return all
}

// Target is a running server under load.
type Target interface {
	Addr(scheme string) string   // host:port of a listener: sip+udp, sip+tcp, xmpp (STARTTLS), xmpp+insecure (no TLS needed)
	CPU() (time.Duration, error) // of all its processes since their start, those included that have ended
	Memory() (int64, error)      // resident, in bytes, of all its processes; what they share counts once
	Stop() error                 // ends it and removes all that it has written
}

// Launch starts a server with nothing in its store but these users, and returns when it
// can be spoken to.
type Launch func(context.Context, Population) (Target, error)

// Pharos launches a server binary of ours.
func Pharos(bin string) Launch {
	return func(ctx context.Context, p Population) (Target, error) {
		s, err := Start(ctx, bin, p)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// store writes the population into a store that no server has open.
func (p Population) store(ctx context.Context, dir string) error {
	st, err := store.Open(ctx, dir)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	for first := 0; first < p.Users; first += 200 {
		g.Go(func() error {
			var list []store.Account
			for i := first; i < min(first+200, p.Users); i++ {
				a, err := derived(i)
				if err != nil {
					return err
				}
				list = append(list, a)
			}
			return st.PutAccounts(ctx, list)
		})
	}
	for i := range p.Users {
		contacts := p.Roster(i)
		if len(contacts) == 0 {
			continue
		}
		g.Go(func() error {
			items := make([]store.Item, len(contacts))
			for k, j := range contacts {
				items[k] = store.Item{Contact: entity(User(j)), Name: fmt.Sprintf("User %d", j), Groups: []string{"Team"}, To: true, From: true, Visible: true}
			}
			return st.PutItems(ctx, entity(User(i)), items)
		})
	}
	return errors.Join(g.Wait(), st.Close())
}

// derivations are the accounts so far, by user: keys are dear, and all populations have the same.
var derivations sync.Map

func derived(i int) (store.Account, error) {
	if a, ok := derivations.Load(i); ok {
		return a.(store.Account), nil
	}
	a, err := account.Derive(entity(User(i)), PasswordOf(i))
	if err == nil {
		derivations.Store(i, a)
	}
	return a, err
}
