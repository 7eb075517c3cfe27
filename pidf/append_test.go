package pidf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

// kilobyte is a usual composed document of about 1 kB.
func kilobyte() []byte {
	return Append(nil, "sip:alice@example.com", usual())
}

func usual() *presence.Document {
	now := time.Date(2026, 11, 21, 18, 5, 11, 0, time.UTC)
	return &presence.Document{
		Tuples: []presence.Tuple{
			{ID: "t4109", Basic: presence.Open, Contact: "sip:alice@example.com", Priority: 800, Timestamp: now,
				DeviceIDs: []string{"urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a"}, Notes: []presence.Note{{Lang: "en", Text: "at my desk"}}},
			{ID: "xmpp.laptop", Basic: presence.Open, Contact: "xmpp:alice@example.com", Priority: 500, Timestamp: now,
				Rich: presence.Rich{Class: "im"}, Notes: []presence.Note{{Text: "lunch & a walk"}}},
		},
		Persons: []presence.Person{{ID: "p1", Timestamp: now, Notes: []presence.Note{{Text: "back at two"}},
			Rich: presence.Rich{Activities: &presence.Values{Names: []string{"meal", "away"}}, Mood: values("happy")}}},
		Devices: []presence.Device{{ID: "d1", DeviceID: "urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a",
			Rich: presence.Rich{UserInput: presence.UserInput{State: "idle", LastInput: "2026-11-21T17:55:00Z"}}}},
	}
}

func TestAppend(t *testing.T) {
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:a&amp;b@example.com">` +
		`<tuple id="b"><status><basic>open</basic></status><dm:deviceID>urn:x</dm:deviceID><rpid:class>im</rpid:class><contact priority="0.05">sip:b</contact><note xml:lang="de">x &lt; y</note><timestamp>2026-11-21T18:05:11Z</timestamp></tuple>` +
		`<tuple id="a"><status><basic>closed</basic></status></tuple>` +
		`<tuple id="_1_2"><status></status></tuple>` +
		`<tuple id="a.2"><status></status></tuple>` +
		`<note>n</note>` +
		`<dm:person id="p"><rpid:activities><rpid:note>why</rpid:note><rpid:away/></rpid:activities><dm:note>m</dm:note></dm:person>` +
		`<dm:device id="d"><rpid:user-input idle-threshold="600">idle</rpid:user-input><dm:deviceID>urn:x</dm:deviceID></dm:device>` +
		`</presence>`
	got := Append(nil, "sip:a&b@example.com", &presence.Document{
		Tuples: []presence.Tuple{
			{ID: "a", Basic: presence.Closed, Priority: -1},
			{ID: "b", Basic: presence.Open, Contact: "sip:b", Priority: 50, DeviceIDs: []string{"urn:x"}, Rich: presence.Rich{Class: "im"},
				Notes: []presence.Note{{Lang: "de", Text: "x < y"}}, Timestamp: at("2026-11-21T18:05:11Z")},
			{ID: "1 2"},
			{ID: "a"},
		},
		Notes:   []presence.Note{{Text: "n"}},
		Persons: []presence.Person{{Rich: presence.Rich{Activities: &presence.Values{Names: []string{"away"}, Notes: []presence.Note{{Text: "why"}}}}, Notes: []presence.Note{{Text: "m"}}}},
		Devices: []presence.Device{{DeviceID: "urn:x", Rich: presence.Rich{UserInput: presence.UserInput{State: "idle", IdleThreshold: "600"}}}},
	})
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := Append([]byte("x"), "sip:a@b", &presence.Document{}); !strings.HasPrefix(string(again), "x<?xml") {
		t.Errorf("not appended: %s", again)
	}
}

func TestClosedAndNeutral(t *testing.T) {
	d, entity, err := Parse(Closed(nil, "sip:a@b"))
	if err != nil || entity != "sip:a@b" || len(d.Tuples) != 1 || d.Tuples[0].Basic != presence.Closed {
		t.Errorf("closed: %+v %q %v", d, entity, err)
	}
	d, entity, err = Parse(Neutral(nil, "sip:a@b"))
	if err != nil || entity != "sip:a@b" || !reflect.DeepEqual(*d, presence.Document{}) {
		t.Errorf("neutral: %+v %q %v", d, entity, err)
	}
}

// Composition may bring what no schema allows; it is made fit.
func TestAppendMakesValid(t *testing.T) {
	out := string(Append(nil, "sip:a@b", &presence.Document{Persons: []presence.Person{{
		ID: "p",
		Rich: presence.Rich{
			Activities:   &presence.Values{Names: []string{"unknown", "busy", "no name"}, ID: "p"},
			Mood:         &presence.Values{},
			PlaceIs:      &presence.Values{Names: []string{"text:ok", "audio:quiet"}},
			PlaceType:    &presence.Values{},
			Privacy:      &presence.Values{Names: []string{"video", "audio"}},
			Relationship: &presence.Values{Names: []string{"friend", "family"}, Other: []string{"x"}},
			ServiceClass: &presence.Values{},
		},
	}}}))
	for _, s := range []string{
		"<rpid:activities><rpid:busy/></rpid:activities>",
		"<rpid:mood><rpid:unknown/></rpid:mood>",
		"<rpid:place-is><rpid:audio><rpid:quiet/></rpid:audio><rpid:text><rpid:ok/></rpid:text></rpid:place-is>",
		"<rpid:place-type><rpid:other/></rpid:place-type>",
		"<rpid:privacy><rpid:audio/><rpid:video/></rpid:privacy>",
		"<rpid:relationship><rpid:friend/></rpid:relationship>",
		"<rpid:service-class><rpid:unknown/></rpid:service-class>",
	} {
		if !strings.Contains(out, s) {
			t.Errorf("%s missing in\n%s", s, out)
		}
	}
	validate(t, map[string][]byte{"fit": []byte(out)})
}

// What we write of each example is read as the same, and valid by the schemas.
func TestAppendExamples(t *testing.T) {
	files := map[string][]byte{"usual": kilobyte(), "closed": Closed(nil, "sip:a@b"), "neutral": Neutral(nil, "sip:a@b")}
	for _, dir := range []string{"rfc", "clients"} {
		names, err := filepath.Glob(filepath.Join("testdata", dir, "*.xml"))
		if err != nil || len(names) == 0 {
			t.Fatal(dir, err)
		}
		for _, name := range names {
			in, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			d, entity, err := Parse(in)
			if err != nil {
				t.Fatal(name, err)
			}
			out := Append(nil, entity, d)
			for i := range d.Tuples {
				if id := &d.Tuples[i].ID; !isName(*id) {
					*id = toName(*id) // Linphone's may begin with a digit
				}
			}
			again, entity2, err := Parse(out)
			if err != nil || entity2 != entity || !reflect.DeepEqual(d, again) {
				t.Errorf("%s: written as\n%s\nread as %+v, %v", name, out, again, err)
			}
			// RFC 4480's own example has text in <sphere>, which its schema lacks.
			files[filepath.Base(name)] = bytes.Replace(out, []byte("bowling league"), []byte("<rpid:home/>"), 1)
		}
	}
	validate(t, files)
}

// validate checks documents against the schemas of RFC 3863, 4479, 4480, 4481
// and 4482 with xmllint (Debian: libxml2-utils).
func validate(t *testing.T, docs map[string][]byte) {
	t.Helper()
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Log("xmllint is not installed: schemas not checked")
		return
	}
	dir := t.TempDir()
	args := []string{"--noout", "--schema", "testdata/schema/all.xsd"}
	for name, b := range docs {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command(lint, args...).CombinedOutput(); err != nil {
		t.Errorf("not valid: %v\n%s", err, out)
	}
}

// drawn is a random document in the normal form that reading gives: open tuples
// first, ids unique.
func drawn(t *rapid.T) *presence.Document {
	ids := 0
	id := func() string { ids++; return "i" + strconv.Itoa(ids) }
	text := rapid.StringMatching(`[a-zA-Zäß<&>"' ]{0,8}[a-z]`)
	word := rapid.StringMatching(`[A-Za-z0-9:@<&"./]{1,10}`)
	name := rapid.SampledFrom([]string{"away", "busy", "meal", "on-the-phone", "sad", "x.y"})
	notes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) presence.Note {
		return presence.Note{Lang: rapid.SampledFrom([]string{"", "en", "de-AT"}).Draw(t, "lang"), Text: text.Draw(t, "note")}
	}), 0, 2)
	fragment := rapid.SampledFrom([]presence.Fragment{
		{Space: "urn:x", Local: "a", XML: `<a xmlns='urn:x'><b c='&lt;'>d</b></a>`},
		{Space: "", Local: "n", XML: `<n xmlns=''/>`},
	})
	extra := func(label string) []presence.Fragment { return rapid.SliceOfN(fragment, 0, 2).Draw(t, label) }
	instant := func() time.Time {
		n := rapid.Int64Range(-1, 4e9).Draw(t, "time")
		if n < 0 {
			return time.Time{}
		}
		return time.Unix(n, rapid.SampledFrom([]int64{0, 5e6, 7}).Draw(t, "nanoseconds")).UTC()
	}
	maybe := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	stamp := func(label string) string {
		return rapid.SampledFrom([]string{"", "2026-11-21T18:05:11+01:00"}).Draw(t, label)
	}
	enum := func(label string, names *rapid.Generator[string], one bool) *presence.Values {
		if !maybe(label) {
			return nil
		}
		v := &presence.Values{Notes: notes.Draw(t, "notes")}
		if one {
			v.Names = []string{names.Draw(t, "name")}
			return normal(v)
		}
		v.Names = append([]string{names.Draw(t, "name")}, rapid.SliceOfN(names, 0, 2).Draw(t, "names")...)
		v.Other = rapid.SliceOfN(text.Filter(func(s string) bool { return s == strings.TrimSpace(s) }), 0, 2).Draw(t, "other")
		v.From, v.Until = stamp("from"), stamp("until")
		if maybe("values id") {
			v.ID = id()
		}
		v.Extra = extra("values extra")
		return normal(v)
	}
	rich := func() (r presence.Rich) {
		r.Activities = enum("activities", name, false)
		r.Mood = enum("mood", name, false)
		r.PlaceType = enum("place-type", name, false)
		r.Relationship = enum("relationship", name, true)
		r.ServiceClass = enum("service-class", name, true)
		if maybe("privacy") {
			r.Privacy = values("audio", "text", "video")
		}
		if maybe("place-is") {
			r.PlaceIs = values("audio:noisy", "video:dark", "text:ok")
		}
		if maybe("class") {
			r.Class = word.Draw(t, "class")
		}
		if maybe("sphere") {
			r.Sphere = rapid.SampledFrom([]string{"home", "work", "bowling league"}).Draw(t, "sphere")
			if maybe("frame") {
				r.Frames = append(r.Frames, presence.Frame{Element: "sphere", From: "2026-11-21T18:05:11Z", ID: id()})
			}
		}
		if maybe("icon") {
			r.StatusIcon = word.Draw(t, "icon")
		}
		if maybe("offset") {
			r.TimeOffset = "-240"
			if maybe("description") {
				r.Frames = append(r.Frames, presence.Frame{Element: "time-offset", Description: "A & B"})
			}
		}
		if maybe("input") {
			r.UserInput = presence.UserInput{State: rapid.SampledFrom([]string{"active", "idle"}).Draw(t, "state"), LastInput: stamp("last")}
		}
		return r
	}
	d := new(presence.Document)
	for _, basic := range []presence.Basic{presence.Open, presence.Closed} {
		for range rapid.IntRange(0, 2).Draw(t, "tuples") {
			p := presence.Tuple{ID: id(), Basic: basic, Priority: -1, Rich: rich(), Notes: notes.Draw(t, "notes"),
				Timestamp: instant(), Status: extra("status"), Extra: extra("extra"),
				DeviceIDs: rapid.SliceOfN(word, 0, 2).Draw(t, "device ids")}
			if maybe("contact") {
				p.Contact, p.Priority = word.Draw(t, "contact"), rapid.IntRange(-1, 1000).Draw(t, "priority")
			}
			d.Tuples = append(d.Tuples, p)
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "persons") {
		d.Persons = append(d.Persons, presence.Person{ID: id(), Rich: rich(), Notes: notes.Draw(t, "notes"), Timestamp: instant(), Extra: extra("extra")})
	}
	for range rapid.IntRange(0, 1).Draw(t, "devices") {
		d.Devices = append(d.Devices, presence.Device{ID: id(), DeviceID: word.Draw(t, "id"), Rich: rich(), Notes: notes.Draw(t, "notes"), Timestamp: instant(), Extra: extra("extra")})
	}
	d.Notes, d.Extra = notes.Draw(t, "notes"), extra("extra")
	return d
}

// normal has no empty slices, as reading gives none.
func normal(v *presence.Values) *presence.Values {
	empty(reflect.ValueOf(v).Elem())
	return v
}

// empty turns empty slices, however deep, into nil.
func empty(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := range v.Len() {
			empty(v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			empty(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				empty(v.Field(i))
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawn(t)
		empty(reflect.ValueOf(d).Elem())
		entity := rapid.StringMatching(`sip:[a-z"'<&ä]{1,5}@example\.com`).Draw(t, "entity")
		out := Append(nil, entity, d)
		if string(Append(nil, entity, d)) != string(out) {
			t.Fatal("not deterministic")
		}
		got, gotEntity, err := Parse(out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if gotEntity != entity || !reflect.DeepEqual(got, d) {
			t.Fatalf("written as\n%s\nread as\n%+v\nwas\n%+v", out, got, d)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	d := usual()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = Append(dst[:0], "sip:alice@example.com", d)
	}
	b.SetBytes(int64(len(dst)))
}
