package server

import (
	"log/slog"
	"testing"
	"time"

	"pharos/cluster"
	"pharos/config"
)

// A server that was given up for want of work becomes a standby, also when another leader sees to it, and
// may be added again; one that its operator drains is left alone by all leaders.
func TestRetiredUnderAnotherLeader(t *testing.T) {
	leader := func() *loadControl {
		c := config.Defaults()
		c.Cluster.Low = 0.5
		s := &Server{Options: Options{Config: c, Log: slog.New(slog.DiscardHandler)}}
		return s.newLoadControl()
	}
	now := time.Unix(1_000_000_000, 0)
	member := func(name, state string, level float64, users int) cluster.Member {
		return cluster.Member{Name: name, State: state, Level: level, Users: users, Max: 1000, Expires: now.Add(time.Second),
			Address: cluster.Address{SIP: "sip:" + name + ".example.com;transport=tcp"}}
	}
	first := leader()
	members := []cluster.Member{member("a", cluster.Active, 100, 100), member("b", cluster.Active, 100, 100), member("c", cluster.Active, 50, 50)}
	members[2].Spare = true // it was added, by whom does not matter
	state := ""
	for i := 0; i < 60 && state == ""; i++ {
		now = now.Add(time.Second)
		for k := range members {
			members[k].Expires = now.Add(time.Second)
		}
		orders := first.Round(now, 1, members)
		state = orders.States["c"]
	}
	if state != cluster.Retiring {
		t.Fatalf("c is told to be %q", state)
	}
	second := leader()
	members[2] = member("c", cluster.Retiring, 50, 50)
	second.Round(now, 2, members) // from which time is counted
	now = now.Add(time.Second)
	orders := second.Round(now, 2, members)
	moved := 0
	for _, m := range orders.Moves {
		if m.From == "c" {
			moved += m.Users
		}
	}
	if moved == 0 || len(orders.States) > 0 {
		t.Errorf("the next leader: %+v", orders)
	}
	members[2] = member("c", cluster.Retiring, 0, 0)
	now = now.Add(time.Second)
	if orders = second.Round(now, 2, members); orders.States["c"] != cluster.Standby {
		t.Errorf("it is empty: %+v", orders)
	}
	members[2] = member("c", cluster.Draining, 0, 0)
	now = now.Add(time.Second)
	if orders = second.Round(now, 2, members); len(orders.States) > 0 {
		t.Errorf("an operator drains it: %+v", orders)
	}
	full := []cluster.Member{member("a", cluster.Active, 1100, 900), member("b", cluster.Active, 1100, 900), members[2]}
	for _, c := range second.candidates(full) {
		if c.State == "standby" {
			t.Errorf("who is drained may be added: %+v", c)
		}
	}
}
