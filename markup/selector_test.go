package markup

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// describe names what was selected.
func describe(t *Target) string {
	var parts []string
	for _, e := range t.Path {
		parts = append(parts, e.Local+e.Attr("n"))
	}
	e := t.Element()
	switch t.Kind {
	case AttrTarget:
		parts = append(parts, "@"+e.Attrs[t.Attr].Local)
	case NamespaceTarget:
		parts = append(parts, "ns:"+t.Name)
	case ElementTarget:
	default:
		parts = append(parts, strconv.Itoa(int(t.Kind))+":"+(*e.src)[e.Nodes[t.From].Start:e.Nodes[t.To-1].End])
	}
	return strings.Join(parts, "/")
}

func TestSelect(t *testing.T) {
	const doc = `<a xmlns='u' xmlns:p='v'><b n='1' x='1'>one</b><b n='2' x="2">two<c>3</c><![CDATA[4]]>5</b><p:b n='3' p:x='1' id='i'/><b n='4' x='1'><c>3</c><!--r--><?q w?><?z?></b></a>`
	root, err := Parse([]byte(doc), File)
	if err != nil {
		t.Fatal(err)
	}
	scope := []Decl{{"", "u"}, {"w", "v"}}
	for sel, want := range map[string]string{
		"a":                               "a",
		"/a":                              "a",
		"*":                               "a",
		"a/b":                             "a/b1 a/b2 a/b4",
		"a/b[2]":                          "a/b2",
		"a/*[3]":                          "a/b3",
		"a/w:b":                           "a/b3",
		"*/b[@x='1']":                     "a/b1 a/b4",
		`*/b[ @x = "1" ][2]`:              "a/b4",
		"*/b[2][@x='2']":                  "a/b2",
		"*/b[2][@x='1']":                  "",
		"a/b[c='3']":                      "a/b2 a/b4",
		"a/b[.='one']":                    "a/b1",
		"a/b[.='two345']":                 "a/b2",
		"a/w:b[@w:x='1']":                 "a/b3",
		"a/w:b[@x='1']":                   "",
		"a/b/c":                           "a/b2/c a/b4/c",
		"a/b/c[1]":                        "a/b2/c a/b4/c",
		"a/b[2]/text()":                   "a/b2/1:two a/b2/1:<![CDATA[4]]>5",
		"a/b[2]/text()[2]":                "a/b2/1:<![CDATA[4]]>5",
		"a/b[3]/comment()":                "a/b4/2:<!--r-->",
		"a/b/processing-instruction()[2]": "a/b4/3:<?z?>",
		"a/b/processing-instruction('q')": "a/b4/3:<?q w?>",
		"a/b[1]/@x":                       "a/b1/@x",
		"a/w:b/@w:x":                      "a/b3/@x",
		"a/w:b/@x":                        "",
		"a/namespace::p":                  "a/ns:p",
		"a/namespace::w":                  "",
		"id('i')":                         "a/b3",
		"id(\"i\")/@n":                    "a/b3/@n",
		"b":                               "",
		"text()":                          "",
	} {
		ts, err := Select(root, sel, scope)
		var got []string
		for i := range ts {
			got = append(got, describe(&ts[i]))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v %q, want %q", sel, err, got, want)
		}
	}
	for sel, want := range map[string]error{
		"": ErrSelector, "/": ErrSelector, "//a": ErrSelector, "a/": ErrSelector, "a//b": ErrSelector, "a[0]": ErrSelector,
		"a[": ErrSelector, "a[1": ErrSelector, "a[@x]": ErrSelector, "a[@x=1]": ErrSelector, "a[@x='1]": ErrSelector, "a/@x/b": ErrSelector,
		"a/text()/b": ErrSelector, "a/id('i')": ErrSelector, "a[last()]": ErrSelector, "..": ErrSelector, "a/w:*": ErrSelector,
		"a/text()[.='x']": ErrSelector, "a/@x[1]": ErrSelector, "p:a": ErrPrefix, "a[@p:x='1']": ErrPrefix, "a|b": ErrSelector,
		"a[99999999999999999999]":               ErrSelector,
		strings.Repeat("a/", MaxSteps) + "a":    ErrSelector,
		"a" + strings.Repeat("[1]", MaxTests+1): ErrSelector,
		strings.Repeat("a", MaxSelector+1):      ErrSelector,
	} {
		if ts, err := Select(root, sel, scope); !errors.Is(err, want) {
			t.Errorf("%.30s: %v %v, want %v", sel, ts, err, want)
		}
	}
}

func FuzzSelect(f *testing.F) {
	for _, s := range []string{"a/b[2]/@x", "*/w:b[@w:x='1']", "id('i')/text()[1]", "a/b[c=\"3\"]/processing-instruction('q')[1]"} {
		f.Add(s, []byte("<a xmlns='u'><b>1</b><b x='2' id='i'><c>3</c><?q?></b></a>"))
	}
	f.Fuzz(func(t *testing.T, sel string, doc []byte) {
		root, err := Parse(doc, File)
		if err != nil {
			return
		}
		ts, err := Select(root, sel, []Decl{{"", "u"}, {"w", "v"}})
		if err != nil {
			return
		}
		for i := range ts {
			describe(&ts[i])
			if path := ts[i].Path; path[0] != root || len(Path(root, ts[i].Element())) != len(path) {
				t.Fatalf("%q selects what is not there", sel)
			}
		}
	})
}
