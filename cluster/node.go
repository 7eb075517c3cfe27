package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/engine"
	"pharos/presence"
)

// States of a node, as its row has them.
const (
	Standby  = "standby"  // runs, takes no users
	Joining  = "joining"  // is being added
	Active   = "active"   // takes users
	Draining = "draining" // its users go to the others: its operator says so, and it stays until he says something else
	Retiring = "retiring" // the same for want of work; then it is Standby
	Dead     = "dead"     // its lease ran out and somebody has said so
	Left     = "left"     // it has given its lease back
)

// Engine is what a Node needs of engine.Engine.
type Engine interface {
	Receive(node string, frame []byte)
	Gone(node string)
	Lost(lost func(presence.Entity) bool)
	Arrive(of []presence.Entity)
	Disown()
	Found(of []presence.Entity)
	Export(of presence.Entity, done func(state []byte, err error)) error
	Forget(of presence.Entity)
	KeepHere(of presence.Entity)
	Import(of presence.Entity, state []byte) error
}

// Control decides about load. Only the leader asks it.
type Control interface {
	// Round is asked once a second with the living nodes; term is the leader's, and a new one means that
	// what was decided before may be forgotten. It does not block.
	Round(now time.Time, term uint64, nodes []Member) Orders
}

// Orders of a round.
type Orders struct {
	// Moves of users from one node to another. None is begun while a node is joining.
	Moves []Order
	// States that nodes are to take, by their names.
	States map[string]string
}

// Order has about so many users move.
type Order struct {
	From, To string
	Users    int
}

// Config of a Node.
type Config struct {
	Name     string
	Registry Registry
	Bus      Bus
	Address  Address
	Version  string  // of the program
	Max      float64 // level that this node may reach
	State    string  // in which it begins: Active (also "") or Standby
	Moves    int     // users moved away a second, at most; 0: 1000
	// Lease is how long this node may act without renewing it, the same for all nodes; 0: LeaseTime.
	Lease time.Duration
	// Residents lists, to done, users who live here and have something registered, about most of them; nil: nobody
	// knows. Who is to be moved for the sake of the level is one of them before anybody else.
	Residents func(most int, done func([]presence.Entity))
	// Load is this node's level and how many users it has; nil: each home counts one.
	Load func() (level float64, users int)
	// Admit chooses the node for somebody without a home; nil: this one if it is active,
	// else the active one with the most room. It is called by one goroutine at a time.
	Admit func(of presence.Entity) (node string)
	// Seen gets the table of nodes each time that it was read; may be nil.
	Seen func(nodes []Member)
	// Moved is told of users who live at another node from now on, wherever they did before; may
	// be nil. It must not block.
	Moved func(of []presence.Entity, to string)
	// Control is the load control; nil: there is none, and a node that drains moves its homes itself.
	Control Control
	// Heir is called on the leader, on a goroutine of its own, when a node has died or left, after its homes
	// were given away, and again by a new leader; may be nil.
	Heir func(ctx context.Context, dead string)
	// Fence is store.Store's: it is called with each new epoch, before anything is saved under it.
	Fence func(node string, epoch uint64)
	// Redirects are shown in the status; may be nil.
	Redirects func() map[string]uint64
	Hints     int          // homes at other nodes that are remembered; 0: MaxHints
	Log       *slog.Logger // nil: discards
}

// ErrOut: this node is none of the service at present: its lease is over, or it has
// left. ErrMove: it cannot be moved there.
var (
	ErrOut  = errors.New("cluster: this node is not part of the service at present")
	ErrMove = errors.New("cluster: cannot move")
)

// Node is this process as one of several that are one service. It is the engine's
// Peers. Its methods are safe for concurrent use, except that Use and Topic come before Run.
type Node struct {
	c      Config
	engine Engine
	links  *Links
	log    *slog.Logger
	born   time.Time // what the lease is counted from
	topics [256]topic

	era       atomic.Uint64 // the epoch under which this node takes part; 0: it does not
	knows     atomic.Uint64 // the era in which it has read who else takes part
	until     atomic.Int64  // nanoseconds since born at which the lease is over
	steady    atomic.Int64  // nanoseconds since born since when there was always a lease
	untilWall atomic.Int64  // the same as until by the wall clock, which goes on while a machine is suspended

	own     [ownShards]ownShard
	owned   atomic.Int64
	minute  atomic.Uint32 // since born
	hints   *hints
	byIndex [MaxPeers + 1]atomic.Pointer[peer]
	others  atomic.Pointer[[]string]

	// table is held while what is known of the other nodes changes, with the calls of
	// the engine that this means.
	table sync.Mutex

	mu      sync.RWMutex
	peers   map[string]*peer
	floor   map[string]uint64 // the highest epoch that was heard of
	members []Member
	read    time.Time // when members were
	taking  taking
	state   string
	spare   bool // it has been a standby
	max     float64
	lead    leading
	entered bool
	leaving bool            // Leave was called
	ending  bool            // Drain was called
	down    map[string]bool // nodes to which the link finds no way
	// lastIndex is the last number that was given to a peer for hints.
	lastIndex int

	reads   tickets
	recent  recent
	locator locator
	arrived arrivals
	moves   mover
	count   counters

	wakeKeep, wakeLead, wakeHeir chan struct{}
	wanted                       chan Order    // moves that the leader has ordered
	in                           chan struct{} // closed when the node has entered for the first time
	tasks                        sync.WaitGroup
}

type topic struct {
	heard  func(from string, b []byte)
	missed func(from string)
}

// Letters of topics: a frame's last byte says what it is for, so that the letter costs no copy.
const (
	letterEngine = 'e'
	letterNode   = 'n'
)

// peer is another node in one of its epochs.
type peer struct {
	name  string
	epoch uint64
	index int
	alive atomic.Uint32 // tick at which the registry was last asked and had it alive
	gone  chan struct{} // closed when it is lost
}

var _ engine.Peers = (*Node)(nil)

// New makes a node that does nothing yet.
func New(c Config) *Node {
	n := &Node{
		c: c, log: c.Log, born: time.Now(), hints: newHints(c.hints()),
		taking: taking{time.Now(), "it has just been started"},
		peers:  map[string]*peer{}, floor: map[string]uint64{}, down: map[string]bool{}, state: c.State, max: c.Max,
		wakeKeep: make(chan struct{}, 1), wakeLead: make(chan struct{}, 1), wakeHeir: make(chan struct{}, 1),
		wanted: make(chan Order, MaxOrders), in: make(chan struct{}),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.state == "" {
		n.state = Active
	}
	n.spare = n.state == Standby
	for i := range n.own {
		n.own[i].of = map[presence.Entity]*home{}
	}
	n.others.Store(&[]string{})
	n.locator.init()
	n.arrived.init()
	n.moves.init(c.Moves)
	n.topics[letterEngine] = topic{heard: func(from string, b []byte) { n.engine.Receive(from, b) }}
	n.topics[letterNode] = topic{heard: n.told}
	n.links = NewLinks(c.Bus, c.Name, Handlers{
		Frame: n.frame, Broadcast: n.frame, Missed: n.missed, Gone: n.ended, Reached: n.reach,
	})
	return n
}

func (c *Config) hints() int {
	if c.Hints > 0 {
		return c.Hints
	}
	return MaxHints
}

func (c *Config) lease() time.Duration {
	if c.Lease > 0 {
		return c.Lease
	}
	return LeaseTime
}

// scaled is a time that goes with the lease.
func (c *Config) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (float64(c.lease()) / float64(LeaseTime)))
}

// Use sets the engine, before Run.
func (n *Node) Use(e Engine) { n.engine = e }

// Topic sets who takes what other nodes Tell under a letter of its own, before Run. missed says that
// something of that node's may have been lost. Both must not block for long.
// 'e' and 'n' are taken.
func (n *Node) Topic(letter byte, heard func(from string, b []byte), missed func(from string)) {
	n.topics[letter] = topic{heard, missed}
}

// Tell has the other nodes hear b under a letter: at most once, in order.
func (n *Node) Tell(letter byte, b []byte) error {
	return n.links.Broadcast(append(slices.Clip(b), letter))
}

// frame takes what has come from another node, to this one or to all.
func (n *Node) frame(from string, b []byte) {
	if len(b) == 0 {
		return
	}
	if t := n.topics[b[len(b)-1]]; t.heard != nil {
		t.heard(from, b[:len(b)-1])
	}
}

// missed says that something that a node has told all may have been lost: among other
// times when it is met, and nothing of it has come before.
func (n *Node) missed(from string, epoch uint64) {
	n.meet(from, epoch, n.era.Load())
	for _, t := range n.topics {
		if t.missed != nil {
			t.missed(from)
		}
	}
}

// Run takes part until ctx ends or Leave was called. Without Leave it is as if the process had been
// killed: others will bury this node.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.c.Bus.Run(ctx) })
	g.Go(func() error { return n.links.Run(ctx) })
	g.Go(func() error { defer cancel(); n.keep(ctx); return nil })
	g.Go(func() error { n.rule(ctx); return nil })
	g.Go(func() error { n.locating(ctx); return nil })
	g.Go(func() error { n.inherit(ctx); return nil })
	g.Go(func() error { n.obey(ctx); return nil })
	g.Go(func() error { n.release(ctx); return nil })
	if n.c.Control == nil {
		g.Go(func() error { n.drain(ctx); return nil })
	}
	err := g.Wait()
	n.stepDown("the end")
	n.tasks.Wait()
	n.locator.fail(engine.ErrStopped)
	return err
}

// Entered is closed when this node has begun to take part. Until then it waits for the database, and
// for the bus to reach those who take part already.
func (n *Node) Entered() <-chan struct{} { return n.in }

// now is the time since born, which no clock that is set can change.
func (n *Node) now() time.Duration { return time.Since(n.born) }

// tick is the time in the tenths of seconds that hints and homes remember.
func (n *Node) tick() uint32 { return uint32(n.now() / (100 * time.Millisecond)) }

// Self is engine.Peers'.
func (n *Node) Self() string { return n.c.Name }

// Nodes are engine.Peers'. The caller must not change them.
func (n *Node) Nodes() []string { return *n.others.Load() }

// Valid is engine.Peers'.
func (n *Node) Valid() bool {
	now := time.Now()
	return int64(now.Sub(n.born)) < n.until.Load() && now.UnixNano() < n.untilWall.Load() && n.era.Load() != 0
}

// Era is engine.Peers': the epoch of this node's lease, 0 while it may not act.
func (n *Node) Era() uint64 {
	if !n.Valid() {
		return 0
	}
	return n.era.Load()
}

// Members are all nodes, as last seen. The caller must not change them.
func (n *Node) Members() []Member {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.members
}

func (n *Node) peer(name string) *peer {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.peers[name]
}

// living are the peers at this moment.
func (n *Node) living() []*peer {
	n.mu.RLock()
	defer n.mu.RUnlock()
	list := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		list = append(list, p)
	}
	return list
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
