package sip

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// What a request of ours can end with instead of a final response.
var (
	ErrTimeout   = errors.New("sip: no response in time")       // RFC 3261 §8.1.3.1: to be treated as 408
	ErrTransport = errors.New("sip: transport failed")          // to be treated as 503
	ErrClosed    = errors.New("sip: stack closed")              // we are going down
	ErrOverload  = errors.New("sip: too much under way")        // see Limits
	ErrNoTarget  = errors.New("sip: next hop cannot be found")  // neither a live flow nor an address
	ErrRequest   = errors.New("sip: request cannot be sent so") // a fault of the caller's
	ErrEnded     = errors.New("sip: transaction has ended")     // of Accept: by CANCEL
)

// Handler takes each new request that belongs to no transaction yet, ACKs and
// CANCELs excluded. It runs on the reader's goroutine of the socket and must
// not block: it may answer later, from any goroutine.
type Handler interface {
	ServeSIP(tx *ServerTx, req *Message)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(tx *ServerTx, req *Message)

// ServeSIP calls f.
func (f HandlerFunc) ServeSIP(tx *ServerTx, req *Message) { f(tx, req) }

// Config of a Stack. Zero values give the documented defaults.
type Config struct {
	Handler Handler      // nil: every request gets 503
	Log     *slog.Logger // nil: slog.Default()
	TLS     *tls.Config  // for connections that we open to sips: targets
	// TLSFor is asked for the configuration towards one target, which is the stack's
	// then; nil, also as its answer: TLS is used.
	TLSFor  func(Target) *tls.Config
	Resolve Resolver // RFC 3263; nil: DNS of the system
	Limits  Limits
	// Overload is the share of requests, in percent, that is being refused: clients that know of
	// RFC 7339 are told to hold back so much. Nil: nobody is.
	Overload func() int
	// Host is what we call ourselves in Via, a name or an address: needed where
	// the address of a socket is not the one that peers reach us at. Empty: the
	// local address on the way to the peer.
	Host string
	// Dial opens connections; nil: that of a net.Dialer. Tests put in-memory
	// networks here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Stack owns sockets, flows and transactions. Its methods may be called from
// any goroutine.
type Stack struct {
	handler  Handler
	log      *slog.Logger
	tls      *tls.Config
	tlsFor   func(Target) *tls.Config
	resolve  Resolver
	limits   Limits
	host     string
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	instance string // tells tokens of this process from those of an earlier one
	overload *overload

	wheel  *wheel
	server serverTable
	client clientTable
	conns  connTable
	routes routeTable
	tcpNo  tcpRefusals

	mu      sync.Mutex
	sockets []*packetSocket           // never changed in place
	ports   map[string]netip.AddrPort // where we listen, by transport, for sent-by
	closers map[interface{ Close() error }]struct{}

	held     atomic.Int32 // Holds without Release
	gathered atomic.Int32 // sockets with something that waits for one

	closed  atomic.Bool
	context context.Context // ended by Close
	stop    context.CancelFunc
	lookups semaphore
	readers sync.WaitGroup
	count   counters
}

// counters are what Stats reads.
type counters struct {
	requests, responses, retransmitted, refused, garbage atomic.Uint64
	sent, resent, timeouts                               atomic.Uint64
}

// Stats is what a stack has done and holds, for metrics.
type Stats struct {
	Requests      uint64 // requests handed to the handler
	Responses     uint64 // responses that matched a request of ours
	Retransmitted uint64 // retransmissions answered from the table
	Refused       uint64 // refused for overload
	Garbage       uint64 // octets or messages that made no sense, and stray responses
	Sent          uint64 // requests sent
	Resent        uint64 // retransmissions sent
	Timeouts      uint64 // requests that got no answer

	Unanswered  int // requests taken and not answered
	Kept        int // octets of responses kept for retransmissions
	Outstanding int // requests of ours without a final response
	Connections int
}

// NewStack makes a stack and starts its timer goroutine; Close ends it.
func NewStack(c Config) *Stack {
	s := &Stack{
		handler:  c.Handler,
		log:      c.Log,
		tls:      c.TLS,
		tlsFor:   c.TLSFor,
		resolve:  c.Resolve,
		limits:   c.Limits.withDefaults(),
		host:     c.Host,
		dial:     c.Dial,
		instance: randomHex(8),
		overload: &overload{loss: c.Overload},
		wheel:    newWheel(),
		ports:    make(map[string]netip.AddrPort),
		closers:  make(map[interface{ Close() error }]struct{}),
	}
	s.context, s.stop = context.WithCancel(context.Background())
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.dial == nil {
		s.dial = new(net.Dialer).DialContext
	}
	if s.tls == nil {
		s.tls = &tls.Config{}
	}
	if s.resolve == nil {
		s.resolve = NewResolver(nil)
	}
	s.server.init(s)
	s.client.init()
	s.conns.init()
	s.routes.init()
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		s.wheel.run()
	}()
	return s
}

// Stats returns the counters as they are now.
func (s *Stack) Stats() Stats {
	c := &s.count
	return Stats{
		Requests: c.requests.Load(), Responses: c.responses.Load(),
		Retransmitted: c.retransmitted.Load(), Refused: c.refused.Load(),
		Garbage: c.garbage.Load(), Sent: c.sent.Load(), Resent: c.resent.Load(),
		Timeouts:   c.timeouts.Load(),
		Unanswered: int(s.server.unanswered.Load()), Kept: s.server.kept(),
		Outstanding: int(s.client.outstanding.Load()),
		Connections: s.conns.len(),
	}
}

// Close ends everything: sockets, listeners and connections are closed, and
// pending client transactions get ErrClosed. It waits for the readers, but not
// longer than 5 seconds for a handler that does not return.
func (s *Stack) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.stop()
	s.mu.Lock()
	for c := range s.closers {
		c.Close()
	}
	s.mu.Unlock()
	s.conns.closeAll(ErrClosed)
	s.client.closeAll(ErrClosed)
	s.wheel.close()

	ended := make(chan struct{})
	go func() {
		s.readers.Wait()
		close(ended)
	}()
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-t.C:
		return errors.New("sip: readers still busy after 5 s")
	}
}

// now is the time since the stack was made.
func (s *Stack) now() time.Duration { return time.Since(s.wheel.start) }

// own registers what Close has to close; false once closed.
func (s *Stack) own(c interface{ Close() error }) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.closers[c] = struct{}{}
	return true
}

func (s *Stack) disown(c interface{ Close() error }) {
	s.mu.Lock()
	delete(s.closers, c)
	s.mu.Unlock()
}

// receive takes one message from a peer. b is the reader's and is not kept.
func (s *Stack) receive(b []byte, p peer) (ok bool) {
	if s.client.brief(s, b) {
		return true
	}
	m, err := Parse(b)
	if err != nil {
		return s.refuse(err, p)
	}
	if !m.IsRequest() {
		s.client.response(s, m)
		return true
	}
	if len(b) > s.limits.MessageSize {
		s.answer(m, p, &Response{Status: 513})
		return true
	}
	s.request(m, p)
	return true
}

// refuse answers what could not be parsed where that is possible (RFC 3261
// §8.2, RFC 4475), and reports whether it was.
func (s *Stack) refuse(err error, p peer) bool {
	s.count.garbage.Add(1)
	var bad *ParseError
	if !errors.As(err, &bad) || !bad.Answerable() {
		return false
	}
	s.answer(bad.Message, p, &Response{Status: bad.Status, Reason: bad.Reason})
	return true
}

// serve runs the handler; a panic of it costs one request, not all users.
func (s *Stack) serve(tx *ServerTx) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("sip: handler panicked", "method", tx.req.Method, "panic", r, "stack", string(debug.Stack()))
			tx.Respond(Response{Status: 500})
		}
	}()
	s.handler.ServeSIP(tx, tx.req)
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// semaphore counts what is under way.
type semaphore struct{ n atomic.Int64 }

func (s *semaphore) acquire(limit int) bool {
	if s.n.Add(1) > int64(limit) {
		s.n.Add(-1)
		return false
	}
	return true
}

func (s *semaphore) release() { s.n.Add(-1) }
