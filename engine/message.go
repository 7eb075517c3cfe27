package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence"
)

// Mailbox keeps messages for those who are away.
type Mailbox interface {
	Put(ctx context.Context, m *Message) error                             // ErrMailboxFull
	List(ctx context.Context, of presence.Entity) ([]Stored, error)        // oldest first, without those that have expired
	Remove(ctx context.Context, of presence.Entity, numbers []int64) error // unknown ones are no error
}

// Stored is a message in a mailbox.
type Stored struct {
	*Message
	Number int64 // never used twice for one user; greater than 0
}

// ErrMailboxFull: the offline bound of the user is reached. ErrUndeliverable:
// nobody is there, and the message is not one to keep; also what the sender
// learns when the recipient has blocked him (XEP-0191 §3.4).
var (
	ErrMailboxFull   = errors.New("engine: too many stored messages")
	ErrUndeliverable = errors.New("engine: nobody to deliver to")
)

// Message is an instant message between users of any edge (RFC 3428, RFC 6121,
// RFC 7572). Edges share it once it was sent: do not change it. To change it
// for one recipient, copy it first.
type Message struct {
	From, To                 presence.Entity
	FromResource, ToResource string
	ID, Type, Subject, Body  string // Type: "" is normal; chat, normal, headline, groupchat, error (RFC 6121 §5.2.2)
	Lang, Thread             string
	ContentType              string           // of Native, where a SIP device wrote more than text/plain; Body is then the text in it
	Native                   presence.Payload // children as sent, same-protocol path
	NoStore                  bool             // XEP-0160/0334: not kept for later
	NoCopy                   bool             // XEP-0280/0334: no copies for the user's other devices
	Edge                     string           // where it came from
	Sent                     time.Time
	Expires                  time.Time `json:",omitzero"` // zero: never (RFC 3428 §7)

	takers *int32  // edges that have taken it, and Send while it asks them
	origin *origin // where there are other nodes: who has asked an edge of this node to take it
}

// keeps tells whether a message nobody took waits in the mailbox (RFC 6121 §8.5.2.2).
func (m *Message) keeps() bool { return !m.NoStore && m.personal() }

// personal messages are what one person writes to another.
func (m *Message) personal() bool { return m.Type == "" || m.Type == "normal" || m.Type == "chat" }

// silent messages vanish if nobody takes them (RFC 6121 §8.5.2.2.1: a server
// must not answer an error with an error, and ignores a headline).
func (m *Message) silent() bool { return m.Type == "headline" || m.Type == "error" }

// Send delivers a message to every edge that has the user, else stores it.
// stored: it waits in the mailbox. An error: neither. It may wait for the store,
// so it is not for goroutines of the engine.
//
// A message to the bare address goes to all devices in both worlds. One with
// ToResource goes to that resource on the edge it came from; if that edge does
// not know the resource, or the sender is not to know that it is there, a chat or
// normal message is treated as if sent to the bare address (RFC 6121 §8.5.3.2.1): the
// "resource" may be the tuple of a SIP device, or long gone.
func (e *Engine) Send(ctx context.Context, m *Message) (stored bool, err error) {
	if e.self != "" {
		return e.sendFar(ctx, m)
	}
	return e.sendHere(ctx, m)
}

// sendHere is Send at the recipient's owner.
func (e *Engine) sendHere(ctx context.Context, m *Message) (stored bool, err error) {
	says, err := e.regards(ctx, m.To, m.From)
	if err != nil {
		return false, err
	}
	away := says.Class.Handling == presence.PoliteBlock
	if refuses(&says) || away && !m.keeps() {
		return false, m.nobody()
	}
	stored, err = e.route(ctx, m, away)
	if errors.Is(err, ErrUndeliverable) && m.personal() && says.Class.Handling != presence.Allow && !away {
		// Whom the user shows nothing is not told by this that nobody is there: RFC 6121
		// §8.5.2.2.1 would have an error.
		err = nil
	}
	return stored, err
}

// route is Send to one who takes messages of the sender; away: the sender must not
// find a resource.
func (e *Engine) route(ctx context.Context, m *Message, away bool) (stored bool, err error) {
	if e.self != "" {
		for i := range e.edges {
			if p, ok := e.edges[i].Edge.(Preparer); ok {
				p.Prepare(ctx, m.To)
			}
		}
	}
	others := e.elsewhere(ctx, m)
	if m.ToResource != "" && !away {
		m.takers = new(int32)
		*m.takers = 1
		for i := range e.edges {
			if e.edges[i].name == m.Edge && e.offer(i, m) {
				atomic.AddInt32(m.takers, -1)
				return false, nil
			}
		}
		if m.Edge != "" && e.offerFar(ctx, others, m.Edge, m) {
			atomic.AddInt32(m.takers, -1)
			return false, nil
		}
		if !m.personal() {
			return false, m.nobody()
		}
		bare := *m
		bare.ToResource = ""
		m = &bare
	}
	// Send itself counts as a taker, so that an edge which gives the message
	// back at once does not have it stored while another may still take it.
	m.takers = new(int32)
	*m.takers = 1
	for i := range e.edges {
		e.offer(i, m)
	}
	e.offerFar(ctx, others, "", m)
	if atomic.AddInt32(m.takers, -1) > 0 {
		return false, nil
	}
	return e.keep(ctx, m)
}

func (e *Engine) offer(i int, m *Message) bool {
	atomic.AddInt32(m.takers, 1)
	if e.edges[i].Deliver(m) {
		return true
	}
	atomic.AddInt32(m.takers, -1)
	return false
}

func (m *Message) nobody() error {
	if m.silent() {
		return nil
	}
	return ErrUndeliverable
}

func (e *Engine) keep(ctx context.Context, m *Message) (stored bool, err error) {
	if !m.keeps() || e.mailbox == nil {
		return false, m.nobody()
	}
	if err := e.mailbox.Put(ctx, m); err != nil {
		return false, err
	}
	return true, nil
}

// regards is what the rules of a user say of somebody who writes. The sphere is the
// owner's to know; rules that ask for it do not speak of messages.
func (e *Engine) regards(ctx context.Context, of, who presence.Entity) (presence.Decision, error) {
	if e.policies == nil || of == who {
		return presence.Decision{Class: presence.Class{Handling: presence.Allow}, Rule: presence.RuleSelf}, nil
	}
	p, err := e.Policy(ctx, of)
	if err != nil {
		return presence.Decision{}, err
	}
	return presence.Decide(p, of, who, presence.Circumstances{Now: time.Now()}), nil
}

// refuses: a rule of the recipient's blocks the sender. A default of "block" is
// about presence and leaves strangers their first word.
func refuses(d *presence.Decision) bool {
	return d.Class.Handling == presence.Block && d.Rule != presence.RuleDefault
}

// Refuses tells whether a user takes no messages and requests from somebody, since a
// rule blocks him.
func (e *Engine) Refuses(ctx context.Context, of, who presence.Entity) (bool, error) {
	d, err := e.regards(ctx, of, who)
	return err != nil || refuses(&d), err
}

// Shows tells whether a user shows somebody any presence. To others no answer to
// what they send may tell whether the user is there.
func (e *Engine) Shows(ctx context.Context, of, who presence.Entity) bool {
	d, err := e.regards(ctx, of, who)
	return err == nil && d.Class.Handling == presence.Allow
}

// Undelivered stores a message that an edge had taken and could not deliver,
// unless another edge still has it. It does not wait.
func (e *Engine) Undelivered(m *Message) {
	if m.takers != nil && atomic.AddInt32(m.takers, -1) > 0 {
		return
	}
	if !m.keeps() || e.mailbox == nil || e.giveBack(m) {
		return
	}
	e.putBack(m)
}

func (e *Engine) putBack(m *Message) {
	if !e.returned.add(e, m) {
		e.log.Error("message lost: too many came back", "from", m.From.String(), "to", m.To.String(), "id", m.ID)
	}
}

// Settle waits until the messages that edges have given back are stored. It is
// for the end: after Run, and after the edges are closed.
func (e *Engine) Settle() { e.returned.wait() }

// Stored are the messages that wait for a user, oldest first. They wait until
// RemoveStored, which is for when a device of the user is known to have them: so
// whatever ends before that, a connection or a node, none is lost.
func (e *Engine) Stored(ctx context.Context, of presence.Entity) ([]Stored, error) {
	if e.mailbox == nil {
		return nil, nil
	}
	return e.mailbox.List(ctx, of)
}

// RemoveStored removes messages that a device of the user has. Those that are not there any
// more are no error.
func (e *Engine) RemoveStored(ctx context.Context, of presence.Entity, numbers ...int64) error {
	if e.mailbox == nil || len(numbers) == 0 {
		return nil
	}
	return e.mailbox.Remove(ctx, of, numbers)
}

// MaxReturned bounds the messages that came back and wait to be stored.
const MaxReturned = 4096

// returns stores messages that came back, on a goroutine that lives as long
// as there are any.
type returns struct {
	mu   sync.Mutex
	list []*Message
	busy bool
	wg   sync.WaitGroup
}

func (q *returns) add(e *Engine, m *Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= MaxReturned {
		return false
	}
	q.list = append(q.list, m)
	if !q.busy {
		q.busy = true
		q.wg.Go(func() { q.store(e) })
	}
	return true
}

func (q *returns) store(e *Engine) {
	for {
		q.mu.Lock()
		list := q.list
		q.list = nil
		if len(list) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, m := range list {
			// Also after Run: what a phone had not answered when its connection
			// was closed comes back last of all.
			if err := e.mailbox.Put(context.WithoutCancel(e.work), m); err != nil {
				e.log.Error("message lost", "from", m.From.String(), "to", m.To.String(), "id", m.ID, "err", err)
			}
		}
	}
}

func (q *returns) wait() { q.wg.Wait() }
