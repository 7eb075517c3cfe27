package rlmi

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
)

// the document of RFC 4662 §5.1.
var example = &List{
	URI: "sip:adam-friends@lists.vancouver.example.com", Version: 7, Full: true,
	Names: []Name{{"en", "Buddy List"}, {"fr", "Liste d'amis"}},
	Resources: []Resource{
		{"sip:bob@vancouver.example.com", []Name{{"", "Bob Smith"}},
			[]Instance{{ID: "juwigmtboe", State: presence.Active, CID: "12345.aaa@vancouver.example.com"}}},
		{"sip:dave@vancouver.example.com", []Name{{"", "Dave Jones"}},
			[]Instance{{ID: "hqzsuxtfyq", State: presence.Active, CID: "12345.aab@vancouver.example.com"}}},
		{"sip:jim@vancouver.example.com", []Name{{"", "Jim"}},
			[]Instance{{ID: "oflzxqzuvg", State: presence.Terminated, Reason: presence.Rejected}}},
		{"sip:ed@vancouver.example.com", []Name{{"", "Ed"}},
			[]Instance{{ID: "grqhzsppxb", State: presence.Pending}}},
	},
}

func TestExampleOfRFC4662(t *testing.T) {
	src, err := os.ReadFile("testdata/rfc4662-5.1.xml")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Parse(src)
	if err != nil || !reflect.DeepEqual(l, example) {
		t.Fatalf("read %v\n%+v", err, l)
	}
	again, err := Parse(Append(nil, l))
	if err != nil || !reflect.DeepEqual(again, example) {
		t.Fatalf("written and read %v\n%+v", err, again)
	}
}

func TestAppend(t *testing.T) {
	l := &List{URI: "sip:l@example.com", Names: []Name{{"", `a<b>&"c`}}, Resources: []Resource{
		{URI: "sip:a@example.com;x=\"1\""},
		{URI: "sip:b@example.com", Instances: []Instance{{ID: "1", State: presence.Terminated}}},
	}}
	want := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n" +
		`<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:l@example.com" version="0" fullState="false">` +
		`<name>a&lt;b&gt;&amp;"c</name>` + "\r\n" +
		`<resource uri="sip:a@example.com;x=&quot;1&quot;"/>` + "\r\n" +
		`<resource uri="sip:b@example.com"><instance id="1" state="terminated" reason="noresource"/></resource></list>`
	if got := string(Append(nil, l)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	head := `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:l@x" version="0" fullState="1">`
	for name, src := range map[string]string{
		"another root":        `<lists xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" version="0" fullState="true"/>`,
		"another namespace":   `<list uri="u" version="0" fullState="true"/>`,
		"no uri":              `<list xmlns="urn:ietf:params:xml:ns:rlmi" version="0" fullState="true"/>`,
		"no version":          `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" fullState="true"/>`,
		"a version too high":  `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" version="4294967296" fullState="true"/>`,
		"a negative version":  `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" version="-1" fullState="true"/>`,
		"no fullState":        `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" version="0"/>`,
		"another fullState":   `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="u" version="0" fullState="yes"/>`,
		"resource, no uri":    head + `<resource/></list>`,
		"instance, no id":     head + `<resource uri="u"><instance state="active" cid="c"/></resource></list>`,
		"instance, no state":  head + `<resource uri="u"><instance id="1"/></resource></list>`,
		"instance, no reason": head + `<resource uri="u"><instance id="1" state="terminated"/></resource></list>`,
		"not well-formed":     head,
		"a DTD":               `<!DOCTYPE list [<!ENTITY a "b">]>` + head + `</list>`,
	} {
		if l, err := Parse([]byte(src)); err == nil {
			t.Errorf("%s: taken as %+v", name, l)
		}
	}
	l, err := Parse([]byte(head + `<x xmlns="urn:x"/><resource uri="u" x:a="" xmlns:x="urn:x"><instance id="1" state="terminated" reason="new-one"/></resource></list>`))
	if err != nil || len(l.Resources) != 1 || l.Resources[0].Instances[0].Reason != presence.NoReason {
		t.Errorf("extensions: %v %+v", err, l)
	}
}

// What is written is read the same.
func TestRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~äß☎&<>"']{0,12}`)
	name := rapid.Custom(func(t *rapid.T) Name {
		return Name{rapid.SampledFrom([]string{"", "en", "de-AT"}).Draw(t, "lang"), text.Draw(t, "text")}
	})
	uri := rapid.StringMatching(`sip:[a-z&"<%0-9]{1,8}@[a-z.]{1,8}`)
	instance := rapid.Custom(func(t *rapid.T) Instance {
		in := Instance{ID: text.Draw(t, "id"), State: presence.State(rapid.IntRange(1, 3).Draw(t, "state"))}
		if in.State == presence.Terminated {
			in.Reason = presence.Reason(rapid.IntRange(1, 7).Draw(t, "reason"))
		} else {
			in.CID = text.Draw(t, "cid")
		}
		return in
	})
	rapid.Check(t, func(t *rapid.T) {
		l := &List{
			URI: uri.Draw(t, "uri"), Version: rapid.Uint32().Draw(t, "version"), Full: rapid.Bool().Draw(t, "full"),
			Names: rapid.SliceOfN(name, 0, 3).Draw(t, "names"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "resources") {
			l.Resources = append(l.Resources, Resource{uri.Draw(t, "uri"), rapid.SliceOfN(name, 0, 2).Draw(t, "names"),
				rapid.SliceOfN(instance, 0, 2).Draw(t, "instances")})
		}
		src := Append(nil, l)
		got, err := Parse(src)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if a, b := Append(nil, got), src; !bytes.Equal(a, b) {
			t.Fatalf("read    %s\nwritten %s", a, b)
		}
	})
}

// A reader of another make takes the body apart (RFC 2387).
func TestBody(t *testing.T) {
	m := &Body{Boundary: "50UBfW7LSCVLtggUPe5z", Root: "nXYxAE@pres.vancouver.example.com"}
	b := m.Begin(nil, example)
	b = m.Part(b, "12345.aaa@vancouver.example.com", "application/pidf+xml", []byte("<bob/>"))
	b = m.Part(b, "12345.aab@vancouver.example.com", "application/pidf+xml", []byte("\r\n--\r\n"))
	b = m.End(b)

	kind, params, err := mime.ParseMediaType(m.ContentType())
	if err != nil || kind != "multipart/related" || params["type"] != Type || params["start"] != "<"+m.Root+">" {
		t.Fatalf("%q: %v", m.ContentType(), err)
	}
	r := multipart.NewReader(bytes.NewReader(b), params["boundary"])
	for _, want := range []struct{ id, kind, body string }{
		{m.Root, Type, string(Append(nil, example))},
		{"12345.aaa@vancouver.example.com", "application/pidf+xml", "<bob/>"},
		{"12345.aab@vancouver.example.com", "application/pidf+xml", "\r\n--\r\n"},
	} {
		p, err := r.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil || string(body) != want.body || p.Header.Get("Content-ID") != "<"+want.id+">" ||
			p.Header.Get("Content-Type") != want.kind+`;charset="UTF-8"` || p.Header.Get("Content-Transfer-Encoding") != "binary" {
			t.Errorf("%v %v %q", err, p.Header, body)
		}
	}
	if _, err := r.NextRawPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if !bytes.HasSuffix(b, []byte("\r\n--"+m.Boundary+"--\r\n")) || !bytes.HasPrefix(b, []byte("--"+m.Boundary+"\r\n")) {
		t.Errorf("begins or ends otherwise: %q", b)
	}

	m.Bare = true
	if b := string(m.Begin(nil, example)); !strings.Contains(b, "\r\nContent-Id: "+m.Root+"\r\n") {
		t.Errorf("with brackets: %s", b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, example))
	f.Add([]byte(`<l:list xmlns:l="urn:ietf:params:xml:ns:rlmi" uri="sip:l@x" version="0" fullState="0"><l:resource uri="u"/></l:list>`))
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := Parse(src)
		if err != nil {
			return
		}
		again, err := Parse(Append(nil, l))
		if err != nil || again.Version != l.Version || again.Full != l.Full || len(again.Resources) != len(l.Resources) {
			t.Fatalf("%v\n%+v\n%+v", err, l, again)
		}
	})
}
