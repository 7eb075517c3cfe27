package faults

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOracle()
		o.stands("bob", "alice", true)
		start := time.Now()
		o.says("alice", 1, false)
		time.Sleep(time.Second)
		if w := o.wrong(); len(w) != 1 {
			t.Errorf("wrong: %q", w)
		}
		o.told("bob", "alice", 1, false, "")
		o.says("alice", 2, false)
		o.says("alice", 3, false)
		time.Sleep(2 * time.Second)
		o.told("bob", "alice", 2, false, "")
		time.Sleep(time.Second)
		o.told("bob", "alice", 3, false, "")
		if n, _, worst, of := o.since(start); n != 2 || worst != 3*time.Second || of.of != "alice" || len(o.wrong()) != 0 {
			t.Errorf("%d lags, worst %v, wrong %q", n, worst, o.wrong())
		}
		if _, _, worst, _ := o.since(start.Add(2 * time.Second)); worst != 2*time.Second {
			t.Errorf("what was wrong before counts: %v", worst)
		}
		// Who cannot be told is not behind, until he is back.
		o.stands("bob", "alice", false)
		o.says("alice", 0, true)
		time.Sleep(time.Minute)
		if w := o.wrong(); len(w) != 0 {
			t.Errorf("wrong: %q", w)
		}
		o.stands("bob", "alice", true)
		time.Sleep(time.Second)
		o.told("bob", "alice", 3, true, "")
		if _, _, worst, _ := o.since(start.Add(10 * time.Second)); worst != time.Second {
			t.Errorf("after a return: %v", worst)
		}
	})
}
