package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/presence"
	"pharos/store"
)

func spliced(t testing.TB, doc string, c Change) string {
	t.Helper()
	out, err := Splice([]byte(doc), c)
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return string(out)
}

func TestSplice(t *testing.T) {
	who := func(es ...presence.Entity) []presence.Entity { return es }
	const own = `<?xml version="1.0"?>
<!-- mine -->
<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy" xmlns:p="urn:ietf:params:xml:ns:pres-rules">
	<cp:rule id="friends"><!-- ! --><cp:conditions><cp:identity><cp:one id="sip:carol@example.org"/></cp:identity></cp:conditions>
		<cp:actions><p:sub-handling>allow</p:sub-handling></cp:actions></cp:rule>
</cp:ruleset>
<?end?>
`
	const approved = `
	<cp:rule id='xmpp-approved'>
	  <cp:conditions>
	    <cp:identity>
	      <cp:one id='sip:bob@example.com'/>
	    </cp:identity>
	  </cp:conditions>
	  <cp:actions>
	    <p:sub-handling>allow</p:sub-handling>
	  </cp:actions>
	  <cp:transformations>
	    <p:provide-services>
	      <p:all-services/>
	    </p:provide-services>
	    <p:provide-persons>
	      <p:all-persons/>
	    </p:provide-persons>
	    <p:provide-devices>
	      <p:all-devices/>
	    </p:provide-devices>
	    <p:provide-all-attributes/>
	  </cp:transformations>
	</cp:rule>`
	with := func(rule string) string {
		return strings.Replace(own, "\n</cp:ruleset>", rule+"\n</cp:ruleset>", 1)
	}
	one := with(approved)
	two := strings.Replace(one, "<cp:one id='sip:bob@example.com'/>", "<cp:one id='sip:bob@example.com'/>\n\t      <cp:one id='sip:eve@example.net'/>", 1)
	rule := func(id, identity, handling string) string {
		return "\n\t<cp:rule id='" + id + "'>\n\t  <cp:conditions>\n\t    <cp:identity>\n\t      " + identity +
			"\n\t    </cp:identity>\n\t  </cp:conditions>\n\t  <cp:actions>\n\t    <p:sub-handling>" + handling + "</p:sub-handling>\n\t  </cp:actions>\n\t</cp:rule>"
	}
	blocked := with(rule("xmpp-blocked", "<cp:one id='sip:eve@example.net'/>\n\t      <cp:many domain='bad.example'/>", "block"))
	for _, c := range []struct {
		name, doc string
		c         Change
		want      string
	}{
		{"nothing", own, Change{}, own},
		{"approve", own, Change{Approve: who(bob)}, one},
		{"approve again", one, Change{Approve: who(bob, bob)}, one},
		{"approve one more", one, Change{Approve: who(eve)}, two},
		{"withdraw one", two, Change{Withdraw: who(eve)}, one},
		{"withdraw the other", two, Change{Withdraw: who(bob)}, strings.Replace(one, "bob@example.com", "eve@example.net", 1)},
		{"withdraw the last", one, Change{Withdraw: who(bob)}, own},
		{"withdraw who is not there", own, Change{Withdraw: who(bob)}, own},
		{"one for the other", one, Change{Withdraw: who(bob), Approve: who(eve)}, strings.Replace(one, "bob@example.com", "eve@example.net", 1)},
		{"both at once", own, Change{Withdraw: who(bob), Approve: who(bob)}, own},
		{"block", own, Change{Block: []string{"eve@example.net", "bad.example", "bob@example.com/phone", ""}}, blocked},
		{"unblock", blocked, Change{Unblock: []string{"bad.example", "eve@example.net", "x@example.com"}}, own},
		{"unblock the last but a telephone", with(rule("xmpp-blocked", "<cp:one id='sip:eve@example.net'/>\n\t      <cp:one id='tel:1'/>", "block")),
			Change{Unblock: []string{"eve@example.net"}}, with(rule("xmpp-blocked", "<cp:one id='tel:1'/>", "block"))},
		{"block and unblock", own, Change{Block: []string{"eve@example.net", "bad.example"}, Unblock: []string{"bad.example"}}, blocked},
		{"withdraw whom another rule allows", own, Change{Withdraw: who(carol)}, with(rule("xmpp-cancelled", "<cp:one id='sip:carol@example.org'/>", "confirm"))},
		{"approve who was cancelled", with(rule("xmpp-cancelled", "<cp:one id='sip:carol@example.org'/>", "confirm")), Change{Approve: who(carol)},
			strings.Replace(one, "bob@example.com", "carol@example.org", 1)},
		{"by another scheme", strings.ReplaceAll(one, "'sip:bob", `"xmpp:bob`), Change{}, strings.ReplaceAll(one, "'sip:bob", `"xmpp:bob`)},
	} {
		if c.name == "by another scheme" {
			c.doc = strings.Replace(one, "sip:bob", "xmpp:BOB", 1)
			c.c, c.want = Change{Approve: who(bob)}, c.doc
		}
		if got := spliced(t, c.doc, c.c); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// Other shapes that a document may have.
func TestSpliceShapes(t *testing.T) {
	c := Change{Approve: []presence.Entity{bob}, Block: []string{"bad.example"}}
	for in, want := range map[string]string{
		`<ruleset xmlns='urn:ietf:params:xml:ns:common-policy'/>`: `<ruleset xmlns='urn:ietf:params:xml:ns:common-policy'>` +
			`<rule id='xmpp-approved'><conditions><identity><one id='sip:bob@example.com'/></identity></conditions><actions>` +
			`<sub-handling xmlns='urn:ietf:params:xml:ns:pres-rules'>allow</sub-handling></actions><transformations>` +
			`<provide-services xmlns='urn:ietf:params:xml:ns:pres-rules'><all-services xmlns='urn:ietf:params:xml:ns:pres-rules'/></provide-services>` +
			`<provide-persons xmlns='urn:ietf:params:xml:ns:pres-rules'><all-persons xmlns='urn:ietf:params:xml:ns:pres-rules'/></provide-persons>` +
			`<provide-devices xmlns='urn:ietf:params:xml:ns:pres-rules'><all-devices xmlns='urn:ietf:params:xml:ns:pres-rules'/></provide-devices>` +
			`<provide-all-attributes xmlns='urn:ietf:params:xml:ns:pres-rules'/></transformations></rule>` +
			`<rule id='xmpp-blocked'><conditions><identity><many domain='bad.example'/></identity></conditions><actions>` +
			`<sub-handling xmlns='urn:ietf:params:xml:ns:pres-rules'>block</sub-handling></actions></rule></ruleset>`,
		`<r:ruleset xmlns:r='urn:ietf:params:xml:ns:common-policy' xmlns='urn:ietf:params:xml:ns:pres-rules'>
</r:ruleset>`: "",
		"<ruleset xmlns='urn:ietf:params:xml:ns:common-policy'>\r\n\t<rule id='a'/>\r\n</ruleset>": "",
	} {
		out := spliced(t, in, c)
		if want != "" && out != want {
			t.Errorf("%s\nwant\n%s", out, want)
		}
		rs := parsed(t, out, nil)
		if !slices.Equal(rs.Approved, c.Approve) || !slices.Equal(rs.Blocked, c.Block) {
			t.Errorf("%v %v in\n%s", rs.Approved, rs.Blocked, out)
		}
		if strings.Contains(in, "\r\n") && strings.Count(out, "\n") != strings.Count(out, "\r\n") {
			t.Errorf("line ends: %q", out)
		}
		if back := spliced(t, out, Change{Withdraw: c.Approve, Unblock: c.Block}); strings.Contains(in, "</") && back != in {
			t.Errorf("taken back:\n%s\nwant\n%s", back, in)
		}
	}
}

// What an XCAP client makes of a reserved rule is honoured, and not written over.
func TestEditedReservedRules(t *testing.T) {
	const whole = `<transformations><pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>
		<pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-all-attributes/></transformations>`
	reserved := func(id, conditions, handling, rest string) string {
		return `<rule id="` + id + `"><conditions>` + conditions + `</conditions><actions><pr:sub-handling>` + handling + `</pr:sub-handling></actions>` + rest + `</rule>`
	}
	const isBob = `<identity><one id="sip:bob@example.com"/></identity>`
	for _, c := range []struct {
		name, rules string
		want        string // what bob is
		left        int    // rules that are not reserved
		decided     string
	}{
		{"approved", reserved(Approved, isBob, "allow", whole), "approved", 0, "allow by xmpp-approved"},
		{"a second", reserved(Approved+"-2", isBob, "allow", whole), "approved", 0, "allow by xmpp-approved-2"},
		{"another id", reserved(Approved+"-x", isBob, "allow", whole), "", 1, "allow by xmpp-approved-x"},
		{"approved to see less", reserved(Approved, isBob, "allow", ""), "", 1, "allow by xmpp-approved"},
		{"approved at work", reserved(Approved, isBob+`<sphere value="work"/>`, "allow", whole), "", 1, "confirm by default"},
		{"approved to look away", reserved(Approved, isBob, "polite-block", whole), "", 1, "polite-block by xmpp-approved"},
		{"approved domain", reserved(Approved, `<identity><many domain="example.com"/></identity>`, "allow", whole), "", 1, "allow by xmpp-approved"},
		{"approved list", reserved(Approved, `<identity><one id="sip:bob@example.com"/><ocp:external-list/></identity>`, "allow", whole), "", 1, "allow by xmpp-approved"},
		{"blocked", reserved(Blocked, isBob, "block", ""), "blocked", 0, "block by xmpp-blocked"},
		{"blocked at work", reserved(Blocked, isBob+`<sphere value="work"/><x xmlns="urn:x"/>`, "block", ""), "blocked", 0, "block by xmpp-blocked"},
		{"blocked domain but for him", reserved(Blocked, `<identity><many domain="example.com"><except id="sip:bob@example.com"/></many></identity>`, "block", ""), "example.com blocked", 0, "block by xmpp-blocked"},
		{"blocked politely", reserved(Blocked, isBob, "polite-block", ""), "", 1, "polite-block by xmpp-blocked"},
		{"everybody blocked", reserved(Blocked, `<identity><many/></identity>`, "block", ""), "", 1, "block by xmpp-blocked"},
		{"cancelled", reserved(Cancelled, isBob, "confirm", ""), "cancelled", 0, "confirm by xmpp-cancelled"},
		{"cancelled domain", reserved(Cancelled, `<identity><many domain="example.com"/></identity>`, "confirm", ""), "", 1, "confirm by xmpp-cancelled"},
	} {
		doc := ruleset(c.rules)
		rs := parsed(t, doc, nil)
		var is string
		switch {
		case slices.Contains(rs.Approved, bob):
			is = "approved"
		case slices.Contains(rs.Blocked, "bob@example.com"):
			is = "blocked"
		case slices.Contains(rs.Blocked, "example.com"):
			is = "example.com blocked"
		case slices.Contains(rs.Cancelled, bob):
			is = "cancelled"
		}
		if is != c.want || len(rs.Rules) != c.left {
			t.Errorf("%s: bob is %q, %d rules left; want %q, %d", c.name, is, len(rs.Rules), c.want, c.left)
		}
		d := presence.Decide(CompileRules(1, presence.Confirm, rs, nil), alice, bob, presence.Circumstances{})
		if got := fmt.Sprintf("%s by %s", d.Class.Handling, d.Rule); got != c.decided {
			t.Errorf("%s: %s, want %s", c.name, got, c.decided)
		}
		// XMPP goes on beside it.
		out := spliced(t, doc, Change{Approve: []presence.Entity{dave}, Block: []string{"eve@example.net"}})
		rs = parsed(t, out, nil)
		if !slices.Contains(rs.Approved, dave) || !slices.Contains(rs.Blocked, "eve@example.net") || len(rs.Rules) != c.left {
			t.Errorf("%s: %v, %v, %d rules left", c.name, rs.Approved, rs.Blocked, len(rs.Rules))
		}
		if c.left > 0 && !strings.Contains(out, c.rules) {
			t.Errorf("%s: the client's rule was changed:\n%s", c.name, out)
		}
	}
}

// A contact is cancelled where another rule would go on to allow it.
func TestWithdraw(t *testing.T) {
	const allow, block = `<actions><pr:sub-handling>allow</pr:sub-handling></actions>`, `<actions><pr:sub-handling>block</pr:sub-handling></actions>`
	const isBob = `<identity><one id="sip:bob@example.com"/></identity>`
	const work, past = `<sphere value="work"/>`, `<validity><from>2001-01-01T00:00:00Z</from><until>2002-01-01T00:00:00Z</until></validity>`
	const list, others = `<ocp:external-list><ocp:entry anc="x"/></ocp:external-list>`, `<ocp:other-identity/>`
	rule := func(id, conditions, rest string) string {
		return `<rule id="` + id + `"><conditions>` + conditions + `</conditions>` + rest + `</rule>`
	}
	for _, c := range []struct {
		name, rules string
		cancelled   bool
	}{
		{"no rule", "\n", false},
		{"a rule", rule("a", isBob, allow), true},
		{"a rule for all", rule("a", ``, allow), true},
		{"a rule for others", rule("a", `<identity><one id="sip:eve@example.net"/></identity>`, allow), false},
		{"a block", rule("a", isBob, block), false},
		{"a rule and a block", rule("a", isBob, block) + rule("b", isBob, allow), true},
		{"at some time", rule("a", isBob+work+past, allow), true},
		{"an unknown condition", rule("a", isBob+`<x xmlns="urn:x"/>`, allow), false},
		{"a list", rule("a", list, allow), true},
		{"a list and a block by name", rule("a", list, allow) + rule("b", isBob, block), false},
		{"a list and a block by name at times", rule("a", list, allow) + rule("b", isBob+work, block), true},
		{"others", rule("a", others, allow), true},
		{"others and a block by list", rule("a", others, allow) + rule("b", list, block), true},
		{"others and a block by name", rule("a", others, allow) + rule("b", isBob, block), false},
	} {
		doc := spliced(t, ruleset(c.rules), Change{Approve: []presence.Entity{bob}})
		out := spliced(t, doc, Change{Withdraw: []presence.Entity{bob}})
		rs := parsed(t, out, nil)
		if len(rs.Approved) != 0 || slices.Contains(rs.Cancelled, bob) != c.cancelled {
			t.Errorf("%s: approved %v, cancelled %v", c.name, rs.Approved, rs.Cancelled)
		}
		if !c.cancelled && out != ruleset(c.rules) {
			t.Errorf("%s: not as it was:\n%s", c.name, out)
		}
		if again := spliced(t, out, Change{Withdraw: []presence.Entity{bob}}); again != out {
			t.Errorf("%s: again:\n%s", c.name, again)
		}
	}
}

// What no identity can name is refused rather than forgotten.
func TestSpliceRefuses(t *testing.T) {
	for _, c := range []Change{{Approve: []presence.Entity{entity("a", "")}}, {Block: []string{"@"}}, {Block: []string{"a b@example.com"}}, {Block: []string{"a b"}}} {
		if out, err := Splice([]byte(skeleton), c); err == nil {
			t.Errorf("%v:\n%s", c, out)
		}
	}
	if _, err := Splice([]byte("<x"), Change{}); err == nil {
		t.Error("no document")
	}
}

func TestGenerate(t *testing.T) {
	items := []store.Item{
		{Contact: bob, From: true, To: true, Visible: true}, {Contact: carol, PendingIn: true}, {Contact: dave, Approved: true},
		{Contact: entity("gone", "example.com"), Removed: true}, {Contact: entity("friend", "bad.example"), From: true},
		{Contact: entity("", "gateway.example"), From: true}, {Contact: entity("o#neil", "example.com"), From: true}, {Contact: eve, From: true, PendingIn: true},
	}
	blocks := []string{"eve@example.net", "bad.example", "bob@example.com/phone", "mallory@example.com"}
	doc := Generate(items, blocks)
	for _, def := range []presence.Handling{presence.Block, presence.Confirm, presence.Allow} {
		before, after := Compile(7, def, items, blocks), CompileRules(7, def, parsed(t, string(doc), nil), items)
		for _, w := range []presence.Entity{bob, carol, dave, eve, entity("gone", "example.com"), entity("friend", "bad.example"), entity("", "bad.example"),
			entity("", "gateway.example"), entity("x", "gateway.example"), entity("o#neil", "example.com"), entity("mallory", "example.com"), entity("x", "y.example")} {
			b, _ := decide(before, w)
			if a, rule := decide(after, w); a != b {
				t.Errorf("%s: %v by %s, was %v", w, a, rule, b)
			}
		}
		if len(after.Waiting) != 2 || fmt.Sprint(after.Waiting) != fmt.Sprint(before.Waiting) {
			t.Errorf("waiting: %v, was %v", after.Waiting, before.Waiting)
		}
	}
	if empty := Generate(nil, nil); !bytes.Equal(empty, []byte(skeleton)) {
		t.Errorf("of nothing: %s", empty)
	}
	d := presence.Decide(CompileRules(7, presence.Confirm, parsed(t, string(doc), nil), nil), alice, bob, presence.Circumstances{})
	if want := `Rule "xmpp-approved" (pres-rules/index line 3) allows it: the user has approved this watcher.`; d.Reason != want {
		t.Errorf("reason %s", d.Reason)
	}
}

// Any sequence of changes leaves foreign bytes in place, and the reserved rules say
// what was to be true.
func TestSpliceProperty(t *testing.T) {
	foreign := []string{
		`<!-- a comment -->`, `<?an instruction?>`,
		`<rule id="friends"><conditions><identity><one id="sip:bob@example.com"/></identity></conditions></rule>`,
		"<rule id=\"all\">\n\t<actions><pr:sub-handling>allow</pr:sub-handling></actions>\n</rule>",
		`<rule id="xmpp-approved"><actions><pr:sub-handling>polite-block</pr:sub-handling></actions></rule>`,
		`<rule id='xmpp-blocked-2'><x:conditions xmlns:x="urn:ietf:params:xml:ns:common-policy"><x:identity><x:one id="tel:1"/></x:identity></x:conditions><actions><pr:sub-handling>confirm</pr:sub-handling></actions></rule>`,
		`<x xmlns="urn:x"><![CDATA[<rule>]]></x>`,
	}
	some := []presence.Entity{bob, carol, dave, eve, entity("o#neil", "example.com"), entity("", "gateway.example"), entity("ünï", "example.com")}
	addresses := []string{"bob@example.com", "eve@example.net", "bad.example", "o#neil@example.com", "x@y.example/phone"}
	rapid.Check(t, func(t *rapid.T) {
		kept := rapid.SliceOfNDistinct(rapid.SampledFrom(foreign), 0, len(foreign), rapid.ID).Draw(t, "foreign")
		gap := rapid.SampledFrom([]string{"", "\n", "\n  ", "\r\n\t"}).Draw(t, "gap")
		doc := []byte(`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">` + gap + strings.Join(kept, gap) + gap + `</ruleset>`)
		everybody := slices.ContainsFunc(kept, func(s string) bool { return strings.Contains(s, ">allow<") })
		approved, blocked, cancelled := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			pick := func(of []presence.Entity, what string) []presence.Entity {
				return rapid.SliceOfN(rapid.SampledFrom(of), 0, 3).Draw(t, what)
			}
			c := Change{Approve: pick(some, "approve"), Withdraw: pick(some, "withdraw"),
				Block: rapid.SliceOfN(rapid.SampledFrom(addresses), 0, 2).Draw(t, "block"), Unblock: rapid.SliceOfN(rapid.SampledFrom(addresses), 0, 2).Draw(t, "unblock")}
			for _, w := range c.Approve {
				approved[w.String()] = true
				if !slices.Contains(c.Withdraw, w) {
					delete(cancelled, w.String())
				}
			}
			for _, w := range c.Withdraw {
				delete(approved, w.String())
				if everybody {
					cancelled[w.String()] = true
				}
			}
			for _, a := range c.Unblock {
				delete(blocked, a)
			}
			for _, a := range c.Block {
				if !strings.Contains(a, "/") {
					blocked[a] = true
				}
			}
			was := bytes.Clone(doc)
			out, err := Splice(doc, c)
			if err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			if !bytes.Equal(was, doc) {
				t.Fatal("the document itself was changed")
			}
			if again, err := Splice(out, c); err != nil || &again[0] != &out[0] {
				t.Fatalf("not idempotent: %v\n%s\nafter\n%s", err, again, out)
			}
			doc = out
			root, err := markup.Parse(doc, markup.File)
			if err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			rs, err := Parse(root, doc, nil)
			if err != nil {
				t.Fatalf("%v in\n%s", err, doc)
			}
			names := func(es []presence.Entity) (ns []string) {
				for _, e := range es {
					ns = append(ns, e.String())
				}
				return ns
			}
			for what, s := range map[string]struct {
				got  []string
				want map[string]bool
			}{"approved": {names(rs.Approved), approved}, "blocked": {rs.Blocked, blocked}, "cancelled": {names(rs.Cancelled), cancelled}} {
				if len(s.got) != len(s.want) || slices.ContainsFunc(s.got, func(n string) bool { return !s.want[n] }) {
					t.Fatalf("%s: %v, want %v in\n%s", what, s.got, s.want, doc)
				}
			}
			rest := string(doc)
			for _, f := range kept {
				_, after, ok := strings.Cut(rest, f)
				if !ok {
					t.Fatalf("%s is not in its place in\n%s", f, doc)
				}
				rest = after
			}
		}
		everything := Change{Withdraw: some, Unblock: addresses}
		if everybody {
			return
		}
		out, err := Splice(doc, everything)
		if err != nil || !strings.Contains(string(out), strings.Join(kept, gap)) {
			t.Fatalf("%v: when all is taken back:\n%s", err, out)
		}
	})
}

// Of 1,000 approved contacts and 100 rules of a client.
func BenchmarkDocument(b *testing.B) {
	var rules strings.Builder
	for i := range 100 {
		fmt.Fprintf(&rules, "\n  <rule id=\"r%d\"><conditions><identity>", i)
		for j := range 10 {
			fmt.Fprintf(&rules, `<one id="sip:w%d@example.com"/>`, i*10+j)
		}
		rules.WriteString(`</identity></conditions><actions><pr:sub-handling>polite-block</pr:sub-handling></actions></rule>`)
	}
	var c Change
	for i := range 1000 {
		c.Approve = append(c.Approve, entity(fmt.Sprint("a", i), "example.com"))
	}
	doc := []byte(spliced(b, ruleset(rules.String()), c))
	b.Run("policy", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		b.ReportAllocs()
		for b.Loop() {
			rs, err := read(doc, nil)
			if err != nil {
				b.Fatal(err)
			}
			p := CompileRules(1, presence.Confirm, rs, nil)
			presence.Decide(p, alice, eve, presence.Circumstances{}) // makes the index
		}
	})
	b.Run("splice", func(b *testing.B) {
		b.SetBytes(int64(len(doc)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Splice(doc, Change{Approve: []presence.Entity{eve}, Block: []string{"bad.example"}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
