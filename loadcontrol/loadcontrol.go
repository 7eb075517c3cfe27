// Package loadcontrol is the edge between servers over SIP: INVITE has a standby
// join, SUBSCRIBE and NOTIFY carry the extended presence document between the
// servers and to operators. docs/load-control.md describes what goes over the wire.
//
// It decides nothing: whom to add and whom to hear is told to it, and what it hears it
// hands on.
package loadcontrol

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"pharos/account"
	"pharos/loaddoc"
	"pharos/presence"
	"pharos/sip"
)

const (
	// Interval is the least time between two NOTIFYs of a subscription, but for those that
	// answer a SUBSCRIBE (as RFC 7200 has it).
	Interval = time.Second
	// MaxPeers is up to how many other servers each hears each: every one sends as many
	// NOTIFYs a second as there are others. When there are more, all hear the leader only.
	MaxPeers = 32
	// MaxSubscriptions are taken of servers and observers together; more get 503.
	MaxSubscriptions = 256
	// MaxServers are told of in a document, the first ones by name; the counts are of all.
	MaxServers = 150
	// MaxAddable are told of as servers that can be added, the first ones.
	MaxAddable = 50
	// ListedUsers is up to how many users of a service its document names them all, where a
	// subscriber has not said what he wants.
	ListedUsers = 200
	// JoinTime is how long a server may take from the INVITE until it has the document.
	JoinTime = 20 * time.Second
	// PeerExpires is how long a subscription between servers lives without a refresh.
	PeerExpires = 60 * time.Second
	// MaxExpires is the longest that an observer is granted.
	MaxExpires = time.Hour
)

// Errors of Join.
var (
	ErrRefused   = errors.New("loadcontrol: the server does not want to join")
	ErrStranger  = errors.New("loadcontrol: the server has another cluster secret")
	ErrNoAnswer  = errors.New("loadcontrol: the server does not answer")
	ErrNotJoined = errors.New("loadcontrol: the server has accepted and not fetched the document")
)

// Accounts verify observers; account.Accounts does.
type Accounts interface {
	Verify(d account.Digest, done func(account.Verdict))
	Nonce() string
}

// Config of the edge. None of the functions may block, or call the edge.
type Config struct {
	Name    string // of this server
	Domain  string // the presentity of the system is service@Domain
	Contact string // URI at which the other servers reach this one
	Key     []byte // shared by all servers: what they prove to one another who they are by

	Observers []presence.Entity // may subscribe from outside
	Accounts  Accounts          // what they prove it by; nil: there are none

	// State is the whole system as this server knows it: running servers by name, this
	// one among them, and those that can be added. Users in detail are wanted of this
	// server only, and only when the service has at most so many (-1: in any case). The
	// document is the edge's.
	State func(users int) *loaddoc.Document
	// Join asks whether this server is willing to be added by another; it is from now on
	// joining if the answer is 200. Else it is the status of the refusal: 486 (Busy Here) when it
	// takes part already, 603 (Decline) when it is not to be added.
	Join func(by string, head *loaddoc.Document) (status int)
	// Joined ends what Join began: with the document of the system, or with an error,
	// when this server is a standby again.
	Joined func(d *loaddoc.Document, err error)
	// Heard is called with what another server says: its name, and all that is known by
	// it now. May be nil.
	Heard func(server string, d *loaddoc.Document)

	Log *slog.Logger // nil: slog.Default()
}

// Edge takes part in the exchange. Its methods may be called from any goroutine.
type Edge struct {
	c      Config
	log    *slog.Logger
	stack  *sip.Stack
	entity string // pres: URI
	aor    string // sip: URI
	seen   nonces
	skew   time.Duration // of the clock, for tests

	mu       sync.Mutex
	subs     map[string]*subscription // by our tag
	watches  map[string]*watch        // by our tag
	peers    map[string]*watch        // by the name of the server
	invites  map[string]*invite       // by our tag
	view     *loaddoc.Document        // what is told: no older than Interval
	viewed   time.Time
	detailed bool // users are named to who has not said what he wants
	closed   bool
}

// New makes an edge; Use comes before it serves.
func New(c Config) *Edge {
	e := &Edge{
		c: c, log: c.Log, entity: "pres:service@" + c.Domain, aor: "sip:service@" + c.Domain,
		subs: make(map[string]*subscription), watches: make(map[string]*watch), peers: make(map[string]*watch), invites: make(map[string]*invite),
	}
	e.seen.begun = time.UnixMilli(time.Now().UnixMilli())
	if e.log == nil {
		e.log = slog.Default()
	}
	return e
}

// Use gives the edge its stack.
func (e *Edge) Use(s *sip.Stack) { e.stack = s }

// Run tells subscribers of changes and keeps subscriptions alive until ctx ends; then it ends
// them.
func (e *Edge) Run(ctx context.Context) {
	t := time.NewTicker(Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			e.leave()
			return
		case now := <-t.C:
			e.tellAll(now)
			e.refresh(now)
			e.expire(now)
		}
	}
}

// leave ends all subscriptions in both directions.
func (e *Edge) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, w := range e.watches {
		e.unsubscribe(w)
	}
	for _, s := range e.subs {
		e.end(s, "timeout")
	}
}

// newTag makes a dialog tag or Call-ID.
func newTag() string { return strings.ToLower(rand.Text()) }
