// Package jabber is the XMPP edge: sessions, rosters, presence and messages,
// between the xmpp wire and the engine.
//
// What may block - the store, an overloaded engine - is done on the goroutine
// that reads a session's stream, or on the one worker for watcher changes.
// Notify, WatcherChanged and Deliver never wait for anything but short locks.
//
// Locks, in the order in which they may be taken: a user's nodes (edge.pepLock), a pair of users (edge.pairLock),
// what a user has (xdm.Documents.Hold), a session's act, a registry shard, a session's mu.
package jabber

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
	"pharos/xmpp"
)

// Config of the edge.
type Config struct {
	Engine    *engine.Engine
	Accounts  *account.Accounts
	Store     *store.Store
	Documents *xdm.Documents // the edge listens to it
	// Icon is the URI under which SIP clients get a user's status icon, which is the
	// document oma_status-icon/index of the user's presence content; "" for none. Nil: none.
	Icon     func(presence.Entity) string
	Gate     *load.Gate // nil: everything is admitted
	Domains  []string
	Version  string    // for XEP-0092
	Address  string    // host:port at which clients find this node, for XEP-0198's location; "": none is told
	Redirect *Redirect // nil: all are served here
	Log      *slog.Logger
}

// EdgeName is what the edge registers under at the engine.
const EdgeName = "xmpp"

// Edge implements engine.Edge ("xmpp").
type Edge struct {
	c       Config
	log     *slog.Logger
	domains map[string]bool
	started time.Time

	reg     registry
	leaving leaving
	seq     atomic.Uint64 // numbers sessions, pushes and fetches
	seed    maphash.Seed
	nodes   [64]waitLock // see pepLock
	caps    capsCache
	icons   queue[icon]
	photos  queue[presence.Entity] // whose picture another node has changed
	looks   sync.Map               // handle -> chan *presence.View, see look
	pairs   [64]waitLock           // see pairLock
	changes changeQueue
	forgot  forgotten
	closing atomic.Bool

	many    bool // there are other nodes
	life    string
	calls   lanes
	renewal renewal
	line    line
	recent  recent
	turns   turns
}

// New makes an edge, which listens to Documents. Close must be called to end its workers.
func New(c Config) *Edge {
	e := &Edge{
		c: c, log: c.Log, started: time.Now(),
		domains: make(map[string]bool, len(c.Domains)),
		seed:    maphash.MakeSeed(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	for _, d := range c.Domains {
		e.domains[d] = true
	}
	for i := range e.pairs {
		e.pairs[i], e.nodes[i] = make(waitLock, 1), make(waitLock, 1)
	}
	if node := c.Engine.Self(); node != "" {
		e.many, e.life = true, newLife(node)
		e.recent.seed = e.seed
	}
	e.reg.init()
	e.changes.start(e)
	e.icons.start(MaxIcons, e.takeIcon)
	if e.many {
		e.photos.start(MaxIcons, e.takePhoto)
	}
	c.Documents.Listen(e.documentsChanged)
	c.Documents.Listen(e.iconsChanged)
	return e
}

// Features to advertise after SASL.
func (e *Edge) Features() []string {
	return []string{
		// RFC 3921's session, of no effect since RFC 6121; old clients ask.
		"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>",
		"<sm xmlns='urn:xmpp:sm:3'/>",
		"<csi xmlns='urn:xmpp:csi:0'/>",
		"<ver xmlns='urn:xmpp:features:rosterver'/>",    // RFC 6121 §2.6.1
		"<sub xmlns='urn:xmpp:features:pre-approval'/>", // RFC 6121 §3.4
	}
}

// Serve runs one authenticated stream until it ends: xmpp.Acceptor.Serve.
func (e *Edge) Serve(ctx context.Context, s *xmpp.Stream) {
	if e.closing.Load() {
		s.Close(&xmpp.StreamError{Condition: "system-shutdown"})
		return
	}
	if e.sendElsewhere(ctx, s) {
		return
	}
	if ses := e.establish(ctx, s); ses != nil {
		ses.run(ctx, s)
	}
}

// Close ends all sessions with system-shutdown, hibernating ones included, and
// waits for their goroutines. Messages that a client has not acknowledged are
// stored.
func (e *Edge) Close(ctx context.Context) error {
	e.closing.Store(true)
	all := e.reg.all()
	for _, s := range all {
		s.end(ctx, &xmpp.StreamError{Condition: "system-shutdown"})
	}
	e.changes.stop()
	e.icons.stop()
	if e.many {
		e.photos.stop()
	}
	for _, s := range all {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	e.turns.stop()
	e.calls.stop()
	return nil
}

// Resume goes on with what an earlier process still owed to contacts. It comes
// once the engine runs.
func (e *Edge) Resume() error { return e.owed() }

// End ends all sessions of a user whose account was removed or changed, on all nodes.
func (e *Edge) End(ctx context.Context, u presence.Entity, condition string) {
	e.passAll(newCall(callEnd).entity(u).str(condition))
	e.endHere(ctx, u, condition)
}

func (e *Edge) endHere(ctx context.Context, u presence.Entity, condition string) {
	for _, s := range e.reg.user(u).list() {
		s.end(ctx, &xmpp.StreamError{Condition: condition})
	}
}

// local tells whether a domain is ours.
func (e *Edge) local(domain string) bool { return e.domains[domain] }

// waitLock is a mutex that is held while its holder waits for a commit. It is a
// channel because the store lets a moment pass between commits: in
// testing/synctest no time passes while somebody waits for a sync.Mutex.
type waitLock chan struct{}

func (l waitLock) Lock()   { l <- struct{}{} }
func (l waitLock) Unlock() { <-l }

// hold serialises changes of a user's roster, blocks and documents with what
// follows from them - pushes in the order of versions, watches - and with a
// session's becoming available, which reads them. Only transact holds two.
func (e *Edge) hold(ctx context.Context, u presence.Entity) (held context.Context, release func()) {
	return e.c.Documents.Hold(ctx, u)
}

func (e *Edge) lockIndex(u presence.Entity) uint64 {
	return maphash.Comparable(e.seed, u) % uint64(len(e.nodes))
}

// pairLock serialises what changes the subscriptions between two users, so that
// both rosters say the same when they act at the same time.
func (e *Edge) pairLock(a, b presence.Entity) waitLock {
	h := maphash.Comparable(e.seed, a) ^ maphash.Comparable(e.seed, b)
	return e.pairs[h%uint64(len(e.pairs))]
}

// submit queues an input and waits while the engine is overloaded. It blocks.
func (e *Edge) submit(ctx context.Context, to presence.Entity, in presence.Input, done func(presence.Outcome, error)) error {
	err := e.c.Engine.Submit(to, in, done)
	if !errors.Is(err, engine.ErrOverload) {
		return err
	}
	again(ctx, func() bool {
		err = e.c.Engine.Submit(to, in, done)
		return !errors.Is(err, engine.ErrOverload)
	})
	return err
}

// again tries until it works, more and more rarely, for MaxSubmitWait at most.
func again(ctx context.Context, works func() bool) bool {
	wait := 2 * time.Millisecond
	for deadline := time.Now().Add(MaxSubmitWait); time.Now().Before(deadline); wait *= 2 {
		t := time.NewTimer(min(wait, 500*time.Millisecond))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
		if works() {
			return true
		}
	}
	return false
}

// exists asks for an account and waits for the answer. It blocks.
func (e *Edge) exists(ctx context.Context, u presence.Entity) bool {
	if e.reg.user(u) != nil {
		return true
	}
	type answer struct {
		ok  bool
		err error
	}
	c := make(chan answer, 1)
	e.c.Accounts.Exists(u, func(ok bool, err error) { c <- answer{ok, err} })
	select {
	case a := <-c:
		if a.err != nil {
			e.log.Error("account look-up failed", "entity", u.String(), "err", a.err)
		}
		return a.ok
	case <-ctx.Done():
		return false
	}
}

// enter asks the gate.
func (e *Edge) enter(c load.Class) bool {
	if e.c.Gate == nil {
		return true
	}
	ok, _ := e.c.Gate.Enter(c)
	return ok
}

// await asks the gate, and again for a while when it refuses. It blocks: the
// client is read more slowly.
func (e *Edge) await(ctx context.Context, c load.Class) bool {
	return e.enter(c) || again(ctx, func() bool { return e.enter(c) })
}
