package pidf

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pharos/presence"
)

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func values(names ...string) *presence.Values { return &presence.Values{Names: names} }

// The examples of the RFCs and what real publishers send, as documents.
var read = []struct {
	file, entity string
	want         presence.Document
}{
	{"rfc/3863-4.3.1.xml", "pres:someone@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "sg89ae", Basic: presence.Open, Contact: "tel:+09012345678", Priority: 800}},
	}},
	{"rfc/3863-4.3.2.xml", "pres:someone@example.com", presence.Document{
		Tuples: []presence.Tuple{
			{ID: "bs35r9", Basic: presence.Open, Contact: "im:someone@mobilecarrier.net", Priority: 800,
				Notes:     []presence.Note{{Lang: "en", Text: "Don't Disturb Please!"}, {Lang: "fr", Text: "Ne derangez pas, s'il vous plait"}},
				Timestamp: at("2001-10-27T16:49:29Z"),
				Status: []presence.Fragment{
					{Space: "urn:ietf:params:xml:ns:pidf:im", Local: "im", XML: `<im xmlns='urn:ietf:params:xml:ns:pidf:im'>busy</im>`},
					{Space: "http://id.example.com/presence/", Local: "location", XML: `<location xmlns='http://id.example.com/presence/'>home</location>`},
				}},
			{ID: "eg92n8", Basic: presence.Open, Contact: "mailto:someone@example.com", Priority: 1000},
		},
		Notes: []presence.Note{{Text: "I'll be in Tokyo next week"}},
	}},
	{"rfc/4479-5.xml", "pres:someone@example.com", presence.Document{
		Tuples:  []presence.Tuple{{ID: "sg89ae", Basic: presence.Open, Contact: "sip:someone@example.com", Priority: -1, DeviceIDs: []string{"mac:8asd7d7d70"}}},
		Persons: []presence.Person{{ID: "p1", Rich: presence.Rich{Activities: values("on-the-phone")}}},
		Devices: []presence.Device{{ID: "pc122", DeviceID: "mac:8asd7d7d70", Rich: presence.Rich{UserInput: presence.UserInput{State: "idle"}}}},
	}},
	{"rfc/4480-4.xml", "pres:someone@example.com", presence.Document{
		Tuples: []presence.Tuple{
			{ID: "bs35r9", Basic: presence.Open, Contact: "im:someone@mobile.example.net", Priority: 800,
				DeviceIDs: []string{"urn:device:0003ba4811e3"},
				Rich:      presence.Rich{Relationship: values("self"), ServiceClass: values("electronic")},
				Notes:     []presence.Note{{Lang: "en", Text: "Don't Disturb Please!"}, {Lang: "fr", Text: "Ne derangez pas, s'il vous plait"}},
				Timestamp: at("2005-10-27T16:49:29Z")},
			{ID: "ty4658", Basic: presence.Open, Contact: "mailto:secretary@example.com", Priority: 1000,
				Rich: presence.Rich{Relationship: values("assistant")}},
			{ID: "eg92n8", Basic: presence.Open, Contact: "mailto:someone@example.com", Priority: 1000,
				DeviceIDs: []string{"urn:x-mac:0003ba4811e3"},
				Rich:      presence.Rich{Class: "email", ServiceClass: values("electronic"), StatusIcon: "http://example.com/mail.png"}},
		},
		Notes: []presence.Note{{Text: "I'll be in Tokyo next week"}},
		Persons: []presence.Person{{ID: "p1",
			Rich: presence.Rich{
				Activities: &presence.Values{Names: []string{"away"}, Notes: []presence.Note{{Text: "Far away"}},
					From: "2005-05-30T12:00:00+05:00", Until: "2005-05-30T17:00:00+05:00"},
				Class:      "calendar",
				Mood:       &presence.Values{Names: []string{"angry"}, Other: []string{"brooding"}},
				PlaceIs:    values("audio:noisy"),
				PlaceType:  values("residence"),
				Privacy:    values("unknown"),
				Sphere:     "bowling league",
				StatusIcon: "http://example.com/play.gif",
				TimeOffset: "-240",
			},
			Notes:     []presence.Note{{Text: "Scoring 120"}},
			Timestamp: at("2005-05-30T16:09:44+05:00")}},
		Devices: []presence.Device{{ID: "pc147", DeviceID: "urn:device:0003ba4811e3",
			Rich:  presence.Rich{UserInput: presence.UserInput{State: "idle", IdleThreshold: "600", LastInput: "2004-10-21T13:20:00-05:00"}},
			Notes: []presence.Note{{Text: "PC"}}}},
	}},
	{"clients/baresip.xml", "sip:alice@example.com", presence.Document{
		Tuples:  []presence.Tuple{{ID: "t4109", Basic: presence.Open, Contact: "sip:alice@example.com", Priority: -1}},
		Persons: []presence.Person{{ID: "p4159", Rich: presence.Rich{Activities: &presence.Values{}}}},
	}},
	{"clients/linphone.xml", "sip:alice@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "8c4hlf", Basic: presence.Open, Contact: "sip:alice@example.com", Priority: 800,
			Timestamp: at("2026-11-21T18:05:11Z"),
			Status: []presence.Fragment{{Space: "http://www.linphone.org/xsds/pidfonline.xsd", Local: "online",
				XML: `<online xmlns='http://www.linphone.org/xsds/pidfonline.xsd'>true</online>`}}}},
		Notes: []presence.Note{{Text: "reachable by phone"}},
		Persons: []presence.Person{{ID: "pd83ma", Rich: presence.Rich{Activities: values("on-the-phone")},
			Notes: []presence.Note{{Text: "In a call"}}}},
	}},
	{"clients/pjsua.xml", "sip:alice@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "pj2f1c3a52b4c94e1fa7d1", Basic: presence.Open, Priority: -1, Timestamp: at("2026-11-21T18:05:11.281Z")}},
		Persons: []presence.Person{{ID: "pj0b2e3a52b4c94e1fa7d1", Rich: presence.Rich{Activities: values("away")},
			Notes: []presence.Note{{Text: "Away"}}}},
	}},
	{"clients/libpurple.xml", "sip:alice@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "bs35r9f", Basic: presence.Open, Priority: -1, Notes: []presence.Note{{Text: "available"}}}},
	}},
	{"clients/twinkle.xml", "sip:alice@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "HWbXy", Basic: presence.Closed, Priority: -1}},
	}},
	{"clients/draft.xml", "sip:alice@example.com", presence.Document{
		Tuples: []presence.Tuple{{ID: "draft1", Basic: presence.Open, Contact: "sip:alice@192.0.2.1", Priority: 1000,
			Rich: presence.Rich{Activities: values("busy"), Class: "mobile"}}},
		Persons: []presence.Person{{ID: "person1", Rich: presence.Rich{Activities: values("on-the-phone"), PlaceType: values("home")}}},
	}},
}

func TestParse(t *testing.T) {
	for _, c := range read {
		t.Run(c.file, func(t *testing.T) {
			d, entity, err := Parse(load(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if entity != c.entity {
				t.Errorf("entity %q, want %q", entity, c.entity)
			}
			if !reflect.DeepEqual(*d, c.want) {
				t.Errorf("read as\n%+v\nwant\n%+v", *d, c.want)
			}
		})
	}
}

func doc(body string) string {
	return `<presence xmlns='` + Space + `' xmlns:p='` + Space + `' xmlns:dm='` + DataModel + `' xmlns:r='` + RPID +
		`' xmlns:x='urn:x' entity='sip:a@b'>` + body + `</presence>`
}

// RFC 3863 §4.2.5: an extension that holds something to be understood, and not
// understood, is not handled; it is still carried.
func TestMustUnderstand(t *testing.T) {
	d, _, err := Parse(load(t, "rfc/3863-4.2.5.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Tuples) != 1 || len(d.Tuples[0].Extra) != 1 || d.Tuples[0].Contact != "tel:+09012345678" || d.Tuples[0].Priority != 725 {
		t.Fatalf("%+v", d.Tuples)
	}
	if x := d.Tuples[0].Extra[0].XML; !strings.Contains(x, "mustUnderstand='1'") || !strings.Contains(x, Space) {
		t.Errorf("the mark is lost: %s", x)
	}
	for _, c := range []struct {
		name, body string
		read       func(d *presence.Document) bool
	}{
		{"person", "<dm:person id='p'><r:mood><r:sad/></r:mood><x:a p:mustUnderstand='true'/></dm:person>",
			func(d *presence.Document) bool { return len(d.Persons) > 0 }},
		{"device", "<dm:device id='p'><x:a p:mustUnderstand='1'/><dm:deviceID>u:x</dm:deviceID></dm:device>",
			func(d *presence.Document) bool { return len(d.Devices) > 0 }},
		{"activities", "<tuple id='t'><status/><r:activities><r:busy/><x:a p:mustUnderstand='1'/></r:activities></tuple>",
			func(d *presence.Document) bool { return d.Tuples[0].Rich.Activities != nil }},
	} {
		d, _, err := Parse([]byte(doc(c.body)))
		if err != nil {
			t.Fatal(c.name, err)
		}
		if c.read(d) {
			t.Errorf("%s: handled in spite of an element that must be understood", c.name)
		}
		if out := string(Append(nil, "sip:a@b", d)); !strings.Contains(out, "mustUnderstand") {
			t.Errorf("%s: not carried: %s", c.name, out)
		}
		d, _, err = Parse([]byte(strings.NewReplacer("'true'", "'false'", "'1'", "'0'").Replace(doc(c.body))))
		if err != nil || !c.read(d) {
			t.Errorf("%s: not handled without need (%v)", c.name, err)
		}
	}
}

func TestParseOddities(t *testing.T) {
	for _, c := range []struct {
		name, body string
		ok         func(d *presence.Document) bool
	}{
		{"no id, no status", "<tuple/>", func(d *presence.Document) bool {
			return len(d.Tuples) == 1 && d.Tuples[0].ID == "" && d.Tuples[0].Basic == presence.Unstated
		}},
		{"bad priority and time", "<tuple id='a'><status/><contact priority='7'> sip:a@b </contact><timestamp>noon</timestamp></tuple>",
			func(d *presence.Document) bool {
				return d.Tuples[0].Priority == -1 && d.Tuples[0].Contact == "sip:a@b" && d.Tuples[0].Timestamp.IsZero()
			}},
		{"time without a zone", "<tuple id='a'><status/><timestamp>2026-11-21T18:05:11</timestamp></tuple>",
			func(d *presence.Document) bool { return d.Tuples[0].Timestamp.Equal(at("2026-11-21T18:05:11Z")) }},
		{"empty notes", "<note/><note> </note><note>x</note>", func(d *presence.Document) bool { return len(d.Notes) == 1 }},
		{"second time frame", "<dm:person id='p'><r:activities><r:busy/></r:activities><r:activities from='2026-01-01T00:00:00Z'><r:meal/></r:activities></dm:person>",
			func(d *presence.Document) bool {
				return len(d.Persons[0].Extra) == 1 && d.Persons[0].Rich.Activities.Names[0] == "busy"
			}},
		{"sphere with a frame", "<dm:person id='p'><r:sphere from='2026-01-01T00:00:00Z' id='s'><r:work/></r:sphere></dm:person>",
			func(d *presence.Document) bool {
				r := d.Persons[0].Rich
				return r.Sphere == "work" && len(r.Frames) == 1 && r.Frames[0] == (presence.Frame{Element: "sphere", From: "2026-01-01T00:00:00Z", ID: "s"})
			}},
		{"foreign sphere", "<dm:person id='p'><r:sphere><x:moon/></r:sphere></dm:person>",
			func(d *presence.Document) bool { return d.Persons[0].Rich.Sphere == "" && len(d.Persons[0].Extra) == 1 }},
		{"unknown in PIDF's own namespace", "<tuple id='a'><status><future/></status></tuple>",
			func(d *presence.Document) bool {
				return len(d.Tuples[0].Status) == 1 && d.Tuples[0].Status[0].XML == "<future xmlns='"+Space+"'/>"
			}},
		{"no namespace", "<tuple id='a'><status/><y xmlns=''><z/></y></tuple>",
			func(d *presence.Document) bool {
				return len(d.Tuples[0].Extra) == 1 && d.Tuples[0].Extra[0].XML == "<y xmlns=''><z/></y>"
			}},
		{"foreign value", "<dm:person id='p'><r:activities><x:skiing/><r:other>sledging</r:other></r:activities></dm:person>",
			func(d *presence.Document) bool {
				a := d.Persons[0].Rich.Activities
				return len(a.Extra) == 1 && a.Extra[0].Local == "skiing" && len(a.Other) == 1 && a.Names == nil
			}},
		{"comments and CDATA", "<!-- x --><note><![CDATA[a < b]]></note><?pi x?>",
			func(d *presence.Document) bool {
				return len(d.Notes) == 1 && d.Notes[0].Text == "a < b" && d.Extra == nil
			}},
	} {
		d, _, err := Parse([]byte(doc(c.body)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.ok(d) {
			t.Errorf("%s: %+v", c.name, *d)
		}
	}
}

func TestParseErrors(t *testing.T) {
	many := func(s string, n int) string { return doc(strings.Repeat(s, n)) }
	for _, c := range []struct {
		name, in string
		kind     Kind
		say      string
	}{
		{"nothing", "", Malformed, "no element"},
		{"text", "hello", Malformed, ""},
		{"cut off", "<presence xmlns='" + Space + "'", Malformed, ""},
		{"unbound prefix", "<p:presence/>", Malformed, ""},
		{"DTD", "<!DOCTYPE presence [<!ENTITY a 'b'>]><presence xmlns='" + Space + "'/>", Malformed, ""},
		{"latin1", "<presence xmlns='" + Space + "'>\xe9</presence>", Malformed, "UTF-8"},
		{"other XML", "<html/>", Foreign, "<presence>"},
		{"no namespace", "<presence entity='sip:a@b'/>", Foreign, "<presence>"},
		{"basic", doc("<tuple id='a'><status><basic>maybe</basic></status></tuple>"), Invalid, "open nor closed"},
		{"bytes", "<presence xmlns='" + Space + "'>" + strings.Repeat(" ", MaxBytes) + "</presence>", TooBig, "too big"},
		{"depth", many("<x:a>", MaxDepth), TooBig, "deeper"},
		{"tuples", many("<tuple id='a'/>", MaxTuples+1), TooBig, "tuples"},
		{"persons", many("<dm:person id='a'/>", MaxPersons+1), TooBig, "persons"},
		{"devices", many("<dm:device id='a'/>", MaxDevices+1), TooBig, "devices"},
		{"notes", many("<note>a</note>", MaxNotes+1), TooBig, "notes"},
		{"extensions", many("<x:a/>", MaxExtra+1), TooBig, "extensions"},
		{"values", doc("<dm:person id='p'><r:mood>" + strings.Repeat("<r:sad/>", MaxValues+1) + "</r:mood></dm:person>"), TooBig, "<mood>"},
		{"place-is values", doc("<dm:person id='p'><r:place-is><r:audio>" + strings.Repeat("<r:ok/>", MaxValues+1) + "</r:audio></r:place-is></dm:person>"), TooBig, "<place-is>"},
	} {
		_, _, err := Parse([]byte(c.in))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if e.Kind != c.kind || !strings.Contains(e.Error(), c.say) || e.Offset > len(c.in) {
			t.Errorf("%s: kind %d, %q, at %d", c.name, e.Kind, e, e.Offset)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/rfc/*.xml", "testdata/clients/*.xml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, entity, err := Parse(in)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == 0 {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		// What was read is written so that it is read as the same, once
		// the order and the ids are ours.
		once := Append(nil, entity, d)
		d2, entity2, err := Parse(once)
		if err != nil {
			var e *Error
			if errors.As(err, &e) && e.Kind == TooBig {
				return // declarations that each fragment carries made it longer
			}
			t.Fatalf("%v in what was written:\n%s\nfrom\n%s", err, once, in)
		}
		if entity2 != entity {
			t.Fatalf("entity %q became %q", entity, entity2)
		}
		if twice := Append(nil, entity, d2); string(twice) != string(once) {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
		if out, ok := Carry(in, "sip:x@y"); !ok {
			t.Fatalf("cannot be carried: %s", in)
		} else if _, e, err := Parse(out); err != nil || e != "sip:x@y" {
			t.Fatalf("carried with entity %q, %v: %s", e, err, out)
		}
		TimedStatuses(d.Extra)
		for i := range d.Tuples {
			TimedStatuses(d.Tuples[i].Extra)
			ServiceCaps(d.Tuples[i].Extra)
			Contacts(d.Tuples[i].Extra)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := kilobyte()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
