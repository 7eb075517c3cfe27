package bench

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"pharos/account"
	"pharos/presence"
	"pharos/store"
)

// peoplePassword is everybody's.
const peoplePassword = "of all of them"

// people are users, with whom they know, and where they live in a service of several nodes.
type people struct {
	names    []string
	contacts map[string][]string // both ways: each has the other's word
	home     map[string]int      // index of the node; those without are placed by the service
}

func (p *people) add(home int, names ...string) {
	p.names = append(p.names, names...)
	if p.home == nil {
		p.home = map[string]int{}
	}
	for _, n := range names {
		p.home[n] = home
	}
}

// acquaint has two users in each other's rosters.
func (p *people) acquaint(a, b string) {
	if p.contacts == nil {
		p.contacts = map[string][]string{}
	}
	p.contacts[a] = append(p.contacts[a], b)
	p.contacts[b] = append(p.contacts[b], a)
}

func entity(name string) presence.Entity { return presence.Entity{User: name, Domain: "localhost"} }

// write puts them into a store.
func (p *people) write(ctx context.Context, st *store.Store) error {
	one, err := account.Derive(entity("one"), peoplePassword)
	if err != nil {
		return err
	}
	one.Logins = nil
	var g errgroup.Group
	g.SetLimit(8)
	for group := range slices.Chunk(p.names, 200) {
		g.Go(func() error {
			list := make([]store.Account, len(group))
			for i, name := range group {
				list[i] = one // SCRAM's keys do not know the name
				secret := []byte(name + ":localhost:" + peoplePassword)
				m, s, t := md5.Sum(secret), sha256.Sum256(secret), sha512.Sum512_256(secret)
				list[i].User, list[i].MD5, list[i].SHA256, list[i].SHA512256 = entity(name), hex.EncodeToString(m[:]), hex.EncodeToString(s[:]), hex.EncodeToString(t[:])
			}
			return st.PutAccounts(ctx, list)
		})
	}
	for name, contacts := range p.contacts {
		g.Go(func() error {
			items := make([]store.Item, len(contacts))
			for i, c := range contacts {
				items[i] = store.Item{Contact: entity(c), Name: c, To: true, From: true, Visible: true}
			}
			return st.PutItems(ctx, entity(name), items)
		})
	}
	return g.Wait()
}

// settle gives them the homes that they are to have.
func (p *people) settle(ctx context.Context, st *store.Store) error {
	for group := range slices.Chunk(p.names, 500) {
		wish := make(map[presence.Entity]string, len(group))
		for _, name := range group {
			if h, ok := p.home[name]; ok {
				wish[entity(name)] = nodeName(h)
			}
		}
		homes, err := st.Settle(ctx, wish)
		if err != nil {
			return err
		}
		for e, node := range wish {
			if homes[e].Node != node {
				return fmt.Errorf("bench: %s lives at %q, not at %s", e, homes[e].Node, node)
			}
		}
	}
	return nil
}
