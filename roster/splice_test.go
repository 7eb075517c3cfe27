package roster

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/presence"
)

func parse(t interface{ Fatal(...any) }, doc []byte) *markup.Element {
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		t.Fatal(err, "\n", string(doc))
	}
	return root
}

func contact(s, name string, groups ...string) Contact {
	user, domain, _ := strings.Cut(s, "@")
	return Contact{Entity: presence.Entity{User: user, Domain: domain}, Name: name, Groups: groups}
}

// foreign is a document as several clients have left it.
const foreign = `<?xml version="1.0" encoding="UTF-8"?>
<!-- mine -->
<rl:resource-lists xmlns:rl="urn:ietf:params:xml:ns:resource-lists" xmlns:b="urn:blink">
	<rl:list name="RootGroup">
		<rl:entry uri="sip:carol@example.com" b:id="1"/>
		<rl:entry uri="tel:+15551234"><rl:display-name>Taxi</rl:display-name></rl:entry>
	</rl:list>
	<rl:list name="l1" b:id="g1">
		<rl:display-name xml:lang="en">Friends</rl:display-name>
		<rl:entry uri="sip:bob@example.com;transport=tcp" b:id="2">
			<rl:display-name>Bob</rl:display-name>
			<b:phone>1</b:phone>
		</rl:entry>
		<rl:entry-ref ref="resource-lists/users/sip:x@example.com/index/~~/resource-lists/list/entry"/>
		<rl:list name="Close">
			<rl:entry uri="sip:dave@example.com"/>
		</rl:list>
		<b:color>red</b:color>
	</rl:list>
	<rl:list>
		<rl:entry uri="im:erin@example.com"/>
	</rl:list>
	<rl:list name="Work"/>
</rl:resource-lists>
<!-- end -->
`

func TestContacts(t *testing.T) {
	got := Contacts(parse(t, []byte(foreign)))
	want := []Contact{
		contact("carol@example.com", ""),
		contact("bob@example.com", "Bob", "Friends"),
		contact("dave@example.com", "", "Friends::Close"),
		contact("erin@example.com", ""),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Each change is told as the lines that it takes away and puts in.
func TestSplice(t *testing.T) {
	for _, c := range []struct {
		name string
		c    Contact
		want string
	}{
		{"nothing to do", contact("bob@example.com", "Bob", "Friends"), ""},
		{"rename", contact("bob@example.com", "Bobby <B>", "Friends"), `
-			<rl:display-name>Bob</rl:display-name>
+			<rl:display-name>Bobby &lt;B&gt;</rl:display-name>
`},
		{"a first name", contact("carol@example.com", "Carol"), `
-		<rl:entry uri="sip:carol@example.com" b:id="1"/>
+		<rl:entry uri="sip:carol@example.com" b:id="1">
+			<rl:display-name>Carol</rl:display-name>
+		</rl:entry>
`},
		{"no name any more", contact("bob@example.com", "", "Friends"), `
-			<rl:display-name>Bob</rl:display-name>
`},
		{"move with all that is in it", contact("bob@example.com", "Bob", "Work"), `
-		<rl:entry uri="sip:bob@example.com;transport=tcp" b:id="2">
-			<rl:display-name>Bob</rl:display-name>
-			<b:phone>1</b:phone>
-		</rl:entry>
-	<rl:list name="Work"/>
+	<rl:list name="Work">
+		<rl:entry uri="sip:bob@example.com;transport=tcp" b:id="2">
+			<rl:display-name>Bob</rl:display-name>
+			<b:phone>1</b:phone>
+		</rl:entry>
+	</rl:list>
`},
		{"move out of all groups", contact("dave@example.com", ""), `
+		<rl:entry uri="sip:dave@example.com"/>
-			<rl:entry uri="sip:dave@example.com"/>
`},
		{"move into a group", contact("carol@example.com", "", "Friends"), `
-		<rl:entry uri="sip:carol@example.com" b:id="1"/>
+		<rl:entry uri="sip:carol@example.com" b:id="1"/>
`},
		{"a second group", contact("dave@example.com", "Dave", "Friends::Close", "New::Deep"), `
-			<rl:entry uri="sip:dave@example.com"/>
+			<rl:entry uri="sip:dave@example.com">
+				<rl:display-name>Dave</rl:display-name>
+			</rl:entry>
+	<rl:list name="New">
+		<rl:list name="Deep">
+			<rl:entry uri="sip:dave@example.com"><rl:display-name>Dave</rl:display-name></rl:entry>
+		</rl:list>
+	</rl:list>
`},
		{"somebody new", contact("frank@example.com", "Frank", "Friends"), `
+		<rl:entry uri="sip:frank@example.com"><rl:display-name>Frank</rl:display-name></rl:entry>
`},
		{"somebody new without a group", contact("frank@example.com", ""), `
+		<rl:entry uri="sip:frank@example.com"/>
`},
		{"a new group whose name is an attribute already", contact("frank@example.com", "", "l1"), `
+	<rl:list name="l1-2">
+		<rl:display-name>l1</rl:display-name>
+		<rl:entry uri="sip:frank@example.com"/>
+	</rl:list>
`},
		{"a group that is called like none", contact("frank@example.com", "", "RootGroup"), `
+	<rl:list name="RootGroup-2">
+		<rl:display-name>RootGroup</rl:display-name>
+		<rl:entry uri="sip:frank@example.com"/>
+	</rl:list>
`},
		{"a group inside another", contact("frank@example.com", "", "Friends::Old"), `
+		<rl:list name="Old">
+			<rl:entry uri="sip:frank@example.com"/>
+		</rl:list>
`},
		{"a name that no nested lists have", contact("frank@example.com", "", "::x"), `
+	<rl:list name="::x">
+		<rl:entry uri="sip:frank@example.com"/>
+	</rl:list>
`},
	} {
		got, err := Splice([]byte(foreign), c.c)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if d := lines(foreign, string(got)); d != strings.TrimPrefix(c.want, "\n") {
			t.Errorf("%s:\n%s", c.name, d)
		}
		if !slices.ContainsFunc(Contacts(parse(t, got)), func(x Contact) bool { return same(x, c.c) }) {
			t.Errorf("%s: not shown so in\n%s", c.name, got)
		}
	}
	gone, err := Remove([]byte(foreign), contact("bob@example.com", "").Entity)
	if d := lines(foreign, string(gone)); err != nil || d != `-		<rl:entry uri="sip:bob@example.com;transport=tcp" b:id="2">
-			<rl:display-name>Bob</rl:display-name>
-			<b:phone>1</b:phone>
-		</rl:entry>
` {
		t.Errorf("removed: %v\n%s", err, d)
	}
	if same, err := Remove([]byte(foreign), contact("nobody@example.com", "").Entity); err != nil || string(same) != foreign {
		t.Errorf("nobody removed: %v", err)
	}
}

// lines is the difference of two texts by whole lines.
func lines(was, now string) string {
	a, b := strings.Split(was, "\n"), strings.Split(now, "\n")
	// The longest common subsequence, as the texts are short.
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	var d strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && n[i+1][j] >= n[i][j+1]:
			fmt.Fprintf(&d, "-%s\n", a[i])
			i++
		default:
			fmt.Fprintf(&d, "+%s\n", b[j])
			j++
		}
	}
	return d.String()
}

// same compares contacts; the order of groups is the document's.
func same(a, b Contact) bool {
	ga, gb := slices.Sorted(slices.Values(a.Groups)), slices.Sorted(slices.Values(b.Groups))
	return a.Entity == b.Entity && a.Name == b.Name && slices.Equal(ga, gb)
}

// Lists that are there for rules are no groups: who is granted or blocked is no
// buddy for that, and stays so when the roster changes.
func TestListsForRules(t *testing.T) {
	const doc = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="friends"><entry uri="sip:bob@example.com"/></list>` +
		`<list name="oma_blockedcontacts"><entry uri="sip:bob@example.com"/><entry uri="sip:mallory@example.com"/></list>` +
		`<list name="oma_grantedcontacts"><entry uri="sip:carol@example.com"/></list></resource-lists>`
	if got, want := Contacts(parse(t, []byte(doc))), []Contact{contact("bob@example.com", "", "friends")}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	after, err := Remove([]byte(doc), presence.Entity{User: "bob", Domain: "example.com"})
	if want := strings.Replace(doc, `<entry uri="sip:bob@example.com"/>`, "", 1); err != nil || string(after) != want {
		t.Errorf("%s %v", after, err)
	}
	// A group that is called so is a list of another name.
	for _, from := range []string{doc, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`} {
		c := contact("dave@example.com", "", "oma_blockedcontacts")
		after, err = Splice([]byte(from), c)
		if err != nil {
			t.Fatal(err)
		}
		if cs := Contacts(parse(t, after)); !slices.ContainsFunc(cs, func(o Contact) bool { return reflect.DeepEqual(o, c) }) {
			t.Errorf("%v in\n%s", cs, after)
		}
	}
}

func TestSpliceErrors(t *testing.T) {
	var syntax *markup.SyntaxError
	if _, err := Splice([]byte("<resource-lists"), Contact{}); !errors.As(err, &syntax) {
		t.Error(err)
	}
	if _, err := Remove([]byte("<resource-lists/>"), presence.Entity{}); !errors.Is(err, ErrNotLists) {
		t.Error(err)
	}
}

// An entry of the same contact under another URI stays with the other, and one
// that was put into no group beside others stays there.
func TestSpliceSeveralEntries(t *testing.T) {
	const doc = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="RootGroup"><entry uri="sip:a@x"/></list><list name="A"><entry uri="sip:bob@x"/><entry uri="pres:bob@x"/></list><list name="B"/></resource-lists>`
	got, err := Splice([]byte(doc), contact("bob@x", "", "B"))
	if want := `<list name="A"></list><list name="B"><entry uri="sip:bob@x"/><entry uri="pres:bob@x"/></list>`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("%v %s", err, got)
	}
	both := strings.Replace(doc, `<entry uri="sip:a@x"/>`, `<entry uri="sip:bob@x"/>`, 1)
	got, err = Splice([]byte(both), contact("bob@x", "", "B"))
	if want := `<list name="RootGroup"><entry uri="sip:bob@x"/></list><list name="A"></list>`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("%v %s", err, got)
	}
	got, err = Splice([]byte(both), contact("bob@x", ""))
	if want := `<list name="RootGroup"><entry uri="sip:bob@x"/></list><list name="A"></list><list name="B"/>`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("%v %s", err, got)
	}
}

func names(t *rapid.T, label string) string {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "Friends", "Work", "A", "A::B", "A::B::C", "RootGroup", "l1", " x ", "::", "A::", "a<&>\"'", "ü"}), rapid.StringMatching(`[ -~ß]{1,6}`)).Draw(t, label)
}

func drawContact(t *rapid.T) Contact {
	c := Contact{Entity: entities.Draw(t, "entity"), Name: tidy(names(t, "name"))}
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		if g := tidy(names(t, "group")); g != "" && !slices.Contains(c.Groups, g) {
			c.Groups = append(c.Groups, g)
		}
	}
	return c
}

// Any sequence of changes shows the contacts as they were last said to be, keeps
// names and URIs unique among siblings, and leaves what it does not speak of.
func TestSpliceSequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := []byte(rapid.SampledFrom([]string{foreign, `<resource-lists xmlns="` + ListsSpace + `"/>`, strings.ReplaceAll(strings.ReplaceAll(foreign, "\n", ""), "\t", ""), strings.ReplaceAll(foreign, "\n", "\r\n")}).Draw(t, "doc"))
		model := map[presence.Entity]Contact{}
		for _, c := range Contacts(parse(t, doc)) {
			model[c.Entity] = c
		}
		before := rest(parse(t, doc))
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			c := drawContact(t)
			if rapid.IntRange(0, 2).Draw(t, "known") == 0 {
				c.Entity = rapid.SampledFrom([]presence.Entity{{User: "bob", Domain: "example.com"}, {User: "dave", Domain: "example.com"}, {User: "carol", Domain: "example.com"}}).Draw(t, "entity")
			}
			var err error
			was := doc
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				doc, err = Remove(doc, c.Entity)
				delete(model, c.Entity)
			} else {
				doc, err = Splice(doc, c)
				model[c.Entity] = c
			}
			if err != nil {
				t.Fatal(err)
			}
			root := parse(t, doc)
			got := Contacts(root)
			if len(got) != len(model) {
				t.Fatalf("%d contacts, want %d\n%s", len(got), len(model), doc)
			}
			for _, g := range got {
				if !same(g, model[g.Entity]) {
					t.Fatalf("%+v, want %+v\nwas %s\nnow %s", g, model[g.Entity], was, doc)
				}
			}
			checkUnique(t, root)
			if again, err := Splice(doc, c); model[c.Entity].Entity == c.Entity && (err != nil || string(again) != string(doc)) {
				t.Fatalf("said again, it changed: %v\n%s\n%s", err, doc, again)
			}
		}
		if after := rest(parse(t, doc)); after != before {
			t.Fatalf("what was foreign:\n%s\nis:\n%s", before, after)
		}
	})
}

// rest lists what no contact is about: attributes, foreign elements, references and other entries, in order.
func rest(e *markup.Element) string {
	var b strings.Builder
	for c := range e.Children() {
		_, shown := EntityOf(c.Attr("uri"))
		switch {
		case c.Is(ListsSpace, "entry") && shown:
			continue
		case c.Is(ListsSpace, "list"):
			inside := rest(c)
			if _, ok := c.LookupAttr("urn:blink", "id"); ok || inside != "" {
				b.WriteString("(" + c.Attr("name") + ":" + inside + ")")
			}
		case c.Is(ListsSpace, "display-name"):
		default:
			b.WriteString(c.Source())
		}
	}
	return b.String()
}

func checkUnique(t *rapid.T, e *markup.Element) {
	seen := map[string]bool{}
	for c := range e.Children() {
		k := c.Local + " " + c.Attr("name") + c.Attr("uri")
		if v, ok := c.LookupAttr("", map[string]string{"list": "name", "entry": "uri"}[c.Local]); ok && seen[k] {
			t.Fatalf("%s twice under %s", v, e.Local)
		}
		seen[k] = true
		checkUnique(t, c)
	}
}

func TestGenerate(t *testing.T) {
	got := string(Generate([]Contact{contact("bob@example.com", "Bob", "Friends", "A::B"), contact("carol@example.com", "")}))
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="Friends">
    <entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>
  </list>
  <list name="A">
    <list name="B">
      <entry uri="sip:bob@example.com"><display-name>Bob</display-name></entry>
    </list>
  </list>
  <list name="RootGroup">
    <entry uri="sip:carol@example.com"/>
  </list>
</resource-lists>
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestGenerateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[presence.Entity]Contact{}
		var cs []Contact
		for range rapid.IntRange(0, 8).Draw(t, "contacts") {
			if c := drawContact(t); model[c.Entity].Entity != c.Entity {
				model[c.Entity] = c
				cs = append(cs, c)
			}
		}
		root := parse(t, Generate(cs))
		checkUnique(t, root)
		got := Contacts(root)
		if len(got) != len(cs) {
			t.Fatalf("%d contacts of %d", len(got), len(cs))
		}
		for _, g := range got {
			if !same(g, model[g.Entity]) {
				t.Fatalf("%+v, want %+v", g, model[g.Entity])
			}
		}
	})
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte(foreign), "bob", "Bob", "Work")
	f.Add([]byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><display-name/></list></resource-lists>`), "x", "", "A::B")
	f.Fuzz(func(t *testing.T, doc []byte, user, name, group string) {
		e, ok := EntityOf("sip:" + user + "@example.com")
		if !ok || name != strings.ToValidUTF8(name, "") || group != strings.ToValidUTF8(group, "") || strings.ContainsFunc(name+group, func(r rune) bool { return r < ' ' || r > 0xD7FF }) {
			return
		}
		c := Contact{Entity: e, Name: tidy(name)}
		if g := tidy(group); g != "" {
			c.Groups = []string{g}
		}
		got, err := Splice(doc, c)
		if err != nil {
			return
		}
		root, err := markup.Parse(got, markup.File)
		if err != nil {
			var s *markup.SyntaxError
			if errors.As(err, &s) && s.Kind == markup.TooBig {
				return
			}
			t.Fatalf("%v\n%q\n%q", err, doc, got)
		}
		if !slices.ContainsFunc(Contacts(root), func(x Contact) bool { return same(x, c) }) {
			t.Fatalf("%+v is not in %q", c, got)
		}
	})
}

// big is a list of n entries in groups of 50.
func big(n int) []byte {
	var cs []Contact
	for i := range n {
		cs = append(cs, contact(fmt.Sprintf("user%d@example.com", i), fmt.Sprintf("User %d", i), fmt.Sprintf("Group %d", i/50)))
	}
	return Generate(cs)
}

// One entry of a thousand is one splice: all other bytes are copied as they are.
func BenchmarkSplice(b *testing.B) {
	doc := big(1000)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for i := range b.N {
		c := contact("user500@example.com", fmt.Sprint("Renamed ", i), "Group 10")
		if _, err := Splice(doc, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContacts(b *testing.B) {
	root := parse(b, big(1000))
	b.ReportAllocs()
	for range b.N {
		Contacts(root)
	}
}
