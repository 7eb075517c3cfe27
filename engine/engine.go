// Package engine runs presentities: shards with one owner goroutine each,
// deadlines, grouped saves, and delivery of notices to the edges. It knows
// neither SQL nor a wire; what it needs comes in as interfaces.
package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pharos/presence"
)

// ErrOverload: the shard's queue is full; nothing was done. ErrStopped: shutting down.
var (
	ErrOverload = errors.New("engine: overloaded")
	ErrStopped  = errors.New("engine: stopped")
)

// Edge is told what to tell. Neither method may block.
type Edge interface {
	// Notify hands over one group of watchers of this edge. The edge queues per
	// watcher, the newest winning.
	Notify(n *presence.Notice)
	// WatcherChanged reports changes of any subscription, of whichever edge.
	WatcherChanged(c presence.WatcherChange)
	// Deliver takes a message for a user of this edge; false: nobody here. When
	// it later turns out undeliverable the edge calls Engine.Undelivered.
	Deliver(m *Message) bool
}

// Saver makes records durable. done is called once they are, in the order of
// the calls, on the saver's goroutine; it must not block.
type Saver interface {
	Save(saves []presence.Save, done func(error))
}

// Policies loads a compiled policy; it may block.
type Policies interface {
	Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error)
}

// Mailbox keeps messages for those who are away.
type Mailbox interface {
	Put(ctx context.Context, m *Message) error                                                  // ErrMailboxFull
	Take(ctx context.Context, to presence.Entity) (ms []*Message, done func() error, err error) // done removes them
}

// ErrMailboxFull: the offline bound of the user is reached.
var ErrMailboxFull = errors.New("engine: too many stored messages")

// Message is an instant message between users of any edge (RFC 3428, RFC 6121, RFC 7572).
type Message struct {
	From, To                 presence.Entity
	FromResource, ToResource string
	ID, Type, Subject, Body  string
	Lang, Thread             string
	ContentType              string           // of Body, "" for text/plain
	Native                   presence.Payload // children as sent, same-protocol path
	NoStore                  bool             // XEP-0160/0334: not kept for later
	Edge                     string           // where it came from
	Sent                     time.Time
}

// Config of an Engine.
type Config struct {
	Shards   int // 0: 2 per CPU
	Queue    int // inputs waiting per shard; 0: 8192
	Save     Saver
	Policies Policies
	Mailbox  Mailbox
	Log      *slog.Logger
}

// Engine owns all presentities of this node.
type Engine struct{}

func New(c Config) *Engine { panic("contract") }

// Register adds an edge under its name, before Run.
func (e *Engine) Register(name string, edge Edge) { panic("contract") }

// Run works until ctx ends, then drains what was accepted.
func (e *Engine) Run(ctx context.Context) error { panic("contract") }

// Submit queues an input. done is called exactly once, after the commit and
// before the notices go out; it must not block. ErrOverload or ErrStopped at
// once means that done will not be called.
func (e *Engine) Submit(to presence.Entity, in presence.Input, done func(presence.Outcome, error)) error {
	panic("contract")
}

// Step is Submit and wait.
func (e *Engine) Step(ctx context.Context, to presence.Entity, in presence.Input) (presence.Outcome, error) {
	panic("contract")
}

// PolicyChanged has the policy loaded again; living subscriptions follow.
func (e *Engine) PolicyChanged(of presence.Entity) { panic("contract") }

// Explain runs presence.Explain at the owner.
func (e *Engine) Explain(ctx context.Context, presentity, watcher presence.Entity) (presence.Explanation, error) {
	panic("contract")
}

// Send delivers a message to every edge that has the user, else stores it.
// stored: it waits in the mailbox. An error: neither.
func (e *Engine) Send(ctx context.Context, m *Message) (stored bool, err error) { panic("contract") }

// Undelivered stores a message that an edge had taken and could not deliver.
func (e *Engine) Undelivered(m *Message) { panic("contract") }

// Take hands over the stored messages of a user who has come; call done after
// they were handed to the client.
func (e *Engine) Take(ctx context.Context, to presence.Entity) (ms []*Message, done func() error, err error) {
	panic("contract")
}

// Stats are counters for status and metrics.
type Stats struct {
	Presentities, Sources, Subscriptions, Pending int
	Steps, Notices, Saves, Overloads              uint64
	Queued                                        int
}

func (e *Engine) Stats() Stats { panic("contract") }
