// Package balance decides about load: which node a newcomer goes to, which users
// move where, when a standby joins and when a node drains (the paper's load control).
// It is pure: the state of the nodes and the time come in, decisions go out, so that
// the servers and a simulation run the same code.
//
// Nothing here depends on the number of users: an admission costs a step of a heap of
// nodes, a round of the leader a sort of the nodes.
package balance

import "time"

// State of a node.
type State string

// States of a node: standby, joining, active, draining, standby again.
const (
	Standby  State = "standby"  // runs, takes no users
	Joining  State = "joining"  // has accepted, has no document yet
	Active   State = "active"   // takes users
	Draining State = "draining" // its users go to the others, then it is standby
)

// Node is what is known of one node.
type Node struct {
	Name      string
	State     State
	Users     int
	Resources int
	Level     float64 // as the node last said
	Max       float64 // level that it may reach before newcomers go elsewhere
	// Report changes with each word of the node about its level: until then what was
	// admitted since is counted here.
	Report uint64
	// Spare nodes were added by the load control, so it may take them back. One that its
	// operator started as active stays so, however little there is to do.
	Spare bool
}

// Weights of users and resources in the level: the paper has the sum of both, its
// experiment scales it.
type Weights struct{ User, Resource float64 }

// Level is a node's load.
func (w Weights) Level(users, resources int) float64 {
	return float64(users)*w.User + float64(resources)*w.Resource
}

// cost is what one user of n adds to its level, 0 when there is none.
func (n *Node) cost() float64 {
	if n.Users <= 0 {
		return 0
	}
	return n.Level / float64(n.Users)
}

// Settings of the leader's rounds. Zero fields mean the defaults.
type Settings struct {
	// Low is the share of all maxima below which a spare node is given up; 0: never.
	Low float64
	// High is the share of the maximum that the others may have after that; default 0.7.
	High float64
	// Band is how far levels may lie apart before users are moved, as a share of the
	// maximum; default 0.1. They are then moved until a quarter of it is left.
	Band float64
	// Moves is the number of users moved a second at most; default 1,000.
	Moves int
	// Patience is how long the level must stay low before a node is given up, and the
	// time between two such steps; default 30 s.
	Patience time.Duration
	// Lag is how long a move may take until both nodes have said so; default 3 s.
	Lag time.Duration
	// Retry is how long a candidate that did not join is left alone; default 30 s.
	Retry time.Duration
}

func (s Settings) withDefaults() Settings {
	number := func(p *float64, def float64) {
		if *p <= 0 {
			*p = def
		}
	}
	duration := func(p *time.Duration, def time.Duration) {
		if *p <= 0 {
			*p = def
		}
	}
	number(&s.High, 0.7)
	number(&s.Band, 0.1)
	if s.Moves <= 0 {
		s.Moves = 1000
	}
	duration(&s.Patience, 30*time.Second)
	duration(&s.Lag, 3*time.Second)
	duration(&s.Retry, 30*time.Second)
	return s
}

// Pressure of a level above the maximum, for the admission of work (load.Gate): 0 up
// to the maximum, then rising so that at 1.2 times the maximum all newcomers are
// refused. It goes no further: messages, publications and refreshes of those who are
// there are never refused for the number of users.
func Pressure(level, limit float64) float64 {
	const first, last = 0.50, 0.65 // where load sheds newcomers
	if limit <= 0 || level <= limit {
		return 0
	}
	over := (level/limit - 1) / 0.2
	return first + (last-first)*min(1, over)
}
