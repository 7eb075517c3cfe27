// Package engine runs presentities: shards with one owner goroutine each,
// deadlines, grouped saves, and delivery of notices to the edges. It knows
// neither SQL nor a wire; what it needs comes in as interfaces.
//
// A shard never does I/O and never waits. What needs I/O happens outside and
// comes back: policies are loaded by a few workers while the inputs that need
// them are parked; records are saved by the Saver, and the outcomes wait in order.
//
// Order, per presentity: inputs are taken as they were submitted; an outcome is
// saved, then its caller is answered, then its notices go out; no outcome
// overtakes an earlier one.
//
// A save that fails: the caller gets the error. What the presentity holds is
// what watchers were and will be told, so the notices of the failed step still go
// out, and then the step is taken back (presence.Undo), which tells them again: a new
// publication or subscription goes, a modified publication has its old document
// and entity-tag, so that the client's retry matches. What nobody asked for (an
// expiry, a decision) and every deletion stands. Records that are not on disk as
// they are in memory are owed, and saved again each second until they are.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// ErrOverload: the shard's queue is full; nothing was done. ErrStopped: shutting down.
var (
	ErrOverload = errors.New("engine: overloaded")
	ErrStopped  = errors.New("engine: stopped")
	// ErrGone: the node that was called has died before it answered.
	ErrGone = errors.New("engine: the other node has gone")
	// ErrTransient: what another node was asked failed there for a reason that passes by itself
	// (Config.Transient): its own errors do not go over the wire.
	ErrTransient = errors.New("engine: it cannot be done at present")
)

// Bounds and times.
const (
	// DefaultQueue is how many inputs of one shard may be under way: waiting in the
	// inbox, for a policy, or for their saves.
	DefaultQueue = 8192
	// PolicyLoaders is how many policies are loaded at once.
	PolicyLoaders = 64
	// PolicyTime bounds the loading of one policy.
	PolicyTime = 5 * time.Second
	// RetryAfter is the time until a policy that could not be loaded, or a
	// record that could not be saved, is tried again.
	RetryAfter = time.Second
	// RestoreTime is from Run until restored watchers are told the present state.
	// By then the listeners are open, so that they can be told; and sessions that
	// have come back by then were never away in their eyes.
	RestoreTime = 500 * time.Millisecond
	// DrainTime bounds how long Run goes on after its context has ended.
	DrainTime = 8 * time.Second

	chunk = 256 // inputs between two looks at what else there is to do
)

// Edge is told what to tell. Neither method may block, nor call Step, Send or
// anything else of the engine that waits; Submit and Undelivered are fine. The
// Notice and all in it are shared: do not change them.
type Edge interface {
	// Notify hands over one group of watchers of this edge. The edge queues per
	// watcher, the newest winning. Notices of one presentity come in order.
	Notify(n *presence.Notice)
	// WatcherChanged reports changes of any subscription, of whichever edge.
	WatcherChanged(c presence.WatcherChange)
	// Deliver takes a message for a user of this edge; false: nobody here. When
	// it later turns out undeliverable the edge calls Engine.Undelivered, once.
	// A message with ToResource is only for that resource: false if the edge
	// does not know it; the engine then tries the bare address.
	Deliver(m *Message) bool
}

// Holder is an Edge that sends cheaper in groups. What it is told, and what its callers are
// answered, between Hold and Release may leave with Release, which follows soon. Several shards
// may hold at one time.
type Holder interface {
	Hold()
	Release()
}

// ClusterEdge is what an edge has to be where there are several nodes. None of its
// methods may block.
type ClusterEdge interface {
	Edge
	// Lost says that presentities, those for which lost is true, have a new owner who
	// knows nothing of what this edge had said without having it saved: the
	// sources of sessions, subscriptions that are not durable, presence.Reach. The
	// edge submits all of it again, in its own time but soon, and tells a watcher of
	// the answers only what differs from what he was told before.
	Lost(lost func(presence.Entity) bool)
	// Adopt hands over durable subscriptions of this edge whose node has gone. Via.Node is
	// this node already, and saved so. An answering Notice follows. Some the edge may know: when a
	// presentity's home has come here it is given all that are at this node.
	Adopt(of presence.Entity, subs []*presence.Subscription)
	// Called takes a call from the same edge on another node (or on this one, see
	// Engine.CallOwner). answer is called once, from any goroutine, soon.
	Called(from string, request []byte, answer func([]byte))
}

// Saver makes records durable. done is called once they are, in the order of
// the calls, on the saver's goroutine; it must not block. Save itself must not
// block either. saves may be used until done is called.
type Saver interface {
	Save(saves []presence.Save, done func(error))
}

// Policies loads a compiled policy; it may block.
type Policies interface {
	Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error)
}

// Config of an Engine.
type Config struct {
	Shards   int      // 0: 2 per CPU
	Queue    int      // inputs under way per shard; 0: DefaultQueue
	Save     Saver    // nil: nothing is saved
	Policies Policies // nil: everybody but the user himself is asked for (confirm)
	Mailbox  Mailbox  // nil: nothing is stored
	Peers    Peers    // nil: Alone
	Loader   Loader   // with Peers: what brings back the state of presentities whose home has come here
	Fenced   error    // what Save answers when this node owns nothing any more (errors.Is); nil: never
	// Transient tells of an error of Save, Policies, Mailbox or Loader whether it passes without anybody's doing, so
	// that clients of other nodes learn that, too; nil: none does.
	Transient func(error) bool
	Log       *slog.Logger
}

// Engine owns all presentities of this node. Its methods are safe for
// concurrent use, except that Register and Restore come before Run.
type Engine struct {
	queue    int64
	save     Saver
	policies Policies
	mailbox  Mailbox
	peers    Peers
	self     string // Peers.Self
	loader   Loader
	fenced   error
	passes   func(error) bool // Config.Transient; may be nil
	log      *slog.Logger
	edges    []namedEdge
	holders  []Holder // of these
	shards   []*shard
	loads    loader
	known    policyCache
	returned returns
	work     context.Context // ends when draining is over
	stopWork context.CancelFunc
	running  atomic.Bool
	waiters  sync.Pool

	// Where there are other nodes.
	outbox   outbox
	calls    calls
	states   stateLoader
	mirror   *transfer.Mirror
	handed   handed
	heard    heardOf
	messages sync.WaitGroup // of other nodes, that are worked on
	carrying atomic.Int64   // their number
}

type namedEdge struct {
	name string
	Edge
	cluster ClusterEdge // the same; nil: it is none
}

// New makes an engine that does nothing yet.
func New(c Config) *Engine {
	e := &Engine{queue: int64(c.Queue), save: c.Save, policies: c.Policies, mailbox: c.Mailbox, peers: c.Peers, log: c.Log,
		loader: c.Loader, fenced: c.Fenced, passes: c.Transient}
	if e.queue <= 0 {
		e.queue = DefaultQueue
	}
	if e.peers == nil {
		e.peers = Alone{}
	}
	if e.self = e.peers.Self(); e.self != "" {
		e.mirror = transfer.NewMirror()
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	n := c.Shards
	if n <= 0 {
		n = 2 * runtime.GOMAXPROCS(0)
	}
	e.work, e.stopWork = context.WithCancel(context.Background())
	e.shards = make([]*shard, n)
	for i := range e.shards {
		e.shards[i] = newShard(e, i)
	}
	return e
}

// Register adds an edge under its name, before Run.
func (e *Engine) Register(name string, edge Edge) {
	c, _ := edge.(ClusterEdge)
	e.edges = append(e.edges, namedEdge{name, edge, c})
	if h, ok := edge.(Holder); ok {
		e.holders = append(e.holders, h)
	}
}

// Restore gives a presentity what was saved of it, before Run. The caller has
// filled in the documents of the sources. RestoreTime after Run, or at the first
// input that needs the policy, that is loaded and every active subscription is
// told the present state once.
func (e *Engine) Restore(of presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
	return e.shardOf(of).restore(of, sources, subs)
}

// Run works until ctx ends, then drains what was accepted, for DrainTime at
// most. Nil when all was done; ErrStopped when something was left undone.
func (e *Engine) Run(ctx context.Context) error {
	if e.running.Swap(true) {
		return errors.New("engine: already running")
	}
	kill := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range e.shards {
		wg.Go(func() { s.run(kill) })
	}
	<-ctx.Done()
	for _, s := range e.shards {
		s.stop()
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		e.returned.wait()
		close(done)
	}()
	limit := time.NewTimer(DrainTime)
	defer limit.Stop()
	var err error
	select {
	case <-done:
	case <-limit.C:
		err = ErrStopped
	}
	e.stopWork()
	close(kill)
	<-done
	e.heard.close()
	e.calls.close()
	e.loads.wait()
	e.states.wg.Wait()
	e.messages.Wait()
	e.outbox.close()
	return err
}

// Submit queues an input. done, which may be nil, is called exactly once, after
// the commit and before the notices go out; it must not block. ErrOverload or
// ErrStopped at once means that done will not be called.
func (e *Engine) Submit(to presence.Entity, in presence.Input, done func(presence.Outcome, error)) error {
	return e.shardOf(to).submit(item{to: to, in: in, done: done, asked: true})
}

// Step is Submit and wait. When ctx ends first the input may still take effect.
func (e *Engine) Step(ctx context.Context, to presence.Entity, in presence.Input) (presence.Outcome, error) {
	w := e.waiter()
	if err := e.Submit(to, in, w.done); err != nil {
		e.waiters.Put(w)
		return presence.Outcome{}, err
	}
	select {
	case <-w.ready:
		out, err := w.out, w.err
		w.out, w.err = presence.Outcome{}, nil
		e.waiters.Put(w)
		return out, err
	case <-ctx.Done():
		return presence.Outcome{}, ctx.Err() // the waiter is left to its done
	}
}

type waiter struct {
	ready chan struct{}
	out   presence.Outcome
	err   error
	done  func(presence.Outcome, error)
}

func (e *Engine) waiter() *waiter {
	if w, ok := e.waiters.Get().(*waiter); ok {
		return w
	}
	w := &waiter{ready: make(chan struct{}, 1)}
	w.done = func(out presence.Outcome, err error) {
		w.out, w.err = out, err
		w.ready <- struct{}{}
	}
	return w
}

// PolicyChanged has the policy loaded again; living subscriptions follow. Inputs
// submitted later are decided by the new policy. An owner elsewhere is told.
func (e *Engine) PolicyChanged(of presence.Entity) {
	e.known.forget(of)
	s := e.shardOf(of)
	if e.self != "" {
		if node, ok := e.peers.Owner(of); !ok || node != e.self {
			s.putItem(e.asked(of, &question{kind: asksPolicy},
				func(*presence.Presentity, time.Time, error) { s.policyChanged(of) }, func(*transfer.Reader) {}))
			return
		}
	}
	s.policyChanged(of)
}

func (e *Engine) shardOf(of presence.Entity) *shard {
	return e.shards[hash(of)%uint32(len(e.shards))]
}

// notify hands a notice to its edge.
func (e *Engine) notify(n *presence.Notice) {
	for i := range e.edges {
		if e.edges[i].name == n.Edge {
			e.edges[i].Notify(n)
			return
		}
	}
}

func (e *Engine) watcherChanges(list []presence.WatcherChange) {
	for _, c := range list {
		for i := range e.edges {
			e.edges[i].WatcherChanged(c)
		}
	}
}

// Stats are counters for status and metrics.
type Stats struct {
	Presentities  int    `json:"presentities"` // in memory
	Sources       int    `json:"sources"`
	Subscriptions int    `json:"subscriptions"`
	Pending       int    `json:"pending"` // subscriptions among them
	Steps         uint64 `json:"steps"`
	Notices       uint64 `json:"notices"` // watchers told
	Saves         uint64 `json:"saves"`
	Overloads     uint64 `json:"overloads"` // inputs refused
	SaveErrors    uint64 `json:"save_errors"`
	PolicyErrors  uint64 `json:"policy_errors"`
	LoadErrors    uint64 `json:"load_errors,omitzero"` // presentities that could not be loaded
	Queued        int    `json:"queued"`               // inputs under way
	Owed          int    `json:"owed"`                 // records in memory that the last try did not save
}

// Stats adds up all shards.
func (e *Engine) Stats() Stats {
	var t Stats
	for _, s := range e.shards {
		c := &s.count
		t.Presentities += int(c.presentities.Load())
		t.Sources += int(c.sources.Load())
		t.Subscriptions += int(c.subscriptions.Load())
		t.Pending += int(c.pending.Load())
		t.Steps += c.steps.Load()
		t.Notices += c.notices.Load()
		t.Saves += c.saves.Load()
		t.Overloads += c.overloads.Load()
		t.SaveErrors += c.saveErrors.Load()
		t.PolicyErrors += c.policyErrors.Load()
		t.LoadErrors += c.loadErrors.Load()
		t.Owed += int(c.owed.Load())
		t.Queued += int(s.open.Load())
	}
	return t
}

// Kept counts what an engine remembers beside the presentities in memory.
type Kept struct {
	Policies int `json:"policies"`        // up to MaxPolicies
	Handed   int `json:"handed,omitzero"` // messages that other nodes may give back, up to MaxHanded
	Told     int `json:"told,omitzero"`   // subscriptions of edges here, by which what they were told is remembered; their presentities live elsewhere
}

// Kept counts it, which takes a while where much is told.
func (e *Engine) Kept() (k Kept) {
	e.known.mu.RLock()
	k.Policies = len(e.known.m)
	e.known.mu.RUnlock()
	e.handed.mu.Lock()
	k.Handed = len(e.handed.m)
	e.handed.mu.Unlock()
	if e.mirror != nil {
		k.Told = e.mirror.Len()
	}
	return k
}

// Depth is how full the fullest shard is, 0..1; for load.Gate.
func (e *Engine) Depth() float64 {
	var d int64
	for _, s := range e.shards {
		d = max(d, s.open.Load())
	}
	return min(1, float64(d)/float64(e.queue))
}

type counters struct {
	presentities, sources, subscriptions, pending, owed                    atomic.Int64
	steps, notices, saves, overloads, saveErrors, policyErrors, loadErrors atomic.Uint64
}
