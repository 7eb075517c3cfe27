package transfer

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

// audience is the watchers' side at one node: a mirror, and what each was told.
type audience struct {
	node  string
	m     *Mirror
	shown map[string]*presence.View // by subscription, as the edges were told
	of    map[*presence.View]*presence.View
}

func newAudience(node string) *audience {
	return &audience{node: node, m: NewMirror(), shown: map[string]*presence.View{}, of: map[*presence.View]*presence.View{}}
}

type fataler interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

// hear takes the notices of an outcome that are for the node, and hands them on.
func (a *audience) hear(t fataler, out *presence.Outcome, each func(n, local *presence.Notice)) {
	for _, n := range out.Notices {
		if n.Node != a.node {
			continue
		}
		for from, more := 0, true; more; {
			var b []byte
			b, from = AppendNotice(Begin(nil), n, from, 200)
			more = from > 0
			r, err := Open(b)
			if err != nil {
				t.Fatal(err)
			}
			ns := a.m.Notices(r)
			if r.Err() != nil || r.More() {
				t.Fatal("notice:", r.Err())
			}
			for _, got := range ns {
				if got.View != nil {
					if was := a.of[n.View]; was != nil && was != got.View && a.isShown(was) {
						t.Fatal("one view has become two")
					}
					a.of[n.View] = got.View
				}
				a.told(t, got)
				each(n, got)
			}
		}
	}
}

func (a *audience) isShown(v *presence.View) bool {
	for _, s := range a.shown {
		if s == v {
			return true
		}
	}
	return false
}

// told compares what the mirror says was shown before with what was.
func (a *audience) told(t fataler, n *presence.Notice) {
	if n.Direct != nil {
		return
	}
	if n.Answer && n.State == presence.Terminated && n.Reason == presence.Timeout {
		return // a fetch
	}
	for _, tg := range n.Targets {
		// A change that makes no difference to the watcher is known to the owner only.
		if was := a.shown[tg.Sub]; was != tg.Shown && (was == nil || tg.Shown == nil || !slices.Equal(was.Sources, tg.Shown.Sources)) {
			t.Fatalf("%s was told %v, the mirror says %v", tg.Sub, was, tg.Shown)
		}
		if n.State == presence.Terminated || n.View == nil {
			delete(a.shown, tg.Sub)
		} else {
			a.shown[tg.Sub] = n.View
		}
	}
}

// TestMirror: what a watcher at another node is told is what he would be told by a
// presentity of his own node, wherever it lives.
func TestMirror(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: epoch}
		p := presence.New(user("alice"))
		a := newAudience("n1")
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			in := w.input()
			out, err := p.Step(w.now, in)
			if err != nil {
				continue
			}
			if u, ok := in.(presence.Unwatch); ok && u.Silent {
				delete(a.shown, u.ID)
				a.m.Forget(p.Entity(), u.ID)
			}
			// A fetch that lasts is none: the subscription has gone to the other node like any.
			if in, ok := in.(presence.Watch); ok && (!in.Fetch || in.Lifetime > 0) && in.Via.Node != a.node {
				delete(a.shown, in.ID)
				a.m.Forget(p.Entity(), in.ID)
			}
			targets := map[string]bool{}
			a.hear(t, &out, func(n, got *presence.Notice) {
				part := *n
				part.Targets = nil
				for _, tg := range got.Targets {
					if targets[tg.Sub] && n.Direct == nil && got.State != presence.Terminated && len(out.Notices) == 1 {
						t.Fatal("told twice")
					}
					targets[tg.Sub] = true
					for _, o := range n.Targets {
						if o.Sub == tg.Sub && o.Handle == tg.Handle {
							part.Targets = append(part.Targets, o)
						}
					}
				}
				// What the owner does not know to have been shown, the mirror may: after a
				// refresh from another node and back it is the other way round.
				if got.Targets[0].Shown == nil {
					for i := range part.Targets {
						part.Targets[i].Shown = nil
					}
				}
				equalNotice(t, &part, got)
			})
			if a.m.Len() != len(a.shown) {
				t.Fatalf("%d remembered, %d shown", a.m.Len(), len(a.shown))
			}
			if d := p.Deadline(); (d.IsZero() || d.After(w.now)) && w.pick(5, "moves") == 0 {
				p = moved(t, w, p, nil)
				clear(a.of)
			}
		}
	})
}

func step(t testing.TB, p *presence.Presentity, in presence.Input) presence.Outcome {
	t.Helper()
	out, err := p.Step(epoch, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func session(key, says string) presence.Publish {
	return presence.Publish{ID: presence.SourceID{Kind: presence.Session, Key: key}, Native: presence.Payload{Type: "jabber:client", Bytes: []byte(says)},
		Doc: &presence.Document{Tuples: []presence.Tuple{{ID: key, Basic: presence.Open, Priority: -1}}}, Node: "n1"}
}

func watch(sub, node string) presence.Watch {
	return presence.Watch{ID: sub, Watcher: user("bob"), Via: presence.Via{Node: node, Edge: "xmpp", Handle: "h-" + sub}}
}

// TestTakeover: the owner is lost, another begins from what the edges say again. The watchers
// are told what differs.
func TestTakeover(t *testing.T) {
	t.Run("by a third node", func(t *testing.T) { takeover(t, false) })
	t.Run("by the watchers' node", func(t *testing.T) { takeover(t, true) })
}

func takeover(t *testing.T, here bool) {
	allow := presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}}
	p := presence.New(user("alice"))
	a := newAudience("n2")
	second := false
	hear := func(out presence.Outcome) (gone, changed []presence.SourceID) {
		each := func(_, n *presence.Notice) {
			g, c := n.View.Changes(n.Targets[0].Shown)
			gone, changed = append(gone, ids(g)...), append(changed, ids(c)...)
			a.shown[n.Targets[0].Sub] = n.View
		}
		if !here || !second {
			a.hear(t, &out, each)
			return gone, changed
		}
		for _, n := range out.Notices {
			for _, n := range a.m.Recall(n) {
				each(nil, n)
			}
		}
		if a.m.Len() > 0 {
			t.Error("what is local is remembered twice")
		}
		return gone, changed
	}
	step(t, p, allow)
	for _, key := range []string{"desk", "pad", "phone"} {
		hear(step(t, p, session(key, "hello")))
	}
	hear(step(t, p, watch("s1", "n2")))
	hear(step(t, p, session("pad", "away")))
	before := a.shown["s1"]

	// Said again: the same, something else, and not at all.
	q := presence.New(user("alice"))
	second = true
	later := func(in presence.Input) presence.Outcome {
		out, err := q.Step(epoch.Add(3*time.Second), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	later(allow)
	for key, says := range map[string]string{"desk": "hello", "pad": "back"} {
		in := session(key, says)
		in.Again = true
		later(in)
	}
	gone, changed := hear(later(watch("s1", "n2")))
	if fmt.Sprint(gone, changed) != "[session/phone] [session/pad]" {
		t.Errorf("gone %v, changed %v", gone, changed)
	}
	after := a.shown["s1"]
	if before == after || after.Doc == nil {
		t.Error("not the new view")
	}
	// What stayed the same is so in the owner's next life, too.
	if gone, changed := hear(later(session("pad", "away"))); fmt.Sprint(gone, changed) != "[] [session/pad]" {
		t.Errorf("gone %v, changed %v", gone, changed)
	}
	// A session that says the same again is told again (RFC 6121 §4.4.2).
	if _, changed := hear(later(session("desk", "hello"))); fmt.Sprint(changed) != "[session/desk]" {
		t.Errorf("changed %v", changed)
	}
}

// TestComposedByOwner: a source that is taken for the same keeps its time of before, the
// composition is the owner's nevertheless.
func TestComposedByOwner(t *testing.T) {
	says := func(key, activity string, at time.Time) presence.Publish {
		in := session(key, activity)
		in.Doc.Persons = []presence.Person{{ID: "p", Rich: presence.Rich{Activities: &presence.Values{Names: []string{activity}}}}}
		in.Again, in.Said = true, at
		return in
	}
	a := newAudience("n2")
	for life, order := range [][2]time.Duration{{-time.Hour, -time.Minute}, {-time.Minute, -time.Hour}} {
		p := presence.New(user("alice"))
		now := epoch.Add(time.Duration(life) * time.Minute)
		for _, in := range []presence.Input{presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}},
			says("a", "away", epoch.Add(order[0])), says("b", "dinner", epoch.Add(order[1])), watch("s1", "n2")} {
			out, err := p.Step(now, in)
			if err != nil {
				t.Fatal(err)
			}
			a.hear(t, &out, func(_, n *presence.Notice) {
				if gone, changed := n.View.Changes(n.Targets[0].Shown); life > 0 && len(gone)+len(changed) > 0 {
					t.Errorf("gone %v, changed %v", ids(gone), ids(changed))
				}
			})
		}
		if got := a.shown["s1"].Doc.Persons[0].Rich.Activities.Names[0]; got != []string{"dinner", "away"}[life] {
			t.Errorf("life %d: %s", life, got)
		}
	}
}

// TestMovedToWatcher: the presentity comes to the node of its watchers and goes away again;
// they are told what differs.
func TestMovedToWatcher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: epoch, policy: &presence.Policy{Default: presence.Allow}}
		alone, p := presence.New(user("alice")), presence.New(user("alice"))
		here := false
		a := newAudience("n1")
		for _, q := range []*presence.Presentity{alone, p} {
			if _, err := q.Step(w.now, presence.SetPolicy{Policy: w.policy}); err != nil {
				t.Fatal(err)
			}
		}
		changes := func(n *presence.Notice) string {
			if n.View == nil {
				return ""
			}
			g, c := n.View.Changes(n.Targets[0].Shown)
			return fmt.Sprint(ids(g), ids(c))
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			var in presence.Input
			for in == nil {
				in = w.input()
				switch x := in.(type) {
				case presence.Watch:
					x.Via.Node = a.node
					in = x
				case presence.Unwatch:
					x.Silent = false
					in = x
				}
			}
			wanted, err := alone.Step(w.now, in)
			out, _ := p.Step(w.now, in)
			if err != nil {
				continue
			}
			want := map[string]string{}
			for _, n := range wanted.Notices {
				if n.Node != a.node || n.Direct != nil {
					continue
				}
				for _, tg := range n.Targets {
					want[tg.Sub] += changes(n)
				}
			}
			got := map[string]string{}
			hear := func(_, n *presence.Notice) {
				if n.Node != a.node || n.Direct != nil {
					return
				}
				for _, tg := range n.Targets {
					got[tg.Sub] += changes(n)
				}
			}
			if here {
				for _, n := range out.Notices {
					a.told(t, n)
					hear(n, n)
				}
			} else {
				a.hear(t, &out, hear)
			}
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("here %v: told %v, want %v", here, got, want)
			}
			if d := p.Deadline(); (d.IsZero() || d.After(w.now)) && w.pick(3, "moves") == 0 {
				if here {
					a.m.Learn(p.Export(), a.node)
					p = moved(t, w, p, nil)
				} else {
					p = moved(t, w, p, a)
				}
				again(t, w, alone)
				here = !here
				clear(a.of)
			}
		}
	})
}

// TestMirrorAtOnce has notices of several presentities at the same time.
func TestMirrorAtOnce(t *testing.T) {
	m := NewMirror()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			of := user(fmt.Sprint("u", i))
			p := presence.New(of)
			a := newAudience("n2")
			a.m = m
			step(t, p, presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}})
			for j := range 50 {
				for _, in := range []presence.Input{watch(fmt.Sprint("s", j), "n2"), session("pad", fmt.Sprint(j))} {
					out := step(t, p, in)
					a.hear(t, &out, func(_, n *presence.Notice) {
						if n.Presentity != of || n.View.Presentity != of {
							t.Error("somebody else's")
						}
					})
				}
			}
			for j := range 40 {
				m.Forget(of, fmt.Sprint("s", j))
			}
		})
	}
	wg.Wait()
	if m.Len() != 40 {
		t.Errorf("%d remembered", m.Len())
	}
	for i := range 4 {
		for j := range 50 {
			m.Forget(user(fmt.Sprint("u", i)), fmt.Sprint("s", j))
		}
	}
	for i := range m.parts {
		if len(m.parts[i].of) > 0 {
			t.Error("a presentity is held for nobody")
		}
	}
}
