package simple

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
	"pharos/rlmi"
)

// subscriber keeps the table of RFC 4662 §5.6 out of what it is told.
type subscriber struct {
	version int // of the last notification, -1 before the first
	rows    map[string]rlmi.Resource
	states  map[string]string   // by URI, what the part of its instance held
	history map[string][]string // by URI, each state once
	names   []rlmi.Name
}

func newSubscriber() *subscriber {
	return &subscriber{version: -1, rows: map[string]rlmi.Resource{}, states: map[string]string{}, history: map[string][]string{}}
}

// take reads a body and updates the table; the error says what is wrong with it.
func (s *subscriber) take(contentType, body string) error {
	root, parts, err := splitRelated(contentType, body)
	if err != nil {
		return err
	}
	l, err := rlmi.Parse([]byte(root))
	if err != nil {
		return err
	}
	if int(l.Version) != s.version+1 {
		return fmt.Errorf("version %d after %d", l.Version, s.version)
	}
	if s.version < 0 && !l.Full {
		return fmt.Errorf("first notification is not full state")
	}
	s.version, s.names = int(l.Version), l.Names
	if l.Full {
		clear(s.rows)
		clear(s.states)
	}
	used := map[string]bool{}
	for _, r := range l.Resources {
		s.rows[r.URI] = r
		delete(s.states, r.URI)
		for _, in := range r.Instances {
			if in.State != presence.Active {
				if in.CID != "" {
					return fmt.Errorf("%s is %v and has a cid", r.URI, in.State)
				}
				continue
			}
			state, there := parts[in.CID]
			if !there {
				return fmt.Errorf("no part %q for %s", in.CID, r.URI)
			}
			used[in.CID] = true
			s.states[r.URI] = state
			if h := s.history[r.URI]; len(h) == 0 || h[len(h)-1] != state {
				s.history[r.URI] = append(h, state)
			}
		}
	}
	if len(used) != len(parts) {
		return fmt.Errorf("%d parts, %d are named", len(parts), len(used))
	}
	return nil
}

// send tells a subscriber what the list has for it.
func (s *subscriber) send(l *resourceList, everything bool, max int) (again bool, size int, err error) {
	version := uint32(s.version + 1)
	news, full := l.take(everything)
	m := &rlmi.Body{Boundary: "b0undary", Root: "r@example.com"}
	doc := &rlmi.List{URI: "sip:l@example.com", Version: version, Full: full, Names: l.names}
	body, left := listBody(m, doc, news, "text/plain", func(t told) []byte { return renderedTestView(t.view) },
		fmt.Sprintf(".%d@example.com", version), max, 3*max)
	for _, t := range left {
		l.putBack(t)
	}
	return len(left) > 0 || l.pending(), len(body), s.take(m.ContentType(), string(body))
}

// renderedTestView makes a text that tells views apart and has some length.
func renderedTestView(v *presence.View) []byte {
	return fmt.Appendf(nil, "%s %d %s", v.Presentity, v.Version, strings.Repeat("x", int(v.Version*37%200)))
}

func entries(uris ...string) (ls []listEntry) {
	for _, u := range uris {
		who, ok := entityOf(u)
		if !ok || who.Domain != "example.com" {
			who = presence.Entity{}
		}
		ls = append(ls, listEntry{uri: u, entity: who})
	}
	return ls
}

func TestListMembers(t *testing.T) {
	l := &resourceList{}
	added, gone := l.set(nil, entries("sip:bob@example.com", "tel:+43123", "sip:Bob@example.com", "sip:carol@example.com",
		"sip:bob@example.com", "sip:dave@elsewhere.example"))
	if len(added) != 2 || len(gone) != 0 || len(l.resources) != 5 {
		t.Fatalf("%d added, %d gone, %d resources", len(added), len(gone), len(l.resources))
	}
	s := newSubscriber()
	bob := l.members[presence.Entity{User: "bob", Domain: "example.com"}]
	v := &presence.View{Presentity: bob.entity, Version: 3}
	if !l.note(bob, presence.Active, presence.NoReason, v) || l.note(bob, presence.Active, presence.NoReason, v) {
		t.Error("note")
	}
	if again, _, err := s.send(l, true, 1<<20); err != nil || again {
		t.Fatal(again, err)
	}
	// Both of Bob's URIs have his state; one part serves both.
	if s.states["sip:bob@example.com"] != string(renderedTestView(v)) || s.states["sip:Bob@example.com"] != string(renderedTestView(v)) {
		t.Errorf("%q", s.states)
	}
	if r := s.rows["sip:carol@example.com"]; len(r.Instances) != 0 {
		t.Errorf("unknown state: %+v", r) // RFC 4662 §4.5
	}
	for _, uri := range []string{"tel:+43123", "sip:dave@elsewhere.example"} {
		if in := s.rows[uri].Instances; len(in) != 1 || in[0].State != presence.Terminated || in[0].Reason != presence.NoResource {
			t.Errorf("%s: %+v", uri, in)
		}
	}

	// A new one is told alone; one that goes, by full state.
	added, gone = l.set(nil, append(entries("sip:bob@example.com", "tel:+43123", "sip:Bob@example.com", "sip:carol@example.com",
		"sip:dave@elsewhere.example"), listEntry{uri: "sip:erin@example.com", names: []rlmi.Name{{Text: "Erin"}}, entity: presence.Entity{User: "erin", Domain: "example.com"}}))
	if len(added) != 1 || len(gone) != 0 || l.full {
		t.Fatalf("%d added, %d gone, full %v", len(added), len(gone), l.full)
	}
	if news, full := l.take(false); full || len(news) != 1 || news[0].names[0].Text != "Erin" {
		t.Errorf("%v %+v", full, news)
	}
	added, gone = l.set(nil, entries("sip:bob@example.com", "sip:Bob@example.com"))
	if len(added) != 0 || len(gone) != 2 || !l.full {
		t.Fatalf("%d added, %d gone, full %v", len(added), len(gone), l.full)
	}
	if news, full := l.take(false); !full || len(news) != 2 || l.pending() {
		t.Errorf("%v %+v", full, news)
	}
	// A new name is told; the same list is not.
	l.set(nil, entries("sip:bob@example.com", "sip:Bob@example.com"))
	if l.pending() {
		t.Error("the same list is news")
	}
	l.set([]rlmi.Name{{Text: "Friends"}}, entries("sip:bob@example.com", "sip:Bob@example.com"))
	if news, full := l.take(false); full || len(news) != 2 {
		t.Errorf("renamed: %v %+v", full, news)
	}
}

// Whatever happens in whatever order, and however little fits into a NOTIFY,
// the subscriber's table becomes what is true, and of an ordered list it has seen
// each state in order.
func TestListProperty(t *testing.T) {
	uris := []string{"sip:a@example.com", "sip:b@example.com", "sip:B@example.com", "sip:c@example.com", "sip:d@example.com", "tel:1", "sip:x@other.example"}
	rapid.Check(t, func(t *rapid.T) {
		l := &resourceList{ordered: rapid.Bool().Draw(t, "ordered")}
		max := rapid.SampledFrom([]int{1, 600, 2000, 1 << 20}).Draw(t, "max")
		s := newSubscriber()
		version := uint64(0)
		published := map[presence.Entity][]string{}
		whole := true // nothing was put into full state or dropped since
		l.set(nil, entries(rapid.SliceOfDistinct(rapid.SampledFrom(uris), rapid.ID).Draw(t, "uris")...))
		must := func(everything bool) bool {
			again, _, err := s.send(l, everything, max)
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
		must(true)
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				if len(l.resources) == 0 {
					t.Skip()
				}
				m := l.resources[rapid.IntRange(0, len(l.resources)-1).Draw(t, "n")].member
				if m.entity.User == "" {
					t.Skip()
				}
				version++
				v := &presence.View{Presentity: m.entity, Version: version}
				l.note(m, presence.Active, presence.NoReason, v)
				published[m.entity] = append(published[m.entity], string(renderedTestView(v)))
			},
			"refuse": func(t *rapid.T) {
				if len(l.resources) == 0 {
					t.Skip()
				}
				m := l.resources[rapid.IntRange(0, len(l.resources)-1).Draw(t, "n")].member
				if m.entity.User == "" {
					t.Skip()
				}
				whole = false
				l.note(m, rapid.SampledFrom([]presence.State{presence.Pending, presence.Terminated}).Draw(t, "state"), presence.Rejected, nil)
			},
			"set": func(t *rapid.T) {
				whole = false
				l.set(nil, entries(rapid.SliceOfDistinct(rapid.SampledFrom(uris), rapid.ID).Draw(t, "uris")...))
			},
			"send":    func(t *rapid.T) { must(false) },
			"refresh": func(t *rapid.T) { must(true) },
		})
		for must(false) {
		}
		if len(s.rows) != len(l.resources) {
			t.Fatalf("%d rows, %d resources", len(s.rows), len(l.resources))
		}
		for _, r := range l.resources {
			row, there := s.rows[r.uri]
			state := presence.State(0)
			if there && len(row.Instances) > 0 {
				state = row.Instances[0].State
			}
			want := ""
			if r.member.view != nil {
				want = string(renderedTestView(r.member.view))
			}
			if !there || state != r.member.state || s.states[r.uri] != want {
				t.Fatalf("%s: %v %q, want %v %q", r.uri, state, s.states[r.uri], r.member.state, want)
			}
		}
		if l.ordered && whole {
			for _, r := range l.resources {
				if all := published[r.member.entity]; len(all) <= maxStates && !slices.Equal(s.history[r.uri], all) {
					t.Fatalf("%s was told\n%q of\n%q", r.uri, s.history[r.uri], all)
				}
			}
		}
	})
}

func TestListBodySize(t *testing.T) {
	var uris []string
	for i := range 100 {
		uris = append(uris, fmt.Sprintf("sip:user%d@example.com", i))
	}
	l := &resourceList{}
	added, _ := l.set(nil, entries(uris...))
	for i, m := range added {
		l.note(m, presence.Active, presence.NoReason, &presence.View{Presentity: m.entity, Version: uint64(i)})
	}
	s := newSubscriber()
	const max = 30_000
	n := 0
	for again := true; again; n++ {
		var size int
		var err error
		if again, size, err = s.send(l, n == 0, max); err != nil || size > max+512 {
			t.Fatal(size, err)
		}
		if n == 0 && len(s.rows) != 100 {
			t.Fatalf("%d of 100 resources in the first NOTIFY", len(s.rows))
		}
	}
	if len(s.states) != 100 || n < 2 {
		t.Errorf("%d states in %d NOTIFYs", len(s.states), n)
	}
}
