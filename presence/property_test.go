package presence

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a presentity under random inputs, and what must be true of it as
// one can tell from outside: what was put in and what notices said.
type world struct {
	p       *Presentity
	now     time.Time
	version uint64
	expires map[SourceID]time.Time // zero: no end
	told    map[string]*View       // by subscription, as notices said
	state   map[string]State
	tags    int
}

func newWorld() *world {
	return &world{p: New(user("alice")), now: epoch, expires: map[SourceID]time.Time{}, told: map[string]*View{}, state: map[string]State{}}
}

var (
	someWatchers = []Entity{user("bob"), user("carol"), user("dave@example.org"), user("erin@example.org"), user("alice")}
	someSources  = []SourceID{{Publication, "k1"}, {Publication, "k2"}, {Session, "pad"}, {Session, "k1"}, {Permanent, "card"}}
	someEdges    = []string{"sip", "xmpp"}
	someActs     = []string{"", "away", "busy", "on-the-phone", "unheard-of"}
)

func (w *world) input(t *rapid.T) Input {
	pick := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	src := func() SourceID { return someSources[pick(len(someSources), "source")] }
	watcher := func() Entity { return someWatchers[pick(len(someWatchers), "watcher")] }
	lasts := func() time.Duration { return time.Duration(pick(5, "lifetime")) * 10 * time.Second }
	sub := func() string { return fmt.Sprintf("s%d", pick(24, "sub")) }
	tagOf := func(id SourceID) string {
		if l := w.p.presence.byID(id); l != nil {
			return l.cur.Tag
		}
		return "unknown"
	}
	doc := func() *Document {
		d := &Document{}
		for range pick(3, "tuples") {
			tu := Tuple{ID: fmt.Sprintf("t%d", pick(2, "tuple id")), Basic: Basic(pick(3, "basic")), Priority: -1}
			tu.Rich.Activities = &Values{Names: []string{"busy"}, ID: fmt.Sprintf("r%d", pick(2, "rpid id"))}
			d.Tuples = append(d.Tuples, tu)
		}
		if a := someActs[pick(len(someActs), "activity")]; a != "" {
			d.Persons = []Person{{ID: "p", Rich: Rich{Activities: &Values{Names: []string{a}}}, Notes: []Note{{Text: a}}}}
		}
		return d
	}
	w.tags++
	tag := fmt.Sprintf("tag%d", w.tags)
	switch pick(15, "input") {
	case 0, 1, 2:
		return Publish{ID: src(), NewTag: tag, Doc: doc(), Lifetime: lasts()}
	case 3:
		return Publish{IfMatch: tagOf(src()), NewTag: tag, Lifetime: lasts()}
	case 4:
		return Publish{IfMatch: tagOf(src()), NewTag: tag, Lifetime: lasts(), Doc: doc()}
	case 5:
		return Retract{ID: src(), Native: Payload{Bytes: []byte("bye")}}
	case 6:
		return Retract{IfMatch: tagOf(src())}
	case 7, 8, 9:
		return Watch{ID: sub(), Watcher: watcher(), Via: Via{Edge: someEdges[pick(2, "edge")], Handle: "h"}, Lifetime: lasts(),
			Fetch: pick(4, "fetch") == 0, Durable: pick(2, "durable") == 0}
	case 10:
		return Unwatch{ID: sub(), Reason: Timeout, Silent: pick(2, "silent") == 0}
	case 11, 12:
		pol := &Policy{Revision: uint64(pick(1000, "revision")), Default: Handling(pick(4, "default")), Watchers: map[Entity]Grant{}, Domains: map[string]Grant{}}
		for _, e := range someWatchers[:3] {
			if h := pick(6, "grant"); h < 4 {
				pol.Watchers[e] = Grant{Handling: Handling(h), Rule: "r"}
			}
		}
		if h := pick(6, "domain"); h < 4 {
			pol.Domains["example.org"] = Grant{Handling: Handling(h), Rule: "d"}
		}
		return SetPolicy{pol}
	case 13:
		return Direct{Source: &Source{ID: src()}, Watcher: watcher(), Via: Via{Edge: "xmpp"}, Available: pick(3, "gone") > 0}
	}
	w.now = w.now.Add(time.Duration(pick(30, "seconds")) * time.Second)
	return Tick{}
}

// record takes over what an input that was accepted means for the sources.
func (w *world) record(in Input, tag string) {
	set := func(id SourceID, life time.Duration) {
		w.expires[id] = time.Time{}
		if life > 0 {
			w.expires[id] = w.now.Add(life)
		}
	}
	switch in := in.(type) {
	case Publish:
		id := in.ID
		if in.IfMatch != "" {
			id = w.p.presence.byTag(w.now, tag).cur.ID
		}
		set(id, in.Lifetime)
	case Retract:
		if in.IfMatch == "" {
			delete(w.expires, in.ID)
			return
		}
		for id := range w.expires {
			if w.p.presence.byID(id) == nil {
				delete(w.expires, id)
			}
		}
	}
}

func (w *world) checkNotice(t *rapid.T, in Input, n *Notice) {
	if len(n.Targets) == 0 {
		t.Fatal("a notice to nobody")
	}
	if n.Direct != nil {
		if n.View != nil {
			t.Fatal("directed presence with a view")
		}
		if n.Direct.Available && w.decide(n.Targets[0].Watcher) == Block {
			t.Fatal("directed presence past a block")
		}
		return
	}
	for i, tg := range n.Targets {
		h := w.decide(tg.Watcher)
		if n.View != nil {
			if h != Allow && h != PoliteBlock {
				t.Fatalf("%s has a view under %s", tg.Watcher, h)
			}
			if h == PoliteBlock && len(n.View.Sources) > 0 {
				t.Fatalf("%s sees sources under polite-block", tg.Watcher)
			}
		}
		if tg.Shown != n.Targets[0].Shown {
			t.Fatalf("target %d was shown another view", i)
		}
		if watch, ok := in.(Watch); ok && watch.isFetch() && watch.ID == tg.Sub && n.Answer {
			continue
		}
		if was, ok := w.told[tg.Sub]; ok && !sameView(was, tg.Shown) {
			t.Fatalf("%s is said to have been shown %v, but was told %v", tg.Sub, viewName(tg.Shown), viewName(was))
		}
		if n.State == Active && !n.Answer && sameView(tg.Shown, n.View) {
			t.Fatalf("%s is told what it knows", tg.Sub)
		}
		if n.State == Terminated {
			delete(w.told, tg.Sub)
			delete(w.state, tg.Sub)
		} else {
			w.told[tg.Sub] = n.View
			w.state[tg.Sub] = n.State
		}
	}
}

func sameView(a, b *View) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.same(b)
}

func (w *world) decide(e Entity) Handling {
	return Decide(w.p.policy, w.p.entity, e, Circumstances{}).Class.Handling
}

func (w *world) checkView(t *rapid.T, v *View) {
	if v == nil {
		return
	}
	for _, s := range v.Sources {
		end, ok := w.expires[s.ID]
		if !ok {
			t.Fatalf("%s is shown, but gone", s.ID)
		}
		if !end.IsZero() && !end.After(w.now) {
			t.Fatalf("%s is shown, but expired", s.ID)
		}
	}
	if len(v.Doc.Persons) != 1 || len(v.Doc.Tuples) == 0 {
		t.Fatalf("%d persons, %d tuples", len(v.Doc.Persons), len(v.Doc.Tuples))
	}
	ids := map[string]bool{PersonID: true}
	v.Doc.eachID(func(id string) {
		if ids[id] {
			t.Fatalf("id %q twice", id)
		}
		ids[id] = true
	})
}

// checkState compares what is held with what was told.
func (w *world) checkState(t *rapid.T) {
	p := w.p
	if p.presence.version < w.version {
		t.Fatal("the version fell")
	}
	w.version = p.presence.version
	if d := p.Deadline(); !d.IsZero() && !d.After(w.now) {
		t.Fatalf("due %v ago", w.now.Sub(d))
	}
	pending, grouped := 0, 0
	for _, s := range p.subs.list {
		if p.subs.get(s.ID) != s || s.group.subs[s.inGroup] != s || s.group.class != s.class || s.group.edge != s.Via.Edge {
			t.Fatalf("%s is misplaced", s.ID)
		}
		if s.class != Decide(p.policy, p.entity, s.Watcher, Circumstances{}).Class || s.State != s.class.state() || w.state[s.ID] != s.State {
			t.Fatalf("%s is %s, was told %s, decided %s", s.ID, s.State, w.state[s.ID], s.class.Handling)
		}
		switch s.State {
		case Pending:
			pending++
			if s.Shown != nil {
				t.Fatalf("%s is pending and shown something", s.ID)
			}
		case Active:
			if s.Shown != p.view(&p.presence, s.class) {
				t.Fatalf("%s is not shown the view of its class", s.ID)
			}
			if !sameView(w.told[s.ID], s.Shown) {
				t.Fatalf("%s was told another view than it is said to be shown", s.ID)
			}
			w.checkView(t, s.Shown)
		}
	}
	for _, g := range p.presence.groups {
		grouped += len(g.subs)
		if len(g.subs) == 0 {
			t.Fatal("an empty group")
		}
	}
	if pending != p.pending || grouped != len(p.subs.list) || len(w.state) != len(p.subs.list) {
		t.Fatalf("%d pending, %d grouped, %d told of %d", pending, grouped, len(w.state), len(p.subs.list))
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		step := func(in Input) {
			before := w.p.presence.version
			out, err := w.p.Step(w.now, in)
			if err != nil {
				if w.p.presence.version != before || len(out.Notices)+len(out.Saves)+len(out.Watchers) > 0 {
					t.Fatal("an error, and yet something changed")
				}
				return
			}
			if u, ok := in.(Unwatch); ok && u.Silent {
				delete(w.told, u.ID)
				delete(w.state, u.ID)
			}
			if sw, ok := in.(Watch); ok {
				// An id that changes hands ends the former silently.
				for _, c := range out.Watchers {
					if c.Sub == sw.ID && c.Watcher != sw.Watcher && c.State == Terminated && c.Reason == Deactivated {
						delete(w.told, sw.ID)
					}
				}
			}
			w.record(in, out.Tag)
			answers := 0
			for _, n := range out.Notices {
				w.checkNotice(t, in, n)
				if n.Answer {
					answers++
				}
			}
			if _, ok := in.(Watch); ok != (answers == 1) {
				t.Fatalf("%d answers to %T", answers, in)
			}
			last := map[string]*View{}
			for _, n := range out.Notices {
				for _, tg := range n.Targets {
					last[tg.Sub] = n.View
				}
			}
			for _, v := range last {
				w.checkView(t, v)
			}
			w.checkState(t)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			step(w.input(t))
		}
		// When all have left, nothing is held.
		for _, id := range someSources {
			step(Retract{ID: id})
		}
		for len(w.p.subs.list) > 0 {
			step(Unwatch{ID: w.p.subs.list[0].ID})
		}
		if !w.p.Idle() || !w.p.Deadline().IsZero() || len(w.p.presence.groups) != 0 {
			t.Fatalf("all have left: idle %v, deadline %v, %d groups", w.p.Idle(), w.p.Deadline(), len(w.p.presence.groups))
		}
	})
}

// TestSharing: watchers with equal decisions hold the same View.
func TestSharing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(user("alice"))
		step(t, p, SetPolicy{&Policy{Default: Allow}})
		step(t, p, Publish{ID: someSources[0], NewTag: "a", Doc: &Document{}})
		n := rapid.IntRange(2, 40).Draw(t, "watchers")
		var first *View
		for i := range n {
			out := step(t, p, Watch{ID: fmt.Sprint(i), Watcher: user(fmt.Sprint("w", i)), Via: Via{Edge: "sip"}})
			if v := out.Notices[0].View; first == nil {
				first = v
			} else if v != first {
				t.Fatal("equal decisions, different views")
			}
		}
		out := step(t, p, Publish{ID: someSources[1], NewTag: "b", Doc: &Document{}})
		if len(out.Notices) != 1 || len(out.Notices[0].Targets) != n {
			t.Fatalf("%d notices for one class on one edge", len(out.Notices))
		}
	})
}

type fataler interface{ Fatal(...any) }

func step(t fataler, p *Presentity, in Input) Outcome {
	out, err := p.Step(epoch, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestIndex compares the index with a plain map, over the size at which it
// changes its shape.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[string]*sub{}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			id := fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "id"))
			at := epoch.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
			if at.Equal(epoch) {
				at = time.Time{}
			}
			s := model[id]
			switch {
			case s == nil:
				s = &sub{Subscription: Subscription{ID: id, Watcher: someWatchers[rapid.IntRange(0, 4).Draw(t, "watcher")], Expires: at}}
				model[id] = s
				x.add(s)
			case rapid.Bool().Draw(t, "remove"):
				delete(model, id)
				x.remove(s)
			default:
				s.Expires = at
				x.schedule(s)
			}
			var first time.Time
			of := map[Entity]int{}
			for id, s := range model {
				if x.get(id) != s {
					t.Fatalf("%s not found", id)
				}
				of[s.Watcher]++
				if !s.Expires.IsZero() && (first.IsZero() || s.Expires.Before(first)) {
					first = s.Expires
				}
			}
			for _, w := range someWatchers {
				n := 0
				x.eachOf(w, func(*sub) bool { n++; return true })
				if n != of[w] {
					t.Fatalf("%s has %d, found %d", w, of[w], n)
				}
			}
			if len(x.list) != len(model) || (len(x.due) > 0) != !first.IsZero() || len(x.due) > 0 && !x.due[0].Expires.Equal(first) {
				t.Fatal("the list or the heap is wrong")
			}
		}
	})
}
