package policy

import (
	"testing"

	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
)

func entity(user, domain string) presence.Entity { return presence.Entity{User: user, Domain: domain} }

var (
	alice = entity("alice", "example.com")
	bob   = entity("bob", "example.com")
	carol = entity("carol", "example.org")
	dave  = entity("dave", "sub.example.org")
	eve   = entity("eve", "example.net")
)

// decide says how alice handles a watcher, and by which rule.
func decide(p *presence.Policy, w presence.Entity) (presence.Handling, string) {
	d := presence.Decide(p, alice, w, presence.Circumstances{})
	return d.Class.Handling, d.Rule
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
	s := storetest.Open(t)
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

// put writes a document as xdm does, with the version counted up.
func put(t *testing.T, s *store.Store, path [2]string, body string) {
	t.Helper()
	err := s.Transact(t.Context(), func(tx *store.Tx) error {
		_, err := tx.PutDocument(alice, path[0], path[1], []byte(body))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The document counts where there is one, with the lists that it refers to.
func TestLoaderOfDocuments(t *testing.T) {
	ctx := t.Context()
	s := storetest.Open(t)
	l := &Loader{Store: s, Default: presence.Confirm}
	load := func() *presence.Policy {
		t.Helper()
		p, err := l.Policy(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, i := range []store.Item{{Contact: bob, From: true, Visible: true}, {Contact: dave, PendingIn: true}} {
		if _, err := s.UpdateItem(ctx, alice, i.Contact, func(to *store.Item) bool { *to = i; return true }); err != nil {
			t.Fatal(err)
		}
	}
	before := load().Revision
	rules, lists := [2]string{"pres-rules", "index"}, [2]string{"resource-lists", "index"}
	put(t, s, rules, ruleset(`
<rule id="friends"><conditions><ocp:external-list>
  <ocp:entry anc="http://xcap.example.com/xcap-root/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B@name=%22friends%22%5D"/>
</ocp:external-list></conditions><actions><pr:sub-handling>allow</pr:sub-handling></actions></rule>
<rule id="others"><conditions><ocp:other-identity/></conditions><actions><pr:sub-handling>polite-block</pr:sub-handling></actions></rule>`))
	p := load()
	if p.Revision <= before {
		t.Errorf("revision %d after %d", p.Revision, before)
	}
	check := func(what string, w presence.Entity, want presence.Handling, rule string) {
		t.Helper()
		if h, by := decide(p, w); h != want || by != rule {
			t.Errorf("%s: %s: %v by %s, want %v by %s", what, w, h, by, want, rule)
		}
	}
	check("the row no longer counts", bob, presence.PoliteBlock, "others")
	check("a request does not outweigh a rule", dave, presence.PoliteBlock, "others")
	if len(p.Waiting) != 1 || p.Waiting[0].Watcher != dave || !p.Waiting[0].Waiting || p.Waiting[0].State != presence.Pending {
		t.Errorf("waiting: %+v", p.Waiting)
	}
	put(t, s, lists, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
<list name="friends"><entry uri="sip:bob@example.com"/><list><entry uri="xmpp:carol@example.org"/></list></list>
<list name="foes"><entry uri="sip:eve@example.net"/></list></resource-lists>`)
	p = load()
	check("in the list", bob, presence.Allow, "friends")
	check("in a list in the list", carol, presence.Allow, "friends")
	check("in another list", eve, presence.PoliteBlock, "others")
	// What cannot be read opens no door.
	put(t, s, rules, `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule/></ruleset>`)
	p = load()
	check("damaged", bob, presence.Block, presence.RuleUnreadable)
	check("damaged", eve, presence.Block, presence.RuleUnreadable)
	check("damaged", alice, presence.Allow, presence.RuleSelf)
	if want := "The user's rules (pres-rules/index) cannot be read, so nobody is let in: policy: line 1: a rule without id"; p.Unreadable != want {
		t.Errorf("%q", p.Unreadable)
	}
	put(t, s, rules, `no document`)
	p = load()
	check("no document", bob, presence.Block, presence.RuleUnreadable)
}
