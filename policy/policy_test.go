package policy

import (
	"testing"

	"pharos/presence"
	"pharos/store"
)

func entity(user, domain string) presence.Entity { return presence.Entity{User: user, Domain: domain} }

var (
	alice = entity("alice", "example.com")
	bob   = entity("bob", "example.com")
	carol = entity("carol", "example.org")
	dave  = entity("dave", "sub.example.org")
	eve   = entity("eve", "example.net")
)

// decide looks a watcher up as the domain's Decide does: by name, by domain,
// default.
func decide(p *presence.Policy, w presence.Entity) (presence.Handling, string) {
	if g, ok := p.Watchers[w]; ok {
		return g.Handling, g.Rule
	}
	if g, ok := p.Domains[w.Domain]; ok {
		return g.Handling, g.Rule
	}
	return p.Default, "default"
}

func TestCompile(t *testing.T) {
	items := []store.Item{
		{Contact: bob, From: true, To: true, Visible: true},
		{Contact: carol, PendingIn: true},
		{Contact: dave, Approved: true},
		{Contact: entity("to", "example.com"), To: true, Visible: true},
		{Contact: entity("asked", "example.com"), Ask: true, Visible: true},
		{Contact: entity("gone", "example.com"), Removed: true},
		{Contact: entity("both", "example.com"), From: true, Approved: true},
		{Contact: entity("friend", "bad.example"), From: true},
		{Contact: eve, From: true},
	}
	blocks := []string{"eve@example.net", "bad.example", "mallory@example.com", "bob@example.com/phone", "good.example/x", ""}
	p := Compile(42, presence.Confirm, items, blocks)
	if p.Revision != 42 {
		t.Errorf("revision %d", p.Revision)
	}
	for _, c := range []struct {
		watcher  presence.Entity
		handling presence.Handling
		rule     string
	}{
		{bob, presence.Allow, "roster:bob@example.com"}, // one blocked session is the edge's matter
		{carol, presence.Confirm, "roster:carol@example.org"},
		{dave, presence.Allow, "roster:dave@sub.example.org"},
		{entity("to", "example.com"), presence.Confirm, "default"},
		{entity("asked", "example.com"), presence.Confirm, "default"},
		{entity("gone", "example.com"), presence.Confirm, "default"},
		{entity("both", "example.com"), presence.Allow, "roster:both@example.com"},
		{entity("friend", "bad.example"), presence.Block, "block:bad.example"}, // the domain's block wins
		{entity("stranger", "bad.example"), presence.Block, "block:bad.example"},
		{entity("x", "sub.bad.example"), presence.Confirm, "default"},
		{eve, presence.Block, "block:eve@example.net"}, // the block wins
		{entity("mallory", "example.com"), presence.Block, "block:mallory@example.com"},
		{entity("x", "good.example"), presence.Confirm, "default"},
	} {
		h, rule := decide(p, c.watcher)
		if h != c.handling || rule != c.rule {
			t.Errorf("%s: %v by %q, want %v by %q", c.watcher, h, rule, c.handling, c.rule)
		}
	}
	for w, g := range p.Watchers {
		if g.Rule == "" || g.Reason == "" {
			t.Errorf("%s: no rule or no reason: %+v", w, g)
		}
	}
}

func TestCompileNothing(t *testing.T) {
	for _, def := range []presence.Handling{presence.Block, presence.Confirm, presence.Allow} {
		p := Compile(0, def, nil, nil)
		if h, rule := decide(p, bob); h != def || rule != "default" {
			t.Errorf("nothing said: %v by %q, want %v", h, rule, def)
		}
	}
}

// Each change that the store acknowledges is in the next policy, under a higher
// revision.
func TestLoader(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &Loader{Store: s, Default: presence.Confirm}
	last := uint64(0)
	check := func(what string, watcher presence.Entity, want presence.Handling, rises bool) {
		t.Helper()
		p, err := l.Policy(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		if h, rule := decide(p, watcher); h != want {
			t.Errorf("%s: %v by %q, want %v", what, h, rule, want)
		}
		if rises != (p.Revision > last) {
			t.Errorf("%s: revision %d after %d", what, p.Revision, last)
		}
		last = p.Revision
	}
	item := func(f func(*store.Item)) {
		t.Helper()
		if _, err := s.UpdateItem(ctx, alice, bob, func(i *store.Item) bool { f(i); return true }); err != nil {
			t.Fatal(err)
		}
	}
	check("a stranger", bob, presence.Confirm, false)
	item(func(i *store.Item) { i.From = true })
	check("approved", bob, presence.Allow, true)
	if err := s.SetBlocks(ctx, alice, []string{"bob@example.com"}, nil, false); err != nil {
		t.Fatal(err)
	}
	check("blocked", bob, presence.Block, true)
	if err := s.SetBlocks(ctx, alice, nil, nil, true); err != nil {
		t.Fatal(err)
	}
	check("unblocked", bob, presence.Allow, true)
	item(func(i *store.Item) { *i = store.Item{Removed: true} })
	check("removed", bob, presence.Confirm, true)
}

func BenchmarkCompile(b *testing.B) {
	items := make([]store.Item, 20)
	for i := range items {
		items[i] = store.Item{Contact: entity(string(rune('a'+i)), "example.com"), From: true}
	}
	b.ReportAllocs()
	for b.Loop() {
		Compile(1, presence.Confirm, items, nil)
	}
}
