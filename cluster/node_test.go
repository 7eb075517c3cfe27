package cluster

import (
	"context"
	"flag"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

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
