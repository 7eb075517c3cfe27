package presence

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a presentity under random inputs, and what must be true of it as
// one can tell from outside: what was put in and what notices said.
type world struct {
	p       *Presentity
	now     time.Time
	version map[string]uint64       // by package
	expires map[sourceKey]time.Time // zero: no end
	heard   map[sourceKey]heard     // of sessions
	told    map[string]*View        // by subscription, as notices said
	state   map[string]State
	tags    int
}

type sourceKey struct {
	pkg string
	id  SourceID
}

// heard is where a session spoke last, when it began, and when its client had said it.
type heard struct {
	node      string
	since, at time.Time
}

func newWorld() *world {
	return &world{p: New(user("alice")), now: epoch, version: map[string]uint64{}, expires: map[sourceKey]time.Time{}, heard: map[sourceKey]heard{}, told: map[string]*View{}, state: map[string]State{}}
}

var (
	someWatchers = []Entity{user("bob"), user("carol"), user("dave@example.org"), user("erin@example.org"), user("alice")}
	someSources  = []SourceID{{Publication, "k1"}, {Publication, "k2"}, {Session, "pad"}, {Session, "k1"}, {Permanent, "card"}, {Extended, "mood"}}
	somePackages = []string{"", "", "", "dialog", "dialog", WatcherInfo, "xcap-diff"}
	someSpheres  = []string{"", "", "work", "home"}
	someEdges    = []string{"sip", "xmpp"}
	someNodes    = []string{"", "n1", "n2"}
	someActs     = []string{"", "away", "busy", "on-the-phone", "unheard-of"}
)

func (w *world) input(t *rapid.T) Input {
	pick := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	src := func() SourceID { return someSources[pick(len(someSources), "source")] }
	watcher := func() Entity { return someWatchers[pick(len(someWatchers), "watcher")] }
	lasts := func() time.Duration { return time.Duration(pick(5, "lifetime")) * 10 * time.Second }
	sub := func() string { return fmt.Sprintf("s%d", pick(24, "sub")) }
	// Sources are of presence or dialog.
	pkg := somePackages[pick(5, "package")]
	tagOf := func(id SourceID) string {
		of := pkg
		if pick(8, "of another package") == 0 {
			of = somePackages[pick(5, "which")]
		}
		if l := w.p.column(of).byID(id); l != nil && l.cur.Tag != "" {
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
			d.Persons[0].Rich.Sphere = someSpheres[pick(4, "sphere")]
			d.Persons[0].Rich.Activities.ID = fmt.Sprintf("r%d", pick(2, "rpid id of person"))
		}
		return d
	}
	w.tags++
	tag := fmt.Sprintf("tag%d", w.tags)
	switch pick(18, "input") {
	case 0, 1, 2:
		in := Publish{ID: src(), NewTag: tag, Doc: doc(), Lifetime: lasts(), Package: pkg, Native: Payload{Bytes: []byte(tag)}, Node: someNodes[pick(3, "node")]}
		if in.ID.Kind == Session {
			in.Since = epoch.Add(time.Duration(pick(4, "since")) * ClockSkew * 2 / 3)
		}
		if l := w.p.column(pkg).byID(in.ID); l != nil && pick(4, "again") == 0 {
			in.Again, in.Said, in.Native, in.Doc = true, l.cur.Updated.Add(time.Duration(1-pick(3, "when"))*time.Second), l.cur.Native, l.cur.Doc
		}
		return in
	case 3:
		return Publish{IfMatch: tagOf(src()), NewTag: tag, Lifetime: lasts(), Package: pkg}
	case 4:
		return Publish{IfMatch: tagOf(src()), NewTag: tag, Lifetime: lasts(), Doc: doc(), Package: pkg}
	case 5:
		return Retract{ID: src(), Native: Payload{Bytes: []byte("bye")}, Package: pkg}
	case 6:
		return Retract{IfMatch: tagOf(src()), Package: pkg}
	case 7, 8, 9:
		pkg := somePackages[pick(len(somePackages), "watched")]
		return Watch{ID: sub(), Watcher: watcher(), Via: Via{Node: someNodes[pick(3, "node")], Edge: someEdges[pick(2, "edge")], Handle: "h"}, Lifetime: lasts(),
			Fetch: pick(4, "fetch") == 0, Durable: pick(2, "durable") == 0, Package: pkg, Private: pkg == "xcap-diff"}
	case 16:
		return Depart{Node: someNodes[pick(3, "gone")], To: someNodes[pick(3, "to")]}
	case 17:
		return Renotify{}
	case 15:
		return Touch{Package: somePackages[pick(len(somePackages), "touched")]}
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
		for i := range pick(4, "rules") {
			pol.Rules = append(pol.Rules, w.rule(t, i))
		}
		for _, e := range someWatchers[:3] {
			if pick(4, "waits") == 0 {
				pol.Waiting = append(pol.Waiting, Watcher{ID: "w-" + e.User, Watcher: e, Since: epoch})
			}
		}
		return SetPolicy{pol}
	case 13:
		return Direct{Source: &Source{ID: src(), Node: someNodes[pick(3, "node")]}, Watcher: watcher(), Via: Via{Edge: "xmpp"}, Available: pick(3, "gone") > 0}
	}
	w.now = w.now.Add(time.Duration(pick(30, "seconds")) * time.Second)
	return Tick{}
}

// rule is one that looks at the watcher, sphere or time, and shows all or a part.
func (w *world) rule(t *rapid.T, i int) Rule {
	pick := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	r := Rule{ID: fmt.Sprint("rule", i), Rank: Named, Handling: Handling(pick(4, "handling"))}
	if e := pick(4, "who"); e < 3 {
		r.Identity = one(someWatchers[e])
	}
	if s := someSpheres[pick(4, "at")]; s != "" {
		r.Spheres = []string{s}
	}
	if pick(2, "validity") == 0 {
		from := w.now.Add(time.Duration(pick(60, "from")-30) * time.Second)
		r.Validity = []Span{{from, from.Add(time.Duration(1+pick(60, "until")) * time.Second)}}
	}
	if pick(2, "shows a part") == 0 {
		r.Shows = &Transform{Services: Selection{All: pick(2, "services") == 0}, Persons: Selection{All: pick(2, "persons") == 0},
			Attributes: map[string]bool{"activities": pick(2, "activities") == 0, "note": pick(2, "notes") == 0}}
	}
	return r
}

// late tells of what a session says at one node when a newer one has spoken at another, or
// says again when it has itself said something later there.
func (w *world) late(in Input) bool {
	pub, ok := in.(Publish)
	if !ok || pub.IfMatch != "" || pub.ID.Kind != Session || w.p.column(pub.Package).byID(pub.ID) == nil {
		return false
	}
	was := w.heard[sourceKey{pub.Package, pub.ID}]
	return pub.Node != was.node && (!pub.Since.IsZero() && pub.Since.Before(was.since.Add(-ClockSkew)) || pub.Again && pub.Said.Before(was.at))
}

// record takes over what an input that was accepted means for the sources.
func (w *world) record(in Input, tag string) {
	set := func(k sourceKey, life time.Duration) {
		w.expires[k] = time.Time{}
		if life > 0 {
			w.expires[k] = w.now.Add(life)
		}
	}
	switch in := in.(type) {
	case Publish:
		id, h := in.ID, heard{in.Node, in.Since, w.now}
		if in.IfMatch != "" {
			id, h = w.p.column(in.Package).byTag(w.now, tag).cur.ID, heard{} // a session is not named by a tag
		} else if in.Again {
			h.at = in.Said
		}
		set(sourceKey{in.Package, id}, in.Lifetime)
		w.heard[sourceKey{in.Package, id}] = h
	case Retract:
		if in.IfMatch == "" {
			delete(w.expires, sourceKey{in.Package, in.ID})
			return
		}
		w.missing()
	case Depart:
		w.missing()
	}
}

// missing takes over which sources have gone.
func (w *world) missing() {
	for k := range w.expires {
		if w.p.column(k.pkg).byID(k.id) == nil {
			delete(w.expires, k)
		}
	}
}

// checkDeparted: nothing of a node's sessions is left, and none of its dialogs.
func (w *world) checkDeparted(t *rapid.T, in Depart) {
	w.p.eachColumn(func(c *column) {
		for _, l := range c.sources {
			if l.cur.ID.Kind == Session && l.cur.Node == in.Node {
				t.Fatalf("%s of %q is there", l.cur.ID, in.Node)
			}
		}
	})
	for _, s := range w.p.subs.list {
		if s.Via.Node == in.Node && (!s.Durable || in.To != "" && in.To != in.Node) {
			t.Fatalf("%s at %q is there", s.ID, in.Node)
		}
	}
	for id := range w.state {
		if w.p.subs.get(id) == nil {
			delete(w.state, id)
			delete(w.told, id)
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
		if n.Direct.Available && w.decide("", n.Targets[0].Watcher).Handling == Block {
			t.Fatal("directed presence past a block")
		}
		return
	}
	for i, tg := range n.Targets {
		if s := w.p.subs.get(tg.Sub); s != nil && s.Package != n.Package && n.State != Terminated {
			t.Fatalf("%s watches %q and is told of %q", tg.Sub, s.Package, n.Package)
		}
		class := w.decide(n.Package, tg.Watcher)
		h := class.Handling
		if n.View != nil {
			if n.View.class != class || n.View.Package != n.Package {
				t.Fatalf("%s is shown what is for %v of %q", tg.Watcher, n.View.class, n.View.Package)
			}
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
		if _, ok := in.(Depart); ok && n.Answer {
			if tg.Shown != nil {
				t.Fatalf("%s was adopted, and it is said to be known what it was shown", tg.Sub)
			}
		} else if was, ok := w.told[tg.Sub]; ok && !sameView(was, tg.Shown) {
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

func (w *world) decide(pkg string, e Entity) Class {
	return w.p.decide(e, pkg == WatcherInfo || pkg == "xcap-diff", w.p.at(w.now)).Class
}

func (w *world) checkView(t *rapid.T, v *View) {
	if v == nil {
		return
	}
	for _, s := range v.Sources {
		if v.class.Shown != "" && v.Package == "" {
			w.checkFiltered(t, v, s)
		}
		end, ok := w.expires[sourceKey{v.Package, s.ID}]
		if !ok {
			t.Fatalf("%s is shown, but gone", s.ID)
		}
		if !end.IsZero() && !end.After(w.now) {
			t.Fatalf("%s is shown, but expired", s.ID)
		}
	}
	if v.Package != "" {
		if v.Doc != nil {
			t.Fatal("a composed document of another package")
		}
		return
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
	p.eachColumn(func(c *column) {
		if c.version < w.version[c.pkg] {
			t.Fatalf("the version of %q fell", c.pkg)
		}
		w.version[c.pkg] = c.version
	})
	if s := w.sphere(); p.conditions != nil && p.conditions.spheres && p.conditions.sphere != s {
		t.Fatalf("the sphere is %q, taken for %q", s, p.conditions.sphere)
	}
	if d := p.Deadline(); !d.IsZero() && !d.After(w.now) {
		t.Fatalf("due %v ago", w.now.Sub(d))
	}
	pending, grouped := 0, 0
	for _, s := range p.subs.list {
		if p.subs.get(s.ID) != s || s.group.subs[s.inGroup] != s || s.group.class != s.class || s.group.edge != s.Via.Edge || s.group.node != s.Via.Node || s.group.column.pkg != s.Package {
			t.Fatalf("%s is misplaced", s.ID)
		}
		if s.class != w.decide(s.Package, s.Watcher) || s.State != s.class.state() || w.state[s.ID] != s.State {
			t.Fatalf("%s is %s, was told %s, decided %s", s.ID, s.State, w.state[s.ID], s.class.Handling)
		}
		switch s.State {
		case Pending:
			pending++
			if s.Shown != nil {
				t.Fatalf("%s is pending and shown something", s.ID)
			}
		case Active:
			if s.Shown != p.view(s.group.column, s.class) && s.Package != WatcherInfo {
				t.Fatalf("%s is not shown the view of its class", s.ID)
			}
			if s.Package == WatcherInfo && !slices.EqualFunc(s.Shown.Watchers, p.Watchers(w.now), sameButEnd) {
				t.Fatalf("%s was told of %v, not of %v", s.ID, s.Shown.Watchers, p.Watchers(w.now))
			}
			if !sameView(w.told[s.ID], s.Shown) {
				t.Fatalf("%s was told another view than it is said to be shown", s.ID)
			}
			w.checkView(t, s.Shown)
		}
	}
	p.eachColumn(func(c *column) {
		for _, g := range c.groups {
			grouped += len(g.subs)
			if len(g.subs) == 0 {
				t.Fatal("an empty group")
			}
		}
	})
	if pending != p.pending || grouped != len(p.subs.list) || len(w.state) != len(p.subs.list) {
		t.Fatalf("%d pending, %d grouped, %d told of %d", pending, grouped, len(w.state), len(p.subs.list))
	}
}

// checkFiltered compares a source with what its Transform leaves of it.
func (w *world) checkFiltered(t *rapid.T, v *View, s *Source) {
	l := w.p.presence.byID(s.ID)
	if l == nil {
		return // that it is shown is found later
	}
	if len(s.Native.Bytes) > 0 || s.Tag != "" || s.From != "" {
		t.Fatalf("%s is filtered and shows its payload", s.ID)
	}
	if want := w.p.policy.Transform(v.class.Shown).Document(l.shown.Doc); !reflect.DeepEqual(s.Doc, want) {
		t.Fatalf("%s is filtered to %+v, want %+v", s.ID, s.Doc, want)
	}
}

// sphere is RFC 5025 §3.1.2, from the sources.
func (w *world) sphere() string {
	said := map[string]bool{}
	w.p.eachColumn(func(c *column) {
		for _, l := range c.sources {
			for _, p := range l.cur.persons() {
				if p.Rich.Sphere != "" {
					said[p.Rich.Sphere] = true
				}
			}
		}
	})
	if len(said) != 1 {
		return ""
	}
	for s := range said {
		return s
	}
	return ""
}

func sameButEnd(a, b Watcher) bool {
	a.Expires, b.Expires = time.Time{}, time.Time{}
	return a.same(b)
}

// checkOthers: what one package is told is no business of the others.
func (w *world) checkOthers(t *rapid.T, in Input, out Outcome) {
	var of string
	speaks := true // of persons, perhaps
	switch in := in.(type) {
	case Publish:
		of = in.Package
	case Touch:
		of, speaks = in.Package, false
	default:
		return
	}
	touched := map[string]bool{}
	for _, n := range out.Notices {
		if n.Package != of && !(speaks && n.Package == "") && w.p.conditions == nil {
			t.Fatalf("a change of %q is told to watchers of %q", of, n.Package)
		}
		for _, tg := range n.Targets {
			touched[tg.Sub] = true
		}
	}
	if speaks {
		return
	}
	for _, s := range w.p.subs.list {
		if s.Package == of && s.class.Handling == Allow && !touched[s.ID] {
			t.Fatalf("%s is not told that %q was touched", s.ID, of)
		}
	}
}

// checkEnded: who is no longer listed in winfo has ended. told is what was before.
func (w *world) checkEnded(t *rapid.T, out Outcome, told map[string]*View) {
	for _, n := range out.Notices {
		if n.Package != WatcherInfo || n.State != Active {
			continue
		}
		for _, tg := range n.Targets {
			was := told[tg.Sub]
			if was == nil || n.View.Version != was.Version+1 {
				continue
			}
			for _, o := range was.Watchers {
				listed := func(e Watcher) bool { return e.ID == o.ID }
				if slices.ContainsFunc(n.View.Watchers, listed) == slices.ContainsFunc(n.View.Ended, listed) {
					t.Fatalf("%s was listed and is neither listed nor ended, or both", o.ID)
				}
			}
		}
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		step := func(in Input) {
			before := w.p.presence.version
			told := maps.Clone(w.told)
			late := w.late(in)
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
					if c.Sub == sw.ID && (c.Watcher != sw.Watcher || c.Package != sw.Package) && c.State == Terminated && c.Reason == Deactivated {
						delete(w.told, sw.ID)
					}
				}
			}
			if late {
				if out.Tag != "" || len(out.Notices)+len(out.Saves)+len(out.Watchers) > 0 {
					t.Fatal("what came too late changed something")
				}
			} else {
				w.record(in, out.Tag)
			}
			answers := 0
			for _, n := range out.Notices {
				w.checkNotice(t, in, n)
				if n.Answer {
					answers++
				}
			}
			switch in := in.(type) {
			case Watch:
				if answers != 1 {
					t.Fatalf("%d answers", answers)
				}
			case Renotify:
			case Depart:
				w.checkDeparted(t, in)
			default:
				if answers > 0 {
					t.Fatalf("%d answers to %T", answers, in)
				}
			}
			w.checkOthers(t, in, out)
			w.checkEnded(t, out, told)
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
			step(Retract{ID: id, Package: "dialog"})
		}
		for len(w.p.subs.list) > 0 {
			step(Unwatch{ID: w.p.subs.list[0].ID})
		}
		if !w.p.Idle() || !w.p.Deadline().IsZero() {
			t.Fatalf("all have left: idle %v, deadline %v", w.p.Idle(), w.p.Deadline())
		}
		w.p.eachColumn(func(c *column) {
			if len(c.groups) != 0 {
				t.Fatalf("all have left %q but %d groups", c.pkg, len(c.groups))
			}
		})
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
