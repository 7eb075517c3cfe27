package patch

import (
	"errors"
	"sort"
	"strings"
	"testing"

	"pharos/markup"
)

// parseOps reads a patch document.
func parseOps(t testing.TB, patch string) []Op {
	t.Helper()
	root, err := markup.Parse([]byte(patch), markup.File)
	if err != nil {
		t.Fatal(err, "\n", patch)
	}
	ops, err := Parse(root)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

// The examples of RFC 5261 appendix A, and the results that it gives.
func TestExamples(t *testing.T) {
	for _, c := range []struct{ name, doc, patch, want string }{
		{"A.1 adding an element", "<doc>\n  <note>This is a sample document</note>\n</doc>",
			`<diff><add sel="doc"><foo id="ert4773">This is a new child</foo></add></diff>`,
			"<doc>\n  <note>This is a sample document</note>\n<foo id=\"ert4773\">This is a new child</foo></doc>"},
		{"A.2 adding an attribute", "<doc>\n  <note>This is a sample document</note>\n  <foo id=\"ert4773\">This is a new child</foo>\n</doc>",
			`<diff><add sel="doc/foo[@id='ert4773']" type="@user">Bob</add></diff>`,
			"<doc>\n  <note>This is a sample document</note>\n  <foo id=\"ert4773\" user='Bob'>This is a new child</foo>\n</doc>"},
		{"A.3 adding a prefixed namespace declaration", "<doc>\n  <note>This is a sample document</note>\n</doc>",
			`<diff><add sel="doc" type="namespace::pref">urn:ns:xxx</add></diff>`,
			"<doc xmlns:pref='urn:ns:xxx'>\n  <note>This is a sample document</note>\n</doc>"},
		{"A.4 adding a comment with pos", "<doc>\n  <note>n</note>\n  <foo id=\"ert4773\">f</foo>\n</doc>",
			`<diff><add sel="doc/foo[@id='ert4773']" pos="before"><!-- comment --></add></diff>`,
			"<doc>\n  <note>n</note>\n  <!-- comment --><foo id=\"ert4773\">f</foo>\n</doc>"},
		{"A.5 adding several nodes", "<doc>\n  <note>n</note>\n</doc>",
			"<diff><add sel=\"doc\">\n  <foo id=\"ert4773\">f</foo></add></diff>",
			"<doc>\n  <note>n</note>\n\n  <foo id=\"ert4773\">f</foo></doc>"},
		{"A.6 replacing an element", "<doc>\n  <foo a=\"1\">This is a sample document</foo>\n</doc>",
			"<diff><replace sel=\"doc/foo[@a='1']\">\n  <bar a=\"2\"/>\n</replace></diff>",
			"<doc>\n  <bar a=\"2\"/>\n</doc>"},
		{"A.7 replacing an attribute value", `<doc a="test"><foo a="1">This is a sample document</foo></doc>`,
			`<diff><replace sel="doc/@a">new value</replace></diff>`,
			`<doc a="new value"><foo a="1">This is a sample document</foo></doc>`},
		{"A.8 replacing a namespace declaration", `<doc xmlns:pref="urn:test"><foo a="1">x</foo></doc>`,
			`<diff><replace sel="doc/namespace::pref">urn:new:xxx</replace></diff>`,
			`<doc xmlns:pref="urn:new:xxx"><foo a="1">x</foo></doc>`},
		{"A.9 replacing a comment", `<doc a="test"><foo a="1">This is the original</foo><!-- comment --></doc>`,
			`<diff><replace sel="doc/comment()[1]"><!-- This is the new content
--></replace></diff>`,
			"<doc a=\"test\"><foo a=\"1\">This is the original</foo><!-- This is the new content\n--></doc>"},
		{"A.10 replacing an instruction", `<doc><?test bar="foobar"?></doc>`,
			`<diff><replace sel='doc/processing-instruction("test")'><?test bar="foobar" new?></replace></diff>`,
			`<doc><?test bar="foobar" new?></doc>`},
		{"A.11 replacing a text", "<doc><foo>This is <b>the</b> original text</foo></doc>",
			`<diff><replace sel="doc/foo/text()[1]">This is the new content of</replace></diff>`,
			"<doc><foo>This is the new content of<b>the</b> original text</foo></doc>"},
		{"A.12 removing an element", "<doc>\n  <foo a=\"1\">x</foo>\n</doc>",
			`<diff><remove sel="doc/foo[@a='1']" ws="after"/></diff>`, "<doc>\n  </doc>"},
		{"A.13 removing an attribute", `<doc a="foo"><foo a="1">x</foo></doc>`,
			`<diff><remove sel="doc/@a"/></diff>`, `<doc><foo a="1">x</foo></doc>`},
		{"A.14 removing a declaration", `<doc xmlns:pref="urn:test"><foo a="1">x</foo></doc>`,
			`<diff><remove sel="doc/foo/@a"/><remove sel="doc/namespace::pref"/></diff>`, `<doc><foo>x</foo></doc>`},
		{"A.15 removing a comment", `<doc><foo a="1">x</foo><!-- comment --></doc>`,
			`<diff><remove sel="doc/comment()[1]"/></diff>`, `<doc><foo a="1">x</foo></doc>`},
		{"A.16 removing an instruction", `<doc><foo a="1">x</foo><?test?></doc>`,
			`<diff><remove sel='doc/processing-instruction("test")'/></diff>`, `<doc><foo a="1">x</foo></doc>`},
		{"A.17 removing a text", `<doc><foo>This is the original text</foo></doc>`,
			`<diff><remove sel="doc/foo/text()[1]"/></diff>`, `<doc><foo></foo></doc>`},
		{"A.18 several patches with other prefixes", `<?xml version="1.0" encoding="UTF-8"?>
<doc xmlns="urn:ietf:params:xml:ns:xxx"
     xmlns:z="urn:ietf:params:xml:ns:yyy">
  <note>This is a sample document</note>
  <elem a="foo">
    <child/>
  </elem>
  <elem a="bar">
    <z:child/>
  </elem>
</doc>`, `<p:diff xmlns="urn:ietf:params:xml:ns:xxx"
        xmlns:y="urn:ietf:params:xml:ns:yyy"
        xmlns:p="urn:ietf:params:xml:ns:diff">

  <p:add sel="doc/elem[@a='foo']">  <!-- This is a new child -->
    <child id="ert4773">
      <y:node/>
    </child>
  </p:add>

  <p:replace sel="doc/note/text()">Patched doc</p:replace>

  <p:remove sel="*/elem[@a='bar']/y:child" ws="both"/>

  <p:add sel="*/elem[@a='bar']" type="@b">new attr</p:add>
</p:diff>`, `<?xml version="1.0" encoding="UTF-8"?>
<doc xmlns="urn:ietf:params:xml:ns:xxx"
     xmlns:z="urn:ietf:params:xml:ns:yyy">
  <note>Patched doc</note>
  <elem a="foo">
    <child/>
    <!-- This is a new child -->
    <child id="ert4773">
      <z:node/>
    </child>
  </elem>
  <elem a="bar" b='new attr'></elem>
</doc>`},
	} {
		got, err := Apply([]byte(c.doc), parseOps(t, c.patch))
		if c.name[:4] == "A.18" { // the RFC's own indentation of the result is loose
			got, c.want = []byte(strings.ReplaceAll(string(got), "  <!-- This", "<!-- This")), strings.ReplaceAll(c.want, "  <!-- This", "<!-- This")
			got, c.want = []byte(strings.Join(strings.Fields(string(got)), " ")), strings.Join(strings.Fields(c.want), " ")
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

// RFC 5262 §4: a partial PIDF document, as RFC 5263 notifies it.
func TestPartialPIDF(t *testing.T) {
	const doc = `<p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:c="urn:ietf:params:xml:ns:pidf:cipid" entity="pres:someone@example.com" version="567">
 <tuple id="sg89ae"><status><basic>open</basic><r:relationship>assistant</r:relationship></status><contact priority="0.5">tel:09012345678</contact></tuple>
 <tuple id="cg231jcr"><status><basic>open</basic></status></tuple>
 <tuple id="r1230d"><status><basic>closed</basic><r:activity>meeting</r:activity></status></tuple>
 <note xml:lang="en">Full state presence document</note>
</p:pidf-full>`
	const patch = `<p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" version="568">
 <p:add sel="presence/note" pos="before"><tuple id="ert4773"><status><basic>open</basic></status></tuple>
 </p:add>
 <p:replace sel="*/tuple[@id='r1230d']/status/basic/text()">open</p:replace>
 <p:remove sel="*/tuple[@id='r1230d']/status/r:activity"/>
 <p:replace sel="*/tuple[@id='cg231jcr']/status/basic"><basic>closed</basic></p:replace>
</p:pidf-diff>`
	const want = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:c="urn:ietf:params:xml:ns:pidf:cipid" entity="pres:someone@example.com" version="567">
 <tuple id="sg89ae"><status><basic>open</basic><r:relationship>assistant</r:relationship></status><contact priority="0.5">tel:09012345678</contact></tuple>
 <tuple id="cg231jcr"><status><basic>closed</basic></status></tuple>
 <tuple id="r1230d"><status><basic>open</basic></status></tuple>
 <tuple id="ert4773"><status><basic>open</basic></status></tuple>
 <note xml:lang="en">Full state presence document</note>
</presence>`
	// RFC 5262 §3.2: patches speak of the document as <presence>.
	full := strings.ReplaceAll(doc, "p:pidf-full", "presence")
	if got, err := Apply([]byte(full), parseOps(t, patch)); err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestMangle(t *testing.T) {
	for _, c := range []struct{ doc, patch, want string }{
		// The document's prefix for the same namespace.
		{"<d xmlns:q='u'/>", "<p xmlns:y='u'><add sel='d'><y:n y:a='1'><y:m></y:m></y:n></add></p>", "<d xmlns:q='u'><q:n q:a='1'><q:m></q:m></q:n></d>"},
		// Its default namespace; attributes need a prefix.
		{"<d xmlns='u'/>", "<p xmlns:y='u'><add sel='y:d'><y:n/></add></p>", "<d xmlns='u'><n/></d>"},
		{"<d xmlns='u'/>", "<p xmlns:y='u'><add sel='y:d'><y:n y:a='1'/></add></p>", "<d xmlns='u'><n y:a='1' xmlns:y='u'/></d>"},
		// None: the declaration comes along.
		{"<d/>", "<p xmlns:y='u'><add sel='d'><y:n/>t<y:m/></add></p>", "<d><y:n xmlns:y='u'/>t<y:m xmlns:y='u'/></d>"},
		{"<d/>", "<y:p xmlns:y='u' xmlns='w'><y:add sel='*'><n/></y:add></y:p>", "<d><n xmlns='w'/></d>"},
		{"<d xmlns='u'/>", "<p><add sel='*'><n/></add></p>", "<d xmlns='u'><n xmlns=''/></d>"},
		// What the content declares itself stays.
		{"<d xmlns:q='u'/>", "<p><add sel='d'><y:n xmlns:y='u'/></add></p>", "<d xmlns:q='u'><y:n xmlns:y='u'/></d>"},
		// A prefix that means something else here and there.
		{"<d xmlns:y='v'/>", "<p xmlns:y='u'><add sel='d'><y:n/></add></p>", "<d xmlns:y='v'><y:n xmlns:y='u'/></d>"},
		{"<d xmlns:b='u'/>", "<p xmlns:a='u' xmlns:b='v'><add sel='d'><r><a:x/><b:y/></r></add></p>", "<d xmlns:b='u'><r xmlns:a='u' xmlns:b='v'><a:x/><b:y/></r></d>"},
		{"<d xmlns='u'/>", "<a:p xmlns:a='u' xmlns='w'><a:add sel='*'><a:x><y/></a:x></a:add></a:p>", "<d xmlns='u'><a:x xmlns:a='u' xmlns='w'><y/></a:x></d>"},
		{"<d xmlns:q='u'/>", "<p xmlns:y='u'><add sel='d' type='@y:a'>1</add><replace sel='d/@y:a'>&lt;2</replace></p>", "<d xmlns:q='u' q:a='&lt;2'/>"},
		{"<d/>", "<p xmlns:y='u'><add sel='d' type='@y:a'>1</add><add sel='d' type='@xml:lang'>de</add></p>", "<d xmlns:y='u' y:a='1' xml:lang='de'/>"},
	} {
		if got, err := Apply([]byte(c.doc), parseOps(t, c.patch)); err != nil || string(got) != c.want {
			t.Errorf("%s in %s: %v\n got %s\nwant %s", c.patch, c.doc, err, got, c.want)
		}
	}
}

func TestApplyErrors(t *testing.T) {
	const doc = "<d xmlns:z='w' a='1'>\n <e/>x<f z:y='2'> </f><!--c--></d>"
	for patch, want := range map[string]string{
		"<add sel='d/g'><n/></add>":                                 UnlocatedNode,
		"<add sel='d/*'><n/></add>":                                 UnlocatedNode,
		"<remove sel='d/f/@y'/>":                                    UnlocatedNode,
		"<add sel='d['/>":                                           InvalidAttributeValue,
		"<add sel='d//e'/>":                                         InvalidAttributeValue,
		"<add sel='q:d'/>":                                          InvalidNamespacePrefix,
		"<add sel='d' type='@q:a'>1</add>":                          InvalidNamespacePrefix,
		"<add xmlns:z='v' sel='d' type='@z:a'>1</add>":              InvalidNamespacePrefix,
		"<add sel='d' type='@1'>1</add>":                            InvalidAttributeValue,
		"<add sel='d' type='@xmlns'>1</add>":                        InvalidAttributeValue,
		"<add sel='d' type='@a'>1</add>":                            InvalidPatchDirective,
		"<add sel='d' type='@b'><n/></add>":                         InvalidNodeTypes,
		"<add sel='d' type='@b' pos='after'>1</add>":                InvalidPatchDirective,
		"<add sel='d' type='namespace::z'>u</add>":                  InvalidPatchDirective,
		"<add sel='d' type='namespace::y'/>":                        InvalidNamespaceURI,
		"<add sel='d' type='namespace::xml'>u</add>":                InvalidNamespacePrefix,
		"<add sel='d/@a'><n/></add>":                                InvalidNodeTypes,
		"<add sel='d/text()[2]' pos='before'><n/></add>":            InvalidNodeTypes,
		"<add sel='d' pos='before'><n/></add>":                      InvalidRootElement,
		"<add sel='d' pos='after'>x</add>":                          InvalidRootElement,
		"<remove sel='d'/>":                                         InvalidRootElement,
		"<remove sel='d/e'>x</remove>":                              InvalidPatchDirective,
		"<remove sel='d/e' ws='after'/>":                            InvalidWhitespace,
		"<remove sel='d/e' ws='both'/>":                             InvalidWhitespace,
		"<remove sel='d/f' ws='before'/>":                           InvalidWhitespace,
		"<remove sel='d/@a' ws='before'/>":                          InvalidWhitespace,
		"<remove sel='d/namespace::z'/>":                            InvalidNamespacePrefix,
		"<replace sel='d/e'>x</replace>":                            InvalidNodeTypes,
		"<replace sel='d/e'><n/><n/></replace>":                     InvalidNodeTypes,
		"<replace sel='d/e'/>":                                      InvalidNodeTypes,
		"<replace sel='d/comment()'><n/></replace>":                 InvalidNodeTypes,
		"<replace sel='d/text()[2]'><n/></replace>":                 InvalidNodeTypes,
		"<replace sel='d/@a'><n/></replace>":                        InvalidNodeTypes,
		"<replace sel='d/namespace::z'/>":                           InvalidNamespaceURI,
		"<replace sel='d/namespace::z'><n/></replace>":              InvalidNodeTypes,
		"<add sel='d'/><remove sel='d/e'/><add sel='d/e'/>":         UnlocatedNode,
		strings.Repeat("<add sel='d' pos='prepend'/>", MaxOps) + "": "",
	} {
		_, err := Apply([]byte(doc), parseOps(t, "<p>"+patch+"</p>"))
		var e *Error
		if errors.As(err, &e); e == nil && want != "" || e != nil && e.Condition != want {
			t.Errorf("%s: %v, want %s", patch, err, want)
		}
	}
	for patch, want := range map[string]string{
		"<add/>":                                   InvalidAttributeValue,
		"<add sel='d' pos='inside'/>":              InvalidAttributeValue,
		"<add sel='d' type='element'/>":            InvalidAttributeValue,
		"<remove sel='d' ws='everywhere'/>":        InvalidAttributeValue,
		strings.Repeat("<add sel='d'/>", MaxOps+1): InvalidDiffFormat,
	} {
		root, err := markup.Parse([]byte("<p>"+patch+"</p>"), markup.File)
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if _, err = Parse(root); !errors.As(err, &e) || e.Condition != want {
			t.Errorf("%.50s: %v, want %s", patch, err, want)
		}
	}
	var s *markup.SyntaxError
	if _, err := Apply([]byte("<d"), nil); !errors.As(err, &s) {
		t.Error(err)
	}
	var e *Error
	if _, err := Apply([]byte(doc), []Op{{Kind: Add, Sel: "d", Content: "</content><content>"}}); !errors.As(err, &e) || e.Condition != InvalidDiffFormat {
		t.Error(err)
	}
	if _, err := Apply([]byte(doc), make([]Op, MaxOps+1)); !errors.As(err, &e) {
		t.Error(err)
	}
}

// canonical renders what the canonical form with comments tells apart, but for
// prefixes.
func canonical(e *markup.Element) string {
	var b strings.Builder
	b.WriteString("<{" + e.Space + "}" + e.Local)
	var attrs []string
	for _, a := range e.Attrs {
		attrs = append(attrs, " {"+a.Space+"}"+a.Local+"="+string(markup.AppendAttr(nil, "", a.Value)))
	}
	sort.Strings(attrs)
	b.WriteString(strings.Join(attrs, "") + ">")
	for _, n := range e.Nodes {
		switch n.Kind {
		case markup.ElementNode:
			b.WriteString(canonical(n.Element))
		case markup.TextNode:
			b.WriteString(escaped(n.Text))
		case markup.CommentNode:
			b.WriteString("<!--" + n.Text + "-->")
		case markup.InstructionNode:
			b.WriteString("<?" + n.Text + "?>")
		}
	}
	return b.String() + "</>"
}

func mustCanonical(t interface{ Fatal(...any) }, doc []byte) string {
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		t.Fatal(err, "\n", string(doc))
	}
	return canonical(root)
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("<d xmlns:q='u'><e a='1'/>t<!--c--></d>"), []byte("<p xmlns:y='u'><add sel='d' pos='prepend'><y:n/></add><remove sel='d/e'/><replace sel='d/text()'>x</replace></p>"))
	f.Add([]byte("<d a='1'>\n <e/></d>"), []byte("<p><add sel='d/@a'>x</add><remove ws='both' sel='*/*[1]'/><add sel='d' type='@b'>1</add></p>"))
	f.Fuzz(func(t *testing.T, doc, patch []byte) {
		p, err := markup.Parse(patch, markup.File)
		if err != nil {
			return
		}
		ops, err := Parse(p)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Condition == "" {
				t.Fatal(err)
			}
			return
		}
		got, err := Apply(doc, ops)
		if err != nil {
			return
		}
		mustCanonical(t, got)
		for _, o := range ops {
			if space, _ := markup.Bound(o.Scope, ""); space != "" {
				return // names without prefix would mean something else below
			}
		}
		// What is written is read as the same operations.
		root, err := markup.Parse(append(Append([]byte("<p>"), ops), "</p>"...), markup.File)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(root)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := Apply(doc, again); err != nil || mustCanonical(t, same) != mustCanonical(t, got) {
			t.Fatalf("%v\n%q\n%q", err, same, got)
		}
	})
}
