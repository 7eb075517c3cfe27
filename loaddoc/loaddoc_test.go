package loaddoc

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"pharos/pidf"
)

// paper is the document of the paper with all its elements.
const paper = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:lc="urn:pharos:load-control:1" entity="pres:service@example.com">
  <lc:load-info version="0" state="full">
    <lc:load svr-id="ps1"><lc:load-level>63</lc:load-level><lc:max-load-level>100</lc:max-load-level></lc:load>
    <lc:load svr-id="ps2"><lc:load-level>17.5</lc:load-level><lc:max-load-level>100</lc:max-load-level></lc:load>
  </lc:load-info>
  <lc:server-list><lc:server>sip:ps3.example.com</lc:server></lc:server-list>
  <lc:server-count>2</lc:server-count>
  <lc:user-list server-id="ps1">
    <lc:user-count>1</lc:user-count>
    <lc:user user-id="alice@example.com">
      <lc:protocol>xmpp</lc:protocol><lc:resource-count>20</lc:resource-count>
      <lc:presence-info><basic>open</basic></lc:presence-info>
    </lc:user>
  </lc:user-list>
  <lc:total-user-count>2</lc:total-user-count>
</presence>`

var paperDocument = &Document{
	Entity: "pres:service@example.com", Addable: []string{"sip:ps3.example.com"}, Count: 2, Users: 2,
	Servers: []Server{
		{ID: "ps1", Level: 63, Max: 100, Count: 1, Users: []User{{ID: "alice@example.com", XMPP: true, Resources: 20, Presence: "<basic>open</basic>"}}},
		{ID: "ps2", Level: 17.5, Max: 100},
	},
}

func TestPaper(t *testing.T) {
	d, err := Parse([]byte(paper))
	if err != nil || !reflect.DeepEqual(d, paperDocument) {
		t.Fatalf("got %+v, %v", d, err)
	}
	if d, err = Parse(Append(nil, paperDocument)); err != nil || !reflect.DeepEqual(d, paperDocument) {
		t.Fatalf("came back as %+v, %v", d, err)
	}
}

// Who knows only PIDF reads the document, and finds whether the service is open.
func TestPIDF(t *testing.T) {
	d := *paperDocument
	d.Basic, d.Note = "open", "2 servers & 2 users"
	doc, entity, err := pidf.Parse(Append(nil, &d))
	if err != nil || entity != d.Entity || len(doc.Tuples) != 1 || doc.Tuples[0].ID != "service" {
		t.Fatalf("%+v, %s, %v", doc, entity, err)
	}
	doc, _, err = pidf.Parse(Append(nil, paperDocument))
	if err != nil || len(doc.Tuples) != 0 {
		t.Fatalf("without a tuple: %+v, %v", doc, err)
	}
}

// The description names every element and attribute that is written.
func TestDescribed(t *testing.T) {
	b, err := os.ReadFile("../docs/load-control.md")
	if err != nil {
		t.Fatal(err)
	}
	d := *paperDocument
	d.Servers = append([]Server{{ID: "a", URI: "sip:a", State: "active"}}, d.Servers...)
	text := string(Append(nil, &d))
	d.Partial, d.Servers = true, []Server{{ID: "ps1", Gone: true}}
	text += string(Append(nil, &d))
	for _, f := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" <>/='\"\n?", r) }) {
		name, ok := strings.CutPrefix(f, "lc:")
		if !ok {
			switch f {
			case "svr-id", "server-id", "user-id", "uri", "state", "version", "entity":
				name = f
			default:
				continue
			}
		}
		if !strings.Contains(string(b), name) {
			t.Errorf("docs/load-control.md does not name %q", name)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		err            error
	}{
		{"whole", "", "", nil},
		{"not XML", paper, "x", ErrMalformed},
		{"a DTD", "<presence", `<!DOCTYPE presence [<!ENTITY a "b">]><presence`, ErrMalformed},
		{"other root", paper, "<a/>", ErrForeign},
		{"plain PIDF", paper, `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@b"/>`, ErrForeign},
		{"no entity", ` entity="pres:service@example.com"`, "", ErrMalformed},
		{"no version", ` version="0"`, "", ErrMalformed},
		{"negative version", `version="0"`, `version="-1"`, ErrMalformed},
		{"no state", ` state="full"`, "", ErrMalformed},
		{"two load-infos", "<lc:server-list>", `<lc:load-info version="1" state="full"/><lc:server-list>`, ErrMalformed},
		{"no svr-id", ` svr-id="ps1"`, "", ErrMalformed},
		{"one server twice", `svr-id="ps2"`, `svr-id="ps1"`, ErrMalformed},
		{"no level", "<lc:load-level>63</lc:load-level>", "", ErrMalformed},
		{"negative level", "63", "-63", ErrMalformed},
		{"no number", "63", "NaN", ErrMalformed},
		{"huge level", "63", strings.Repeat("9", 400), ErrMalformed},
		{"no count", "<lc:server-count>2</lc:server-count>", "", ErrMalformed},
		{"two counts", "<lc:server-count>2</lc:server-count>", "<lc:server-count>2</lc:server-count><lc:server-count>2</lc:server-count>", ErrMalformed},
		{"negative count", "<lc:server-count>2", "<lc:server-count>-2", ErrMalformed},
		{"users of nobody", `server-id="ps1"`, `server-id="ps9"`, ErrMalformed},
		{"no user-count", "<lc:user-count>1</lc:user-count>", "", ErrMalformed},
		{"no user-id", ` user-id="alice@example.com"`, "", ErrMalformed},
		{"unknown protocol", "<lc:protocol>xmpp", "<lc:protocol>irc", ErrMalformed},
		{"long presence", "<basic>open</basic>", "<note>" + strings.Repeat("x", MaxPresence) + "</note>", ErrMalformed},
		{"long name", "ps2", strings.Repeat("x", MaxName+1), ErrMalformed},
		{"extensions", "<lc:server-list>", `<x xmlns="y" lc:z="1"/><lc:more/><lc:server-list>`, nil},
	} {
		if _, err := Parse([]byte(strings.Replace(paper, c.from, c.to, 1))); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}

func TestBounds(t *testing.T) {
	var servers, users strings.Builder
	for i := range MaxServers + 1 {
		fmt.Fprintf(&servers, `<lc:load svr-id="s%d"><lc:load-level>1</lc:load-level><lc:max-load-level>1</lc:max-load-level></lc:load>`, i)
	}
	if _, err := Parse([]byte(strings.Replace(paper, "<lc:load ", servers.String()+"<lc:load ", 1))); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many servers: %v", err)
	}
	for i := range MaxUsers + 1 {
		fmt.Fprintf(&users, `<lc:user user-id="u%d"/>`, i)
	}
	if _, err := Parse([]byte(strings.Replace(paper, "<lc:user ", users.String()+"<lc:user ", 1))); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many users: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(paper))
	f.Add(Append(nil, paperDocument))
	next := *paperDocument
	next.Servers = []Server{{ID: "ps1", State: "draining", Max: 3, Users: []User{{ID: "b", SIP: true}}}}
	c, _ := Diff(paperDocument, &next, 1000)
	f.Add(Append(nil, c))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForeign) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(Append(nil, d))
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("%+v\ncame back as\n%+v, %v", d, again, err)
		}
	})
}
