package cluster

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// homesAt are those at a node that it knows of.
func (d *desk) homesAt() []presence.Entity {
	return d.node.pick(1<<20, func(presence.Entity, *home) bool { return true })
}

func TestMove(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 300, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		a, b := o.desk("a"), o.desk("b")
		some := a.homesAt()
		before := b.node.Homes()
		lost := o.saidAgain()
		moved, err := a.node.Move(t.Context(), some, "b")
		synctest.Wait()
		if err != nil || moved != len(some) || a.node.Homes() != 0 || b.node.Homes() != before+moved {
			t.Fatalf("%d of %d moved, %v; %d are left", moved, len(some), err, a.node.Homes())
		}
		o.right(all, time.Second)
		if now := o.saidAgain(); now != lost {
			t.Errorf("edges have said %d things again", now-lost)
		}
		// Everybody has heard where they are now.
		for _, e := range some {
			for _, d := range o.all() {
				if owner, ok := d.node.Owner(e); !ok || owner != "b" {
					t.Fatalf("%s has %s at %q", d.name, e, owner)
				}
			}
		}
		st := b.node.Status()
		if st.Counts.Came != uint64(moved) || a.node.Status().Counts.Moved != uint64(moved) {
			t.Errorf("%+v", st.Counts)
		}
		if _, err := b.node.Move(t.Context(), some, "nobody"); !errors.Is(err, ErrMove) {
			t.Errorf("to nobody: %v", err)
		}
		if err := a.node.SetState("c", Joining); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := b.node.Move(t.Context(), some, "a"); !errors.Is(err, ErrMove) {
			t.Errorf("while a node is joining: %v", err)
		}
	})
}

// saidAgain counts what edges were to say again.
func (o *office) saidAgain() int {
	total := 0
	for _, d := range o.all() {
		d.clerk.mu.Lock()
		total += d.lost
		d.clerk.mu.Unlock()
	}
	return total
}

// What comes while a presentity moves is done once, by the one or the other.
func TestMoveUnderLoad(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 90, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		written := 0
		before := 0
		for _, e := range all {
			before += o.table.version(e)
		}
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				d := o.all()[i%3]
				written++
				d.submit(order{kind: write, of: all[i*7%len(all)], from: d.name})
				time.Sleep(500 * time.Microsecond)
			}
		}()
		for i := range 12 {
			from, to := o.all()[i%3], o.all()[(i+1)%3]
			if _, err := from.node.Move(t.Context(), from.homesAt(), to.name); err != nil {
				t.Errorf("%s to %s: %v", from.name, to.name, err)
			}
		}
		close(stop)
		time.Sleep(time.Second)
		o.right(all, time.Second)
		after := 0
		for _, e := range all {
			after += o.table.version(e)
		}
		if after-before != written {
			t.Errorf("%d were written, %d are there", written, after-before)
		}
	})
}

// at runs something when a call is made for the first time, with the fault that it then has.
func (d *desk) at(call string, f fault, then func()) {
	done := false
	d.view.faults(func(name string) fault {
		if name != call || done {
			return fine
		}
		done = true
		if then != nil {
			go then()
		}
		return f
	})
}

// Each way in which a move can fail, at each step of it (see moving.go): there is one
// owner, and he knows everything.
func TestMoveFails(t *testing.T) {
	kill := func(name string) func(*office) { return func(o *office) { o.kill(name) } }
	for _, c := range []struct {
		name string
		step string // the call of a to the registry; "stage": when b is being told the states
		with fault
		then func(*office)
		one  bool // nobody has moved
		all  bool // all have
	}{
		{name: "the registry refuses", step: "move", with: refused, one: true},
		{name: "the registry has done it, and does not say so", step: "move", with: unheard, all: true},
		{name: "the registry does it later", step: "move", with: doneLater, one: true},
		{name: "a dies before its homes change", step: "move", with: refused, then: kill("a")},
		{name: "a dies when its homes have changed", step: "move", with: unheard, then: kill("a")},
		{name: "a dies, and its homes change later", step: "move", with: doneLater, then: kill("a")},
		{name: "b dies before the homes change", step: "move", with: refused, then: kill("b")},
		{name: "b dies when the homes have changed", step: "move", then: kill("b")},
		{name: "b dies, which a does not hear of", step: "move", with: unheard, then: kill("b")},
		{name: "both die when the homes have changed", step: "move", then: func(o *office) { o.kill("a"); o.kill("b") }},
		{name: "a dies while it tells the states", step: "stage", then: kill("a")},
		{name: "b dies while it is told the states", step: "stage", then: kill("b")},
		{name: "a stands still while it tells the states", step: "stage", then: stopAWhile("a")},
		{name: "b stands still while it is told the states", step: "stage", then: stopAWhile("b")},
		{name: "a stands still while the homes change", step: "move", then: stopAWhile("a")},
		{name: "b stands still while the homes change", step: "move", then: stopAWhile("b")},
		{name: "b stands still, and a does not hear", step: "move", with: unheard, then: stopAWhile("b")},
		{name: "a is cut off while it tells the states", step: "stage", then: func(o *office) { o.bus.Isolate("a") }},
		{name: "b is cut off while it is told the states", step: "stage", then: func(o *office) { o.bus.Isolate("b") }},
		{name: "a and b are separated when the homes have changed", step: "move", then: func(o *office) { o.bus.Cut("a", "b") }},
		{name: "the database goes while the homes change", step: "move", with: unheard, then: func(o *office) {
			o.table.mu.Lock()
			o.table.down = true
			o.table.mu.Unlock()
			time.Sleep(4 * time.Second)
			o.table.mu.Lock()
			o.table.down = false
			o.table.mu.Unlock()
		}},
		{name: "b hears late that they are its own, and others send to it", step: "move", then: func(o *office) {
			o.bus.Between("a", "b", Faults{Delay: 300 * time.Millisecond})
			o.desk("c").node.hints.clear()
		}, all: true},
		{name: "b does not hear that they are its own, c does, and a dies", step: "move", then: func(o *office) {
			o.bus.Cut("a", "b")
			time.Sleep(50 * time.Millisecond)
			o.kill("a")
		}},
		{name: "b dies, and c hears of the move when it is buried", step: "move", then: func(o *office) {
			o.bus.Between("a", "c", Faults{Delay: 2950 * time.Millisecond})
			time.Sleep(10 * time.Millisecond)
			o.kill("b")
		}},
		{name: "b dies, and its homes are inherited before a hears", step: "move", with: unheard, then: func(o *office) {
			begun := time.Now()
			o.desk("a").view.faults(func(call string) fault {
				if (call == "move" || call == "homes") && time.Since(begun) < 3500*time.Millisecond {
					return refused
				}
				return fine
			})
			o.kill("b")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inService(t, []string{"a", "b", "c"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
				o.settled(all)
				a := o.desk("a")
				some := a.homesAt()
				then := func() {
					if c.then != nil {
						c.then(o)
					}
				}
				if c.step == "stage" {
					o.bus.Between("a", "b", Faults{Delay: 20 * time.Millisecond})
					go func() {
						time.Sleep(5 * time.Millisecond)
						then()
					}()
				} else {
					a.at(c.step, c.with, then)
				}
				o.tasks.Add(1)
				go func() {
					defer o.tasks.Done()
					_, _ = a.node.Move(context.Background(), some, "b")
				}()
				// What comes meanwhile comes to the end, too.
				sent := 0
				var acknowledged atomic.Int64
				before := 0
				for _, e := range some {
					before += o.table.version(e)
				}
				for i := range 200 {
					desks := o.all()
					d := desks[i%len(desks)]
					if d.name == "c" {
						sent++
						d.submit(order{kind: write, of: some[i%len(some)], from: d.name, done: func() { acknowledged.Add(1) }})
					}
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(8 * time.Second)
				o.bus.Heal()
				for _, name := range []string{"a", "b"} {
					if o.desk(name) == nil {
						o.start(name, nil)
					}
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				o.right(all, 5*time.Second)
				after := 0
				for _, e := range some {
					after += o.table.version(e)
				}
				written := int(acknowledged.Load())
				if after-before < written || written != sent {
					t.Errorf("%d were sent, %d acknowledged, %d are there", sent, written, after-before)
				}
				at := map[string]int{}
				for _, e := range some {
					for _, d := range o.all() {
						if d.node.home(e) != nil {
							at[d.name]++
						}
					}
				}
				if c.one && at["a"] != len(some) || c.all && at["b"] != len(some) {
					t.Errorf("of %d: %v", len(some), at)
				}
			})
		})
	}
}

func stopAWhile(name string) func(*office) {
	return func(o *office) {
		o.suspend(name)
		time.Sleep(7 * time.Second)
		o.resume(name)
	}
}

// Drain moves everything away, and Leave has nobody wait for a lease to run out.
func TestNodeLeaves(t *testing.T) {
	inService(t, []string{"a", "b", "c"}, 300, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		for _, name := range []string{"a", "b", "c"} { // a rolling restart
			d := o.desk(name)
			begun := time.Now()
			if err := d.node.Drain(t.Context()); err != nil || d.node.Homes() != 0 {
				t.Errorf("%s: %v, %d homes are left", name, err, d.node.Homes())
			}
			took := time.Since(begun)
			o.right(all, time.Second)
			d.clerk.mu.Lock()
			d.dead = true
			d.clerk.mu.Unlock()
			if err := d.node.Leave(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-d.ended; err != nil {
				t.Error(err)
			}
			o.mu.Lock()
			delete(o.desks, name)
			o.mu.Unlock()
			if gone := o.right(all, 2*time.Second); gone > 800*time.Millisecond {
				t.Errorf("%s has left: right after %v", name, gone)
			}
			t.Logf("%s: drained in %v", name, took)
			o.start(name, nil)
			time.Sleep(time.Second)
		}
		for _, d := range o.all() {
			if st := d.node.Status(); st.Counts.Inherited != 0 {
				t.Errorf("%s: %+v", d.name, st.Counts)
			}
		}
	})
}

// The last one, and one that is alone, has nobody to hand over to, and finds all again.
func TestLastLeaves(t *testing.T) {
	inService(t, []string{"a"}, 30, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		d := o.desk("a")
		begun := time.Now()
		if err := d.node.Drain(t.Context()); err != nil || time.Since(begun) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		d.clerk.mu.Lock()
		d.dead = true
		d.clerk.mu.Unlock()
		if err := d.node.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		<-d.ended
		d = o.start("a", nil)
		time.Sleep(time.Second)
		d.clerk.mu.Lock()
		defer d.clerk.mu.Unlock()
		if d.node.Homes() != len(all) || len(d.arrived) == 0 {
			t.Errorf("%d homes of %d, %v", d.node.Homes(), len(all), d.arrived)
		}
	})
}

// A node that is told to drain empties itself, rests, and takes users again when it is told to.
func TestDrain(t *testing.T) {
	inService(t, []string{"a", "b"}, 60, func(t *testing.T, o *office, all []presence.Entity) {
		o.settled(all)
		a, b := o.desk("a"), o.desk("b")
		if err := a.node.SetState("b", Draining); err != nil {
			t.Fatal(err)
		}
		if err := a.node.SetMax("b", 77); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if b.node.Homes() != 0 || b.node.State() != Standby {
			t.Errorf("%d homes, %s", b.node.Homes(), b.node.State())
		}
		o.watch("b", entity(1000))
		time.Sleep(time.Second)
		if owner, ok := b.node.Owner(entity(1000)); !ok || owner != "a" {
			t.Errorf("a newcomer goes to %q", owner)
		}
		if m := a.node.Members()[1]; m.State != Standby || m.Max != 77 {
			t.Errorf("%+v", m)
		}
		if err := a.node.SetState("b", Active); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		o.watch("b", entity(1001))
		time.Sleep(time.Second)
		if owner, _ := b.node.Owner(entity(1001)); owner != "b" {
			t.Errorf("a newcomer goes to %q", owner)
		}
		o.right(all, time.Second)
		if a.node.SetState("nobody", Active) == nil || a.node.SetState("b", Dead) == nil || a.node.SetMax("b", -1) == nil {
			t.Error("no error")
		}
	})
}

// Who is moved for the sake of the level is somebody on whom it depends, as far as there are such.
func TestResidentsAreMovedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		defer o.close()
		busy := []presence.Entity{entity(7), entity(900), entity(3), entity(5)} // 900 does not live here
		d := o.start("a", func(c *Config) {
			c.Residents = func(most int, done func([]presence.Entity)) { go done(busy) }
		})
		<-d.node.Entered()
		all := people(20)
		for _, e := range all {
			o.watch("a", e)
		}
		time.Sleep(time.Second)
		if n := d.node.Homes(); n != 20 {
			t.Fatalf("%d homes", n)
		}
		if got, want := d.node.choose(t.Context(), 2), []presence.Entity{entity(7), entity(3)}; !slices.Equal(got, want) {
			t.Errorf("chosen %v, want %v", got, want)
		}
		got := d.node.choose(t.Context(), 6)
		for i, e := range []presence.Entity{entity(7), entity(3), entity(5)} {
			if len(got) != 6 || got[i] != e {
				t.Fatalf("chosen %v", got)
			}
		}
		for i, e := range got {
			if slices.Contains(got[i+1:], e) || !slices.Contains(all, e) {
				t.Errorf("chosen %v", got)
			}
		}
		busy = nil
		if got := d.node.choose(t.Context(), 50); len(got) != 20 {
			t.Errorf("%d chosen of 20", len(got))
		}
	})
}
