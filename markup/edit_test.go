package markup

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// find returns the first element of a local name, in document order.
func find(e *Element, local string) *Element {
	if e.Local == local {
		return e
	}
	for c := range e.Children() {
		if f := find(c, local); f != nil {
			return f
		}
	}
	return nil
}

func TestEdit(t *testing.T) {
	for _, c := range []struct {
		name, in string
		do       func(x *Edit, at func(string) *Element)
		want     string
	}{
		{"remove takes its line", "<a>\n  <b/>\n  <c x='1'>t</c>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Remove(at("c")) }, "<a>\n  <b/>\n</a>"},
		{"remove the only child", "<a>\n  <b/>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Remove(at("b")) }, "<a>\n</a>"},
		{"remove leaves text", "<a>one <b/> two</a>",
			func(x *Edit, at func(string) *Element) { x.Remove(at("b")) }, "<a>one  two</a>"},
		{"remove leaves a CDATA section", "<a><![CDATA[ ]]><b/></a>",
			func(x *Edit, at func(string) *Element) { x.Remove(at("b")) }, "<a><![CDATA[ ]]></a>"},
		{"append like the sibling", "<a>\n\t<b/>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>"); x.Append(at("a"), "<m/>") },
			"<a>\n\t<b/>\n\t<n/>\n\t<m/>\n</a>"},
		{"append keeps line ends", "<a>\r\n <b/>\r\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>") }, "<a>\r\n <b/>\r\n <n/>\r\n</a>"},
		{"append on one line", "<a><b/></a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>") }, "<a><b/><n/></a>"},
		{"append behind a comment's sibling", "<a>\n <b/><!--b-->\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>") }, "<a>\n <b/>\n <n/><!--b-->\n</a>"},
		{"append opens a tag", "<a>\n   <b x='/'/>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("b"), "<n/>"); x.Append(at("b"), "<m/>") },
			"<a>\n   <b x='/'>\n      <n/>\n      <m/>\n   </b>\n</a>"},
		{"append opens a prefixed tag", "<p:a xmlns:p='u'/>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>") }, "<p:a xmlns:p='u'><n/></p:a>"},
		{"append to an empty root under a declaration", "<?xml version='1.0'?>\n<a></a>\n",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>"); x.Append(at("a"), "<m/>") },
			"<?xml version='1.0'?>\n<a>\n  <n/>\n  <m/>\n</a>\n"},
		{"append to white space", "<a>\n  <b>\n  </b>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("b"), "<n/>"); x.Append(at("b"), "<m/>") },
			"<a>\n  <b>\n    <n/>\n    <m/>\n  </b>\n</a>"},
		{"append to text", "<a>\n  <b>t</b>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("b"), "<n/>") }, "<a>\n  <b>t<n/></b>\n</a>"},
		{"before and after", "<a>\n  <b/>\n  <c/>\n</a>",
			func(x *Edit, at func(string) *Element) {
				x.InsertBefore(at("b"), "<n/>")
				x.InsertAfter(at("b"), "<m/>")
			},
			"<a>\n  <n/>\n  <b/>\n  <m/>\n  <c/>\n</a>"},
		{"attributes", "<a x = \"1\"\n y='2'/>",
			func(x *Edit, at func(string) *Element) {
				x.SetAttr(at("a"), "x", `"&'`)
				x.SetAttr(at("a"), "z", "8")
				x.SetAttr(at("a"), "z", "9")
				x.SetAttr(at("a"), "xmlns:p", "u")
			}, "<a x = \"&quot;&amp;&apos;\"\n y='2' z='9' xmlns:p='u'/>"},
		{"attributes go", "<a x='1'\n y='2' />",
			func(x *Edit, at func(string) *Element) {
				x.RemoveAttr(at("a"), "y")
				x.SetAttr(at("a"), "z", "9")
				x.RemoveAttr(at("a"), "z")
				x.RemoveAttr(at("a"), "nosuch")
			}, "<a x='1' />"},
		{"attribute and content of one tag", "<a/>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>"); x.SetAttr(at("a"), "z", "9") }, "<a z='9'><n/></a>"},
		{"content", "<a><b/><c>1</c></a>",
			func(x *Edit, at func(string) *Element) { x.SetContent(at("b"), "2"); x.SetContent(at("c"), "3") }, "<a><b>2</b><c>3</c></a>"},
		{"a child for another", "<a>\n <b/>\n</a>",
			func(x *Edit, at func(string) *Element) { x.Append(at("a"), "<n/>"); x.Remove(at("b")) }, "<a>\n <n/>\n</a>"},
		{"nothing", "<?p?><a> <b/></a><!---->", func(*Edit, func(string) *Element) {}, "<?p?><a> <b/></a><!---->"},
	} {
		root, err := Parse([]byte(c.in), File)
		if err != nil {
			t.Fatal(c.name, err)
		}
		x := NewEdit(root)
		c.do(x, func(local string) *Element { return find(root, local) })
		got, err := x.Bytes()
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %q\nwant %q", c.name, err, got, c.want)
		}
	}
}

func TestEditOverlap(t *testing.T) {
	root, err := Parse([]byte("<a><b><c/></b></a>"), File)
	if err != nil {
		t.Fatal(err)
	}
	x := NewEdit(root)
	x.Remove(find(root, "b"))
	x.SetAttr(find(root, "c"), "x", "1")
	if _, err := x.Bytes(); !errors.Is(err, ErrOverlap) {
		t.Errorf("an attribute of what is removed: %v", err)
	}
}

// After any edits the document parses, and says what it said but for them.
func TestEditKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SampledFrom([]string{"<?xml version='1.0'?>\n", "", "<!--x-->"}).Draw(t, "prolog") + string(element(3).Draw(t, "doc").Append(nil, ""))
		if rapid.Bool().Draw(t, "in lines") {
			src = strings.ReplaceAll(src, "><", ">\n  <")
		}
		root, err := Parse([]byte(src), File)
		if err != nil {
			t.Fatal(err)
		}
		var all []*Element
		walk(root, func(e *Element) { all = append(all, e) })
		x := NewEdit(root)
		added, taken := 0, map[*Element]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "edits") {
			e := rapid.SampledFrom(all).Draw(t, "element")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				x.Append(e, "<new xmlns='new'/>")
				added++
			case 1:
				if e != root {
					x.InsertAfter(e, "<new xmlns='new'/>")
					added++
				}
			case 2:
				if e != root {
					x.InsertBefore(e, "<new xmlns='new'/>")
					added++
				}
			case 3:
				x.SetAttr(e, "new", "1")
				taken[e] = true
			}
		}
		got, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		now, err := Parse(got, File)
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, src, got)
		}
		// Taken out again, the rest is what it was.
		back := NewEdit(now)
		news, attrs := 0, 0
		walk(now, func(e *Element) {
			if e.Is("new", "new") {
				back.ReplaceElement(e, "")
				news++
			}
			if e.Attr("new") == "1" {
				back.RemoveAttr(e, "new")
				attrs++
			}
		})
		if news != added || attrs != len(taken) {
			t.Fatalf("%d elements and %d attributes put in, %d and %d found\n%s", added, len(taken), news, attrs, got)
		}
		was, err := back.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(was, File)
		if err != nil {
			t.Fatal(err)
		}
		if squeezed(again) != squeezed(root) {
			t.Fatalf("kept: %s\n was: %s", was, src)
		}
	})
}

func walk(e *Element, f func(*Element)) {
	f(e)
	for c := range e.Children() {
		walk(c, f)
	}
}

// squeezed renders a tree but for white space beside its tags.
func squeezed(e *Element) string {
	var b strings.Builder
	b.WriteString(e.Space + "|" + e.Local)
	for _, a := range e.Attrs {
		b.WriteString("|" + a.Space + "|" + a.Local + "=" + a.Value)
	}
	text := ""
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c != nil {
			b.WriteString(strings.TrimSpace(text) + squeezed(c))
			text = ""
		} else {
			text += e.Nodes[i].Text
		}
	}
	return "(" + b.String() + strings.TrimSpace(text) + ")"
}

// Whatever parses is edited into something that parses, each element in turn.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{"<a/>", "<a >\n <b x='1'\n/> t </a >", "<p:a xmlns:p='u'><![CDATA[ ]]><b/><!-- --></p:a>", "<?xml version='1.0'?>\r\n<a>&#32;<b></b></a>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		root, err := Parse(src, File)
		if err != nil {
			return
		}
		if got, err := NewEdit(root).Bytes(); err != nil || string(got) != string(src) {
			t.Fatalf("no edit at all: %v %q", err, got)
		}
		walk(root, func(e *Element) {
			for i, w := range e.Written() {
				if i >= len(e.Attrs)+len(e.Decls) || w.Name == "" {
					t.Fatalf("more attributes written than read in %q", e.Source())
				}
			}
			for kind := range 6 {
				x := NewEdit(root)
				switch {
				case kind == 0:
					x.Append(e, "<n/>")
					x.Append(e, "<m/>")
				case kind == 1:
					x.SetAttr(e, "fuzz", "<\"'")
				case kind == 2:
					x.SetContent(e, "text")
				case kind == 3 && e != root:
					x.InsertAfter(e, "<n/>")
				case kind == 4 && e != root:
					x.InsertBefore(e, "<n/>")
				case kind == 5 && e != root:
					x.Remove(e)
				}
				got, err := x.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				o := File
				o.MaxAttrs, o.MaxDepth, o.MaxNodes = 1000, 1000, 1<<20
				if _, err := Parse(got, o); err != nil {
					t.Fatalf("edit %d: %v\n%q\n%q", kind, err, src, got)
				}
			}
		})
	})
}
