package xmpp

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pharos/markup"
)

func parse(t *testing.T, s string) *markup.Element {
	t.Helper()
	e, err := markup.ParseIn([]byte(s), []markup.Decl{{Space: NSClient}}, markup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAppendError(t *testing.T) {
	for _, c := range []struct{ in, from, to, condition, text, want string }{
		{`<iq type='get' id='1' from='a@b/c' to='d@e'><x xmlns='y'/></iq>`, "", "", "service-unavailable", "",
			`<iq from='d@e' to='a@b/c' id='1' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`},
		{`<iq type='set' id='&lt;'/>`, "", "a@b/c", "bad-request", "x < y",
			`<iq to='a@b/c' id='&lt;' type='error'><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>` +
				`<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>x &lt; y</text></error></iq>`},
		{`<message to='d@e'/>`, "f", "g", "no-such-condition", "",
			`<message from='f' to='g' type='error'><error type='modify'><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`},
		{`<presence type='subscribe' id='x'/>`, "f", "g", "forbidden", "",
			`<presence from='f' to='g' id='x' type='error'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`},
		{`<message type='error'/>`, "", "", "bad-request", "", ""},
		{`<iq type='result' id='1'/>`, "", "", "bad-request", "", ""},
		{`<r xmlns='urn:xmpp:sm:3'/>`, "", "", "bad-request", "", ""},
	} {
		got := string(AppendError([]byte("+"), parse(t, c.in), c.from, c.to, c.condition, c.text))
		if got != "+"+c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestAppendErrorWith(t *testing.T) {
	got := string(AppendErrorWith(nil, parse(t, `<iq type='get' id='1'/>`), "a", "b",
		StanzaError{Type: "continue", Condition: "not-acceptable", App: "<x xmlns='y'/>"}))
	const want = `<iq from='a' to='b' id='1' type='error'><error type='continue'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><x xmlns='y'/></error></iq>`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Every condition named in this package's code is one that RFC 6120 has.
func TestStreamConditions(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:StreamError\{Condition: |condition (?::)?= )"([a-z-]+)"`).FindAllSubmatch(b, -1) {
			if n++; !streamConditions[string(m[1])] {
				t.Errorf("%s: %s", f.Name(), m[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d found", n)
	}
	got := string((&StreamError{Condition: "see-other-host", Other: "[::1]:5222"}).append(nil, ""))
	if want := `<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[::1]:5222</see-other-host></stream:error>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = string((&StreamError{Condition: "undefined-condition", Text: "x", App: "<y xmlns='urn:z'/>"}).append(nil, ""))
	if want := `<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>x</text><y xmlns='urn:z'/></stream:error>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got = string((&StreamError{Condition: "whatever"}).append(nil, ""))
	if want := `<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
