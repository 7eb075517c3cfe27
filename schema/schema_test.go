package schema

import (
	"errors"
	"strings"
	"testing"

	"pharos/markup"
)

const ns = "urn:t"

func el(local string, t *Type) *Element { return &Element{Space: ns, Local: local, Type: t} }

// of makes a grammar whose root has a content model.
func of(p *Particle) *Grammar {
	return &Grammar{Root: el("r", &Type{Content: p})}
}

func check(t *testing.T, g *Grammar, doc string) error {
	t.Helper()
	root, err := markup.Parse([]byte(doc), markup.File)
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return g.Check(root, []byte(doc))
}

func leaf(local string) *Particle { return Of(el(local, &Type{})) }

// Each rule of the content models: what fits, and what is said of what does not.
func TestContent(t *testing.T) {
	any := func(a Any) *Particle { return (&Particle{Any: &a}).Times(0, Unbounded) }
	for _, c := range []struct {
		name    string
		g       *Grammar
		inner   string // of <r xmlns="urn:t" xmlns:o="urn:o">
		problem string // "": fits
	}{
		{"nothing, empty", of(nil), "", ""},
		{"nothing, blanks", of(nil), " \n", ""},
		{"nothing, comment", of(nil), "<!-- c --><?p i?>", ""},
		{"nothing, text", of(nil), "x", "r: <r> holds no text"},
		{"nothing, an element", of(nil), "<a/>", "r/a: <a> is not allowed here; expected no element"},

		{"one", of(leaf("a")), "<a/>", ""},
		{"one, none", of(leaf("a")), "", "r: <r> is not complete; expected <a>"},
		{"one, two", of(leaf("a")), "<a/><a/>", "r/a[2]: <a> is not allowed here; expected no element"},
		{"one, another", of(leaf("a")), "<b/>", "r/b: <b> is not allowed here; expected <a>"},
		{"one, another namespace", of(leaf("a")), "<o:a/>", "r/a: <a> is not allowed here; expected <a>"},
		{"one, no namespace", of(leaf("a")), "<a xmlns=''/>", "r/a: <a> is not allowed here; expected <a>"},

		{"optional, none", of(leaf("a").Times(0, 1)), "", ""},
		{"optional, two", of(leaf("a").Times(0, 1)), "<a/><a/>", "r/a[2]: <a> is not allowed"},
		{"2 to 3, 1", of(leaf("a").Times(2, 3)), "<a/>", "r: <r> is not complete; expected <a>"},
		{"2 to 3, 2", of(leaf("a").Times(2, 3)), "<a/><a/>", ""},
		{"2 to 3, 3", of(leaf("a").Times(2, 3)), "<a/><a/><a/>", ""},
		{"2 to 3, 4", of(leaf("a").Times(2, 3)), "<a/><a/><a/><a/>", "r/a[4]: <a> is not allowed here"},
		{"unbounded", of(leaf("a").Times(0, Unbounded)), strings.Repeat("<a/>", 500), ""},

		{"sequence", of(Seq(leaf("a"), leaf("b").Times(0, 1), leaf("c"))), "<a/><b/><c/>", ""},
		{"sequence, left out", of(Seq(leaf("a"), leaf("b").Times(0, 1), leaf("c"))), "<a/><c/>", ""},
		{"sequence, other order", of(Seq(leaf("a"), leaf("b").Times(0, 1), leaf("c"))), "<b/><a/><c/>", "r/b: <b> is not allowed here; expected <a>"},
		{"sequence, short", of(Seq(leaf("a"), leaf("b").Times(0, 1), leaf("c"))), "<a/>", "r: <r> is not complete; expected <b> or <c>"},
		{"sequence, again", of(Seq(leaf("a"), leaf("b")).Times(0, Unbounded)), "<a/><b/><a/><b/>", ""},
		{"sequence, again and short", of(Seq(leaf("a"), leaf("b")).Times(0, Unbounded)), "<a/><b/><a/>", "r: <r> is not complete; expected <b>"},
		{"sequence, optional as a whole", of(Seq(leaf("a"), leaf("b")).Times(0, 1)), "", ""},

		{"choice", of(OneOf(leaf("a"), leaf("b"))), "<b/>", ""},
		{"choice, none", of(OneOf(leaf("a"), leaf("b"))), "", "r: <r> is not complete; expected <a> or <b>"},
		{"choice, both", of(OneOf(leaf("a"), leaf("b"))), "<a/><b/>", "r/b: <b> is not allowed here"},
		{"choice, again", of(OneOf(leaf("a"), leaf("b")).Times(1, Unbounded)), "<b/><a/><b/>", ""},
		{"choice of the optional, empty", of(OneOf(leaf("a").Times(0, 1)).Times(1, Unbounded)), "", ""},

		{"all", of(AllOf(leaf("a"), leaf("b"), leaf("c").Times(0, 1))), "<b/><a/>", ""},
		{"all, with the optional", of(AllOf(leaf("a"), leaf("b"), leaf("c").Times(0, 1))), "<c/><b/><a/>", ""},
		{"all, twice", of(AllOf(leaf("a"), leaf("b"))), "<b/><a/><b/>", "r/b[2]: <b> is not allowed here"},
		{"all, short", of(AllOf(leaf("a"), leaf("b"))), "<b/>", "r: <r> is not complete; expected <a>"},

		{"other", of(Other(ns)), "<o:a><o:b/>text</o:a><x xmlns='urn:x'/>", ""},
		{"other, own", of(Other(ns)), "<a/>", "r/a: <a> is not allowed here; expected an element of another namespace"},
		{"other, no namespace", of(Other(ns)), "<a xmlns=''/>", "r/a: <a> is not allowed here"},
		{"any, no namespace", of(any(Any{Whatever: true})), "<a xmlns=''/><o:b/><q/>", ""},
		{"strict, unknown", of(any(Any{Whatever: true, Process: Strict})), "<o:a/>", "r/a: <a> is not an element of namespace urn:o"},
		{"strict, known", &Grammar{Root: of(any(Any{Whatever: true, Process: Strict})).Root, Extra: []*Element{{Space: "urn:o", Local: "a", Type: &Type{}}}}, "<o:a/>", ""},
		{"lax, known and wrong", &Grammar{Root: of(Other(ns)).Root, Extra: []*Element{{Space: "urn:o", Local: "a", Type: &Type{}}}}, "<o:a><o:b/></o:a>", "r/a/b: <b> is not allowed here"},
		{"lax, wrong deep inside", &Grammar{Root: of(Other(ns)).Root, Extra: []*Element{{Space: "urn:o", Local: "a", Type: &Type{}}}}, "<o:x><y xmlns='urn:y'><o:a>t</o:a></y></o:x>", "r/x/y/a: <a> holds no text"},
		{"lax, of a closed namespace", &Grammar{Root: of(Other(ns)).Root, Closed: []string{"urn:o"}}, "<o:a/>", "r/a: <a> is not an element of namespace urn:o"},
		{"skip, known and wrong", &Grammar{Root: of(any(Any{Not: ns, Process: Skip})).Root, Extra: []*Element{{Space: "urn:o", Local: "a", Type: &Type{}}}}, "<o:a><o:b/></o:a>", ""},
	} {
		err := check(t, c.g, `<r xmlns="urn:t" xmlns:o="urn:o">`+c.inner+`</r>`)
		var e *Error
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.problem != "" && (!errors.As(err, &e) || !strings.HasPrefix(e.Path+": "+e.Text, c.problem)):
			t.Errorf("%s: %v, want %s", c.name, err, c.problem)
		}
	}
}

func TestAttributes(t *testing.T) {
	typ := &Type{Attrs: []Attr{{Local: "a", Type: Boolean, Required: true}, {Local: "b"}, {Space: markup.XMLSpace, Local: "lang", Type: Language}}}
	closed := &Grammar{Root: el("r", typ)}
	open := &Grammar{Root: el("r", &Type{Attrs: typ.Attrs, AnyAttr: OtherAttrs(ns)})}
	for _, c := range []struct {
		attrs        string
		closed, open string
	}{
		{`a="true"`, "", ""},
		{`a=" 0 " b="whatever"`, "", ""},
		{`a="1" xml:lang="de-CH" xsi:schemaLocation="x y"`, "", ""},
		{`b="x"`, `needs the attribute "a"`, `needs the attribute "a"`},
		{`a="yes"`, `the attribute "a" must be one of true, false, 1, 0, not "yes"`, `must be one of`},
		{`a="1" xml:lang="d_e"`, `must be a language`, `must be a language`},
		{`a="1" c="x"`, `has no attribute "c"`, `has no attribute "c"`},
		{`a="1" o:c="x"`, `has no attribute "c"`, ""},
		{`a="1" xml:space="preserve"`, `has no attribute "space"`, ""},
		{`o:a="1"`, `has no attribute "a"`, `needs the attribute "a"`},
	} {
		doc := `<r xmlns="urn:t" xmlns:o="urn:o" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` + c.attrs + `/>`
		for g, want := range map[*Grammar]string{closed: c.closed, open: c.open} {
			err := check(t, g, doc)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %q", c.attrs, err, want)
			}
		}
	}
}

func TestText(t *testing.T) {
	g := of(Of(el("a", &Type{Text: Integer(0, 9)})))
	for doc, want := range map[string]string{
		"<a>5</a>": "", "<a> 5\n</a>": "", "<a>&#53;</a>": "", "<a><![CDATA[5]]></a>": "", "<a><!-- c -->5</a>": "",
		"<a>10</a>": "whole number from 0 to 9", "<a/>": "whole number", "<a>5<b/></a>": "holds text and no elements", "<a>-1</a>": "whole number",
	} {
		err := check(t, g, `<r xmlns="urn:t">`+doc+`</r>`)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
	mixed := &Grammar{Root: el("r", &Type{Mixed: true, Content: leaf("a").Times(0, 1)})}
	if err := check(t, mixed, `<r xmlns="urn:t">one <a/> two</r>`); err != nil {
		t.Error(err)
	}
}

func TestSimpleTypes(t *testing.T) {
	for _, c := range []struct {
		name string
		t    *Simple
		good []string
		bad  []string
	}{
		{"anyURI", AnyURI, []string{"sip:a@b", "tel:+49", "", "a/b?c#d", "http://x/%5b", "sip:b b@c", "../x:y", "mailto:é@x", "#a"}, []string{":x", "1a:b", "x%", "x%5", "x%zz", "a b:c"}},
		{"NCName", NCName, []string{"a", "_a-1.b", "é", " a "}, []string{"", "a:b", "1a", "-a", "a b", ".a"}},
		{"boolean", Boolean, []string{"true", "false", "0", "1"}, []string{"", "TRUE", "yes", "2"}},
		{"dateTime", DateTime, []string{"2003-12-24T17:00:00+01:00", "2003-12-24T17:00:00", "2004-02-29T00:00:00.123456789Z", "2003-12-24T24:00:00Z", "12003-01-01T00:00:00-14:00"},
			[]string{"", "2003-12-24", "2003-13-01T00:00:00Z", "2003-02-29T00:00:00Z", "2003-00-10T00:00:00Z", "2003-12-00T00:00:00Z", "2003-12-24T25:00:00Z", "2003-12-24T24:00:01Z",
				"2003-12-24T17:60:00Z", "2003-12-24T17:00:60Z", "2003-12-24 17:00:00", "2003-12-24T17:00:00+15:00", "03-12-24T17:00:00Z"}},
		{"decimal", Decimal, []string{"1", "-1.5", "+.5", "1."}, []string{"", ".", "1e5", "x"}},
		{"language", Language, []string{"de", "de-CH", "i-klingon", "x-a-b", ""}, []string{"de_CH", "toolonglanguage", "-"}},
		{"base64", Base64, []string{"", "AAAA", "AA==", "AA AA\n AA=="}, []string{"A", "AAA", "AA=A", "!!!!"}},
		{"integer", Integer(-1, 5), []string{"-1", "0", "5", "+5", "005"}, []string{"6", "-2", "", "1.0", "99999999999999999999"}},
		{"enumeration", Enum("a", "b"), []string{"a", " b "}, []string{"", "c", "A", "a b"}},
		{"pattern", Pattern("a or bs", "a|b+"), []string{"a", "bbb"}, []string{"ab", "", "xa"}},
		{"union", Union("a or a number", Enum("a"), Integer(0, 9)), []string{"a", "3"}, []string{"b", "10"}},
		{"list", ListOf(Integer(0, 9)), []string{"", "1", " 1 2\n3"}, []string{"1 x"}},
		{"string", String, []string{"", "  x\n"}, nil},
	} {
		for _, v := range c.good {
			if why := c.t.check(v); why != "" {
				t.Errorf("%s %q: %s", c.name, v, why)
			}
		}
		for _, v := range c.bad {
			if c.t.check(v) == "" {
				t.Errorf("%s %q is taken", c.name, v)
			}
		}
	}
	if why := AnyURI.check("x%" + strings.Repeat("é", 100)); len(why) > 100 || !strings.Contains(why, "…") {
		t.Error(why)
	}
}

// Ids are unique in the whole document, keys among siblings.
func TestUnique(t *testing.T) {
	item := el("i", &Type{Attrs: []Attr{{Local: "id", Type: ID}, {Local: "k"}}})
	group := el("g", &Type{Attrs: []Attr{{Local: "k"}}, Unique: []Unique{{ns, "i", "k"}, {ns, "g", "k"}}})
	group.Type.Content = OneOf(Of(item), Of(group)).Times(0, Unbounded)
	g := &Grammar{Root: group}
	for doc, want := range map[string]string{
		`<g xmlns="urn:t"><i id="a"/><g><i id="b"/></g></g>`:  "",
		`<g xmlns="urn:t"><i id="a"/><g><i id=" a"/></g></g>`: `g/g/i: the attribute "id": the id "a" comes twice`,
		`<g xmlns="urn:t"><i id="1"/></g>`:                    "must be a name without a colon",
	} {
		err := check(t, g, doc)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
	doc := `<g xmlns="urn:t"><i k="a"/><g k="a"/><i k="b"/><i k="a"/><g k="b"><i k="a"/><i/><i/><i k="a"/></g><g k="a"/></g>`
	root, err := markup.Parse([]byte(doc), markup.File)
	if err != nil || g.Check(root, []byte(doc)) != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range g.Duplicates(root) {
		got = append(got, pathOf(d.Path)+"/@"+d.Attr+"="+d.Value)
	}
	if s := strings.Join(got, " "); s != "g/i[3]/@k=a g/g[3]/@k=a g/g[2]/i[4]/@k=a" {
		t.Error(s)
	}
}

// Errors say where.
func TestPlace(t *testing.T) {
	g := of(leaf("a").Times(0, Unbounded))
	doc := "<?xml version='1.0'?>\n<r xmlns='urn:t'>\n <a/>\n <a>\n  <b/></a>\n</r>"
	var e *Error
	if err := check(t, g, doc); !errors.As(err, &e) || e.Line != 5 || e.Path != "r/a[2]/b" || doc[e.Offset:e.Offset+4] != "<b/>" {
		t.Errorf("%v", err)
	}
	if err := check(t, g, "<r/>"); err == nil || !strings.Contains(err.Error(), "root element must be <r>") {
		t.Error(err)
	}
}
