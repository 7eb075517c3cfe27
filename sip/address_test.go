package sip

import (
	"testing"

	"pgregory.net/rapid"
)

func parsed(t testing.TB, lines ...string) *Message {
	t.Helper()
	m, err := Parse([]byte(optionsWith(lines...)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseAddress(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Address
		ok   bool
	}{
		{"sip:a@h", Address{"", "sip:a@h", ""}, true},
		{"sip:a@h;tag=1", Address{"", "sip:a@h", ";tag=1"}, true},
		{" <sip:a@h;lr> ; tag = 1", Address{"", "sip:a@h;lr", "; tag = 1"}, true},
		{`"A \"B\" \\ C" <sip:a@h>`, Address{`A "B" \ C`, "sip:a@h", ""}, true},
		{`"<x>;,"<sip:a@h>`, Address{"<x>;,", "sip:a@h", ""}, true},
		{`"" <sip:a@h>`, Address{"", "sip:a@h", ""}, true},
		{"Alice B <sip:a@h>", Address{"Alice B", "sip:a@h", ""}, true},
		{"<sip:a@h?x=y,z>", Address{}, false}, // a comma does not stand in a URI header
		{"<sip:a,b?c@h>", Address{"", "sip:a,b?c@h", ""}, true},
		{`<sip:a@h>;+sip.instance="<urn:uuid:1>"`, Address{"", "sip:a@h", `;+sip.instance="<urn:uuid:1>"`}, true},
		{`sip:a@h;+sip.instance="<urn:uuid:1>"`, Address{"", "sip:a@h", `;+sip.instance="<urn:uuid:1>"`}, true},
		{"tel:+1-201", Address{"", "tel:+1-201", ""}, true},
		{"", Address{}, false},
		{"*", Address{}, false},
		{"<>", Address{}, false},
		{"<sip:a@h", Address{}, false},
		{"< sip:a@h>", Address{}, false},
		{"<sip:a@h> x", Address{}, false},
		{"<sip:a@h>,", Address{}, false},
		{`"A <sip:a@h>`, Address{}, false},
		{`"A" sip:a@h`, Address{}, false},
		{`A "B" <sip:a@h>`, Address{}, false},
		{"A, B <sip:a@h>", Address{}, false},
		{"A; B <sip:a@h>", Address{}, false},
		{"sip:a,b@h", Address{}, false},
		{"sip:a?b@h", Address{}, false},
		{"sip:a b@h", Address{}, false},
		{"<sip:a@h>;", Address{}, false},
		{"<sip:a@h>;=x", Address{}, false},
		{"<sip:a@h>;tag=", Address{}, false},
		{`<sip:a@h>;tag="x`, Address{}, false},
		{`<sip:a@h>;tag="x"y`, Address{}, false},
	} {
		a, ok := ParseAddress(c.in)
		if ok != c.ok || ok && a != c.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", c.in, a, ok, c.want, c.ok)
		}
	}
}

func TestContacts(t *testing.T) {
	m := parsed(t, `Contact: "A, B" <sip:a@h;ob>;q=0.5;expires=60;reg-id=2;+sip.instance="<urn:uuid:f81d4fae>", sip:b@h;expires=x`,
		"m: <sip:c,d@h>;q=2;expires=99999999999")
	cs, star, err := m.Contacts()
	if err != nil || star || len(cs) != 3 {
		t.Fatal(cs, star, err)
	}
	want(t, "q", cs[0].Q(), 500)
	want(t, "instance", cs[0].Instance(), "urn:uuid:f81d4fae")
	want(t, "reg-id", cs[0].RegID(), 2)
	sec, ok := cs[0].Expires()
	want(t, "expires", sec, 60)
	want(t, "expires ok", ok, true)
	_, ok = cs[1].Expires()
	want(t, "malformed expires", ok, false)
	want(t, "q absent", cs[1].Q(), 1000)
	want(t, "no instance", cs[1].Instance(), "")
	want(t, "no reg-id", cs[1].RegID(), 0)
	sec, _ = cs[2].Expires()
	want(t, "overlarge expires", sec, 1<<32-1)
	want(t, "malformed q", cs[2].Q(), 1000)
	want(t, "uri", cs[2].URI, "sip:c,d@h")

	_, star, err = parsed(t, "Contact: *").Contacts()
	want(t, "star", star, true)
	want(t, "star error", err, nil)
	for _, l := range [][]string{{"Contact: *, <sip:a@h>"}, {"Contact: <sip:a@h>", "m: *"}, {"Contact: *", "m: *"}, {"Contact: x"}} {
		if _, _, err := parsed(t, l...).Contacts(); err != ErrAddress {
			t.Errorf("%v: %v", l, err)
		}
	}
	cs, star, err = parsed(t).Contacts()
	want(t, "none", len(cs) == 0 && !star && err == nil, true)
	_, ok, _ = parsed(t).Contact()
	want(t, "no contact", ok, false)
	_, ok, err = parsed(t, "Contact: x").Contact()
	want(t, "bad contact", ok && err == ErrAddress, true)
}

func TestAddresses(t *testing.T) {
	m := parsed(t, "P-Asserted-Identity: \"A\" <sip:a@h>, <tel:+1201>", "Path: <sip:p1;lr>,<sip:p2;lr>", "Path: <sip:p3;lr>", "Route: <")
	ids, err := m.Addresses(HPAssertedIdentity)
	want(t, "identities", len(ids) == 2 && err == nil && ids[1].URI == "tel:+1201", true)
	path, err := m.Addresses(HPath)
	want(t, "path", len(path) == 3 && err == nil && path[2].URI == "sip:p3;lr", true)
	_, err = m.Addresses(HRoute)
	want(t, "route", err, ErrAddress)
}

func TestParseQ(t *testing.T) {
	for s, q := range map[string]int{"0": 0, "1": 1000, "0.": 0, "0.5": 500, "0.33": 330, "0.001": 1, "1.0": 1000, "1.000": 1000,
		"": -1, "2": -1, "1.1": -1, "0.1234": -1, ".5": -1, "0,5": -1, "x": -1, "0.x": -1} {
		got, ok := parseQ(s)
		if !ok {
			got = -1
		}
		want(t, s, got, q)
	}
}

// TestAppendAddress: any display name survives, and none breaks the line.
func TestAppendAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		b := AppendAddress(nil, Address{Display: name, URI: "sip:a@h", Params: ";tag=1"})
		a, ok := ParseAddress(string(b))
		if !ok || a.URI != "sip:a@h" || a.Tag() != "1" {
			t.Fatalf("%q: %+v", b, a)
		}
		for i := range b {
			if b[i] == '\r' || b[i] == '\n' || b[i] == 0 {
				t.Fatalf("%q", b)
			}
		}
		blank := func(s string) string {
			r := []byte(s)
			for i, c := range r {
				if c == '\r' || c == '\n' || c == 0 {
					r[i] = ' '
				}
			}
			return string(r)
		}
		if a.Display != blank(name) {
			t.Fatalf("%q became %q", name, a.Display)
		}
	})
}
