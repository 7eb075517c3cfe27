package presence

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPrivacyExample is RFC 5025 §6 in words: services whose contacts are sip and
// mailto, the person, activities, bare user input, and foo.
func TestPrivacyExample(t *testing.T) {
	tr := &Transform{
		Services: Selection{ServiceScheme: []string{"sip", "mailto"}}, Persons: Selection{All: true},
		Attributes: map[string]bool{"activities": true}, UserInput: BareUserInput,
		Unknown: map[Unknown]bool{{"urn:vendor-specific:foo-namespace", "foo"}: true},
	}
	foo := Fragment{"urn:vendor-specific:foo-namespace", "foo", "<foo/>"}
	bar := Fragment{"urn:vendor-specific:foo-namespace", "bar", "<bar/>"}
	busy := &Values{Names: []string{"busy"}, Notes: []Note{{Text: "no time"}}}
	at := time.Unix(1e9, 0)
	d := &Document{
		Tuples: []Tuple{
			{ID: "t1", Basic: Open, Contact: "sip:user@example.com", Priority: 800, DeviceIDs: []string{"urn:d"}, Timestamp: at,
				Rich:  Rich{ServiceClass: &Values{Names: []string{"electronic"}}, Class: "c", StatusIcon: "http://i", Relationship: &Values{Names: []string{"family"}}},
				Notes: []Note{{Text: "n"}}, Status: []Fragment{bar}, Extra: []Fragment{foo, bar}},
			{ID: "t2", Basic: Open, Contact: "mailto:user@example.com", Priority: -1},
			{ID: "t3", Basic: Open, Contact: "xmpp:user@example.com", Priority: -1},
			{ID: "t4", Basic: Open, Priority: -1},
		},
		Persons: []Person{{ID: "p", Timestamp: at, Notes: []Note{{Text: "n"}}, Extra: []Fragment{bar, foo}, Rich: Rich{
			Activities: busy, Mood: busy, PlaceIs: busy, PlaceType: busy, Privacy: busy, Class: "c", Sphere: "home", TimeOffset: "60",
			Frames: []Frame{{Element: "sphere", From: "x"}}, UserInput: UserInput{State: "idle", LastInput: "x", IdleThreshold: "600", ID: "u"}}}},
		Devices: []Device{{ID: "d", DeviceID: "urn:d"}},
		Notes:   []Note{{Text: "of all"}},
		Extra:   []Fragment{foo},
	}
	want := &Document{
		Tuples: []Tuple{
			{ID: "t1", Basic: Open, Contact: "sip:user@example.com", Priority: 800, Timestamp: at,
				Rich: Rich{ServiceClass: &Values{Names: []string{"electronic"}}}, Extra: []Fragment{foo}},
			d.Tuples[1],
		},
		Persons: []Person{{ID: "p", Timestamp: at, Extra: []Fragment{foo}, Rich: Rich{Activities: busy, UserInput: UserInput{State: "idle", ID: "u"}}}},
	}
	if got := tidied(tr.Document(d)); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	var everything *Transform
	if everything.Document(d) != d || tr.Document(nil) != nil {
		t.Error("everything is not shown as it is")
	}
	if got := tidied((&Transform{AllAttributes: true}).Document(d)); !reflect.DeepEqual(got, &Document{}) {
		t.Errorf("all attributes of nothing: %+v", got)
	}
}

// tidied is d with nil for empty slices.
func tidied(d *Document) *Document {
	c := *d
	c.Tuples, c.Persons, c.Devices = slices.Clone(c.Tuples), slices.Clone(c.Persons), slices.Clone(c.Devices)
	for i := range c.Tuples {
		u := &c.Tuples[i]
		u.Status, u.Extra, u.Rich.Frames = tidy(u.Status), tidy(u.Extra), tidy(u.Rich.Frames)
	}
	for i := range c.Persons {
		p := &c.Persons[i]
		p.Extra, p.Rich.Frames = tidy(p.Extra), tidy(p.Rich.Frames)
	}
	c.Tuples, c.Persons, c.Devices = tidy(c.Tuples), tidy(c.Persons), tidy(c.Devices)
	return &c
}

func tidy[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// TestUserInputLevels is RFC 5025 §3.3.2.12.
func TestUserInputLevels(t *testing.T) {
	in := UserInput{State: "idle", LastInput: "2003-01-01T00:00:00Z", IdleThreshold: "600", ID: "u"}
	for level, want := range map[UserInputLevel]UserInput{
		NoUserInput: {}, BareUserInput: {State: "idle", ID: "u"}, ThresholdUserInput: {State: "idle", IdleThreshold: "600"}, FullUserInput: in,
	} {
		d := &Document{Persons: []Person{{ID: "p", Rich: Rich{UserInput: in}}}}
		if got := (&Transform{Persons: Selection{All: true}, UserInput: level}).Document(d).Persons[0].Rich.UserInput; got != want {
			t.Errorf("%d: %+v", level, got)
		}
	}
}

func TestServiceID(t *testing.T) {
	tr := &Transform{Services: Selection{ServiceID: []string{"org.3gpp.voip"}}}
	for xml, shown := range map[string]bool{
		"<service-description xmlns='" + OMASpace + "'><service-id>org.3gpp.voip</service-id><version>1</version></service-description>":                        true,
		"<o:service-description xmlns:o='" + OMASpace + "'><o:version>1</o:version><o:service-id x='y'> org.3gpp.voip\n</o:service-id></o:service-description>": true,
		"<service-description xmlns='" + OMASpace + "'><service-id>org.3gpp</service-id></service-description>":                                                 false,
		"<service-description xmlns='" + OMASpace + "'><service-id/></service-description>":                                                                     false,
		"<service-description xmlns='" + OMASpace + "'/>":                                                                                                       false,
	} {
		d := &Document{Tuples: []Tuple{{ID: "t", Basic: Open, Extra: []Fragment{{OMASpace, "service-description", xml}}}, {ID: "u"}}}
		if got := tr.Document(d); len(got.Tuples) > 0 != shown || len(got.Tuples) > 1 {
			t.Errorf("%s: %v", xml, got.Tuples)
		}
	}
}

func TestSameURI(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"sip:a@example.com", "sip:a@example.com", true}, {"sip:a@example.com", "SIP:a@EXAMPLE.com", true},
		{"sip:a@example.com", "sip:A@example.com", false}, {"sip:a@example.com", "sips:a@example.com", false},
		{"sip:a@example.com;x=Y", "sip:a@Example.com;x=Y", true}, {"sip:a@example.com;x=Y", "sip:a@example.com;x=y", false},
		{"http://Example.com/P", "http://example.com/P", true}, {"http://example.com/P", "http://example.com/p", false},
		{"urn:uuid:F81D", "URN:UUID:f81d", true}, {"urn:x:F", "URN:X:F", true}, {"urn:x:F", "urn:x:f", false},
		{"mac:8e", "mac:8E", false}, {"", "", false}, {"a", "b", false}, {"tel:+1", "tel:+1", true},
	} {
		if sameURI(c.a, c.b) != c.same || sameURI(c.b, c.a) != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.same)
		}
	}
}

func drawDocument(t *rapid.T) *Document {
	maybe := func(name string) bool { return rapid.Bool().Draw(t, name) }
	text := func(name string, of ...string) string { return rapid.SampledFrom(append(of, "")).Draw(t, name) }
	values := func(name string) *Values {
		if maybe(name) {
			return &Values{Names: []string{name}, Notes: []Note{{Text: "of " + name}}}
		}
		return nil
	}
	notes := func() []Note { return rapid.SliceOfN(rapid.Just(Note{Text: "note"}), 0, 1).Draw(t, "notes") }
	extra := func() []Fragment {
		return rapid.SliceOfN(rapid.SampledFrom([]Fragment{{"urn:x", "foo", "<foo/>"}, {"urn:x", "bar", "<bar/>"},
			{"urn:ietf:params:xml:ns:pidf:rpid", "mood", "<mood/>"}, {"urn:ietf:params:xml:ns:pidf:status:rpid", "user-input", "<user-input/>"},
			{"urn:ietf:params:xml:ns:pidf:rpid", "service-class", "<service-class/>"}, {"urn:ietf:params:xml:ns:pidf:rpid", "new", "<new/>"}}), 0, 2).Draw(t, "extra")
	}
	rich := func() Rich {
		r := Rich{Activities: values("activities"), Mood: values("mood"), PlaceIs: values("place-is"), PlaceType: values("place-type"), Privacy: values("privacy"),
			Relationship: values("relationship"), ServiceClass: values("service-class"), Class: text("class", "work", "home", "x"), Sphere: text("sphere", "s"),
			StatusIcon: text("icon", "i"), TimeOffset: text("offset", "60")}
		if maybe("input") {
			r.UserInput = UserInput{State: "idle", LastInput: text("last", "l"), IdleThreshold: text("threshold", "600"), ID: text("id", "u")}
		}
		for _, f := range []string{"sphere", "status-icon", "time-offset"} {
			if maybe("frame") {
				r.Frames = append(r.Frames, Frame{Element: f, From: "from"})
			}
		}
		return r
	}
	d := &Document{Notes: notes(), Extra: extra()}
	for range rapid.IntRange(0, 2).Draw(t, "tuples") {
		d.Tuples = append(d.Tuples, Tuple{ID: text("tuple", "t1", "t2"), Basic: Open, Contact: text("contact", "sip:a@example.com", "MAILTO:a@example.com", "xmpp:a@example.com"), Priority: 5,
			DeviceIDs: rapid.SliceOfN(rapid.Just("urn:uuid:ab"), 0, 1).Draw(t, "ids"), Rich: rich(), Notes: notes(), Timestamp: time.Unix(1, 0), Status: extra(), Extra: extra()})
	}
	for range rapid.IntRange(0, 2).Draw(t, "persons") {
		d.Persons = append(d.Persons, Person{ID: text("person", "p1", "p2"), Rich: rich(), Notes: notes(), Timestamp: time.Unix(1, 0), Extra: extra()})
	}
	for range rapid.IntRange(0, 2).Draw(t, "devices") {
		d.Devices = append(d.Devices, Device{ID: text("device", "d1", "d2"), DeviceID: text("deviceID", "urn:uuid:ab", "urn:uuid:cd"), Rich: rich(), Notes: notes(), Timestamp: time.Unix(1, 0), Extra: extra()})
	}
	return d
}

// fact is one thing that a document says, with the permission that it needs
// besides that of its element.
type fact struct{ of, needs, says string }

// allOf lists what a rich element says, in RFC 5025's terms.
func allOf(of string, r Rich, notes []Note, extra []Fragment, status []Fragment) (fs []fact) {
	say := func(needs, says string) { fs = append(fs, fact{of, needs, says}) }
	for needs, v := range map[string]*Values{"activities": r.Activities, "mood": r.Mood, "place-is": r.PlaceIs, "place-type": r.PlaceType,
		"privacy": r.Privacy, "relationship": r.Relationship, "": r.ServiceClass} {
		if v != nil {
			say(needs, strings.Join(v.Names, " "))
		}
	}
	for needs, v := range map[string]string{"class": r.Class, "sphere": r.Sphere, "status-icon": r.StatusIcon, "time-offset": r.TimeOffset} {
		if v != "" {
			say(needs, v)
		}
	}
	for _, f := range r.Frames {
		say(f.Element, "frame of "+f.Element)
	}
	if u := r.UserInput; u.State != "" {
		say("user-input 1", u.State)
		if u.LastInput != "" {
			say("user-input 3", "last "+u.LastInput)
		}
		if u.IdleThreshold != "" {
			say("user-input 2", "threshold "+u.IdleThreshold)
		}
		if u.ID != "" {
			say("user-input not 2", "id "+u.ID)
		}
	}
	for range notes {
		say("note", "note")
	}
	for _, f := range slices.Concat(extra, status) {
		switch {
		case f.Space == "urn:x":
			say("unknown "+f.Local, f.XML)
		case f.Local == "user-input":
			say("user-input 3", f.XML)
		case f.Local == "service-class":
			say("", f.XML)
		default:
			say(f.Local, f.XML)
		}
	}
	return fs
}

// permitted is RFC 5025 §3.3.2, in other words than the code's.
func (f fact) permitted(t *Transform, person bool) bool {
	if !person && slices.Contains([]string{"activities", "mood", "place-is", "place-type", "sphere", "time-offset"}, f.needs) && !t.Persons.All {
		return false
	}
	if f.needs == "" || t.AllAttributes {
		return true
	}
	if local, ok := strings.CutPrefix(f.needs, "unknown "); ok {
		return t.Unknown[Unknown{"urn:x", local}]
	}
	switch f.needs {
	case "user-input 1":
		return t.UserInput >= 1
	case "user-input 2":
		return t.UserInput >= 2
	case "user-input 3":
		return t.UserInput == 3
	case "user-input not 2":
		return t.UserInput == 1 || t.UserInput == 3
	}
	return t.Attributes[f.needs]
}

func sorted(fs []fact) []fact {
	slices.SortFunc(fs, func(a, b fact) int { return strings.Compare(a.of+a.needs+a.says, b.of+b.needs+b.says) })
	return fs
}

// What is shown is what is permitted, no more and no less; it grows with the
// permissions; and what is not changed is the same.
func TestPrivacyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		tr := drawTransform(t, "t")
		before := *d
		out := tr.Document(d)
		if !reflect.DeepEqual(before, *d) {
			t.Fatal("the document itself was changed")
		}
		if same := reflect.DeepEqual(tidied(out), tidied(d)); same != (out == d) {
			t.Fatalf("the same document: %v, the same bytes: %v", out == d, same)
		}
		if got, want := tidiedFacts(out), wanted(tr, d); !slices.Equal(got, want) {
			t.Fatalf("shown %v\nwant %v", got, want)
		}
		more := tr.Union(drawTransform(t, "more"))
		if more == nil {
			return
		}
		grown := tidiedFacts(more.Document(d))
		for _, f := range tidiedFacts(out) {
			// The id of user input goes where thresholds come (§3.3.2.12).
			if i := slices.Index(grown, f); i >= 0 {
				grown = slices.Delete(grown, i, i+1)
			} else if f.needs != "user-input not 2" {
				t.Fatalf("%v is shown to some and not to those who may see more", f)
			}
		}
		if len(tr.Services.Class)+len(tr.Persons.Class)+len(tr.Devices.Class) == 0 {
			if again := tr.Document(out); again != out { // RFC 5025 §4
				t.Fatalf("not the same again: %+v after %+v", again, out)
			}
		}
	})
}

func tidiedFacts(d *Document) []fact {
	var fs []fact
	for i, u := range d.Tuples {
		fs = append(fs, fact{"tuple", "", u.ID + u.Contact + u.Timestamp.String() + string('0'+rune(u.Basic))})
		for _, id := range u.DeviceIDs {
			fs = append(fs, fact{"tuple", "deviceID", id})
		}
		fs = append(fs, allOf("tuple", d.Tuples[i].Rich, u.Notes, u.Extra, u.Status)...)
	}
	for i, p := range d.Persons {
		fs = append(fs, fact{"person", "", p.ID + p.Timestamp.String()})
		fs = append(fs, allOf("person", d.Persons[i].Rich, p.Notes, p.Extra, nil)...)
	}
	for i, v := range d.Devices {
		fs = append(fs, fact{"device", "", v.ID + v.DeviceID + v.Timestamp.String()})
		fs = append(fs, allOf("device", d.Devices[i].Rich, v.Notes, v.Extra, nil)...)
	}
	for range d.Notes {
		fs = append(fs, fact{"document", "note", "note"})
	}
	for _, x := range d.Extra {
		fs = append(fs, fact{"document", "everything", x.XML})
	}
	return sorted(fs)
}

// wanted is what of d is to be shown.
func wanted(t *Transform, d *Document) []fact {
	var fs []fact
	in := func(list []string, v string) bool { return v != "" && slices.Contains(list, v) }
	keep := func(shown bool, one *Document, person bool) {
		for _, f := range tidiedFacts(one) {
			if shown && f.permitted(t, person) {
				fs = append(fs, f)
			}
		}
	}
	for _, u := range d.Tuples {
		s := t.Services
		scheme := map[string]string{"s": "sip", "M": "mailto", "x": "xmpp"}[u.Contact[:min(1, len(u.Contact))]]
		keep(s.All || in(s.Class, u.Rich.Class) || slices.Contains(s.OccurrenceID, u.ID) || in(s.ServiceScheme, scheme) ||
			len(s.ServiceURI) > 0 && u.Contact == "sip:a@example.com", &Document{Tuples: []Tuple{u}}, false)
	}
	for _, p := range d.Persons {
		s := t.Persons
		keep(s.All || in(s.Class, p.Rich.Class) || slices.Contains(s.OccurrenceID, p.ID), &Document{Persons: []Person{p}}, true)
	}
	for _, v := range d.Devices {
		s := t.Devices
		keep(s.All || in(s.Class, v.Rich.Class) || slices.Contains(s.OccurrenceID, v.ID) || len(s.DeviceID) > 0 && v.DeviceID == "urn:uuid:ab", &Document{Devices: []Device{v}}, false)
	}
	keep(t.Persons.All, &Document{Notes: d.Notes}, true)
	return sorted(fs)
}

func BenchmarkPrivacy(b *testing.B) {
	d := benchDoc("busy")
	for name, tr := range map[string]*Transform{
		"unchanged": {Services: Selection{All: true}, Persons: Selection{All: true}, Attributes: map[string]bool{"activities": true, "note": true}},
		"filtered":  {Services: Selection{ServiceScheme: []string{"sip"}}, Persons: Selection{All: true}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tr.Document(d)
			}
		})
	}
}
