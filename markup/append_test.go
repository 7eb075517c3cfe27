package markup

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAppend(t *testing.T) {
	const c = "jabber:client"
	for _, x := range []struct{ in, child, scope, want string }{
		// Bytes are copied where they mean the same.
		{`<m xmlns='jabber:client'><b  x="1">a&#x26;b<![CDATA[<]]></b></m>`, "b", c, `<b  x="1">a&#x26;b<![CDATA[<]]></b>`},
		{`<m xmlns='jabber:client'><b xmlns='u'><c/></b></m>`, "b", c, `<b xmlns='u'><c/></b>`},
		{`<m xmlns='jabber:client'><b xmlns='u'><c/></b></m>`, "b", "other", `<b xmlns='u'><c/></b>`},
		{`<m xmlns='jabber:client'><p:b xmlns:p='u' p:x='1'/></m>`, "b", c, `<p:b xmlns:p='u' p:x='1'/>`},
		{`<m><b xml:lang='de'/></m>`, "b", "", `<b xml:lang='de'/>`},
		// One declaration makes the rest right.
		{`<m xmlns='jabber:client'><b x="1"><c/></b></m>`, "b", "other", `<b xmlns='jabber:client' x="1"><c/></b>`},
		{`<m><b/></m>`, "b", c, `<b xmlns=''/>`},
		// Prefixes of outside are gone.
		{`<m xmlns='jabber:client' xmlns:p='u'><p:b><p:c/>t<d/></p:b></m>`, "b", c, `<b xmlns='u'><c/>t<d xmlns='jabber:client'/></b>`},
		{`<m xmlns='jabber:client' xmlns:p='u'><b p:x="'" y='2' p:z='3'/></m>`, "b", c, `<b xmlns:p='u' p:x='&apos;' y='2' p:z='3'/>`},
		{`<m xmlns='jabber:client' xmlns:p='u'><b p:x='1'/></m>`, "b", "other", `<b xmlns='jabber:client' xmlns:p='u' p:x='1'/>`},
		{`<m xmlns='a'><p:b xmlns:p='u'><d/></p:b></m>`, "b", "a", `<b xmlns='u'><d xmlns='a'/></b>`},
	} {
		m, err := Parse([]byte(x.in), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for b := range m.Children() {
			if got := string(b.Append(nil, x.scope)); got != x.want {
				t.Errorf("%s in %s:\n got %s\nwant %s", x.in, x.scope, got, x.want)
			}
		}
		if got := string(m.AppendInner([]byte("+"), x.scope)); got != "+"+x.want {
			t.Errorf("inner of %s in %s:\n got %s\nwant %s", x.in, x.scope, got, x.want)
		}
	}
}

func TestAppendDropsComments(t *testing.T) {
	e, err := Parse([]byte(`<a><!--1--><b>x<?y z?></b><c   /></a>`), Options{Document: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(e.Append(nil, "")), `<a><b>x</b><c   /></a>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(e.AppendInner(nil, "")), `<b>x</b><c   />`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendByHand(t *testing.T) {
	e := &Element{Space: "u", Local: "a", Attrs: []Attr{
		{Space: "v", Local: "x", Value: "1"}, {Space: "w", Local: "x", Value: "2"},
		{Space: "v", Local: "y", Value: "3"}, {Space: XMLSpace, Local: "lang", Value: "de"},
	}, Nodes: []Node{{Text: "<]]>", Kind: TextNode}, {Element: &Element{Local: "b"}}}}
	const want = `<a xmlns='u' xmlns:ns='v' ns:x='1' xmlns:ns_='w' ns_:x='2' ns:y='3' xml:lang='de'>&lt;]]&gt;<b xmlns=''/></a>`
	if got := string(e.Append(nil, "")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendText(t *testing.T) {
	const in = "a<b>&'\"\t\n\r\x00\x7f\xffß😀\uFFFE]]>"
	if got, want := string(AppendText(nil, in)), "a&lt;b&gt;&amp;'\"\t\n&#13;\uFFFD\x7f\uFFFDß😀\uFFFD]]&gt;"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(AppendAttr(nil, "x", in)), " x='a&lt;b&gt;&amp;&apos;&quot;&#9;&#10;&#13;\uFFFD\x7f\uFFFDß😀\uFFFD]]&gt;'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// element draws a tree by hand, with any namespaces and texts.
func element(depth int) *rapid.Generator[*Element] {
	spaces := rapid.SampledFrom([]string{"", "u", "v", "jabber:client"})
	names := rapid.SampledFrom([]string{"a", "b", "é", "c-1"})
	return rapid.Custom(func(t *rapid.T) *Element {
		e := &Element{Space: spaces.Draw(t, "space"), Local: names.Draw(t, "name")}
		seen := map[Attr]bool{}
		for range rapid.IntRange(0, 3).Draw(t, "attrs") {
			a := Attr{Space: spaces.Draw(t, "space"), Local: names.Draw(t, "name")}
			if seen[a] {
				continue
			}
			seen[a] = true
			if a.Value = clean(rapid.String().Draw(t, "value")); a.Space != "" {
				a.Prefix = rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "prefix")
			}
			e.Attrs = append(e.Attrs, a)
		}
		if depth == 0 {
			return e
		}
		for range rapid.IntRange(0, 3).Draw(t, "nodes") {
			if rapid.Bool().Draw(t, "text") {
				e.Nodes = append(e.Nodes, Node{Text: clean(rapid.String().Draw(t, "text")), Kind: TextNode})
			} else {
				e.Nodes = append(e.Nodes, Node{Element: element(depth-1).Draw(t, "child")})
			}
		}
		return e
	})
}

// clean keeps what XML can carry.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !isChar(r) {
			return -1
		}
		return r
	}, s)
}

// strict renders without hiding anything but the splitting of texts.
func strict(e *Element) string {
	flat := *e
	flat.Nodes = nil
	for _, n := range e.Nodes {
		last := len(flat.Nodes) - 1
		switch {
		case n.Kind == TextNode && n.Text == "":
		case n.Kind == TextNode && last >= 0 && flat.Nodes[last].Kind == TextNode:
			flat.Nodes[last].Text += n.Text
		default:
			flat.Nodes = append(flat.Nodes, Node{Text: n.Text, Kind: n.Kind, Element: n.Element})
		}
	}
	parts := []string{flat.Space, flat.Local}
	for _, a := range flat.Attrs {
		parts = append(parts, a.Space, a.Local, a.Value)
	}
	for _, n := range flat.Nodes {
		if n.Element != nil {
			parts = append(parts, strict(n.Element))
		} else {
			parts = append(parts, "text", n.Text)
		}
	}
	return "(" + strings.Join(parts, "\x00") + ")"
}

// Whatever is written is read back as the same tree, whatever the scope, by hand
// or by copying, and whole or as content.
func TestAppendRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := element(3).Draw(t, "element")
		want := strict(e)
		for range 3 {
			scope := rapid.SampledFrom([]string{"", "u", "jabber:client"}).Draw(t, "scope")
			out := e.Append(nil, scope)
			again, err := ParseIn(out, []Decl{{"", scope}}, Options{})
			if err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			if got := strict(again); got != want {
				t.Fatalf("%s:\n got %q\nwant %q", out, got, want)
			}
			wrapped := append(AppendAttr([]byte("<w"), "xmlns", scope), '>')
			wrapped = append(again.AppendInner(wrapped, scope), "</w>"...)
			w, err := Parse(wrapped, Options{})
			if err != nil {
				t.Fatalf("%s: %v", wrapped, err)
			}
			w.Space, w.Local, w.Attrs = again.Space, again.Local, again.Attrs
			if got := strict(w); got != want {
				t.Fatalf("%s:\n got %q\nwant %q", wrapped, got, want)
			}
			e = again
		}
	})
}
