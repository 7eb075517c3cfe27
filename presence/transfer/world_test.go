package transfer

import (
	"fmt"
	"reflect"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func user(name string) presence.Entity {
	return presence.Entity{User: name, Domain: "example.com"}
}

// world is a presentity under random inputs as edges submit them, policies and time.
type world struct {
	*rapid.T
	now    time.Time
	tags   int
	policy *presence.Policy
}

func (w *world) pick(n int, label string) int { return rapid.IntRange(0, n-1).Draw(w.T, label) }

func (w *world) document() *presence.Document {
	d := &presence.Document{Notes: []presence.Note{{Lang: "en", Text: "a note"}}}
	for range w.pick(3, "tuples") {
		t := presence.Tuple{ID: fmt.Sprint("t", w.pick(2, "tuple")), Basic: presence.Open, Contact: "sip:alice@example.com", Priority: -1, Timestamp: w.now}
		t.Rich.Activities = &presence.Values{Names: []string{"busy"}, ID: "r"}
		d.Tuples = append(d.Tuples, t)
	}
	if a := []string{"", "away", "on-the-phone"}[w.pick(3, "activity")]; a != "" {
		p := presence.Person{ID: "p", Notes: []presence.Note{{Text: a}}, Rich: presence.Rich{Activities: &presence.Values{Names: []string{a}}}}
		d.Persons = append(d.Persons, p)
	}
	return d
}

var (
	sources  = []presence.SourceID{{Kind: presence.Publication, Key: "k1"}, {Kind: presence.Session, Key: "pad"}, {Kind: presence.Session, Key: "k1"}, {Kind: presence.Extended, Key: "mood"}}
	packages = []string{"", "", "dialog", presence.WatcherInfo}
	watchers = []presence.Entity{user("bob"), user("carol"), {User: "dave", Domain: "example.org"}, user("alice")}
	nodes    = []string{"", "n1", "n2"}
)

func (w *world) input() presence.Input {
	id := sources[w.pick(len(sources), "source")]
	pkg := packages[w.pick(3, "package")]
	lasts := time.Duration(w.pick(4, "lifetime")) * 20 * time.Second
	node := nodes[w.pick(3, "node")]
	// An id is always the same watcher's, and of the same package.
	who, watched := w.pick(len(watchers), "watcher"), w.pick(len(packages), "watched")
	sub := fmt.Sprint("s", w.pick(3, "subscription"), who, watched)
	w.tags++
	switch w.pick(15, "input") {
	case 0, 1, 2, 3:
		return presence.Publish{ID: id, NewTag: fmt.Sprint("tag", w.tags), Doc: w.document(), Native: presence.Payload{Type: "x", Bytes: fmt.Append(nil, w.pick(3, "native"))},
			Lifetime: lasts, Package: pkg, From: "from", Node: node, Again: w.pick(3, "again") == 0}
	case 4:
		return presence.Retract{ID: id, Native: presence.Payload{Bytes: []byte("bye")}, Package: pkg}
	case 5, 6, 7, 8:
		return presence.Watch{ID: sub, Watcher: watchers[who], Via: presence.Via{Node: node, Edge: []string{"sip", "xmpp"}[w.pick(2, "edge")], Handle: "h-" + sub},
			Lifetime: lasts, Fetch: w.pick(4, "fetch") == 0, Durable: w.pick(2, "durable") == 0, Opaque: []byte("o"), Package: packages[watched]}
	case 9:
		return presence.Unwatch{ID: sub, Reason: presence.Timeout, Silent: w.pick(2, "silent") == 0}
	case 10:
		return presence.Renotify{}
	case 11:
		return presence.Direct{Source: &presence.Source{ID: id, Native: presence.Payload{Type: "x", Bytes: []byte("hello")}}, Watcher: watchers[0],
			Via: presence.Via{Node: node, Edge: "xmpp", Handle: "h"}, Available: w.pick(3, "gone") > 0}
	case 12:
		pol := &presence.Policy{Default: presence.Handling(w.pick(4, "default")), Watchers: map[presence.Entity]presence.Grant{}}
		if w.policy != nil {
			pol.Revision = w.policy.Revision + 1
		}
		if w.pick(2, "rule") == 0 {
			pol.Rules = []presence.Rule{{ID: "r", Rank: presence.Named, Handling: presence.Allow, Shows: &presence.Transform{
				Services: presence.Selection{All: true}, Persons: presence.Selection{All: w.pick(2, "persons") == 0}}}}
		}
		if w.pick(2, "grant") == 0 {
			pol.Watchers[watchers[0]] = presence.Grant{Handling: presence.Allow}
		}
		w.policy = pol
		return presence.SetPolicy{Policy: pol}
	case 13:
		return presence.Touch{Package: packages[w.pick(4, "touched")]}
	}
	w.now = w.now.Add(time.Duration(w.pick(30, "seconds")) * time.Second)
	return presence.Tick{}
}

// over has an input come from another node, where it may.
func over(t *rapid.T, in presence.Input) presence.Input {
	b, err := AppendInput(Begin(nil), in)
	if err != nil {
		return in
	}
	r, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Input()
	if r.Err() != nil || r.More() {
		t.Fatal(r.Err())
	}
	return got
}

// seen is all that an edge can see of a view.
type seen struct {
	Presentity presence.Entity
	Version    uint64
	Package    string
	Sources    []presence.Source
	Persons    []presence.Source
	Doc        *presence.Document
	Watchers   []presence.Watcher
	Ended      []presence.Watcher
	Parts      presence.Parts
}

func see(v *presence.View) *seen {
	if v == nil {
		return nil
	}
	s := &seen{Presentity: v.Presentity, Version: v.Version, Package: v.Package, Doc: v.Doc, Watchers: v.Watchers, Ended: v.Ended, Parts: v.Parts()}
	for _, o := range v.Sources {
		s.Sources = append(s.Sources, *o)
	}
	for _, o := range s.Parts.Persons {
		s.Persons = append(s.Persons, *o)
	}
	s.Parts.Persons = nil
	if len(v.Watchers) == 0 {
		s.Watchers = nil
	}
	if len(v.Ended) == 0 {
		s.Ended = nil
	}
	return s
}

// said is what a notice says, without who is told.
func said(n *presence.Notice) presence.Notice {
	c := *n
	c.View, c.Targets = nil, nil
	return c
}

func ids(ss []*presence.Source) (list []presence.SourceID) {
	for _, s := range ss {
		list = append(list, s.ID)
	}
	return list
}

// equalNotices compares what one node would be told here with what it is told elsewhere.
func equalNotices(t *rapid.T, a, b []*presence.Notice) {
	if len(a) != len(b) {
		for _, n := range append(a, b...) {
			t.Logf("%+v of %+v", said(n), n.Targets)
			if n.View != nil {
				g, c := n.View.Changes(n.Targets[0].Shown)
				t.Log(ids(g), ids(c), see(n.View), see(n.Targets[0].Shown))
			}
		}
		t.Fatalf("%d notices, moved %d", len(a), len(b))
	}
	for i := range a {
		equalNotice(t, a[i], b[i])
		for j, tg := range a[i].Targets {
			o := b[i].Targets[j]
			if !reflect.DeepEqual(clean(see(tg.Shown)), clean(see(o.Shown))) {
				t.Fatalf("%s was shown %+v, moved %+v", tg.Sub, see(tg.Shown), see(o.Shown))
			}
		}
	}
}

func equalNotice(t *rapid.T, a, b *presence.Notice) {
	if x, y := said(a), said(b); !reflect.DeepEqual(x, y) {
		t.Fatalf("a notice says\n%+v, moved\n%+v", x, y)
	}
	if x, y := clean(see(a.View)), clean(see(b.View)); !reflect.DeepEqual(x, y) {
		t.Fatalf("a view shows\n%+v, moved\n%+v", x, y)
	}
	if len(a.Targets) != len(b.Targets) {
		t.Fatalf("%d targets, moved %d", len(a.Targets), len(b.Targets))
	}
	for i := range a.Targets {
		x, y := a.Targets[i], b.Targets[i]
		x.Shown, y.Shown = nil, nil
		if x != y {
			t.Fatalf("target %+v, moved %+v", x, y)
		}
	}
	if a.View != nil {
		ag, ac := a.View.Changes(a.Targets[0].Shown)
		bg, bc := b.View.Changes(b.Targets[0].Shown)
		if !reflect.DeepEqual(ids(ag), ids(bg)) || !reflect.DeepEqual(ids(ac), ids(bc)) {
			t.Fatalf("gone %v and changed %v, moved %v and %v", ids(ag), ids(ac), ids(bg), ids(bc))
		}
		if a.View.Polite() != b.View.Polite() || !a.View.Like(b.View) {
			t.Fatal("classes differ")
		}
	}
}

// clean takes away what tells two lives apart.
func clean(s *seen) *seen {
	if s == nil {
		return nil
	}
	s.Parts.Origin, s.Parts.Serial = 0, 0
	for _, ss := range [...][]presence.Source{s.Sources, s.Persons} {
		for i := range ss {
			ss[i] = *ss[i].Marked(0)
		}
	}
	return s
}
