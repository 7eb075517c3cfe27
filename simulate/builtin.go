package simulate

import (
	"slices"
	"time"
)

// Builtin are the scenarios that the program knows.
func Builtin() []Scenario {
	make := func(name, about string, users, nodes int, change func(*Scenario)) Scenario {
		s := Default()
		s.Name, s.About = name, about
		s.Users.Count, s.Nodes.Count = users, nodes
		change(&s)
		return s
	}
	sec := func(n float64) Duration { return Duration(n * float64(time.Second)) }
	return []Scenario{
		make("steady", "nothing happens: what a service uses when it is two thirds full", 20_000, 6, func(s *Scenario) {
			s.Length = sec(120)
		}),
		make("growth", "users come until standbys are added one after the other, and go again", 10_000, 2, func(s *Scenario) {
			s.Nodes.Standby, s.Length = 6, sec(600)
			s.Users.Count = 6_000
			s.Events = []Event{{At: sec(30), Do: doArrive, Users: 24_000, Over: sec(150)}, {At: sec(280), Do: doLeave, Users: 27_000, Over: sec(100)}}
		}),
		make("flash-crowd", "as many users again come within half a minute", 50_000, 20, func(s *Scenario) {
			s.Length = sec(240)
			s.Events = []Event{{At: sec(30), Do: doArrive, Users: 50_000, Over: sec(30)}}
		}),
		make("overload", "more users come than all nodes may have", 50_000, 20, func(s *Scenario) {
			s.Length = sec(300)
			s.Events = []Event{{At: sec(30), Do: doArrive, Users: 100_000, Over: sec(120)}}
		}),
		make("node-loss", "one node dies while all are at nine tenths of their maximum, and comes back", 45_000, 10, func(s *Scenario) {
			s.Length = sec(240)
			s.Events = []Event{{At: sec(30), Do: doKill, Back: sec(90)}}
		}),
		make("leader-loss", "the leader dies", 30_000, 6, func(s *Scenario) {
			s.Length = sec(180)
			s.Events = []Event{{At: sec(30), Do: doLeader, Back: sec(60)}}
		}),
		make("room-loss", "a third of all nodes dies at once, and comes back", 60_000, 18, func(s *Scenario) {
			s.Length = sec(300)
			s.Events = []Event{{At: sec(30), Do: doKill, Nodes: 6, Back: sec(90)}}
		}),
		make("rolling-restart", "all nodes are replaced one after the other", 30_000, 10, func(s *Scenario) {
			s.Length = sec(300)
			s.Events = []Event{{At: sec(20), Do: doRestart, Back: sec(4)}}
		}),
		make("drain", "an operator empties a node, and has it take users again", 30_000, 6, func(s *Scenario) {
			s.Length = sec(240)
			s.Events = []Event{{At: sec(20), Do: doDrain}, {At: sec(120), Do: doUndrain}}
		}),
		make("double", "as many nodes again are started, empty", 90_000, 20, func(s *Scenario) {
			s.Length = sec(300)
			s.Events = []Event{{At: sec(20), Do: doAdd, Nodes: 20}}
		}),
		make("reconnect", "all connections of chat clients are lost at once, three times in a minute", 90_000, 20, func(s *Scenario) {
			s.Length = sec(180)
			for i := range 3 {
				s.Events = append(s.Events, Event{At: sec(20 + 20*float64(i)), Do: doCut, By: 1})
			}
		}),
		make("busy", "everybody changes his presence twenty times as often, for a minute", 90_000, 20, func(s *Scenario) {
			s.Length = sec(180)
			s.Events = []Event{{At: sec(30), Do: doBusy, By: 20, Over: sec(60)}}
		}),
		make("thousand", "1,000 nodes, of which 50 die at once while many users come", 4_000_000, 1000, func(s *Scenario) {
			s.Length = sec(180)
			s.Nodes.Database, s.Costs.NodeRows = 10, 2e6
			s.Events = []Event{{At: sec(30), Do: doKill, Nodes: 50, Back: sec(40)}, {At: sec(60), Do: doArrive, Users: 400_000, Over: sec(60)}}
		}),
		make("planet", "a hundred million users on 10,000 nodes: what would have to be different first, see the table of resources", 90_000_000, 10_000, func(s *Scenario) {
			s.Length = sec(180)
			s.Nodes.Max, s.Nodes.Database, s.Costs.NodeRows = 22_000, 200, 1e6
			s.Events = []Event{{At: sec(20), Do: doKill, Nodes: 100, Back: sec(60)}, {At: sec(60), Do: doArrive, Users: 10_000_000, Over: sec(60)}}
		}),
	}
}

// Find a built-in scenario.
func Find(name string) (Scenario, bool) {
	all := Builtin()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}

// Scale has a scenario be about another number of users, and on another number of nodes; what happens, and what a
// node may have, grows with it. 0 leaves it as it is.
func (s *Scenario) Scale(users, nodes int) {
	was := *s
	if nodes > 0 {
		f := float64(nodes) / float64(was.Nodes.Count)
		s.Nodes.Count = nodes
		s.Nodes.Standby = int(float64(was.Nodes.Standby)*f + 0.5)
		for i := range s.Events {
			if e := &s.Events[i]; e.Nodes > 0 {
				e.Nodes = max(1, int(float64(e.Nodes)*f+0.5))
			}
		}
	}
	if users > 0 && was.Users.Count > 0 {
		f := float64(users) / float64(was.Users.Count)
		s.Users.Count = users
		for i := range s.Events {
			s.Events[i].Users = int(float64(s.Events[i].Users)*f + 0.5)
		}
	}
	if was.Users.Count > 0 {
		s.Nodes.Max = was.Nodes.Max * float64(s.Users.Count) / float64(was.Users.Count) * float64(was.Nodes.Count) / float64(s.Nodes.Count)
	}
}
