package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// crowdActs has everybody write and watch now and then, on whichever node, until told to stop.
func (o *office) crowdActs(all []presence.Entity, r *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(1+r.IntN(20)) * time.Millisecond):
		}
		desks := o.all()
		if len(desks) == 0 {
			continue
		}
		d, e := desks[r.IntN(len(desks))], all[r.IntN(len(all))]
		if r.IntN(3) == 0 {
			o.watch(d.name, e)
		} else {
			d.submit(order{kind: write, of: e, from: d.name})
		}
	}
}

// A node that stands still for ten seconds is no owner when it goes on, and comes back.
func TestNodeSuspended(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		inService(t, []string{"a", "b", "c"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
			o.settled(all)
			stop := make(chan struct{})
			go o.crowdActs(all, rand.New(rand.NewPCG(1, 1)), stop)
			o.suspend(name)
			time.Sleep(4 * time.Second)
			if d := o.desk(name); d.node.Valid() {
				t.Error("it holds itself for an owner")
			}
			time.Sleep(6 * time.Second)
			o.resume(name)
			time.Sleep(time.Second)
			close(stop)
			o.right(all, 5*time.Second)
			if st := o.desk(name).node.Status(); st.Counts.Eras != 1 || st.Epoch == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A node whose bus is cut off leaves the service to the others, though it reaches the database, and comes
// back when the bus does. Of two the leader stays.
func TestNodeCutOff(t *testing.T) {
	for _, names := range [][]string{{"a", "b", "c"}, {"a", "b"}, {"a", "b", "c", "d", "e"}} {
		for _, cut := range names[:2] {
			inService(t, names, 60, func(t *testing.T, o *office, all []presence.Entity) {
				o.settled(all)
				leader := o.desk("a").node.Status().Leader
				stop := make(chan struct{})
				go o.crowdActs(all, rand.New(rand.NewPCG(1, 1)), stop)
				for _, other := range names {
					if other != cut {
						o.bus.Cut(cut, other)
					}
				}
				time.Sleep(6 * time.Second)
				for _, d := range o.all() {
					want := d.name != cut
					if len(names) == 2 {
						want = d.name == leader
					}
					if d.node.Valid() != want {
						t.Errorf("%d nodes, %s cut off, leader %s: %s acts: %v", len(names), cut, leader, d.name, !want)
					}
				}
				o.bus.Heal()
				time.Sleep(time.Second)
				close(stop)
				took := o.right(all, 5*time.Second)
				t.Logf("%d nodes, %s cut off, leader %s: right %v after a second of peace", len(names), cut, leader, took)
			})
		}
	}
}

// Two nodes that do not reach each other, while both reach all others: one gives way.
func TestNodePairCut(t *testing.T) {
	inService(t, []string{"a", "b", "c", "d"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		o.bus.Cut("b", "c")
		time.Sleep(10 * time.Second)
		valid := 0
		for _, d := range o.all() {
			if d.node.Valid() {
				valid++
			}
		}
		if valid != 3 || o.desk("b").node.Valid() == o.desk("c").node.Valid() {
			t.Errorf("%d act", valid)
		}
		o.bus.Heal()
		o.right(all, 5*time.Second)
	})
}

// While the database is away nobody acts; nobody is taken over, since nobody has died.
func TestDatabaseAway(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		o.table.mu.Lock()
		o.table.down = true
		o.table.mu.Unlock()
		time.Sleep(3 * time.Second)
		for _, d := range o.all() {
			if d.node.Valid() {
				t.Errorf("%s acts without a lease", d.name)
			}
			c := d.node.Condition()
			if since := time.Since(c.Since); c.Is != IsStill || c.Why == "" || since < 0 || since > 3*time.Second {
				t.Errorf("%s is %+v", d.name, c)
			}
		}
		time.Sleep(5 * time.Second)
		stop := make(chan struct{})
		go o.crowdActs(all, rand.New(rand.NewPCG(1, 1)), stop)
		o.table.mu.Lock()
		o.table.down = false
		o.table.mu.Unlock()
		time.Sleep(time.Second)
		close(stop)
		o.right(all, 5*time.Second)
		for _, d := range o.all() {
			if st := d.node.Status(); st.Counts.Gone > 0 || st.Counts.Eras > 0 {
				t.Errorf("%s: %+v", d.name, st.Counts)
			}
		}
	})
}

// The database's clock jumps forward by hours, and back again: nobody who is alive is declared dead, and who
// dies then is buried as always.
func TestDatabaseClockJumps(t *testing.T) {
	inService(t, []string{"a"}, 30, func(t *testing.T, o *office, all []presence.Entity) {
		for _, name := range []string{"b", "c"} { // so that they do not renew at the same instant
			time.Sleep(RenewEvery / 3)
			<-o.start(name, nil).node.Entered()
		}
		time.Sleep(2 * LeaseTime)
		o.settled(all)
		o.jumps.Store(true)
		jump := func(by time.Duration) {
			o.table.mu.Lock()
			o.table.ahead += by
			o.table.mu.Unlock()
		}
		for i := range 20 {
			jump(time.Hour)
			time.Sleep(LeaseTime + time.Duration(137*i)*time.Millisecond)
			for _, d := range o.all() {
				if st := d.node.Status(); !d.node.Valid() || st.Counts.Buried > 0 || st.Counts.Eras > 0 {
					t.Fatalf("after jump %d %s acts: %v, %+v", i, d.name, d.node.Valid(), st.Counts)
				}
			}
		}
		jump(-20 * time.Hour)
		time.Sleep(3 * time.Second)
		o.right(all, 5*time.Second)
		jump(time.Hour)
		o.kill("b")
		time.Sleep(4 * time.Second)
		for _, d := range o.all() {
			if st := d.node.Status(); d.name != "b" && st.Nodes[1].State != Dead {
				t.Errorf("%s: b is %s", d.name, st.Nodes[1].State)
			}
		}
		o.right(all, 5*time.Second)
	})
}

// Two at once, of five and of three: the rest goes on.
func TestTwoKilled(t *testing.T) {
	for _, names := range [][]string{{"a", "b", "c", "d", "e"}, {"a", "b", "c"}} {
		inService(t, names, 60, func(t *testing.T, o *office, all []presence.Entity) {
			o.settled(all)
			o.kill("a")
			o.kill("b")
			took := o.right(all, 5*time.Second)
			t.Logf("of %d: right after %v", len(names), took)
			o.start("a", nil)
			o.start("b", nil)
			time.Sleep(2 * time.Second)
			for i, e := range all {
				o.watch(o.all()[i%len(names)].name, e)
			}
			o.right(all, 5*time.Second)
		})
	}
}

// While the homes of a dead node are given away, in portions, an heir dies that has got some, or the leader
// who gives them: none is left behind, and whoever is asked for meanwhile has one owner.
func TestHeirDies(t *testing.T) {
	for _, leader := range []bool{false, true} {
		inService(t, []string{"a", "b", "c", "d", "e"}, 200, func(t *testing.T, o *office, all []presence.Entity) {
			o.settled(all)
			first := o.desk("a").node.Status().Leader
			// Of the others that with the most homes dies, so that there are portions.
			have := map[string]int{}
			o.table.mu.Lock()
			for _, h := range o.table.homes {
				have[h.Node]++
			}
			o.table.mu.Unlock()
			var rest []string
			for _, d := range o.all() {
				if d.name != first {
					rest = append(rest, d.name)
				}
			}
			slices.SortFunc(rest, func(a, b string) int { return have[b] - have[a] })
			if have[rest[0]] <= 2*inheritMost {
				t.Fatalf("nobody has much: %v", have)
			}
			dead, heir := rest[0], rest[1]
			if leader {
				heir = first
			}
			portions, dies := 0, make(chan struct{})
			o.desk(first).view.faults(func(call string) fault {
				if call == "inherit" {
					if portions++; portions == 2 { // whoever is asked for settles, too: there may be no third
						close(dies)
					}
				}
				return fine
			})
			stop := make(chan struct{})
			go o.crowdActs(all, rand.New(rand.NewPCG(3, 3)), stop)
			o.kill(dead)
			select {
			case <-dies:
			case <-time.After(5 * time.Second):
				t.Logf("all had settled: %d portions", portions)
			}
			o.kill(heir)
			time.Sleep(3 * time.Second)
			close(stop)
			took := o.right(all, 5*time.Second)
			t.Logf("leader %v: right %v later", leader, took)
			o.table.mu.Lock()
			defer o.table.mu.Unlock()
			for e, h := range o.table.homes {
				if !o.table.alive(h.Node) {
					t.Errorf("%s is at %s, which is dead", e, h.Node)
				}
			}
		})
	}
}

// Whatever happens: no two own a presentity or lead a term at the same time, nobody works on a state that is not
// the last, and once there is peace every owner knows who watches.
func TestAnyFaults(t *testing.T) {
	for i := range uint64(*rounds) {
		seed := *firstSeed + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anyFaults(t, seed, 2+int(seed%3), 3+int(seed%13)) })
	}
}

var (
	rounds    = flag.Int("faults", 40, "how many times TestAnyFaults plays")
	firstSeed = flag.Uint64("faultseed", 1, "the first of its seeds")
)

func anyFaults(t *testing.T, seed uint64, nodes, steps int) {
	names := []string{"a", "b", "c", "d"}[:nodes]
	r := rand.New(rand.NewPCG(seed, 3))
	inService(t, names, 30, func(t *testing.T, o *office, all []presence.Entity) {
		o.bus.Seed(seed)
		o.settled(all)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			o.crowdActs(all, rand.New(rand.NewPCG(seed, 4)), stop)
		}()
		frozen := map[string]bool{}
		for range steps {
			name := names[r.IntN(nodes)]
			d := o.desk(name)
			switch what := r.IntN(12); {
			case d == nil:
				o.start(name, nil)
			case what < 2 && len(o.all()) > 1 && !frozen[name]:
				o.kill(name)
			case what == 2:
				if frozen[name] {
					o.resume(name)
				} else {
					o.suspend(name)
				}
				frozen[name] = !frozen[name]
			case what == 3:
				o.bus.Isolate(name)
			case what == 4:
				o.bus.CutOneWay(name, names[r.IntN(nodes)])
			case what == 5:
				o.bus.Heal()
			case what == 6:
				o.bus.Faults(Faults{Delay: time.Duration(r.IntN(100)) * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.1 * r.Float64(), Duplicate: 0.1})
			case what == 7:
				q := rand.New(rand.NewPCG(seed, uint64(r.IntN(1000))))
				share := r.IntN(4)
				d.view.faults(func(string) fault {
					if q.IntN(10) < share {
						return []fault{refused, unheard, doneLater}[q.IntN(3)]
					}
					return fine
				})
			case what == 8 && !frozen[name]:
				d.view.faults(nil)
			case !frozen[name]:
				to := names[r.IntN(nodes)]
				some := d.node.pick(1+r.IntN(20), func(presence.Entity, *home) bool { return true })
				o.tasks.Add(1)
				go func() {
					defer o.tasks.Done()
					_, _ = d.node.Move(context.Background(), some, to) // as far as it gets
				}()
			}
			time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond)
		}
		o.bus.Heal()
		for _, name := range names {
			if d := o.desk(name); d == nil {
				o.start(name, nil)
			} else {
				d.view.faults(nil)
				if frozen[name] {
					o.resume(name)
				}
			}
		}
		time.Sleep(8 * time.Second)
		close(stop)
		<-done
		synctest.Wait()
		o.right(all, 5*time.Second)
	})
}
