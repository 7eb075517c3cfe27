package markup

import (
	"testing"

	"pgregory.net/rapid"
)

func TestPath(t *testing.T) {
	root, err := Parse([]byte("<a> <b/><c><d/><e><f/></e>t</c></a>"), File)
	if err != nil {
		t.Fatal(err)
	}
	walk(root, func(e *Element) {
		path := Path(root, e)
		if len(path) == 0 || path[0] != root || path[len(path)-1] != e {
			t.Errorf("no path to %s: %v", e.Local, path)
		}
	})
	var names string
	for _, e := range Path(root, find(root, "f")) {
		names += e.Local
	}
	if names != "acef" {
		t.Errorf("path %s", names)
	}
	if p := Path(root, &Element{Local: "x"}); p != nil {
		t.Errorf("a path to a stranger: %v", p)
	}
}

func TestQualify(t *testing.T) {
	scope := []Decl{{"", "u"}, {"p", "v"}, {"q", "w"}, {"q", "x"}}
	for _, c := range []struct{ space, name, decl string }{
		{"u", "e", ""}, {"v", "p:e", ""}, {"x", "q:e", ""}, {"w", "e", " xmlns='w'"}, {"", "e", " xmlns=''"}, {XMLSpace, "xml:e", ""},
	} {
		if name, decl := Qualify(scope, c.space, "e"); name != c.name || decl != c.decl {
			t.Errorf("%q: %s%s, want %s%s", c.space, name, decl, c.name, c.decl)
		}
	}
	if name, decl := Qualify(nil, "", "e"); name != "e" || decl != "" {
		t.Errorf("no namespace where nothing is said: %s%s", name, decl)
	}
}

func TestMoved(t *testing.T) {
	for _, c := range []struct {
		in   string
		to   []Decl
		want string
	}{
		{"<a><m/></a>", nil, "<m/>"},
		{"<a xmlns='u'><m/></a>", []Decl{{"", "u"}}, "<m/>"},
		{"<a xmlns='u'><m/></a>", []Decl{{"", "v"}}, "<m xmlns='u'/>"},
		{"<a><m/></a>", []Decl{{"", "v"}}, "<m xmlns=''/>"},
		{"<a xmlns='u'><m xmlns='w'/></a>", []Decl{{"", "v"}}, "<m xmlns='w'/>"},
		{"<a xmlns:p='u'><p:m y='1'/></a>", []Decl{{"p", "v"}}, "<p:m xmlns:p='u' y='1'/>"},
		{"<a xmlns:p='u'><m><b p:x='1'/></m></a>", []Decl{{"q", "u"}}, "<m xmlns:p='u'><b p:x='1'/></m>"},
		{"<a xmlns:p='u'><m sel='p:b/p:c'/></a>", nil, "<m xmlns:p='u' sel='p:b/p:c'/>"},
		{"<a xmlns:p='u'><b xmlns:p='v'><p:m/></b></a>", []Decl{{"p", "u"}}, "<p:m xmlns:p='v'/>"},
	} {
		root, err := Parse([]byte(c.in), File)
		if err != nil {
			t.Fatal(err)
		}
		if got := Moved(Path(root, find(root, "m")), c.to); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// A moved element means what it meant.
func TestMovedMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spaces := rapid.SampledFrom([]string{"u", "v", "w"})
		src := "<r xmlns='" + spaces.Draw(t, "default") + "' xmlns:p='" + spaces.Draw(t, "p") + "' xmlns:q='" + spaces.Draw(t, "q") + "'>" +
			rapid.SampledFrom([]string{"<m/>", "<p:m/>", "<m q:x='1'><p:n/></m>", "<q:m xmlns='z'><n/><p:o/></q:m>", "<p:m xmlns:p='y' p:a='1'><q:n><o/></q:n></p:m>"}).Draw(t, "element") + "</r>"
		root, err := Parse([]byte(src), File)
		if err != nil {
			t.Fatal(err)
		}
		var to []Decl
		for _, p := range []string{"", "p", "q"} {
			if rapid.Bool().Draw(t, "bound") {
				to = append(to, Decl{p, spaces.Draw(t, "to")})
			}
		}
		m := find(root, "m")
		got, err := ParseIn([]byte(Moved(Path(root, m), to)), to, File)
		if err != nil {
			t.Fatal(err)
		}
		if strict(got) != strict(m) {
			t.Fatalf("%s became %s in %v", m.Source(), got.Source(), to)
		}
	})
}
