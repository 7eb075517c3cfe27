package xcapdiff

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/patch"
)

// RFC 5874 §5.
const example = `<?xml version="1.0" encoding="UTF-8"?>
<d:xcap-diff xmlns:d="urn:ietf:params:xml:ns:xcap-diff" xmlns="urn:ietf:params:xml:ns:rls-services" xcap-root="http://xcap.example.com/root/">
 <d:document new-etag="7ahggs" sel="resource-lists/users/sip:joe@example.com/coworkers" previous-etag="8a77f8d"/>
 <d:element sel="rls-services/users/sip:joe@example.com/index/~~/*/service%5b@uri='sip:marketing@example.com'%5d"
            xmlns:rl="urn:ietf:params:xml:ns:resource-lists"
    ><service uri="sip:marketing@example.com">
      <list name="marketing">
        <rl:entry uri="sip:joe@example.com"/>
        <rl:entry uri="sip:sudhir@example.com"/>
      </list>
      <packages>
        <package>presence</package>
      </packages>
    </service></d:element>
 <d:attribute sel="rls-services/users/sip:joe@example.com/index/~~/*/service/@uri"
     >sip:marketing@example.com</d:attribute>
 <x:more xmlns:x="urn:x"/>
</d:xcap-diff>`

func TestExample(t *testing.T) {
	d, err := Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(d.Append(nil))
	if err != nil {
		t.Fatalf("%v\n%s", err, d.Append(nil))
	}
	for _, d := range []*Diff{d, again} {
		if d.Root != "http://xcap.example.com/root/" || len(d.Documents) != 1 || len(d.Elements) != 1 || len(d.Attributes) != 1 {
			t.Fatalf("%+v", d)
		}
		if x := d.Documents[0]; x.NewETag != "7ahggs" || x.PreviousETag != "8a77f8d" || x.Sel != "resource-lists/users/sip:joe@example.com/coworkers" || len(x.Ops) != 0 {
			t.Errorf("%+v", x)
		}
		e := d.Elements[0]
		el, err := markup.ParseIn([]byte(e.Content), e.Scope, markup.File)
		if err != nil || !el.Is("urn:ietf:params:xml:ns:rls-services", "service") || el.Child(el.Space, "list").Child("urn:ietf:params:xml:ns:resource-lists", "entry").Prefix != "rl" {
			t.Errorf("%v %+v", err, e)
		}
		if a := d.Attributes[0]; a.Value != "sip:marketing@example.com" || a.Gone {
			t.Errorf("%+v", a)
		}
	}
}

func TestAppend(t *testing.T) {
	d := Diff{Root: "https://h/xcap/", Documents: []Document{
		{Sel: "a/users/u/new", NewETag: "1"},
		{Sel: "a/users/u/gone", PreviousETag: "2"},
		{Sel: "a/users/u/same", NewETag: "3", PreviousETag: "2", BodyNotChanged: true},
		{Sel: "a/users/u/patched", NewETag: "5", PreviousETag: "4", Ops: []patch.Op{{Kind: patch.Remove, Sel: "*/*[1]", WS: "before"}}},
	}, Elements: []Element{
		{Sel: "a/users/u/x/~~/e", Content: "<d:e xmlns:q='w'><q:f/></d:e>", Scope: []markup.Decl{{Prefix: "d", Space: "old"}, {Prefix: "d", Space: "v"}}},
		{Sel: "a/users/u/x/~~/g", Gone: true},
		{Sel: "a/users/u/x/~~/large"},
	}, Attributes: []Attribute{{Sel: "a/users/u/x/~~/e/@n", Value: "<1>"}, {Sel: "a/users/u/x/~~/e/@m", Gone: true}}}
	const want = `<?xml version='1.0' encoding='UTF-8'?>
<xcap-diff xmlns='urn:ietf:params:xml:ns:xcap-diff' xcap-root='https://h/xcap/'>
 <document sel='a/users/u/new' new-etag='1'/>
 <document sel='a/users/u/gone' previous-etag='2'/>
 <document sel='a/users/u/same' new-etag='3' previous-etag='2'><body-not-changed/></document>
 <document sel='a/users/u/patched' new-etag='5' previous-etag='4'><remove sel='*/*[1]' ws='before'/></document>
 <d_:element xmlns:d_='urn:ietf:params:xml:ns:xcap-diff' sel='a/users/u/x/~~/e' xmlns:d='v' xmlns=''><d:e xmlns:q='w'><q:f/></d:e></d_:element>
 <d:element xmlns:d='urn:ietf:params:xml:ns:xcap-diff' sel='a/users/u/x/~~/g' exists='false'/>
 <d:element xmlns:d='urn:ietf:params:xml:ns:xcap-diff' sel='a/users/u/x/~~/large'/>
 <attribute sel='a/users/u/x/~~/e/@n'>&lt;1&gt;</attribute>
 <attribute sel='a/users/u/x/~~/e/@m' exists='false'/>
</xcap-diff>
`
	got := string(d.Append(nil))
	if got != want {
		t.Errorf("got\n%s", got)
	}
	back, err := Parse([]byte(got))
	if err != nil || len(back.Documents) != 4 || len(back.Elements) != 3 || len(back.Attributes) != 2 {
		t.Fatalf("%v %+v", err, back)
	}
	if ops := back.Documents[3].Ops; len(ops) != 1 || ops[0].Kind != patch.Remove || ops[0].Sel != "*/*[1]" || ops[0].WS != "before" {
		t.Errorf("%+v", ops)
	}
	if !back.Elements[1].Gone || back.Elements[2].Gone || back.Elements[2].Content != "" || !back.Documents[2].BodyNotChanged || !back.Attributes[1].Gone {
		t.Errorf("%+v", back)
	}
}

// A client that has the document before has the one after.
func TestPatching(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uris := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"sip:a@x", "sip:b@x", "sip:c@x", "sip:d@x", "sip:e@x"}), func(s string) string { return s })
		doc := func(uris []string) []byte {
			s := "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'>\n <list name='a long name that makes patches worth their while' x='1234567890123456789012345678901234567890'>"
			for _, u := range uris {
				s += "\n  <entry uri='" + u + "'><display-name>Somebody with a name that is not short at all</display-name></entry>"
			}
			return []byte(s + "\n </list>\n</resource-lists>")
		}
		was, now := doc(uris.Draw(t, "was")), doc(uris.Draw(t, "now"))
		ops, err := patch.Diff(was, now)
		if err != nil {
			if errors.Is(err, patch.ErrTooFar) {
				return
			}
			t.Fatal(err)
		}
		d := Diff{Root: "https://h/xcap/", Documents: []Document{{Sel: "s", NewETag: "2", PreviousETag: "1", Ops: ops}}}
		got, err := Parse(d.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		result, err := patch.Apply(was, got.Documents[0].Ops)
		if err != nil {
			t.Fatal(err)
		}
		if string(result) != string(now) {
			t.Fatalf("%s\nwas %s\nnow %s\ngot %s", d.Append(nil), was, now, result)
		}
	})
}

func TestParseErrors(t *testing.T) {
	for _, c := range []string{
		"<xcap-diff/>", "<xcap-diff xmlns='" + Space + "'/>", "<xcap-diff xmlns='" + Space + "' xcap-root='x'><document/></xcap-diff>",
		"<xcap-diff xmlns='" + Space + "' xcap-root='x'>" + strings.Repeat("<attribute sel=''/>", MaxParts+1) + "</xcap-diff>",
	} {
		if _, err := Parse([]byte(c)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.80s: %v", c, err)
		}
	}
	var p *patch.Error
	if _, err := Parse([]byte("<xcap-diff xmlns='" + Space + "' xcap-root='x'><document sel='d'><add/></document></xcap-diff>")); !errors.As(err, &p) {
		t.Error(err)
	}
	var s *markup.SyntaxError
	if _, err := Parse([]byte("<")); !errors.As(err, &s) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("<xcap-diff xmlns='" + Space + "' xcap-root='x'><document sel='d' new-etag='1'><remove sel='a/b' ws='both'/></document><element sel='e' exists='0'/></xcap-diff>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(d.Append(nil))
		if err != nil {
			t.Fatalf("%v\n%q\n%q", err, b, d.Append(nil))
		}
		if len(again.Documents) != len(d.Documents) || len(again.Elements) != len(d.Elements) || len(again.Attributes) != len(d.Attributes) {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
