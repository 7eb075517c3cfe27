package xmpp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"

	"pharos/markup"
)

// Authenticator decides logins. Both calls may block (database).
type Authenticator interface {
	// Plain checks a password. ErrNotAuthorized when it is wrong or the user unknown.
	Plain(ctx context.Context, remote net.Addr, local, domain, password string) error
	// Scram returns the stored keys for mechanism SCRAM-SHA-1 or SCRAM-SHA-256.
	// For an unknown user it returns stable fake keys, so that users cannot be probed.
	Scram(ctx context.Context, remote net.Addr, local, domain, mechanism string) (ScramKeys, error)
	// Failed and Succeeded count for throttling.
	Failed(remote net.Addr, local, domain string)
	Succeeded(remote net.Addr, local, domain string)
}

// ScramKeys are what RFC 5802 §5.1 lets a server keep.
type ScramKeys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// Acceptor holds what all streams of a server share.
type Acceptor struct {
	Domains []string
	TLS     *tls.Config // GetConfigForClient/GetCertificate may reload
	Auth    Authenticator
	Log     *slog.Logger
	Limits  Limits
	// Features are advertised after SASL beside bind, e.g.
	// "<sm xmlns='urn:xmpp:sm:3'/>".
	Features []string
	// Serve runs one authenticated stream; it returns when the stream has ended.
	Serve func(ctx context.Context, s *Stream)
}

// Limits bound what a stream may cost. Each field documents its default.
type Limits struct{}

// Mode of a connection's start.
type Mode uint8

const (
	StartTLS  Mode = iota // xmpp://: TLS required before SASL
	DirectTLS             // xmpps:// (XEP-0368)
	Insecure              // xmpp+insecure://: SASL without TLS allowed
)

// Handle negotiates conn up to SASL success and the features that follow it,
// calls Serve, and closes.
func (a *Acceptor) Handle(ctx context.Context, conn net.Conn, m Mode) { panic("contract") }

// ServeListener accepts until l closes, within the connection limits.
func (a *Acceptor) ServeListener(ctx context.Context, l net.Listener, m Mode) error {
	panic("contract")
}

// WebSocket upgrades with subprotocol "xmpp" (RFC 7395); secure tells whether TLS carries it.
func (a *Acceptor) WebSocket(secure bool) http.Handler { panic("contract") }

// Stream is an authenticated stream. Next is for one goroutine; the other
// methods are for any.
type Stream struct{}

func (s *Stream) User() JID            { panic("contract") } // bare, as authenticated
func (s *Stream) RemoteAddr() net.Addr { panic("contract") }
func (s *Stream) ID() string           { panic("contract") }

// Next returns the next first-level element: stanzas and others such as <r/> of
// XEP-0198, <active/> of XEP-0352. Stream-level faults (bad XML, limits) are
// answered with their stream error before Next returns it as *StreamError;
// io.EOF after the peer's </stream>. White space keep-alives are skipped.
func (s *Stream) Next() (*markup.Element, error) { panic("contract") }

// Send queues bytes of complete elements, written without copying again as soon
// as the peer reads; b must not be changed afterwards. It never blocks: false
// means the queue bound is passed (slow reader) and the stream is being closed.
//
// The elements are written for a stream whose default namespace is
// jabber:client and do not declare it; the WebSocket framing, where no stream
// header declares it (RFC 7395 §3.3.3), adds the declaration. One call may carry
// several elements; an element never spans two calls.
func (s *Stream) Send(b ...[]byte) bool { panic("contract") }

// Queued is the number of bytes that Send took and that are not yet written;
// senders that can coalesce look at it.
func (s *Stream) Queued() int { panic("contract") }

// Close ends the stream; e nil for a normal end. Queued bytes are flushed within a bounded time.
func (s *Stream) Close(e *StreamError) { panic("contract") }

// Done is closed when the connection is gone.
func (s *Stream) Done() <-chan struct{} { panic("contract") }

// StreamError is a stream-level error of RFC 6120 §4.9.3.
type StreamError struct{ Condition, Text, Other string }

func (e *StreamError) Error() string { return "xmpp: stream error: " + e.Condition + " " + e.Text }

// AppendError appends an error reply to stanza in (RFC 6120 §8.3): addresses
// swapped, id kept, condition with its default type. Returns dst unchanged for
// a stanza of type error, which is never answered.
func AppendError(dst []byte, in *markup.Element, from, to string, condition, text string) []byte {
	panic("contract")
}
