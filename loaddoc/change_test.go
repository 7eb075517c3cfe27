package loaddoc

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawn is any document, servers and users in order.
func drawn(t *rapid.T) *Document {
	d := &Document{Entity: "pres:service@example.com", Count: rapid.IntRange(0, 5).Draw(t, "count"), Users: rapid.IntRange(0, 5).Draw(t, "total")}
	d.Basic = rapid.SampledFrom([]string{"", "open", "closed"}).Draw(t, "basic")
	d.Note = rapid.SampledFrom([]string{"", "a & b", " x "}).Draw(t, "note")
	for i := range rapid.IntRange(0, 3).Draw(t, "addable") {
		d.Addable = append(d.Addable, fmt.Sprintf("sip:%d@example.com;x=<&>", i))
	}
	for i := range 5 {
		if rapid.Bool().Draw(t, "server") {
			continue
		}
		s := Server{ID: fmt.Sprintf("s%d", i), Level: Round(rapid.Float64Range(0, 1e6).Draw(t, "level")), Max: float64(rapid.IntRange(0, 3).Draw(t, "max")),
			State: rapid.SampledFrom([]string{"", "active", "draining"}).Draw(t, "state"),
			URI:   rapid.SampledFrom([]string{"", "sip:a;b='c'"}).Draw(t, "uri"), Count: rapid.IntRange(0, 9).Draw(t, "users")}
		for j := range 6 {
			if rapid.Bool().Draw(t, "user") {
				s.Users = append(s.Users, User{ID: fmt.Sprintf("u%d", j), XMPP: rapid.Bool().Draw(t, "xmpp"), SIP: rapid.Bool().Draw(t, "sip"),
					Resources: rapid.IntRange(0, 3).Draw(t, "resources"), Presence: rapid.SampledFrom([]string{"", "<basic>open</basic>", `<basic>closed</basic><x xmlns="y">z</x>`}).Draw(t, "presence")})
			}
		}
		d.Servers = append(d.Servers, s)
	}
	return d
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawn(t)
		d.Version = rapid.Uint64().Draw(t, "version")
		if got, err := Parse(Append(nil, d)); err != nil || !reflect.DeepEqual(got, d) {
			t.Fatalf("%+v\ncame back as\n%+v, %v", d, got, err)
		}
	})
}

// Who applies the changes, as they come over the wire, knows what was told; with enough
// of them, and no more news, all there is.
func TestDiffProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.IntRange(500, 5000).Draw(t, "room")
		now := drawn(t)
		told := Cut(now, room)
		heard, err := Parse(Append(nil, told))
		if err != nil {
			t.Fatal(err)
		}
		for step := range 30 {
			if step < 3 {
				now = drawn(t)
			}
			c, after := Diff(told, now, room)
			if c == nil {
				if step < 3 {
					continue
				}
				break
			}
			if c.Version != told.Version+1 || !c.Partial {
				t.Fatalf("change of version %d after %d", c.Version, told.Version)
			}
			sent, err := Parse(Append(nil, c))
			if err != nil || !reflect.DeepEqual(sent, c) {
				t.Fatalf("%+v\ncame back as\n%+v, %v", c, sent, err)
			}
			if heard, err = Apply(heard, sent); err != nil {
				t.Fatal(err)
			}
			told = after
			if !reflect.DeepEqual(heard, told) {
				t.Fatalf("heard\n%+v\ntold\n%+v", heard, told)
			}
		}
		final := *now
		final.Version = heard.Version
		for i := range final.Servers {
			if len(final.Servers[i].Users) == 0 {
				final.Servers[i].Users = nil
			}
		}
		if len(heard.Servers) != len(final.Servers) || !reflect.DeepEqual(Append(nil, heard), Append(nil, &final)) {
			t.Fatalf("heard\n%s\nis\n%s", Append(nil, heard), Append(nil, &final))
		}
	})
}

// A change names only what has changed.
func TestDiffIsSmall(t *testing.T) {
	a := &Document{Entity: "e", Version: 4, Count: 2, Users: 3, Addable: []string{"sip:x"}, Servers: []Server{
		{ID: "a", Level: 1, Users: []User{{ID: "u"}, {ID: "v"}}}, {ID: "b", Level: 2, Users: []User{{ID: "w"}}}}}
	b := *a
	b.Servers = []Server{{ID: "a", Level: 1, Users: []User{{ID: "v", SIP: true}}}, a.Servers[1]}
	c, _ := Diff(a, &b, 10_000)
	want := &Document{Entity: "e", Version: 5, Partial: true, Count: 2, Users: 3,
		Servers: []Server{{ID: "a", Level: 1, Users: []User{{ID: "u", Gone: true}, {ID: "v", SIP: true}}}}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("change %+v", c)
	}
	if c, after := Diff(a, a, 10_000); c != nil || after != a {
		t.Errorf("a change of nothing: %+v", c)
	}
}

func TestGap(t *testing.T) {
	base := &Document{Entity: "e", Version: 4}
	for _, c := range []struct {
		base, d *Document
		err     error
	}{
		{nil, &Document{Entity: "e", Version: 7}, nil},
		{nil, &Document{Entity: "e", Version: 7, Partial: true}, ErrGap},
		{base, &Document{Entity: "e", Version: 5, Partial: true}, nil},
		{base, &Document{Entity: "e", Version: 6, Partial: true}, ErrGap},
		{base, &Document{Entity: "e", Version: 4, Partial: true}, ErrGap},
		{base, &Document{Entity: "f", Version: 5, Partial: true}, ErrGap},
		{base, &Document{Entity: "e", Version: 0}, nil},
	} {
		if _, err := Apply(c.base, c.d); !errors.Is(err, c.err) {
			t.Errorf("%+v after %+v: %v", c.d, c.base, err)
		}
	}
}

// A hundred thousand users go in parts, each within its bound.
func TestPages(t *testing.T) {
	const users, room = 100_000, 40_000
	now := &Document{Entity: "pres:s@example.com", Servers: []Server{{ID: "a", Count: users}}}
	for i := range users {
		now.Servers[0].Users = append(now.Servers[0].Users, User{ID: fmt.Sprintf("user%06d@example.com", i), XMPP: true, Resources: 1, Presence: "<basic>open</basic>"})
	}
	told := Cut(now, room)
	pages := 1
	if n := len(Append(nil, told)); n > room+2000 {
		t.Fatalf("%d octets", n)
	}
	for {
		c, after := Diff(told, now, room)
		if c == nil {
			break
		}
		if n := len(Append(nil, c)); n > room+2000 {
			t.Fatalf("%d octets", n)
		}
		told, pages = after, pages+1
		if pages == 20 {
			break // as the rest
		}
	}
	if n := len(told.Servers[0].Users); n < pages*100 {
		t.Errorf("%d users in %d pages", n, pages)
	}
}
