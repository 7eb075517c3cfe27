package jabber

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xmpp"
)

// Namespaces.
const (
	nsClient    = "jabber:client"
	nsBind      = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession   = "urn:ietf:params:xml:ns:xmpp-session"
	nsStanzas   = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsRoster    = "jabber:iq:roster"
	nsSM        = "urn:xmpp:sm:3"
	nsCSI       = "urn:xmpp:csi:0"
	nsCarbons   = "urn:xmpp:carbons:2"
	nsForward   = "urn:xmpp:forward:0"
	nsDelay     = "urn:xmpp:delay"
	nsHints     = "urn:xmpp:hints"
	nsChat      = "http://jabber.org/protocol/chatstates"
	nsItems     = "http://jabber.org/protocol/disco#items"
	nsInfo      = "http://jabber.org/protocol/disco#info"
	nsVersion   = "jabber:iq:version"
	nsLast      = "jabber:iq:last"
	nsTime      = "urn:xmpp:time"
	nsPing      = "urn:xmpp:ping"
	nsVCard     = "vcard-temp"
	nsBlocking  = "urn:xmpp:blocking"
	nsBlockErrs = "urn:xmpp:blocking:errors"
	nsIdle      = "urn:xmpp:idle:1"
	nsReceipts  = "urn:xmpp:receipts"
)

// unavailable is the value of session.prio before initial presence.
const unavailable = math.MinInt32

// session is one bound resource (RFC 6120 §7). It outlives its stream while it
// hibernates (XEP-0198).
type session struct {
	edge     *Edge
	user     *user
	resource string
	full     string
	handle   string // the full JID and a number: never used twice
	since    time.Time

	prio atomic.Int32  // of its presence, or unavailable
	in   atomic.Uint32 // stanzas handled since <enabled/>; the reader adds

	// act is held while something is submitted to the engine for the session,
	// so that nothing follows its departure. It may be held while waiting, and
	// is never taken by Notify or Deliver.
	act     sync.Mutex
	noPhoto bool // the client's presence says that it has no picture; under act

	mu          sync.Mutex
	stream      *xmpp.Stream  // nil while hibernating
	origin      string        // of the stream, for people
	lang        string        // of what the client does not mark (RFC 6120 §4.7.4)
	reader      chan struct{} // closed when the goroutine that reads stream has left
	ended       bool
	doomed      bool // the stream is being closed for good: no hibernation
	interested  bool // asked for the roster (RFC 6121 §2.2)
	carbons     bool // XEP-0280
	wantsBlocks bool // asked for the block list (XEP-0191)
	inactive    bool // XEP-0352
	flushing    bool // a timer will look whether the client has caught up
	loaded      *loadedRoster
	watches     map[presence.Entity]*presence.View // what was last told
	directed    map[xmpp.JID]*presence.Direct      // who got directed presence, and with other nodes what
	held        map[presence.Entity]*heldNotice
	caps        *capability // XEP-0115; nil: unknown, or none
	capsKey     capsKey     // of caps, or of what was asked for
	capsAsked   string      // id of the request that is under way
	sm          *management
	mail        *mail // nil: it was handed no stored messages
	far         *far  // nil: there are no other nodes
}

// loadedRoster is what a roster get has read, kept for the initial presence
// that nearly always follows.
type loadedRoster struct{ items []store.Item }

func (s *session) log() *slog.Logger {
	return s.edge.log.With("entity", s.user.bare, "session", s.handle)
}

func (s *session) jid() xmpp.JID {
	return xmpp.JID{Local: s.user.entity.User, Domain: s.user.entity.Domain, Resource: s.resource}
}

func (s *session) available() bool { return s.prio.Load() != unavailable }

// run reads a stream until it ends, perhaps on with another goroutine when it returns.
func (s *session) run(ctx context.Context, st *xmpp.Stream) {
	s.mu.Lock()
	reader := s.reader
	s.mu.Unlock()
	st.Read(func(el *markup.Element, err error) bool {
		inOrder := errors.Is(err, io.EOF)
		if err == nil {
			if s.handleElement(ctx, st, el) {
				return true
			}
			err = io.EOF
		}
		s.lost(ctx, st, err, inOrder)
		close(reader)
		return false
	})
}

// lost decides what becomes of the session when its stream has ended; inOrder: its client
// has closed it.
func (s *session) lost(ctx context.Context, st *xmpp.Stream, err error, inOrder bool) {
	s.mu.Lock()
	mine := s.stream == st
	if mine {
		s.stream = nil
	}
	keep := mine && !s.ended && !s.doomed && resumable(err) && s.hibernate()
	if mine && inOrder {
		s.closedInOrder()
	}
	s.mu.Unlock()
	st.Close(nil)
	if mine && !keep {
		// The session must be cleaned up even when the server is told to stop.
		s.end(context.WithoutCancel(ctx), nil)
	}
}

// resumable tells a lost connection from a stream that its client, or its
// client's mistakes, have closed (XEP-0198 §5).
func resumable(err error) bool {
	if errors.Is(err, io.EOF) {
		return false
	}
	var se *xmpp.StreamError
	if errors.As(err, &se) {
		return se.Condition == "connection-timeout"
	}
	return true
}

// handleElement works on one first-level element; false ends the stream.
func (s *session) handleElement(ctx context.Context, st *xmpp.Stream, el *markup.Element) bool {
	switch el.Space {
	case nsClient:
		if !s.checkFrom(st, el) {
			return false
		}
		switch el.Local {
		case "message":
			s.message(ctx, el)
		case "presence":
			s.presence(ctx, el)
		case "iq":
			s.iq(ctx, el)
		default:
			s.fail(st, "unsupported-stanza-type") // RFC 6120 §4.9.3.24
			return false
		}
		s.in.Add(1)
		return true
	case nsSM:
		return s.manage(ctx, st, el)
	case nsCSI:
		return s.clientState(st, el)
	}
	s.fail(st, "unsupported-stanza-type")
	return false
}

func (s *session) fail(st *xmpp.Stream, condition string) {
	s.mu.Lock()
	s.doomed = true
	s.mu.Unlock()
	st.Close(&xmpp.StreamError{Condition: condition})
}

// send hands one element, made of parts, to the client, or keeps it until the
// client is back. False: neither.
func (s *session) send(parts ...[]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.put(nil, parts...)
}

// put is send with s.mu held and without a look at held presence. d is set for
// a message that must reach somebody else when this client never takes it.
func (s *session) put(d *duty, parts ...[]byte) bool {
	if s.ended {
		return false
	}
	if s.sm != nil {
		s.sm.keep(d, parts)
		if s.sm.full() {
			s.overflow()
			return true // goes elsewhere with the rest of the queue
		}
		if s.stream == nil {
			return true
		}
		if s.sm.ask() {
			var room [5][]byte
			s.stream.Send(append(append(room[:0], parts...), ackRequest)...)
		} else {
			s.stream.Send(parts...)
		}
		return true // what the wire could not take is in the queue
	}
	ok := s.stream != nil && s.stream.Send(parts...)
	if ok && d != nil {
		d.met.Store(true) // without XEP-0198 nobody will say so later
	}
	return ok
}

// putRaw sends elements that are not stanzas (XEP-0198 §4: they are not counted);
// s.mu held.
func (s *session) putRaw(b []byte) {
	if s.stream != nil {
		s.stream.Send(b)
	}
}

// wait returns when no goroutine reads for the session any more.
func (s *session) wait(ctx context.Context) error {
	s.mu.Lock()
	r := s.reader
	s.mu.Unlock()
	select {
	case <-r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the session: contacts are told, watches given back, unacknowledged
// messages passed on, and the stream closed with e (nil: a normal end). Only the
// first call does anything. It may block, and must not be called with locks held.
func (s *session) end(ctx context.Context, e *xmpp.StreamError) { s.endWith(ctx, e, false) }

// endWith is end. With settled it returns when the owner has taken back the session's
// presence, or after CallTime.
func (s *session) endWith(ctx context.Context, e *xmpp.StreamError, settled bool) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		if settled {
			s.edge.leaving.waitHeard(s.seat())
		}
		return
	}
	s.ended = true
	last := s.edge.leaving.begin(s.seat())
	st, sm := s.stream, s.sm
	s.mu.Unlock()

	if sm != nil {
		sm.stop()
		if sm.token != "" {
			s.edge.reg.tokens.Delete(sm.token)
			s.edge.forgot.put(sm.token, s.user.entity, s.in.Load())
		}
	}
	s.sayLast(ctx, last)
	if st != nil {
		st.Close(e)
	}
	if settled {
		s.edge.leaving.waitHeard(s.seat())
	}
	if sm != nil {
		s.edge.redeliver(ctx, s, sm.unacked())
	}
	s.leaveStored(ctx)
}

// depart tells those who saw the session that it is gone, and stops watching.
// act is held.
func (s *session) depart(ctx context.Context, native presence.Payload) {
	s.mu.Lock()
	watches, directed := s.watches, s.directed
	s.watches, s.directed, s.held, s.loaded = nil, nil, nil, nil
	s.forgetCaps()
	s.mu.Unlock()
	if s.far != nil {
		s.far.said = nil
	}
	if s.prio.Swap(unavailable) != unavailable || len(directed) > 0 {
		// Those who got directed presence are told by the same (RFC 6121 §4.6.5).
		in := presence.Retract{ID: s.source(), Native: native, Node: s.edge.c.Engine.Self()}
		if err := s.edge.submit(ctx, s.user.entity, in, nil); err != nil {
			s.log().Error("presence not retracted", "err", err)
		}
	}
	for contact := range watches {
		if err := s.edge.submit(ctx, contact, presence.Unwatch{ID: s.handle, Silent: true}, nil); err != nil {
			s.log().Error("watch not ended", "presentity", contact.String(), "err", err)
		}
	}
}

func (s *session) source() presence.SourceID {
	return presence.SourceID{Kind: presence.Session, Key: s.resource}
}

// kinds of subscription stanzas by their type attribute.
var kinds = map[string]roster.Kind{
	"subscribe": roster.Subscribe, "subscribed": roster.Subscribed,
	"unsubscribe": roster.Unsubscribe, "unsubscribed": roster.Unsubscribed,
}

var kindNames = [...]string{
	roster.Subscribe: "subscribe", roster.Subscribed: "subscribed",
	roster.Unsubscribe: "unsubscribe", roster.Unsubscribed: "unsubscribed",
}
