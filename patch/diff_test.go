package patch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
)

const buddies = `<?xml version="1.0"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:b="urn:blink">
  <list name="friends" b:id="1">
    <entry uri="sip:a@example.com"><display-name>A</display-name></entry>
    <entry uri="sip:b@example.com"/>
    <!-- the boss -->
    <entry uri="sip:c@example.com"><display-name>C</display-name><b:phone>1</b:phone></entry>
  </list>
  <list name="work"/>
</resource-lists>
`

func TestDiff(t *testing.T) {
	const ns = " xmlns='urn:ietf:params:xml:ns:resource-lists'"
	for _, c := range []struct {
		name     string
		from, to string // replaced in buddies
		want     string
	}{
		{"nothing", "", "", ""},
		{"looks", `<list name="work"/>`, "<list  name='work'></list>", ""},
		{"a text", ">A<", ">Ann &amp; co<", "<replace sel='*/*[1]/*[1]/*[1]/text()'>Ann &amp; co</replace>"},
		{"an attribute", `b:id="1"`, `b:id="2"`, "<replace sel='*/*[1]/@b:id' xmlns:b='urn:blink'>2</replace>"},
		{"an attribute goes, one comes", `b:id="1"`, `b:x="2"`, "<remove sel='*/*[1]/@b:id' xmlns:b='urn:blink'/><add sel='*/*[1]' type='@b:x' xmlns:b='urn:blink'>2</add>"},
		{"a new entry", `    <!--`, `    <entry uri="sip:n@example.com"/>` + "\n    <!--", "<add sel='*/*[1]/*[2]' pos='after'>\n    <entry" + ns + " uri=\"sip:n@example.com\"/></add>"},
		{"a new first entry", `    <entry uri="sip:a@`, `    <entry uri="sip:n@example.com"/>` + "\n" + `    <entry uri="sip:a@`, "<add sel='*/*[1]' pos='prepend'>\n    <entry" + ns + " uri=\"sip:n@example.com\"/></add>"},
		{"an entry behind a comment", "boss -->", "boss -->\n    <entry uri=\"sip:n@example.com\"/>", "<add sel='*/*[1]/comment()[1]' pos='after'>\n    <entry" + ns + " uri=\"sip:n@example.com\"/></add>"},
		{"an entry goes", "    <entry uri=\"sip:b@example.com\"/>\n", "", "<remove sel='*/*[1]/*[2]' ws='before'/>"},
		{"a comment goes", "    <!-- the boss -->\n", "", "<remove sel='*/*[1]/comment()[1]' ws='before'/>"},
		{"the first into a list", `<list name="work"/>`, "<list name=\"work\">\n    <entry uri=\"sip:n@example.com\"/>\n  </list>", "<add sel='*/*[2]'>\n    <entry" + ns + " uri=\"sip:n@example.com\"/>\n  </add>"},
		{"another URI", "sip:b@example.com", "sip:bb@example.com", "<remove sel='*/*[1]/*[2]' ws='before'/><add sel='*/*[1]/*[1]' pos='after'>\n    <entry" + ns + " uri=\"sip:bb@example.com\"/></add>"},
	} {
		now := strings.Replace(buddies, c.from, c.to, 1)
		ops, err := Diff([]byte(buddies), []byte(now))
		if got := string(Append(nil, ops)); err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
		// As a client reads and applies them.
		read := parseOps(t, string(append(Append([]byte("<document xmlns='urn:ietf:params:xml:ns:xcap-diff'>"), ops), "</document>"...)))
		got, err := Apply([]byte(buddies), read)
		if err != nil || mustCanonical(t, got) != mustCanonical(t, []byte(now)) || len(ops) > 0 && !strings.Contains(c.name, "comes") && string(got) != now {
			t.Errorf("%s: %v\n%s", c.name, err, got)
		}
	}
}

func TestDiffTooFar(t *testing.T) {
	for _, c := range [][2]string{
		{"<a/>", "<b/>"},
		{"<a/>", "<a xmlns:p='u'/>"},
		{"<a/>", "<!--new--><a/>"},
		{"<a/>", "<a/><?new?>"},
		{"<a><b/><c/><d/></a>", "<a><e/><f/></a>"},
	} {
		if ops, err := Diff([]byte(c[0]), []byte(c[1])); !errors.Is(err, ErrTooFar) {
			t.Errorf("%s to %s: %v %s", c[0], c[1], err, Append(nil, ops))
		}
	}
	var s *markup.SyntaxError
	if _, err := Diff([]byte("<a/>"), []byte("<a")); !errors.As(err, &s) {
		t.Error(err)
	}
	if _, err := Diff([]byte("<a"), []byte("<a/>")); !errors.As(err, &s) {
		t.Error(err)
	}
	// So many children have changed that comparing them is not worth it.
	var a, b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&a, "<a n='%d'/>", i)
		fmt.Fprintf(&b, "<b n='%d'/>", i)
	}
	if _, err := Diff([]byte("<r>"+a.String()+"</r>"), []byte("<r>"+b.String()+"</r>")); !errors.Is(err, ErrTooFar) {
		t.Error(err)
	}
}

// tree draws a document of few names, so that two of them have much in common.
func tree(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom([]string{"a", "b", "p:a", "q:c"}).Draw(t, "name")
		s := "<" + name
		if rapid.IntRange(0, 2).Draw(t, "id") == 0 {
			s += rapid.SampledFrom([]string{" id='1'", " id='2'", " uri='x'", " name='n' p:z='1'"}).Draw(t, "identity")
		}
		if rapid.IntRange(0, 3).Draw(t, "attr") == 0 {
			s += rapid.SampledFrom([]string{" x='1'", " x='&#10;\"'", " p:x='1'", " xml:lang='de'", " xmlns='v'", " xmlns:p='w'"}).Draw(t, "x")
		}
		s += ">"
		if depth > 0 {
			gap := rapid.SampledFrom([]string{"", "\n", "t"}).Draw(t, "gap")
			for range rapid.IntRange(0, 4).Draw(t, "children") {
				s += gap + rapid.OneOf(tree(depth-1), tree(depth-1), rapid.SampledFrom([]string{"<!--c-->", "<!--d-->", "<?i x?>", "text", "<![CDATA[<]]>", "&#13;", " "})).Draw(t, "child")
			}
			s += gap
		}
		return s + "</" + name + ">"
	})
}

// Applied, the difference makes the one document of the other, in whatever it is carried.
func TestDiffApply(t *testing.T) {
	const head = "<r xmlns='u' xmlns:p='p' xmlns:q='u'>"
	useful := 0
	rapid.Check(t, func(t *rapid.T) {
		was := head + tree(3).Draw(t, "was") + tree(2).Draw(t, "more") + strings.Repeat("<pad/>", 40) + "</r>"
		now := head + tree(3).Draw(t, "now") + tree(2).Draw(t, "more") + strings.Repeat("<pad/>", 40) + "</r>"
		if rapid.Bool().Draw(t, "small") {
			// One piece of the same document is another.
			from := rapid.SampledFrom([]string{"<!--c-->", "id='1'", "x='1'", "</b>", "\n", "<a>", "text", "<pad/>"}).Draw(t, "from")
			to := rapid.SampledFrom([]string{"<!--d-->", "id='3'", "x='2'", "<n/></b>", "\n\n", "<a><n/>", "t", "<pad>y</pad>"}).Draw(t, "to")
			now = strings.Replace(was, from, to, 1)
		}
		if _, err := markup.Parse([]byte(now), markup.File); err != nil {
			t.Skip()
		}
		ops, err := Diff([]byte(was), []byte(now))
		if errors.Is(err, ErrTooFar) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		useful++
		carrier := rapid.SampledFrom([]string{"<x>", "<x xmlns='urn:d'>", "<x xmlns='u' xmlns:p='other' xmlns:q='more'>"}).Draw(t, "carrier")
		root, err := markup.Parse(append(Append([]byte(carrier), ops), "</x>"...), markup.File)
		if err != nil {
			t.Fatal(err)
		}
		read, err := Parse(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, os := range [][]Op{ops, read} {
			got, err := Apply([]byte(was), os)
			if err != nil {
				t.Fatalf("%v\nwas %s\nnow %s\nops %s", err, was, now, Append(nil, ops))
			}
			if mustCanonical(t, got) != mustCanonical(t, []byte(now)) {
				t.Fatalf("\nwas %s\nnow %s\nops %s\ngot %s", was, now, Append(nil, ops), got)
			}
		}
	})
	if useful == 0 {
		t.Error("no pair of documents was near enough")
	}
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte(buddies), []byte(strings.Replace(buddies, "sip:b@", "sip:bb@", 1)))
	f.Add([]byte("<a><b/>t<c/></a>"), []byte("<a>\n<b x='1'/>u<!--c--></a>"))
	f.Fuzz(func(t *testing.T, was, now []byte) {
		ops, err := Diff(was, now)
		if err != nil {
			return
		}
		got, err := Apply(was, ops)
		if err != nil || mustCanonical(t, got) != mustCanonical(t, now) {
			t.Fatalf("%v\nwas %q\nnow %q\nops %s\ngot %q", err, was, now, Append(nil, ops), got)
		}
	})
}

// One entry more in a list of a thousand.
func BenchmarkDiff(b *testing.B) {
	var s strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&s, "\n    <entry uri='sip:user%d@example.com'><display-name>User %d</display-name></entry>", i, i)
	}
	was := "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'>\n  <list name='l'>" + s.String() + "\n  </list>\n</resource-lists>"
	now := []byte(strings.Replace(was, "    <entry uri='sip:user500@", "    <entry uri='sip:new@example.com'/>\n    <entry uri='sip:user500@", 1))
	b.SetBytes(int64(len(now)))
	for range b.N {
		ops, err := Diff([]byte(was), now)
		if err != nil || len(ops) != 1 {
			b.Fatal(err, len(ops))
		}
	}
}
