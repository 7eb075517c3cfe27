package markup

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// probe is one input that a reader of XMPP must accept or refuse.
type probe struct {
	in  string
	out string    // rendering of the tree when accepted as a stanza
	bad ErrorKind // of the refusal otherwise
	doc string    // rendering when it is accepted as a document only
}

const refused = ""

var probes = []probe{
	{in: `<a/>`, out: `{}a()`},
	{in: `<a></a>`, out: `{}a()`},
	{in: `<a ></a >`, out: `{}a()`},
	{in: "<a\n b = 'c'\t/>", out: `{}a({}b="c")`},
	{in: `<a xmlns='u'><b/><c xmlns=''/></a>`, out: `{u}a({u}b(),{}c())`},
	{in: `<p:a xmlns:p='u' p:x='1' x='2'/>`, out: `{u}a({u}x="1",{}x="2")`},
	{in: `<a xml:lang='de'/>`, out: `{}a({` + XMLSpace + `}lang="de")`},
	{in: `<a xmlns:xml='` + XMLSpace + `'/>`, out: `{}a()`},
	{in: `<a>x&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#x1F600;</a>`, out: `{}a("x<>&'\"AB😀")`},
	{in: `<a b='&lt;&#10;'/>`, out: `{}a({}b="<\n")`},
	{in: "<a b='1\n2\t3\r\n4\r5'/>", out: `{}a({}b="1 2 3 4 5")`},
	{in: "<a>1\r\n2\r3</a>", out: `{}a("1\n2\n3")`},
	{in: "<a>&#13;</a>", out: `{}a("\r")`},
	{in: `<a>1<![CDATA[<b>&amp;]]]]><![CDATA[>]]>2</a>`, out: `{}a("1","<b>&amp;]]",">","2")`},
	{in: `<a>]] ></a>`, out: `{}a("]] >")`},
	{in: `<a b='>' c="'" d='"]]>'/>`, out: `{}a({}b=">",{}c="'",{}d="\"]]>")`},
	{in: `<é·x ü='ö'>ß</é·x>`, out: `{}é·x({}ü="ö","ß")`},
	{in: "<a>\u007f\uFFFD\U0010FFFF</a>", out: "{}a(\"\\x7f\uFFFD\\U0010ffff\")"},
	{in: `<a xmlns:p='u' xmlns:q='v' p:x='1' q:x='2'/>`, out: `{}a({u}x="1",{v}x="2")`},
	{in: `<a b='1' xmlns='u' xmlns:p='u' p:b='2'/>`, out: `{u}a({}b="1",{u}b="2")`},

	{in: ``, bad: NotWellFormed},
	{in: `   `, bad: NotWellFormed},
	{in: `x<a/>`, bad: NotWellFormed},
	{in: `<a/>x`, bad: NotWellFormed},
	{in: `<a/><b/>`, bad: NotWellFormed},
	{in: `<a>`, bad: NotWellFormed},
	{in: `<a><b></a>`, bad: NotWellFormed},
	{in: `<a></b>`, bad: NotWellFormed},
	{in: `<a></ab>`, bad: NotWellFormed},
	{in: `<a></A>`, bad: NotWellFormed},
	{in: `</a>`, bad: NotWellFormed},
	{in: `<>`, bad: NotWellFormed},
	{in: `< a/>`, bad: NotWellFormed},
	{in: `<a/ >`, bad: NotWellFormed},
	{in: `<a/b>`, bad: NotWellFormed},
	{in: `<1b/>`, bad: NotWellFormed},
	{in: `<-b/>`, bad: NotWellFormed},
	{in: `<a b/>`, bad: NotWellFormed},
	{in: `<a b=c/>`, bad: NotWellFormed},
	{in: `<a b='c/>`, bad: NotWellFormed},
	{in: `<a b='1'c='2'/>`, bad: NotWellFormed},
	{in: `<a b='<'/>`, bad: NotWellFormed},
	{in: `<a b='&'/>`, bad: NotWellFormed},
	{in: `<a b='1' b='2'/>`, bad: NotWellFormed},
	{in: `<a xmlns='u' xmlns='u'/>`, bad: NotWellFormed},
	{in: `<a xmlns:p='u' xmlns:p='v'/>`, bad: NotWellFormed},
	{in: `<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>`, bad: NotWellFormed},
	{in: `<a>&</a>`, bad: NotWellFormed},
	{in: `<a>&amp</a>`, bad: NotWellFormed},
	{in: `<a>&;</a>`, bad: NotWellFormed},
	{in: `<a>&#;</a>`, bad: NotWellFormed},
	{in: `<a>&#x;</a>`, bad: NotWellFormed},
	{in: `<a>&#0;</a>`, bad: NotWellFormed},
	{in: `<a>&#x1;</a>`, bad: NotWellFormed},
	{in: `<a>&#xD800;</a>`, bad: NotWellFormed},
	{in: `<a>&#x110000;</a>`, bad: NotWellFormed},
	{in: `<a>&#99999999999999;</a>`, bad: NotWellFormed},
	{in: `<a>&#+5;</a>`, bad: NotWellFormed},
	{in: `<a>&#X41;</a>`, bad: NotWellFormed},
	{in: "<a>\x00</a>", bad: NotWellFormed},
	{in: "<a>\x01</a>", bad: NotWellFormed},
	{in: "<a b='\x1f'/>", bad: NotWellFormed},
	{in: "<a>\uFFFE</a>", bad: NotWellFormed},
	{in: "<a><![CDATA[\x02]]></a>", bad: NotWellFormed},
	{in: `<a>]]></a>`, bad: NotWellFormed},
	{in: `<a>]]]></a>`, bad: NotWellFormed},
	{in: `<a><![CDATA[</a>`, bad: NotWellFormed},
	{in: `<![CDATA[x]]>`, bad: NotWellFormed},

	{in: `<p:a/>`, bad: BadNamespace},
	{in: `<a p:b='1'/>`, bad: BadNamespace},
	{in: `<a><b xmlns:p='u'/><p:c/></a>`, bad: BadNamespace},
	{in: `<a xmlns:p=''/>`, bad: BadNamespace},
	{in: `<a xmlns:xml='u'/>`, bad: BadNamespace},
	{in: `<a xmlns:xmlns='u'/>`, bad: BadNamespace},
	{in: `<a xmlns:xmlns='` + XMLNSSpace + `'/>`, bad: BadNamespace},
	{in: `<a xmlns:p='` + XMLSpace + `'/>`, bad: BadNamespace},
	{in: `<a xmlns='` + XMLSpace + `'/>`, bad: BadNamespace},
	{in: `<a xmlns='` + XMLNSSpace + `'/>`, bad: BadNamespace},
	{in: `<xmlns:a/>`, bad: BadNamespace},
	{in: `<a:b:c xmlns:a='u'/>`, bad: BadNamespace},
	{in: `<:a/>`, bad: NotWellFormed},
	{in: `<a:/>`, bad: NotWellFormed},
	{in: `<a :b='1'/>`, bad: NotWellFormed},
	{in: `<a xmlns:='u'/>`, bad: NotWellFormed},

	{in: `<!DOCTYPE a><a/>`, bad: Restricted},
	{in: `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, bad: Restricted},
	{in: `<a>&b;</a>`, bad: Restricted},
	{in: `<a b='&b;'/>`, bad: Restricted},
	{in: `<a><!-- x --></a>`, bad: Restricted, doc: "{}a(<!-- x -->)"},
	{in: `<!-- x --><a/><!-- y -->`, bad: Restricted, doc: "{}a()"},
	{in: `<a><?b c?></a>`, bad: Restricted, doc: "{}a(<?b c?>)"},
	{in: `<?xml version='1.0'?><a/>`, bad: Restricted, doc: "{}a()"},
	{in: "\uFEFF<?xml version=\"1.0\" encoding='utf-8' standalone='yes' ?>\n<a/>\n", bad: NotWellFormed, doc: "{}a()"},

	{in: "<a>\xff</a>", bad: BadEncoding},
	{in: "<a>\xc0\x80</a>", bad: BadEncoding},
	{in: "<a>\xed\xa0\x80</a>", bad: BadEncoding},
	{in: "<a b='\xe2\x82'/>", bad: BadEncoding},
	{in: "<a\xff/>", bad: BadEncoding},
	{in: "<a><![CDATA[\xfe]]></a>", bad: BadEncoding},
}

// docProbes are refused even as documents.
var docProbes = []probe{
	{in: `<!DOCTYPE a><a/>`, bad: Restricted},
	{in: `<a>&b;</a>`, bad: Restricted},
	{in: ` <?xml version='1.0'?><a/>`, bad: NotWellFormed},
	{in: `<?xml?><a/>`, bad: NotWellFormed},
	{in: `<?xml version='2.0'?><a/>`, bad: NotWellFormed},
	{in: `<?xml encoding='utf-8'?><a/>`, bad: NotWellFormed},
	{in: `<?xml version='1.0'encoding='utf-8'?><a/>`, bad: NotWellFormed},
	{in: `<?xml version='1.0' standalone='maybe'?><a/>`, bad: NotWellFormed},
	{in: `<?xml version='1.0'`, bad: NotWellFormed},
	{in: `<?xml version='1.0' encoding='latin1'?><a/>`, bad: BadEncoding},
	{in: `<a><!-- x -- y --></a>`, bad: NotWellFormed},
	{in: `<a><!-- x ---></a>`, bad: NotWellFormed},
	{in: `<a><!-- x</a>`, bad: NotWellFormed},
	{in: "<a><!-- \x01 --></a>", bad: NotWellFormed},
	{in: "<a><!-- \xff --></a>", bad: BadEncoding},
	{in: `<a><?XML x?></a>`, bad: NotWellFormed},
	{in: `<a><?b</a>`, bad: NotWellFormed},
	{in: `<a><??></a>`, bad: NotWellFormed},
	{in: `<a><?b/c?></a>`, bad: NotWellFormed},
	{in: `<a><!ELEMENT b></a>`, bad: NotWellFormed},
}

// render writes a tree as {space}local(attributes and children).
func render(e *Element) string {
	var parts []string
	for _, a := range e.Attrs {
		parts = append(parts, fmt.Sprintf("{%s}%s=%q", a.Space, a.Local, a.Value))
	}
	for _, n := range e.Nodes {
		switch n.Kind {
		case ElementNode:
			parts = append(parts, render(n.Element))
		case TextNode:
			parts = append(parts, fmt.Sprintf("%q", n.Text))
		case CommentNode:
			parts = append(parts, "<!--"+n.Text+"-->")
		case InstructionNode:
			parts = append(parts, "<?"+n.Text+"?>")
		}
	}
	return fmt.Sprintf("{%s}%s(%s)", e.Space, e.Local, strings.Join(parts, ","))
}

func check(t *testing.T, in string, e *Element, err error, want string, bad ErrorKind) {
	t.Helper()
	var s *SyntaxError
	switch {
	case want != refused && err != nil:
		t.Errorf("%q: %v", in, err)
	case want != refused && render(e) != want:
		t.Errorf("%q: got %s, want %s", in, render(e), want)
	case want == refused && err == nil:
		t.Errorf("%q: accepted as %s", in, render(e))
	case want == refused && (!errors.As(err, &s) || s.Kind != bad):
		t.Errorf("%q: got %v, want %v", in, err, bad)
	case want == refused && (s.Offset < 0 || s.Offset > len(in)):
		t.Errorf("%q: offset %d", in, s.Offset)
	}
}

func TestProbes(t *testing.T) {
	for _, p := range probes {
		e, err := Parse([]byte(p.in), Options{})
		check(t, p.in, e, err, p.out, p.bad)
		want := p.out
		if p.doc != "" {
			want = p.doc
		}
		e, err = Parse([]byte(p.in), Options{Document: true})
		check(t, p.in, e, err, want, p.bad)
	}
	for _, p := range docProbes {
		e, err := Parse([]byte(p.in), Options{Document: true})
		check(t, p.in, e, err, refused, p.bad)
	}
}

// Every stanza that Parse takes, the Scanner takes, however it is cut up; what
// Parse refuses never comes out of the Scanner.
func TestProbesOnStream(t *testing.T) {
	const header = `<?xml version='1.0'?> <stream:stream xmlns:stream='s'>`
	for _, p := range probes {
		for _, slow := range []bool{false, true} {
			var r io.Reader = strings.NewReader(header + p.in)
			if slow {
				r = iotest.OneByteReader(r)
			}
			sc := NewScanner(r, Options{})
			if _, err := sc.Header(); err != nil {
				t.Fatal(err)
			}
			e, err := sc.Next()
			if p.out != "" {
				check(t, p.in, e, err, p.out, 0)
				continue
			}
			for err == nil { // "<a/>x" begins with a good element
				if _, perr := Parse([]byte(e.Source()), Options{}); perr != nil {
					t.Errorf("%q: the scanner accepted %s", p.in, render(e))
				}
				e, err = sc.Next()
			}
			if err == io.EOF {
				t.Errorf("%q: taken for the end of the stream", p.in)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	attrs := func(n int) string {
		var b strings.Builder
		b.WriteString("<a")
		for i := range n {
			fmt.Fprintf(&b, " b%d='%d'", i, i)
		}
		return b.String() + "/>"
	}
	o := Options{MaxBytes: 1000, MaxDepth: 5, MaxAttrs: 3, MaxNodes: 10}
	for _, c := range []struct {
		in string
		ok bool
	}{
		{"<a>" + strings.Repeat("x", 993) + "</a>", true},
		{"<a>" + strings.Repeat("x", 994) + "</a>", false},
		{deep(5), true},
		{deep(6), false},
		{attrs(3), true},
		{attrs(4), false},
		{"<a>" + strings.Repeat("<b/>", 9) + "</a>", true},
		{"<a>" + strings.Repeat("<b/>", 10) + "</a>", false},
		{"<a>" + strings.Repeat("x<b/>", 5) + "</a>", false},
		{"<a>" + strings.Repeat("<![CDATA[]]>", 10) + "</a>", false},
	} {
		want := refused
		e, err := Parse([]byte(c.in), o)
		if c.ok && err == nil {
			want = render(e)
		} else if c.ok {
			t.Errorf("%.60q: %v", c.in, err)
			continue
		}
		check(t, c.in, e, err, want, TooBig)
		sc := NewScanner(strings.NewReader("<s>"+c.in), o)
		if _, err := sc.Header(); err != nil {
			t.Fatal(err)
		}
		e, err = sc.Next()
		check(t, c.in, e, err, want, TooBig)
	}
}

func TestSpans(t *testing.T) {
	const in = `<?xml version="1.0"?><!--c--><a x='1'> t <b>&lt;<c/></b><!--d--><e  /></a>`
	a, err := Parse([]byte(in), Options{Document: true})
	if err != nil {
		t.Fatal(err)
	}
	b, e := a.Child("", "b"), a.Child("", "e")
	inner := func(e *Element) string { return in[e.Inner[0]:e.Inner[1]] }
	for _, c := range []struct{ got, want string }{
		{a.Source(), in[strings.Index(in, "<a"):]},
		{inner(a), ` t <b>&lt;<c/></b><!--d--><e  />`},
		{in[b.Start:b.End], `<b>&lt;<c/></b>`},
		{inner(b), `&lt;<c/>`},
		{b.Child("", "c").Source(), `<c/>`},
		{e.Source(), `<e  />`},
		{inner(e), ``},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	at := a.Inner[0]
	for _, n := range a.Nodes {
		if n.Start != at {
			t.Errorf("node at %d, want %d", n.Start, at)
		}
		if n.Element != nil && (n.Element.Start != n.Start || n.Element.End != n.End) {
			t.Errorf("node %d-%d, element %d-%d", n.Start, n.End, n.Element.Start, n.Element.End)
		}
		at = n.End
	}
	if at != a.Inner[1] {
		t.Errorf("nodes end at %d, want %d", at, a.Inner[1])
	}
}

func TestAccessors(t *testing.T) {
	e, err := Parse([]byte(`<a xmlns='u' b='1' xml:lang='en'>x<c/><![CDATA[y]]><d xmlns='v'>z</d></a>`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Attr("b") != "1" || e.Attr("lang") != "" || e.Attr("zzz") != "" {
		t.Error("Attr")
	}
	if v, ok := e.LookupAttr(XMLSpace, "lang"); v != "en" || !ok {
		t.Error("LookupAttr")
	}
	if e.Text() != "xy" || e.Child("v", "d").Text() != "z" || e.Child("u", "c").Text() != "" {
		t.Error("Text")
	}
	if e.Child("", "c") != nil || e.Child("u", "c") == nil || !e.Is("u", "a") {
		t.Error("Child")
	}
	var names []string
	for c := range e.Children() {
		names = append(names, c.Local)
	}
	if strings.Join(names, " ") != "c d" {
		t.Error(names)
	}
	var none *Element
	for range none.Children() {
		t.Error("a child of nil")
	}
	if none.Attr("a") != "" || none.Text() != "" || none.Child("", "a").Child("", "b") != nil {
		t.Error("nil")
	}
}

// stdRender renders what encoding/xml reads, texts joined, in the form of render.
func stdRender(in []byte) (string, error) {
	d := xml.NewDecoder(strings.NewReader(string(in)))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	type open struct {
		name  string
		parts []string
		text  string
	}
	stack := []open{{}}
	flush := func() {
		if top := &stack[len(stack)-1]; top.text != "" {
			top.parts = append(top.parts, fmt.Sprintf("%q", top.text))
			top.text = ""
		}
	}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			if len(stack) != 1 || len(stack[0].parts) == 0 {
				return "", errors.New("no element")
			}
			return strings.Join(stack[0].parts, ","), nil
		}
		if err != nil {
			return "", err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			flush()
			o := open{name: fmt.Sprintf("{%s}%s", blanks(tok.Name.Space), tok.Name.Local)}
			for _, a := range tok.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				o.parts = append(o.parts, fmt.Sprintf("{%s}%s=%q", blanks(a.Name.Space), a.Name.Local, blanks(a.Value)))
			}
			stack = append(stack, o)
		case xml.EndElement:
			flush()
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			up := &stack[len(stack)-1]
			up.parts = append(up.parts, top.name+"("+strings.Join(top.parts, ",")+")")
		case xml.CharData:
			if len(stack) > 1 {
				stack[len(stack)-1].text += string(tok)
			}
		}
	}
}

// blanks hides the one thing in values on which encoding/xml differs from
// XML 1.0 §3.3.3: it keeps literal tabs and line ends in attribute values.
func blanks(s string) string {
	return strings.NewReplacer("\t", " ", "\n", " ", "\r", " ").Replace(s)
}

// joined renders the tree as stdRender does: texts joined, comments left out.
func joined(e *Element) string {
	var parts []string
	text := ""
	flush := func() {
		if text != "" {
			parts = append(parts, fmt.Sprintf("%q", text))
			text = ""
		}
	}
	for _, a := range e.Attrs {
		parts = append(parts, fmt.Sprintf("{%s}%s=%q", blanks(a.Space), a.Local, blanks(a.Value)))
	}
	for _, n := range e.Nodes {
		switch n.Kind {
		case ElementNode:
			flush()
			parts = append(parts, joined(n.Element))
		case TextNode:
			text += n.Text
		}
	}
	flush()
	return fmt.Sprintf("{%s}%s(%s)", blanks(e.Space), e.Local, strings.Join(parts, ","))
}

// stdRefuses tells of inputs that are right by the standards but refused by
// encoding/xml: names of the fifth edition of XML 1.0 that the fourth lacked,
// and versions 1.x other than 1.0 (fifth edition §2.8).
func stdRefuses(err error) bool {
	return strings.Contains(err.Error(), "invalid XML name") || strings.Contains(err.Error(), "unsupported version") ||
		strings.Contains(err.Error(), "expected") || strings.Contains(err.Error(), "invalid character")
}

// What we accept, encoding/xml in its strict mode reads as the same names and
// texts. The other way round it takes much that is wrong: see probes.
func FuzzParse(f *testing.F) {
	for _, p := range append(probes, docProbes...) {
		f.Add([]byte(p.in), true)
		f.Add([]byte(p.in), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, document bool) {
		e, err := Parse(in, Options{Document: document})
		if err != nil {
			return
		}
		in = []byte(strings.TrimPrefix(string(in), "\uFEFF"))
		std, err := stdRender(in)
		if err != nil {
			if stdRefuses(err) && !ascii(in) {
				return
			}
			if stdRefuses(err) && strings.Contains(err.Error(), "unsupported version") {
				return
			}
			t.Fatalf("%q: encoding/xml says %v", in, err)
		}
		if got := joined(e); got != std {
			t.Fatalf("%q:\n got %s\nwant %s", in, got, std)
		}
		for _, scope := range []string{"", "u", "other"} {
			out := e.Append(nil, scope)
			again, err := ParseIn(out, []Decl{{"", scope}}, Options{MaxBytes: 1 << 30, MaxNodes: 1 << 30})
			if err != nil {
				t.Fatalf("%q in %q became %q: %v", in, scope, out, err)
			}
			if joined(again) != joined(e) {
				t.Fatalf("%q in %q became %q", in, scope, out)
			}
		}
	})
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
