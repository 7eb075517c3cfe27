package jabber

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/presence"
)

var update = flag.Bool("update", false, "write docs/mapping.md")

// TestMappingDoc keeps the printed table true to the one that is used.
func TestMappingDoc(t *testing.T) {
	const file = "../docs/mapping.md"
	want := mappingDoc()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("docs/mapping.md is stale; run: go test ./jabber -run MappingDoc -update")
	}
}

func mappingDoc() []byte {
	var b bytes.Buffer
	code := func(s string) string {
		if s == "" {
			return "-"
		}
		return "`" + s + "`"
	}
	fmt.Fprint(&b, `# XMPP presence and the presence document

Printed from the tables in `+"`jabber/mapping*.go`"+` by their tests; do not edit. Same-protocol
paths are not mapped: XMPP clients get one another's stanzas, SIP watchers one another's
elements, as they were sent. The standards: RFC 8048 (presence), RFC 7572 (messages),
RFC 3863 (PIDF), RFC 4479 (person), RFC 4480 (activities).

## Elements

| XMPP | presence document | how |
| --- | --- | --- |
`)
	for _, e := range elements {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e.XMPP, e.Document, e.Note)
	}
	fmt.Fprint(&b, `
## From show to activity

The show itself goes along as `+"`<show xmlns='jabber:client'/>`"+` (RFC 8048 §6.2), so that it comes
back as it was; the activity is for SIP clients that do not know it.

| show | activity |
| --- | --- |
`)
	for _, s := range shows {
		fmt.Fprintf(&b, "| %s | %s |\n", code(s.Value), code(s.Activity))
	}
	fmt.Fprint(&b, `
## From activity to show

Of several activities the strongest show counts: dnd, xa, away, none. The words become the
status where the document has no note.

| activity | show | status |
| --- | --- | --- |
`)
	for _, a := range activities {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.Name, code(a.Show), a.Words)
	}
	fmt.Fprint(&b, `| idle (`+"`<user-input>`"+`) | `+"`away`"+` | |

`)
	extendedTables(&b, code)
	fmt.Fprint(&b, `
## Messages (RFC 7572)

| XMPP | SIP MESSAGE |
| --- | --- |
| from, to | From and To; the resource only within XMPP |
| `+"`<body/>`"+` | the body, text/plain |
| `+"`<subject/>`"+` | Subject |
| `+"`<thread/>`"+` | Call-ID |
| xml:lang | Content-Language |
| type | from SIP always chat |
| no body (chat states, receipts) | not sent |
`)
	return b.Bytes()
}

// TestActivitiesComplete: every activity of RFC 4480 §3.2 is in the table, and
// every show in it exists.
func TestActivitiesComplete(t *testing.T) {
	all := strings.Fields(`appointment away breakfast busy dinner holiday in-transit looking-for-work lunch meal
		meeting on-the-phone performance permanent-absence playing presentation shopping sleeping spectator
		steering travel tv unknown vacation working worship`)
	for _, n := range all {
		if activityOf(n) == nil {
			t.Errorf("%s is missing", n)
		}
	}
	if len(activities) != len(all) {
		t.Errorf("%d activities, want %d", len(activities), len(all))
	}
	for _, a := range activities {
		if showOf(a.Show) == nil {
			t.Errorf("%s: no such show %q", a.Name, a.Show)
		}
	}
	for _, s := range shows {
		if s.Activity != "" && activityOf(s.Activity) == nil {
			t.Errorf("%s: no such activity %q", s.Value, s.Activity)
		}
	}
}

func TestReadDocument(t *testing.T) {
	open, closed := presence.Tuple{Basic: presence.Open, Priority: -1}, presence.Tuple{Basic: presence.Closed, Priority: -1}
	person := func(names ...string) []presence.Person {
		return []presence.Person{{Rich: presence.Rich{Activities: &presence.Values{Names: names}}}}
	}
	noted := open
	noted.Notes = []presence.Note{{Text: "here"}}
	rich := open
	rich.Rich.Activities = &presence.Values{Names: []string{"meeting"}}
	preferred := open
	preferred.Priority = 800
	preferred.Notes = []presence.Note{{Text: "this one"}}
	for _, c := range []struct {
		name string
		doc  *presence.Document
		want string
	}{
		{"nil", nil, "unavailable"},
		{"empty", &presence.Document{}, "unavailable"},
		{"open", &presence.Document{Tuples: []presence.Tuple{open}}, "available"},
		{"no basic", &presence.Document{Tuples: []presence.Tuple{{Priority: -1}}}, "available"},
		{"person only", &presence.Document{Persons: person("away")}, "available<show>away</show>"},
		{"closed", &presence.Document{Tuples: []presence.Tuple{closed}, Persons: person("away")}, "unavailable"},
		{"one of two open", &presence.Document{Tuples: []presence.Tuple{closed, noted}}, "available<status>here</status>"},
		{"empty activities", &presence.Document{Tuples: []presence.Tuple{open}, Persons: person()}, "available"},
		{"strongest", &presence.Document{Tuples: []presence.Tuple{open}, Persons: person("away", "on-the-phone", "vacation")},
			"available<show>dnd</show><status>On the phone</status>"},
		{"own note first", &presence.Document{Tuples: []presence.Tuple{noted}, Persons: person("lunch")},
			"available<show>away</show><status>here</status>"},
		{"activity in the tuple", &presence.Document{Tuples: []presence.Tuple{rich}}, "available<show>dnd</show><status>In a meeting</status>"},
		{"priority", &presence.Document{Tuples: []presence.Tuple{noted, preferred}}, "available<status>this one</status><priority>102</priority>"},
		{"unknown activity", &presence.Document{Tuples: []presence.Tuple{open}, Persons: person("yodelling")}, "available"},
		{"idle", &presence.Document{Tuples: []presence.Tuple{open}, Persons: []presence.Person{{
			Rich: presence.Rich{UserInput: presence.UserInput{State: "idle", LastInput: "2026-01-01T00:00:00Z"}}}}},
			"available<show>away</show><idle xmlns='urn:xmpp:idle:1' since='2026-01-01T00:00:00Z'/>"},
		{"document note", &presence.Document{Tuples: []presence.Tuple{open}, Notes: []presence.Note{{Lang: "de", Text: "weg"}}},
			"available<status xml:lang='de'>weg</status>"},
	} {
		st := readDocument(c.doc)
		got := "unavailable"
		if st.Available {
			got = "available"
		}
		got += string(appendStanza(nil, st))
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestThereAndBack: whatever XMPP can say survives the way through the document,
// and through its own syntax.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		st := drawStanza(t)
		resource := rapid.String().Draw(t, "resource")
		doc := documentOf(st, entity("alice"), resource, time.Unix(0, 0))
		if back := readDocument(doc); !sameStanza(back, st) {
			t.Fatalf("through the document: %+v, was %+v", back, st)
		}
		el, err := markup.Parse(append(appendStanza([]byte("<presence xmlns='jabber:client'>"), st), "</presence>"...), markup.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if back := readStanza(el, ""); !sameStanza(back, st) {
			t.Fatalf("through XML: %+v, was %+v", back, st)
		}
		if id := doc.Tuples[0].ID; unescapeID(t, id) != resource {
			t.Fatalf("tuple id %q is not the resource %q", id, resource)
		}
	})
}

// TestBackAndThere: a document's show, availability and note survive the way
// through XMPP.
func TestBackAndThere(t *testing.T) {
	names := make([]string, len(activities))
	for i, a := range activities {
		names[i] = a.Name
	}
	rapid.Check(t, func(t *rapid.T) {
		doc := &presence.Document{Tuples: []presence.Tuple{{
			ID: "t", Basic: rapid.SampledFrom([]presence.Basic{presence.Open, presence.Open, presence.Closed}).Draw(t, "basic"),
			Priority: rapid.IntRange(-1, 1000).Draw(t, "priority"),
		}}, Persons: []presence.Person{{Rich: presence.Rich{Activities: &presence.Values{
			Names: rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(t, "activities")}}}}}
		if rapid.Bool().Draw(t, "noted") {
			doc.Tuples[0].Notes = []presence.Note{{Text: "note"}}
		}
		st := readDocument(doc)
		again := readDocument(documentOf(st, entity("bob"), "r", time.Unix(0, 0)))
		if !st.Available {
			return // an unavailable source has no document
		}
		if !sameStanza(again, st) {
			t.Fatalf("%+v came back as %+v", st, again)
		}
	})
}

func drawStanza(t *rapid.T) stanza {
	st := stanza{Available: true,
		Show:     rapid.SampledFrom([]string{"", "chat", "away", "xa", "dnd"}).Draw(t, "show"),
		Priority: rapid.IntRange(-128, 127).Draw(t, "priority"),
	}
	text := rapid.StringMatching(`[a-zA-Z0-9<>&'"äß€😀 .]{1,20}`)
	for _, l := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "en", "de", "fr-CH"}), 0, 3, rapid.ID).Draw(t, "langs") {
		st.Status = addStatus(st.Status, presence.Note{Lang: l, Text: text.Draw(t, "status")})
	}
	if st.Show == "away" && rapid.Bool().Draw(t, "idle") {
		st.Since = "2026-01-01T00:00:00Z"
	}
	return st
}

func sameStanza(a, b stanza) bool {
	if !slices.Equal(a.Status, b.Status) {
		return false
	}
	a.Status, b.Status = nil, nil
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

func unescapeID(t *rapid.T, id string) string {
	var b []byte
	s := strings.TrimPrefix(id, "ID-")
	for i := 0; i < len(s); i++ {
		if s[i] != '_' {
			b = append(b, s[i])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &c); err != nil {
			t.Fatal(err)
		}
		b = append(b, c)
		i += 2
	}
	return string(b)
}
