package cluster

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

var verbose = flag.Bool("nodes", false, "show what the nodes log, with their time")

// clockHandler shows the time since a test has begun.
type clockHandler struct {
	slog.Handler
	began time.Time
}

func (h clockHandler) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(slog.Duration("t", r.Time.Sub(h.began)))
	return h.Handler.Handle(ctx, r)
}

func (h clockHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return clockHandler{h.Handler.WithAttrs(a), h.began}
}

func people(n int) []presence.Entity {
	var list []presence.Entity
	for i := range n {
		list = append(list, entity(i))
	}
	return list
}

// inService runs a test on a service of nodes, with the referee looking on.
func inService(t *testing.T, names []string, crowd int, test func(t *testing.T, o *office, all []presence.Entity)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, names...)
		all := people(crowd)
		done := make(chan struct{})
		go func() { o.referee(all); close(done) }()
		defer func() { o.close(); <-done }()
		time.Sleep(2 * time.Second)
		test(t, o, all)
	})
}

// settled has everybody watched by some node, and written to once.
func (o *office) settled(all []presence.Entity) {
	desks := o.all()
	for i, e := range all {
		o.watch(desks[i%len(desks)].name, e)
	}
	time.Sleep(100 * time.Millisecond)
	for i, e := range all {
		o.watch(desks[(i+1)%len(desks)].name, e)
		desks[(i+2)%len(desks)].submit(order{kind: write, of: e, from: desks[(i+2)%len(desks)].name})
	}
	o.right(all, 5*time.Second)
}

func TestNodesShare(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		total := 0
		for _, d := range o.all() {
			if d.node.Homes() < 10 {
				t.Errorf("%s has %d homes", d.name, d.node.Homes())
			}
			total += d.node.Homes()
			st := d.node.Status()
			if len(st.Nodes) != 3 || st.Leader == "" || st.LeaseLeft < 1.5 || !st.Nodes[0].Reached || len(d.node.Nodes()) != 2 {
				t.Errorf("%s: %+v", d.name, st)
			}
		}
		if total != len(all) {
			t.Errorf("%d homes of %d", total, len(all))
		}
	})
}

// Wherever in the time of leases the death falls, and whoever dies.
func TestNodeKilled(t *testing.T) {
	worst := time.Duration(0)
	defer func() { t.Logf("the worst of all: right after %v", worst) }()
	for i := range 24 {
		victim := []string{"a", "b", "c"}[i%3] // one of them leads
		inService(t, []string{"a", "b", "c"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
			o.settled(all)
			time.Sleep(time.Duration(i) * 31 * time.Millisecond)
			begun := time.Since(o.began)
			o.kill(victim)
			took := o.right(all, 5*time.Second)
			worst = max(worst, took)
			for _, d := range o.all() {
				for _, a := range d.arrived {
					if a.at > begun {
						if a.at-begun > 3500*time.Millisecond {
							t.Errorf("%s takes %d over after %v", d.name, a.count, a.at-begun)
						}
					}
				}
			}
		})
	}
}

// What a node has told all may have died with it: the others look for themselves, though it never comes back.
func TestDeadNodeMissed(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 3, func(t *testing.T, o *office, all []presence.Entity) {
		count := func(d *desk) int {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.missed["c"]
		}
		before := map[string]int{}
		for _, d := range o.all() {
			before[d.name] = count(d)
		}
		o.kill("c")
		time.Sleep(5 * time.Second)
		for _, d := range o.all() {
			if d.name != "c" && count(d) != before[d.name]+1 {
				t.Errorf("%s counts on having heard all that c has said", d.name)
			}
		}
	})
}

// Two processes of one name: the second waits until the first is gone.
func TestTwins(t *testing.T) {
	inService(t, []string{"a"}, 30, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		first := o.desk("a")
		second := o.start("a", func(c *Config) { c.Bus = NewMemory().Join("a") })
		time.Sleep(5 * time.Second)
		if !first.node.Valid() || second.node.Valid() {
			t.Errorf("the first acts: %v, the second: %v", first.node.Valid(), second.node.Valid())
		}
		if c := first.node.Condition(); c.Is != IsValid || c.Why != "" {
			t.Errorf("the first is %+v", c)
		}
		if c := second.node.Condition(); c.Is != IsWaiting || !strings.Contains(c.Why, `its name "a" is held by another server`) {
			t.Errorf("the second is %+v", c)
		}
		o.mu.Lock()
		o.desks["a"] = first
		o.mu.Unlock()
		o.kill("a")
		o.mu.Lock()
		o.desks["a"] = second
		o.mu.Unlock()
		begun := time.Now()
		<-second.node.Entered()
		if took := time.Since(begun); took < 200*time.Millisecond || took > twinAfter+2*enterAgain {
			t.Errorf("it enters after %v", took)
		}
	})
}

// What everybody is told comes in order, and who may have missed something hears of that.
func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		got := map[string][]string{}
		missed := map[string]int{}
		var mu sync.Mutex
		o.before = func(n *Node) {
			name := n.Self()
			n.Topic('y', func(from string, b []byte) {
				mu.Lock()
				defer mu.Unlock()
				got[name] = append(got[name], from+":"+string(b))
			}, func(string) {
				mu.Lock()
				defer mu.Unlock()
				missed[name]++
			})
		}
		for _, name := range []string{"a", "b", "c"} {
			o.start(name, nil)
		}
		time.Sleep(2 * time.Second)
		mu.Lock()
		if missed["a"] != 2 {
			t.Errorf("missed when met: %v", missed)
		}
		mu.Unlock()
		for _, s := range []string{"1", "2", "3"} {
			b := []byte(s)
			if err := o.desk("a").node.Tell('y', b); err != nil || string(b) != s {
				t.Fatal(err, b)
			}
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"b", "c"} {
			if len(got[name]) != 3 || got[name][0] != "a:1" || got[name][2] != "a:3" {
				t.Errorf("%s: %v", name, got[name])
			}
		}
		if len(got["a"]) != 0 {
			t.Errorf("a hears itself: %v", got["a"])
		}
	})
}

func TestMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 20, 60)
		m := message{
			kind: messageKind(rapid.IntRange(1, int(lastKind)).Draw(t, "kind")), name: text.Draw(t, "name"),
			number: rapid.Uint64().Draw(t, "number"), term: rapid.Uint64().Draw(t, "term"),
			value: rapid.Float64().Draw(t, "value"), flag: rapid.Bool().Draw(t, "flag"),
			bytes: rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "entities") {
			m.of = append(m.of, presence.Entity{User: text.Draw(t, "user"), Domain: text.Draw(t, "domain")})
			m.epochs = append(m.epochs, rapid.Uint64().Draw(t, "epoch"))
		}
		b := m.append(nil)
		back, ok := parseMessage(b)
		if !ok || !bytes.Equal(back.append(nil), b) || !slices.Equal(back.of, m.of) || !slices.Equal(back.epochs, m.epochs) || back.name != m.name {
			t.Fatalf("%+v\n%+v, %v", m, back, ok)
		}
		for i := range b {
			if _, ok := parseMessage(b[:i]); ok {
				t.Fatalf("%d bytes of %d are taken for a message", i, len(b))
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	m := message{kind: sayTake, number: 3, of: people(2), epochs: []uint64{1, 2}}
	f.Add(m.append(nil))
	m = message{kind: sayStage, bytes: []byte("state"), flag: true, value: 1.5}
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMessage(b)
		if !ok {
			return
		}
		again, ok := parseMessage(m.append(nil))
		if !ok || again.kind != m.kind || len(again.of) != len(m.of) {
			t.Errorf("%+v\n%+v", m, again)
		}
		g := group{b: m.bytes}
		g.parse()
	})
}
