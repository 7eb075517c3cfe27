package cluster

import (
	"fmt"
	"sync/atomic"
	"time"

	"pharos/store"
)

// counters are since the start of the process.
type counters struct {
	eras, terms, buried, takeovers, inherited atomic.Uint64
	moved, came, released, settles, unsaid    atomic.Uint64
}

// Status is what 'pharos cluster status' shows: the service as one node sees it.
type Status struct {
	Node      string    `json:"node"`
	Epoch     uint64    `json:"epoch"` // 0: it does not take part at present
	State     string    `json:"state"` // in which it takes part, or would
	Condition Condition `json:"condition"`
	Leader    string    `json:"leader"`
	Term      uint64    `json:"term,omitempty"` // of this node, while it leads
	LeaseLeft float64   `json:"lease_left_seconds"`
	Homes     int       `json:"homes"` // known to be here
	Nodes     []NodeRow `json:"nodes"`
	Read      time.Time `json:"read"` // when the table of nodes was; zero: never
	Counts    Counts    `json:"counts"`
	// Database is how the database is, for who adds it.
	Database *store.Health `json:"database,omitempty"`
	// Redirects are counted by whoever sends clients elsewhere.
	Redirects map[string]uint64 `json:"redirects,omitempty"`
}

// NodeRow is one node of the service.
type NodeRow struct {
	Name      string  `json:"name"`
	Epoch     uint64  `json:"epoch"`
	State     string  `json:"state"`
	Leader    bool    `json:"leader"`
	Level     float64 `json:"level"`
	Max       float64 `json:"max"`
	Users     int     `json:"users"`
	Version   string  `json:"version"`
	LeaseLeft float64 `json:"lease_left_seconds"` // as of the last look at the table
	Bus       string  `json:"bus,omitempty"`
	SIP       string  `json:"sip,omitempty"`
	XMPP      string  `json:"xmpp,omitempty"`
	HTTP      string  `json:"http,omitempty"`
	Reached   bool    `json:"reached"` // by this node's bus
	RTT       float64 `json:"rtt_ms,omitempty"`
	Queued    int     `json:"queued,omitempty"`     // pieces of frames that wait to go there
	SentAgain uint64  `json:"sent_again,omitempty"` // pieces
	Refused   uint64  `json:"refused,omitempty"`    // frames for which there was no room
}

// Counts of this node since the start of the process.
type Counts struct {
	Eras      uint64 `json:"eras"`      // times that this node had to stop taking part
	Terms     uint64 `json:"terms"`     // as the leader
	Buried    uint64 `json:"buried"`    // nodes that this one declared dead
	Gone      uint64 `json:"gone"`      // nodes that were seen to go
	Inherited uint64 `json:"inherited"` // presentities taken over from them
	Moved     uint64 `json:"moved"`     // presentities handed over to others
	Came      uint64 `json:"came"`      // and taken from others
	Released  uint64 `json:"released"`  // homes given up, since nothing was there
	Settles   uint64 `json:"settles"`   // questions to the registry for homes
	Unsaid    uint64 `json:"unsaid"`    // messages for which a node had no room
}

// Status tells how the service is, as this node sees it.
func (n *Node) Status() Status {
	c := &n.count
	st := Status{
		Node: n.c.Name, Epoch: n.era.Load(), LeaseLeft: n.LeaseLeft().Seconds(), Homes: n.Homes(), Condition: n.Condition(),
		Counts: Counts{
			Eras: c.eras.Load(), Terms: c.terms.Load(), Buried: c.buried.Load(), Gone: c.takeovers.Load(), Inherited: c.inherited.Load(),
			Moved: c.moved.Load(), Came: c.came.Load(), Released: c.released.Load(), Settles: c.settles.Load(), Unsaid: c.unsaid.Load(),
		},
	}
	if term, ok := n.Leading(); ok {
		st.Term = term
	}
	links := map[string]LinkStats{}
	for _, l := range n.links.Stats() {
		links[l.Node] = l
	}
	n.mu.RLock()
	st.State, st.Read = n.state, n.read
	n.mu.RUnlock()
	for _, m := range n.Members() {
		r := NodeRow{
			Name: m.Name, Epoch: m.Epoch, State: m.State, Leader: m.Leader, Level: m.Level, Max: m.Max, Users: m.Users, Version: m.Version,
			Bus: m.Address.Bus, SIP: m.Address.SIP, XMPP: m.Address.XMPP, HTTP: m.Address.HTTP,
		}
		if living(&m) {
			r.LeaseLeft = time.Until(m.Expires).Seconds()
		}
		if m.Leader {
			st.Leader = m.Name
		}
		if m.Name == n.c.Name {
			r.Reached = true
		} else {
			l := links[m.Name]
			r.Reached, r.RTT, r.Queued = n.reached(m.Name), float64(l.RTT)/float64(time.Millisecond), l.Queued
			r.SentAgain, r.Refused = l.Again, l.Overloads
		}
		st.Nodes = append(st.Nodes, r)
	}
	if n.c.Redirects != nil {
		st.Redirects = n.c.Redirects()
	}
	return st
}

// SetState asks a node, which may be this one, to take a state: Active, Standby, Joining,
// Draining or Retiring. It does so at once, and has it in the table with its next renewal.
func (n *Node) SetState(node, state string) error {
	switch state {
	case Active, Standby, Joining, Draining, Retiring:
	default:
		return fmt.Errorf("cluster: a node cannot be told to be %q", state)
	}
	if node == n.c.Name {
		n.setState(state)
		return nil
	}
	return n.ask(node, message{kind: sayState, name: state})
}

// SetMax asks a node, which may be this one, to take another maximum level, until it is
// started anew.
func (n *Node) SetMax(node string, level float64) error {
	if !(level >= 0) {
		return fmt.Errorf("cluster: %v is no level", level)
	}
	if node == n.c.Name {
		n.setMax(level)
		return nil
	}
	return n.ask(node, message{kind: sayMax, value: level})
}

func (n *Node) ask(node string, m message) error {
	if n.peer(node) == nil {
		return fmt.Errorf("cluster: no node %s takes part: 'pharos cluster status' shows which do", node)
	}
	return n.say(node, m)
}

func (n *Node) setState(state string) {
	n.mu.Lock()
	changed := n.state != state && state != Dead && state != Left && (!n.ending || state == Draining)
	if changed {
		n.log.Info("this node changes its state", "from", n.state, "to", state)
		n.state = state
		n.spare = n.spare || state == Standby
	}
	n.mu.Unlock()
	if changed {
		poke(n.wakeKeep)
	}
}

func (n *Node) setMax(level float64) {
	n.mu.Lock()
	n.max = level
	n.mu.Unlock()
	poke(n.wakeKeep)
}

// State is this node's at present.
func (n *Node) State() string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.state
}
