// Package simple is the SIP edge: REGISTER, PUBLISH, SUBSCRIBE/NOTIFY and
// MESSAGE, between the sip wire and the engine. It turns requests into inputs
// of a presentity and notices into NOTIFYs, and knows no other edge.
//
// What it holds itself are the bindings of REGISTER (location.go) and the
// dialogs of subscriptions (dialog.go); both outlive the process. Everything
// that decides who may see what is the engine's.
package simple

import (
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
	"pharos/xdm"
)

// Name is what the edge is registered under at the engine.
const Name = "sip"

// Config of the edge.
type Config struct {
	Engine   *engine.Engine
	Accounts *account.Accounts
	Store    *store.Store
	Gate     *load.Gate // nil: everything is admitted
	// Documents hold the lists that can be subscribed to (RFC 4826); nil: only those
	// that come with a SUBSCRIBE.
	Documents *xdm.Documents
	XCAP      XCAP // the server of the documents, for xcap-diff
	Domains   []string
	Trusted   []netip.Prefix           // front proxies and PBXes whose identity is believed (RFC 3325)
	Contact   func(f *sip.Flow) string // hostport that clients behind this flow can reach us at; nil: the flow's local address
	Address   string                   // URI of this one of several nodes, for clients to whom no flow leads; "" where there is none
	// System is asked first about each request: whether it took it, as one between servers
	// or for the presentity of the whole service. nil: there are no other servers.
	System   func(tx *sip.ServerTx, msg *sip.Message) bool
	Redirect *Redirect // nil: all are served here
	Limits   Limits
	Log      *slog.Logger // nil: slog.Default()
}

// Limits bounds what one user can make us hold. A zero field means its default.
type Limits struct {
	// MinExpires is the shortest registration, publication or subscription;
	// what is shorter gets 423 (Interval Too Brief). Default 5 s.
	MinExpires time.Duration
	// MaxExpires is the longest that is granted; longer wishes are cut down to
	// it (RFC 3261 §10.3 step 7, RFC 6665 §4.2.1.1). Default 24 h.
	MaxExpires time.Duration
	// Body is the largest body of a PUBLISH or MESSAGE in octets; above it 413.
	// Default 16,384.
	Body int
	// Bindings is the number of contacts that one address-of-record can have
	// registered; a REGISTER that would exceed it gets 403. Default 16.
	Bindings int
	// Subscriptions is the number of subscriptions that one watcher can hold;
	// above it 403. Default 2,000.
	Subscriptions int
	// Field is the largest URI, Call-ID, tag or route set that is kept with a
	// binding or dialog, in octets; above it 513. Default 2,048.
	Field int
	// Failures is the number of NOTIFYs in a row that may stay without answer
	// before a subscription is ended. Default 6, which with the waits between
	// them is about 8 minutes.
	Failures int
	// Lists is the number of list subscriptions that one watcher can hold
	// (RFC 4662); above it 403. Default 20.
	Lists int
	// Members is the number of members of one list: a list in a SUBSCRIBE that has
	// more gets 403, of others the first ones are watched. Default 1,000.
	Members int
	// Messages is the number of MESSAGEs being worked on at one time; above it
	// 503. Default 1,024.
	Messages int
}

func (l Limits) withDefaults() Limits {
	duration := func(p *time.Duration, def time.Duration) {
		if *p <= 0 {
			*p = def
		}
	}
	number := func(p *int, def int) {
		if *p <= 0 {
			*p = def
		}
	}
	duration(&l.MinExpires, 5*time.Second)
	duration(&l.MaxExpires, 24*time.Hour)
	number(&l.Body, 16<<10)
	number(&l.Bindings, 16)
	number(&l.Subscriptions, 2000)
	number(&l.Field, 2048)
	number(&l.Failures, 6)
	number(&l.Lists, 20)
	number(&l.Members, 1000)
	number(&l.Messages, 1024)
	return l
}

// Edge implements sip.Handler and engine.Edge ("sip"). It has no goroutine of
// its own while nothing is to be done.
type Edge struct {
	engine    *engine.Engine
	accounts  *account.Accounts
	store     *store.Store
	gate      *load.Gate
	stack     *sip.Stack
	documents *xdm.Documents
	xcap      XCAP
	domains   map[string]bool
	trusted   []netip.Prefix
	contact   func(f *sip.Flow) string
	system    func(tx *sip.ServerTx, msg *sip.Message) bool
	redirect  *Redirect
	address   string
	limits    Limits
	log       *slog.Logger

	dialogs  dialogTable
	awaited  awaited
	asks     asks
	lists    listTable
	diffs    diffTable
	bindings locationTable
	out      outbox
	passes   handovers
	lanes    laneTable
	calls    callTable
	messages chan struct{} // one token for each message being worked on

	tagPrefix string // of entity-tags of this process
	tagCount  atomic.Uint64
	callID    string // ends the Call-ID of every MESSAGE that we send ourselves
	count     counters
	restored  atomic.Int64 // when dialogs of another process were taken over last, in Unix nanoseconds
}

// New makes an edge; Use and Restore come before it serves.
func New(c Config) *Edge {
	e := &Edge{
		engine: c.Engine, accounts: c.Accounts, store: c.Store, gate: c.Gate, documents: c.Documents, xcap: c.XCAP,
		domains: make(map[string]bool, len(c.Domains)),
		trusted: c.Trusted, contact: c.Contact, system: c.System, redirect: c.Redirect, address: c.Address, limits: c.Limits.withDefaults(), log: c.Log,
		tagPrefix: strings.ToLower(rand.Text()[:10]),
		callID:    "@" + strings.ToLower(rand.Text()[:16]),
	}
	for _, d := range c.Domains {
		e.domains[strings.ToLower(d)] = true
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.contact == nil {
		e.contact = func(f *sip.Flow) string { return f.LocalAddr().String() }
	}
	e.messages = make(chan struct{}, e.limits.Messages)
	e.dialogs.init()
	e.lists.init()
	if e.documents != nil {
		e.documents.Listen(e.documentsChanged)
		e.documents.Listen(e.diffsChanged)
	}
	e.dialogs.edge = e
	e.bindings.init(e.engine.Self() != "")
	e.out.edge = e
	return e
}

// Use gives the edge its stack, before it is run.
func (e *Edge) Use(s *sip.Stack) { e.stack = s }

// Close ends what the edge does by itself: retries, sweeping. It comes after the
// stack's Close; what was acknowledged is durable and goes on at the next start.
func (e *Edge) Close() {
	e.lists.close()
	e.awaited.close()
	e.asks.close()
	e.bindings.close()
	e.dialogs.close()
}

// newTag makes an entity-tag, unique over restarts (RFC 3903 §6 step 5).
func (e *Edge) newTag() string {
	b := make([]byte, 0, 24)
	b = append(b, e.tagPrefix...)
	b = append(b, '.')
	return string(strconv.AppendUint(b, e.tagCount.Add(1), 36))
}

// newID makes a dialog tag: 128 bits of ChaCha8 (RFC 3261 §19.3 asks for 32).
// Whoever guessed one would still have to prove to be the watcher.
func newID() string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	var b [26]byte
	for i, n := 0, uint64(0); i < len(b); i++ {
		if i%13 == 0 {
			n = mathrand.Uint64()
		}
		b[i] = digits[n&31]
		n >>= 5
	}
	return string(b[:])
}

// WatcherChanged has nothing to do: what SIP needs of a change comes as a notice
// of presence.winfo.
func (e *Edge) WatcherChanged(presence.WatcherChange) {}
