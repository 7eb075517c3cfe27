package sip

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
)

// Handler takes each new request that belongs to no transaction yet, ACKs
// excluded. It runs on the reader's goroutine of the socket and must not
// block: it may answer later, from any goroutine.
type Handler interface {
	ServeSIP(tx *ServerTx, req *Message)
}

// Config of a Stack. Zero values give the documented defaults.
type Config struct {
	Handler Handler
	Log     *slog.Logger
	TLS     *tls.Config // for connections that we open to sips: targets
	Resolve Resolver    // RFC 3263; nil: DNS of the system
	Limits  Limits
}

// Limits bounds what strangers can make us hold. Each field documents its default.
type Limits struct{}

// Resolver finds next hops (RFC 3263).
type Resolver interface{}

// Stack owns sockets, flows and transactions.
type Stack struct{}

func NewStack(c Config) *Stack { panic("contract") }

// ServePacket serves UDP on pc until it or the stack is closed. Several
// goroutines may serve several sockets.
func (s *Stack) ServePacket(pc net.PacketConn) error { panic("contract") }

// ServeListener serves TCP ("TCP") or TLS ("TLS", l already does the handshake
// lazily as tls.NewListener gives it).
func (s *Stack) ServeListener(l net.Listener, transport string) error { panic("contract") }

// WebSocket upgrades an HTTP request with subprotocol "sip" (RFC 7118).
func (s *Stack) WebSocket() http.Handler { panic("contract") }

// Close ends everything; pending client transactions get ErrClosed.
func (s *Stack) Close() error { panic("contract") }

// Flow is where a request came from: one connection, or a UDP remote address
// at one of our sockets. Requests sent over it reach the same client (RFC 5626).
type Flow struct{}

func (f *Flow) Transport() string    { panic("contract") } // UDP TCP TLS WS WSS
func (f *Flow) RemoteAddr() net.Addr { panic("contract") }
func (f *Flow) LocalAddr() net.Addr  { panic("contract") }

// Alive is false once the connection has ended. A UDP flow is always alive.
func (f *Flow) Alive() bool { panic("contract") }

// OnClose registers fn to be called once when the connection ends; the returned
// func unregisters. For UDP flows it never fires.
func (f *Flow) OnClose(fn func()) (cancel func()) { panic("contract") }

// Token is a string that names the flow as long as this process lives and, for
// UDP, beyond: FlowByToken finds it again (RFC 5626 §5.2). Used in stored
// dialogs, so that a restarted server reaches a UDP client behind NAT.
func (f *Flow) Token() string                           { panic("contract") }
func (s *Stack) FlowByToken(token string) (*Flow, bool) { panic("contract") }

// ServerTx is a server transaction (RFC 3261 §17.2, RFC 6026).
type ServerTx struct{}

func (tx *ServerTx) Request() *Message { panic("contract") }
func (tx *ServerTx) Flow() *Flow       { panic("contract") }

// Respond sends a response. Via, From, To (with ToTag added when the request
// had none), Call-ID, CSeq and, for dialog-creating 1xx/2xx, Record-Route are
// copied from the request (RFC 3261 §8.2.6). A second final response is ignored.
func (tx *ServerTx) Respond(r Response) { panic("contract") }

// Response is what the handler decides.
type Response struct {
	Status int
	Reason string // empty: the standard's phrase
	ToTag  string // empty: a stateless-safe one is made by the stack
	Header []byte // further complete header lines, each ending in CRLF; without Content-Length
	Body   []byte // Content-Type must be in Header
}

// OutRequest is a request that we send. The stack writes the request line, Via,
// Max-Forwards and Content-Length.
type OutRequest struct {
	Method  string
	URI     string // request-URI
	Header  []byte // complete lines: From, To, Call-ID, CSeq, Contact, Route, ...; not changed, copied
	Body    []byte // may be shared by many requests; not changed
	Flow    *Flow  // used while alive (RFC 5626, RFC 5923)
	NextHop string // URI resolved by RFC 3263 when Flow is nil or dead; empty: no fallback
}

// Request starts a client transaction (RFC 3261 §17.1.2, timers by RFC 4320 and
// RFC 6026). done is called exactly once, with the final response or with
// ErrTimeout, ErrTransport or ErrClosed, on a goroutine of the stack; it must
// not block. Datagrams above 1300 bytes go by TCP (RFC 3261 §18.1.1) where the
// target has it, else by UDP.
func (s *Stack) Request(out OutRequest, done func(resp *Message, err error)) { panic("contract") }
