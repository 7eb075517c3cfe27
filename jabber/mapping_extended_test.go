package jabber

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/pidf"
	"pharos/presence"
)

// extendedTables prints what PEP and the presence document say of one another.
func extendedTables(b *bytes.Buffer, code func(string) string) {
	fmt.Fprint(b, `## Personal eventing (XEP-0163)

An item of one of these nodes is a source of the presence: SIP watchers read it in the document. What a
publication (RFC 3903) says of the same is an event for XMPP clients that ask for it (`+"`+notify`"+`), under the
item id `+"`current`"+`. Of several sources the one that changed last counts. Sessions' own idleness and
`+"`<show/>`"+` are no events.

| node | item | presence document | how |
| --- | --- | --- | --- |
`)
	for _, x := range extensions {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", code(x.node), code("<"+x.local+"/>"), x.document, x.note)
	}
	fmt.Fprintf(b, `
### Mood (XEP-0107, RFC 4480 §3.4)

The same by name: %s.
Told as `+"`<rpid:other>`"+`: %s.
%s is %s with %s; a mood that XEP-0107 has not is undefined, with its name as text.

### Activity (XEP-0108, RFC 4480 §3.2)

Where an activity of RPID does not lead back to where it came from, the name goes along as `+"`<rpid:other>`"+`.

| XEP-0108 | RPID |
| --- | --- |
`, strings.Join(sharedMoods, ", "), strings.Join(otherMoods, ", "), code(moodUndefined), code(moodUnknown), code("<rpid:other>undefined</rpid:other>"))
	one := func(d Doing) string { return strings.TrimSuffix(d.General+"/"+d.Specific, "/") }
	for _, d := range doings {
		told := d.RPID
		if r, ok := back[d.RPID]; !ok || one(r) != one(d) {
			told = strings.TrimPrefix(told+", ", ", ") + "other: " + d.words()
		}
		fmt.Fprintf(b, "| %s | %s |\n", one(d), told)
	}
	fmt.Fprint(b, "\n| RPID | XEP-0108 |\n| --- | --- |\n")
	for _, a := range activities {
		if d, ok := back[a.Name]; ok {
			fmt.Fprintf(b, "| %s | %s |\n", a.Name, one(d))
		} else {
			fmt.Fprintf(b, "| %s | - |\n", a.Name)
		}
	}
	fmt.Fprint(b, `
### Location (XEP-0080, RFC 4119, RFC 5491, RFC 5139)

`+"`<lat/>`, `<lon/>`, `<alt/>`"+` are a point, with `+"`<accuracy/>`"+` a circle or sphere, on WGS 84. Of a civic address:

| XEP-0080 | RFC 5139 |
| --- | --- |
`)
	for _, p := range places {
		fmt.Fprintf(b, "| %s | %s |\n", p.Geoloc, p.Civic)
	}
}

func parse(t interface{ Fatal(...any) }, text string) *markup.Element {
	el, err := markup.Parse([]byte(text), markup.Options{})
	if err != nil {
		t.Fatal(text, err)
	}
	return el
}

// thereAndBack is what comes back of an item through the document and PIDF.
func thereAndBack(t interface{ Fatal(...any) }, node, payload string) string {
	doc, _, err := pidf.Parse(pidf.Append(nil, "sip:alice@localhost", extendedDoc(node, parse(t, payload))))
	if err != nil {
		t.Fatal(payload, err)
	}
	return string(extensionOf(node).item(doc))
}

var drawnTexts = rapid.Custom(func(t *rapid.T) string {
	var b []byte
	text := rapid.StringMatching(`[a-zA-Z0-9<>&'"äß€😀.]([a-zA-Z0-9 ]{0,10}[a-z])?`)
	for _, l := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"", "en", "de"}), 0, 2, rapid.ID).Draw(t, "langs") {
		b = appendTexts(b, []presence.Note{{Lang: l, Text: text.Draw(t, "text")}})
	}
	return string(b)
})

// TestMoodThereAndBack: every mood of XEP-0107 comes back as it was.
func TestMoodThereAndBack(t *testing.T) {
	all := slices.Concat(sharedMoods, otherMoods, []string{moodUndefined})
	if len(all) < 80 {
		t.Errorf("%d moods", len(all))
	}
	rapid.Check(t, func(t *rapid.T) {
		item := "<mood xmlns='" + nodeMood + "'><" + rapid.SampledFrom(all).Draw(t, "mood") + "/>" + drawnTexts.Draw(t, "texts") + "</mood>"
		if got := thereAndBack(t, nodeMood, item); got != item {
			t.Fatalf("%s came back as %s", item, got)
		}
	})
	if got := thereAndBack(t, nodeMood, "<mood xmlns='"+nodeMood+"'/>"); got != "" {
		t.Error(got)
	}
}

// TestActivityThereAndBack: every activity of XEP-0108 comes back as it was, a
// specific one under whatever general one.
func TestActivityThereAndBack(t *testing.T) {
	check := func(t interface{ Fatal(...any) }, general, specific, texts string) {
		inner := "<" + general + "/>"
		if specific != "" {
			inner = "<" + general + "><" + specific + "/></" + general + ">"
		}
		item := "<activity xmlns='" + nodeActivity + "'>" + inner + texts + "</activity>"
		if got := thereAndBack(t, nodeActivity, item); got != item {
			t.Fatal(item, "came back as", got)
		}
	}
	for _, d := range doings {
		check(t, d.General, d.Specific, "")
	}
	rapid.Check(t, func(t *rapid.T) {
		specific := rapid.SampledFrom(append(slices.Clone(doings), Doing{"relaxing", "other", ""})).Draw(t, "specific").Specific
		check(t, rapid.SampledFrom(doings).Draw(t, "general").General, specific, drawnTexts.Draw(t, "texts"))
	})
}

// TestActivityTables: what is in a table exists on both sides.
func TestActivityTables(t *testing.T) {
	for _, d := range doings {
		if d.RPID != "" && activityOf(d.RPID) == nil {
			t.Errorf("%v: no such activity in RPID", d)
		}
		if got, ok := doingOfWords(d.words()); !ok || got != d {
			t.Errorf("%v: %q is %v", d, d.words(), got)
		}
	}
	for name, d := range back {
		if activityOf(name) == nil {
			t.Errorf("%s: no such activity in RPID", name)
		}
		if _, ok := doingOf(d.General, d.Specific); !ok {
			t.Errorf("%s: no such activity in XEP-0108: %v", name, d)
		}
	}
	for _, a := range activities {
		_, ok := back[a.Name]
		if byShow := a.Words == "" && a.Show != "" || a.Name == "permanent-absence" || a.Name == "unknown"; ok == byShow {
			t.Errorf("%s: told as an activity %v, by show alone %v", a.Name, ok, byShow)
		}
	}
}

// TestGeolocThereAndBack: what SIP can say of a place comes back as it was.
func TestGeolocThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := map[string]string{}
		number := func(name string, most int) {
			fields[name] = strconv.Itoa(rapid.IntRange(-most, most).Draw(t, name)) + "." + strconv.Itoa(rapid.IntRange(0, 99999).Draw(t, name+"'s fraction"))
			fields[name] = strings.Replace(fields[name], strconv.Itoa(most)+".", strconv.Itoa(most-1)+".", 1)
		}
		if rapid.Bool().Draw(t, "point") {
			number("lat", 90)
			number("lon", 180)
			if rapid.Bool().Draw(t, "alt") {
				number("alt", 9000)
			}
			if rapid.Bool().Draw(t, "accuracy") {
				fields["accuracy"] = strconv.Itoa(rapid.IntRange(0, 1000).Draw(t, "metres"))
			}
		}
		for _, p := range places {
			if !rapid.Bool().Draw(t, p.Geoloc) {
				continue
			}
			switch p.Geoloc {
			case "countrycode":
				fields[p.Geoloc] = rapid.StringMatching("[A-Z]{2}").Draw(t, "cc")
			case "description":
				fields[p.Geoloc] = rapid.SampledFrom(append(slices.Clone(placeTypes), "Bill's house")).Draw(t, "description")
			default:
				fields[p.Geoloc] = rapid.StringMatching(`[a-zA-Z<&'"äß€]([a-z ]{0,6}[a-z])?`).Draw(t, "text")
			}
		}
		item := "<geoloc xmlns='" + nodeGeoloc + "'>"
		for _, name := range slices.Concat([]string{"accuracy", "alt"}, names(places), []string{"lat", "lon"}) {
			if v, ok := fields[name]; ok {
				item += string(markup.AppendText([]byte("<"+name+">"), v)) + "</" + name + ">"
			}
		}
		item += "</geoloc>"
		if len(fields) == 0 {
			item = ""
			return
		}
		if got := thereAndBack(t, nodeGeoloc, item); got != item {
			t.Fatalf("%s came back as\n%s", item, got)
		}
	})
}

func names(ps []Place) (out []string) {
	for _, p := range ps {
		out = append(out, p.Geoloc)
	}
	return out
}

// TestGeolocRefuses: what is no position on WGS 84 is none to SIP.
func TestGeolocRefuses(t *testing.T) {
	for _, inner := range []string{"<lat>91</lat><lon>0</lon>", "<lat>1</lat>", "<lat>NaN</lat><lon>1</lon>", "<lat>0x1</lat><lon>1</lon>",
		"<lat>1</lat><lon>1</lon><datum>NAD27</datum>", "<text>here</text>", ""} {
		if got := thereAndBack(t, nodeGeoloc, "<geoloc xmlns='"+nodeGeoloc+"'>"+inner+"</geoloc>"); got != "" {
			t.Errorf("%s: %s", inner, got)
		}
	}
}

// TestLocationOfSIP: location objects as others write them.
func TestLocationOfSIP(t *testing.T) {
	for _, c := range []struct{ name, pidf, want string }{
		{"RFC 4119, in the status", "<tuple id='t'><status><basic>open</basic><gp:geopriv xmlns:gp='" + nsGeopriv + "'><gp:location-info><cl:civilAddress xmlns:cl='x'/>" +
			"<cl:civicAddress xmlns:cl='" + nsCivicLoc + "'><cl:country>US</cl:country><cl:A1>New York</cl:A1><cl:A3>New York</cl:A3><cl:A6>Broadway</cl:A6><cl:HNO>123</cl:HNO><cl:PC>10027-0401</cl:PC></cl:civicAddress>" +
			"</gp:location-info><gp:usage-rules/></gp:geopriv></status></tuple>",
			"<countrycode>US</countrycode><region>New York</region><locality>New York</locality><street>Broadway 123</street><postalcode>10027-0401</postalcode>"},
		{"RFC 5491, of a device", "<dm:device id='d'><gp:geopriv xmlns:gp='" + nsGeopriv + "'><gp:location-info><gml:Point xmlns:gml='" + nsGML + "' srsName='" + wgs84 + "'>" +
			"<gml:pos>\n -34.407 150.883 </gml:pos></gml:Point></gp:location-info></gp:geopriv><dm:deviceID>mac:1</dm:deviceID></dm:device>",
			"<lat>-34.407</lat><lon>150.883</lon>"},
		{"another system", "<dm:person id='d'><gp:geopriv xmlns:gp='" + nsGeopriv + "'><gp:location-info><gml:Point xmlns:gml='" + nsGML + "' srsName='urn:ogc:def:crs:EPSG::27700'>" +
			"<gml:pos>1 2</gml:pos></gml:Point></gp:location-info></gp:geopriv></dm:person>", ""},
		{"place types", "<dm:person id='d'><r:place-type><lt:train xmlns:lt='" + pidf.LocationTypes + "'/><r:other>on the roof</r:other></r:place-type></dm:person>",
			"<description>train, on the roof</description>"},
	} {
		doc, _, err := pidf.Parse([]byte("<presence xmlns='" + pidf.Space + "' xmlns:dm='" + pidf.DataModel + "' xmlns:r='" + pidf.RPID + "' entity='sip:a@b'>" + c.pidf + "</presence>"))
		if err != nil {
			t.Fatal(c.name, err)
		}
		want := c.want
		if want != "" {
			want = "<geoloc xmlns='" + nodeGeoloc + "'>" + want + "</geoloc>"
		}
		if got := string(extensionOf(nodeGeoloc).item(doc)); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

// TestToldBy: who is told what when several sources speak, and when the policy
// has filtered them.
func TestToldBy(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	item := func(node, payload string, when int) *presence.Source {
		native := presence.Payload{Type: ItemType, Bytes: appendItems(nil, node, &nodeItem{ID: "i", Payload: payload})}
		doc, ok := RestoreItem(native, "")
		if !ok {
			t.Fatal(payload)
		}
		return &presence.Source{ID: sourceID(node), Native: native, Doc: doc, Updated: at(when)}
	}
	filtered := func(s *presence.Source, doc *presence.Document) *presence.Source {
		return &presence.Source{ID: s.ID, Doc: doc, Updated: s.Updated}
	}
	moody := func(name string) *presence.Document {
		return &presence.Document{Persons: []presence.Person{{Rich: presence.Rich{Mood: &presence.Values{Names: []string{name}}}}}}
	}
	happy := item(nodeMood, "<mood xmlns='"+nodeMood+"'><happy/><text>x</text></mood>", 5)
	tune := item(nodeTune, "<tune xmlns='"+nodeTune+"'><title>x</title></tune>", 5)
	other := item("urn:x", "<x xmlns='urn:x'/>", 5)
	phone := func(when int) *presence.Source {
		return &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, Doc: moody("sad"), Updated: at(when)}
	}
	session := &presence.Source{ID: presence.SourceID{Kind: presence.Session, Key: "r"}, Doc: moody("angry"), Updated: at(9)}
	for _, c := range []struct {
		name    string
		sources []*presence.Source
		want    string
	}{
		{"as it came", []*presence.Source{happy, other}, "<happy/><text>x</text>|<x xmlns='urn:x'/>"},
		{"a later phone", []*presence.Source{happy, phone(6)}, "<sad/>"},
		{"an earlier phone", []*presence.Source{phone(4), happy}, "<happy/><text>x</text>"},
		{"a session has no mood of its own", []*presence.Source{session}, ""},
		{"filtered, and what is left", []*presence.Source{filtered(happy, moody("happy"))}, "<happy/>"},
		{"filtered, and nothing left", []*presence.Source{filtered(happy, &presence.Document{}), filtered(other, other.Doc), filtered(tune, &presence.Document{})}, ""},
		{"filtered, and an extension permitted", []*presence.Source{filtered(tune, tune.Doc)}, "<title>x</title>"},
	} {
		var got []string
		for _, x := range toldBy(&presence.View{Sources: c.sources}) {
			items := parse(t, string(x.bytes))
			for i := range items.Children() {
				p := slices.Collect(i.Children())[0]
				if p.Local == "x" {
					got = append(got, p.Source())
				} else {
					got = append(got, string(p.AppendInner(nil, p.Space)))
				}
			}
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

func FuzzExtensions(f *testing.F) {
	for _, s := range []string{"<mood xmlns='" + nodeMood + "'><happy/></mood>", "<activity xmlns='" + nodeActivity + "'><working><coding/></working></activity>",
		"<geoloc xmlns='" + nodeGeoloc + "'><lat>1</lat><lon>2</lon></geoloc>", "<tune xmlns='" + nodeTune + "'><title/></tune>",
		"<nick xmlns='" + nodeNick + "'>x</nick>", "<metadata xmlns='" + nodeAvatar + "'><info url='x'/></metadata>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		el, err := markup.Parse([]byte(text), markup.Options{})
		if err != nil {
			return
		}
		for i := range extensions {
			x := &extensions[i]
			out := x.item(extendedDoc(x.node, el))
			if out == nil {
				continue
			}
			// What we write says the same again.
			again := x.item(extendedDoc(x.node, parse(t, string(out))))
			if string(again) != string(out) {
				t.Errorf("%s became %s", out, again)
			}
		}
	})
}
