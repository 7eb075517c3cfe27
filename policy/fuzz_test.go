package policy

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/store"
)

// FuzzParse: whatever is accepted decides, and can be spliced and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(presRulesExample))
	f.Add([]byte(skeleton))
	f.Add(Generate(nil, []string{"eve@example.net", "bad.example"}))
	f.Add([]byte(ruleset(`<rule id="a"><conditions><identity><many domain="example.com"><except id="sip:bob@example.com"/></many></identity><sphere value="a b"/>
		<validity><from>2001-01-01T00:00:00Z</from><until>2002-01-01T00:00:00Z</until></validity><ocp:external-list><ocp:entry anc="x"/></ocp:external-list>
		</conditions><actions><pr:sub-handling>confirm</pr:sub-handling></actions><transformations><op:provide-willingness>1</op:provide-willingness></transformations></rule>`)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		root, err := markup.Parse(doc, markup.File)
		if err != nil {
			return
		}
		rs, err := Parse(root, doc, func(string) []presence.Entity { return []presence.Entity{bob} })
		if err != nil {
			return
		}
		p := CompileRules(1, presence.Confirm, rs, nil)
		for _, w := range []presence.Entity{bob, entity("x", "bad.example"), entity("anonymous", "anonymous.invalid")} {
			d := presence.Decide(p, alice, w, presence.Circumstances{Now: time.Unix(1e9, 0), Sphere: "work"})
			if p.Transform(d.Class.Shown).Name() != d.Class.Shown {
				t.Fatalf("%q is not its own name", d.Class.Shown)
			}
		}
		for n, s := range []struct {
			c                 Change
			approved, blocked bool
		}{
			{Change{Approve: []presence.Entity{bob}, Unblock: []string{"eve@example.net", "bad.example"}}, true, false},
			{Change{Block: []string{"eve@example.net", "bad.example"}}, true, true},
			{Change{Withdraw: []presence.Entity{bob}}, false, true},
			{Change{Unblock: []string{"eve@example.net", "bad.example"}}, false, false},
		} {
			c := s.c
			out, err := Splice(doc, c)
			if err != nil {
				t.Fatalf("change %d: %v", n, err)
			}
			root, err := markup.Parse(out, markup.File)
			if err != nil {
				return // no longer within the bounds
			}
			rs, err := Parse(root, out, nil)
			if err != nil {
				if len(out) > len(doc) {
					return // the same
				}
				t.Fatalf("change %d: %v\n%s", n, err, out)
			}
			if slices.Contains(rs.Approved, bob) != s.approved || slices.Contains(rs.Blocked, "bad.example") != s.blocked {
				t.Fatalf("change %d: %v %v\n%s", n, rs.Approved, rs.Blocked, out)
			}
			if again, err := Splice(out, c); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("change %d again: %v\n%s\nafter\n%s", n, err, again, out)
			}
			doc = out
		}
	})
}

// FuzzAnchor: no URI of an external list brings down the server.
func FuzzAnchor(f *testing.F) {
	f.Add("http://x/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B@name=%22a%22%5D?xmlns(a=b)")
	f.Add("/resource-lists/users/alice@example.com/index")
	root, err := markup.Parse([]byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a"><entry uri="sip:bob@example.com"/></list></resource-lists>`), markup.File)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		a := anchors{user: alice, docs: map[string]*markup.Element{"index": root}, read: func(string) ([]byte, error) { return nil, store.ErrNotFound }}
		for _, m := range a.members(uri) {
			if m != bob {
				t.Fatalf("%q brings %s", uri, m)
			}
		}
	})
}
