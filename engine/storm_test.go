package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

var storms = flag.Int("storms", 6, "how many random storms TestStorm goes through, and the seed of the first")
var stormSeed = flag.Uint64("storm-seed", 1, "seed of the first storm")

// TestStorm: random inputs at random nodes, while presentities move, nodes are killed and come
// back, and nodes are fenced. What was acknowledged and is durable is never lost; no watcher is ever told an
// older version of one life of a presentity; and when all is quiet every watcher was told last
// what is true.
func TestStorm(t *testing.T) {
	for i := range uint64(*storms) {
		seed := *stormSeed + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inTown(t, func(w *town) { newStorm(w, seed).run() })
		})
	}
}

type storm struct {
	*town
	mu    sync.Mutex
	rand  *rand.Rand
	over  bool
	users []presence.Entity
	subs  map[string]presence.Entity // durable subscriptions that were acknowledged
	pubs  []*publisher
}

func newStorm(w *town, seed uint64) *storm {
	s := &storm{town: w, rand: rand.New(rand.NewPCG(seed, 3)), subs: map[string]presence.Entity{}}
	for i := range 6 {
		s.users = append(s.users, user(fmt.Sprint("u", i)))
	}
	w.choose = func(e presence.Entity) string { // w.mu is held
		for {
			if n := w.nodes[[]string{"a", "b", "c"}[s.n(3)]]; n.alive {
				return n.name
			}
		}
	}
	w.delay = func(string, string) time.Duration { return time.Duration(s.n(10)) * time.Millisecond }
	return s
}

// n is a random number.
func (s *storm) n(below int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.IntN(below)
}

func (s *storm) goesOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over
}

// someone is a node that clients can reach.
func (s *storm) someone() *townNode {
	for {
		name := []string{"a", "b", "c"}[s.n(3)]
		s.town.mu.Lock()
		n := s.nodes[name]
		alive := n.alive
		s.town.mu.Unlock()
		if alive {
			return n
		}
	}
}

func (s *storm) run() {
	var clients sync.WaitGroup
	for _, u := range s.users {
		for k := range 2 {
			p := &publisher{s: s, of: u, key: fmt.Sprint("k", k)}
			s.pubs = append(s.pubs, p)
			clients.Go(p.run)
		}
		clients.Go(func() { s.talk(u) })
		clients.Go(func() { s.watch(u) })
	}
	for range 10 {
		time.Sleep(time.Duration(100+s.n(1500)) * time.Millisecond)
		switch s.n(7) {
		case 0:
			s.killOne()
		case 1:
			s.fenceOne()
		case 2:
			n := s.someone()
			n.full.Store(true)
			time.Sleep(time.Duration(s.n(500)) * time.Millisecond)
			n.full.Store(false)
		case 3:
			s.someone().slow.Store(int64(s.n(30)) * int64(time.Millisecond))
		default:
			for range 1 + s.n(4) {
				_ = s.move(s.users[s.n(len(s.users))], []string{"a", "b", "c"}[s.n(3)]) // may meet a death
			}
		}
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	clients.Wait()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	s.check()
}

func (s *storm) two() (one, other string) {
	i := s.n(3)
	return []string{"a", "b", "c"}[i], []string{"a", "b", "c"}[(i+1+s.n(2))%3]
}

func (s *storm) killOne() {
	one, heir := s.two()
	s.kill(one, heir, 3*time.Second)
	time.Sleep(time.Duration(s.n(3000)) * time.Millisecond)
	s.start(one)
}

// fenceOne has a node lose its lease, and its homes, and take part again.
func (s *storm) fenceOne() {
	one, heir := s.two()
	n := s.nodes[one]
	n.valid.Store(false) // by its clock, before anybody else acts
	time.Sleep(time.Duration(s.n(2)*s.n(3000)) * time.Millisecond)
	s.cut(n)
	s.bury(n, heir)
	time.Sleep(time.Duration(s.n(2000)) * time.Millisecond)
	s.town.mu.Lock()
	clear(n.hints)
	s.town.mu.Unlock()
	n.Disown()
	for _, o := range s.nodes {
		if o != n {
			n.Gone(o.name)
		}
	}
	time.Sleep(time.Duration(s.n(2000)) * time.Millisecond)
	s.town.mu.Lock()
	n.epoch = n.fence
	for _, o := range s.nodes {
		if o != n && o.alive {
			n.links[o.name], o.links[one] = s.link(n, o), s.link(o, n)
		}
	}
	s.town.mu.Unlock()
	n.valid.Store(true)
	n.Lost(func(presence.Entity) bool { return true })
}

// publisher is a phone that publishes one document, wherever it finds a node.
type publisher struct {
	s     *storm
	of    presence.Entity
	key   string
	acked string   // last entity-tag that was acknowledged
	maybe []string // those since, of which nothing is known
}

func (p *publisher) run() {
	for i := 0; p.s.goesOn(); i++ {
		time.Sleep(time.Duration(p.s.n(600)) * time.Millisecond)
		in := publish(p.key, fmt.Sprint(p.key, "-", i), time.Hour, fmt.Sprint("act", i))
		if p.acked != "" && len(p.maybe) == 0 {
			in.IfMatch = p.acked
		}
		out, err := p.s.someone().Step(context.Background(), p.of, in)
		switch {
		case err == nil:
			if out.Tag != in.NewTag {
				p.s.t.Errorf("%s of %s: tag %q for %q", p.key, p.of, out.Tag, in.NewTag)
			}
			p.acked, p.maybe = in.NewTag, nil
		case errors.Is(err, presence.ErrNoMatch):
			p.s.t.Errorf("%s of %s: the publication %s was acknowledged and is lost", p.key, p.of, in.IfMatch)
			p.acked = ""
		default:
			p.maybe = append(p.maybe, in.NewTag)
		}
	}
}

// talk has sessions of a user come, say things and go.
func (s *storm) talk(u presence.Entity) {
	for i := 0; s.goesOn(); i++ {
		time.Sleep(time.Duration(s.n(500)) * time.Millisecond)
		n := s.someone()
		res := n.name + fmt.Sprint(s.n(2))
		if s.n(5) == 0 {
			n.xmpp.unsay(u, "session "+res, presence.Retract{ID: presence.SourceID{Kind: presence.Session, Key: res}})
		} else {
			n.xmpp.sayAs(u, "session "+res, session(res, fmt.Sprint("say", i)))
		}
	}
}

// watch has watchers come and go.
func (s *storm) watch(u presence.Entity) {
	for i := 0; s.goesOn(); i++ {
		time.Sleep(time.Duration(s.n(1000)) * time.Millisecond)
		n := s.someone()
		id := n.name + fmt.Sprint("w", s.n(3))
		in := watch(id, user("watcher"+fmt.Sprint(s.n(3))))
		in.Via.Edge, in.Lifetime = "xmpp", 0
		switch s.n(6) {
		case 0:
			n.xmpp.unsay(u, "watch "+id, presence.Unwatch{ID: id, Silent: true})
		case 1:
			in := durable(fmt.Sprint("d", i), bob)
			if out, err := n.Step(context.Background(), u, in); err == nil {
				if out.State != presence.Active {
					s.t.Errorf("watching %s: %v", u, out.State)
				}
				s.mu.Lock()
				s.subs[in.ID+" "+u.User] = u
				s.mu.Unlock()
			}
		default:
			n.xmpp.sayAs(u, "watch "+id, in)
		}
	}
}

// check compares what everybody was told with what is true.
func (s *storm) check() {
	t := s.t
	for _, u := range s.users {
		x, err := s.nodes["a"].Explain(context.Background(), u, bob)
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		truth := content(x.View)
		var want []string
		for _, p := range s.pubs {
			if p.of != u {
				continue
			}
			tag := ""
			for _, src := range x.Sources {
				if src.ID.Key == p.key {
					tag = src.Tag
				}
			}
			if tag != p.acked && !slices.Contains(p.maybe, tag) {
				t.Errorf("%s of %s: %q was acknowledged, %v may be, %q is there", p.key, u, p.acked, p.maybe, tag)
			}
		}
		for _, n := range s.nodes {
			n.xmpp.mu.Lock()
			for k, said := range n.xmpp.now {
				if in, ok := said.in.(presence.Publish); ok && strings.HasPrefix(k, u.User+" ") {
					want = append(want, in.ID.String()+"="+in.Doc.Persons[0].Rich.Activities.Names[0])
				}
			}
			n.xmpp.mu.Unlock()
		}
		var sessions []string
		for _, c := range truth {
			if strings.HasPrefix(c, "session/") {
				sessions = append(sessions, c)
			}
		}
		slices.Sort(want)
		if !slices.Equal(sessions, want) {
			t.Errorf("%s: sessions %q are open, %q are shown", u, want, sessions)
		}
		s.checkWatchers(u, truth)
	}
	synctest.Wait()
	for _, n := range s.nodes {
		if e := n.Stats(); e.Queued != 0 || e.Owed != 0 {
			t.Errorf("%s: %+v", n.name, e)
		}
	}
}

func (s *storm) checkWatchers(u presence.Entity, truth []string) {
	t := s.t
	ws, err := s.nodes["b"].Watchers(context.Background(), u)
	if err != nil {
		t.Errorf("%s: %v", u, err)
	}
	have := map[string]bool{}
	for _, watcher := range ws {
		have[watcher.ID] = true
	}
	s.mu.Lock()
	for k, of := range s.subs {
		if id, _, _ := strings.Cut(k, " "); of == u && !have[id] {
			t.Errorf("%s: subscription %s was acknowledged and is lost", u, id)
		}
	}
	s.mu.Unlock()
	open := map[string]bool{}
	for _, n := range s.nodes {
		n.xmpp.mu.Lock()
		for k, said := range n.xmpp.now {
			if in, ok := said.in.(presence.Watch); ok && strings.HasPrefix(k, u.User+" ") {
				open[in.ID] = true
				last := n.xmpp.last[u.User+" "+in.ID]
				if last == nil || last.State != presence.Active || !slices.Equal(content(last.View), truth) {
					t.Errorf("%s at %s was told last %v of %s, who is %q", in.ID, n.name, describe(last), u, truth)
				}
			}
		}
		n.xmpp.mu.Unlock()
	}
	for id := range have {
		if !strings.HasPrefix(id, "d") && !open[id] {
			t.Errorf("%s: the watcher %s has gone and is a ghost", u, id)
		}
		if !strings.HasPrefix(id, "d") {
			continue
		}
		x, err := s.nodes["c"].Explain(context.Background(), u, bob)
		if err != nil {
			t.Errorf("%s: %v", u, err)
			return
		}
		for _, sub := range x.Subscriptions {
			if sub.ID != id {
				continue
			}
			n := s.nodes[sub.Via.Node]
			if n == nil {
				t.Errorf("%s: %s is at node %q", u, id, sub.Via.Node)
				continue
			}
			n.sip.mu.Lock()
			last := n.sip.last[u.User+" "+id]
			n.sip.mu.Unlock()
			if last == nil || !slices.Equal(content(last.View), truth) {
				t.Errorf("%s at %s was told last %v of %s, who is %q", id, n.name, describe(last), u, truth)
			}
		}
	}
}

func describe(n *presence.Notice) string {
	if n == nil {
		return "nothing"
	}
	return fmt.Sprint(n.State, " ", content(n.View))
}

// content is what a view shows, by source.
func content(v *presence.View) (list []string) {
	if v == nil {
		return nil
	}
	for _, src := range v.Sources {
		what := ""
		if len(src.Doc.Persons) > 0 {
			what = src.Doc.Persons[0].Rich.Activities.Names[0]
		}
		list = append(list, src.ID.String()+"="+what)
	}
	slices.Sort(list)
	return list
}
