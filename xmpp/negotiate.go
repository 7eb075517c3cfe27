package xmpp

import (
	"context"
	"crypto/rand"
	"io"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
)

// newStreamID makes an id that cannot be guessed (RFC 6120 §4.7.3).
func newStreamID() string { return rand.Text() }

// negotiate runs a connection up to the features behind SASL (RFC 6120 §4.3). The
// error is what ended it before.
func (s *Stream) negotiate(ctx context.Context) error {
	s.mu.Lock()
	if !s.ending { // whose deadline must stand
		_ = s.raw.SetDeadline(time.Now().Add(s.a.limits.AuthTimeout))
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.a.limits.AuthTimeout)
	defer cancel()
	if s.mode == DirectTLS {
		if err := s.handshake(s.a.direct); err != nil {
			return err
		}
	}
	var n negotiation
	for {
		s.opened = false
		h, err := s.wire.open()
		if err != nil {
			return err
		}
		if err := s.checkOpen(h); err != nil {
			return err
		}
		s.id = newStreamID()
		s.opened = true
		if err := s.answerOpen(); err != nil {
			s.broken = true
			return err
		}
		if s.authenticated() {
			return nil
		}
		if err := n.secure(ctx, s); err != nil {
			return err
		}
		s.wire.restart(s.a.limits.markup(s.authenticated()))
	}
}

// answerOpen sends our stream header with the features.
func (s *Stream) answerOpen() error {
	room := gatherBuffers.Get().(*[gather]byte)
	defer gatherBuffers.Put(room)
	return s.writeNow(s.wire.appendElement(s.wire.appendOpen(room[:0], s), s.features()))
}

func (s *Stream) authenticated() bool { return s.user != JID{} }

// encrypted tells whether what is said is private: TLS is on, or something
// before us took it off.
func (s *Stream) encrypted() bool { return s.conn != s.raw || s.secure }

// checkOpen looks at the peer's stream header, in the order of RFC 6120 §4.7.
func (s *Stream) checkOpen(h *markup.Element) error {
	if s.ws != nil {
		if !h.Is(nsFraming, "open") {
			return &StreamError{Condition: "invalid-namespace", Text: "a stream begins with <open/> of " + nsFraming}
		}
	} else if e := checkNamespaces(h); e != nil {
		return e
	}
	if !supported(h.Attr("version")) {
		return &StreamError{Condition: "unsupported-version"}
	}
	to, err := PrepDomain(h.Attr("to"))
	switch {
	case err != nil:
		return &StreamError{Condition: "improper-addressing", Text: "the attribute to is missing or malformed"}
	case !s.a.serves(to):
		return &StreamError{Condition: "host-unknown"}
	case s.authenticated() && to != s.domain:
		return &StreamError{Condition: "not-authorized", Text: "authenticated for another domain"}
	}
	s.from = ""
	if v := h.Attr("from"); v != "" {
		from, err := ParseJID(v)
		if s.authenticated() && (err != nil || from.Bare() != s.user) {
			// RFC 6120 §4.7.1: from, where it is given, is the account.
			return &StreamError{Condition: "invalid-from"}
		}
		if err == nil {
			s.from = strings.Clone(from.Bare().String())
		}
	}
	s.domain = strings.Clone(to)
	s.lang, _ = h.LookupAttr(markup.XMLSpace, "lang")
	s.lang = strings.Clone(s.lang)
	return nil
}

// checkNamespaces is RFC 6120 §4.8.
func checkNamespaces(h *markup.Element) error {
	if h.Space != NSStreams {
		return &StreamError{Condition: "invalid-namespace"}
	}
	if h.Local != "stream" {
		return &StreamError{Condition: "bad-format", Text: "a stream begins with <stream:stream>"}
	}
	for _, d := range h.Decls {
		// §4.8.3: the content namespace is the default, or each stanza
		// declares it below streams as the default.
		if d.Prefix == "" && (d.Space == NSClient || d.Space == NSStreams) {
			return nil
		}
	}
	return &StreamError{Condition: "invalid-namespace", Text: "the content namespace of clients is " + NSClient}
}

// supported is RFC 6120 §4.7.5: major version 1, whatever the minor one.
func supported(version string) bool {
	major, minor, ok := strings.Cut(version, ".")
	if !ok {
		return false
	}
	m, err1 := strconv.ParseUint(major, 10, 16)
	_, err2 := strconv.ParseUint(minor, 10, 16)
	return err1 == nil && err2 == nil && m == 1
}

// features are what the stream offers now (RFC 6120 §4.3.2).
func (s *Stream) features() string {
	if s.authenticated() {
		return s.a.features
	}
	b := make([]byte, 0, 512)
	b = append(b, "<stream:features>"...)
	switch {
	case s.encrypted() || s.ws != nil:
	case s.mode == StartTLS:
		// §5.3.1: as long as TLS is required, it alone is offered.
		return "<stream:features><starttls xmlns='" + NSTLS + "'><required/></starttls></stream:features>"
	case s.a.starttls != nil:
		b = append(b, "<starttls xmlns='"+NSTLS+"'/>"...)
	}
	b = append(b, "<mechanisms xmlns='"+NSSASL+"'>"...)
	types, _ := s.bindings()
	for _, m := range mechanisms {
		if !m.plus || types != nil {
			b = append(append(append(b, "<mechanism>"...), m.name...), "</mechanism>"...)
		}
	}
	b = append(b, "</mechanisms>"...)
	if types != nil { // XEP-0440
		b = append(b, "<sasl-channel-binding xmlns='"+nsBindings+"'>"...)
		for _, t := range types {
			b = append(b, "<channel-binding type='"+t+"'/>"...)
		}
		b = append(b, "</sasl-channel-binding>"...)
	}
	return string(append(b, "</stream:features>"...))
}

// negotiation is what a connection has used up.
type negotiation struct{ failures int }

// secure reads until TLS or SASL has succeeded and the stream starts anew.
func (n *negotiation) secure(ctx context.Context, s *Stream) error {
	for {
		tree, err := s.wire.tree()
		if err != nil {
			return err
		}
		done, err := n.take(ctx, s, tree.Root())
		tree.Release()
		if done || err != nil {
			return err
		}
	}
}

// take is secure for one element.
func (n *negotiation) take(ctx context.Context, s *Stream, el *markup.Element) (done bool, err error) {
	switch {
	case el.Is(NSTLS, "starttls"):
		return true, s.startTLS()
	case el.Is(NSSASL, "auth"):
		return n.authenticate(ctx, s, el)
	case el.Space == NSSASL:
		// A response or abort that belongs to nothing.
		return false, n.fail(s, malformedRequest)
	case el.Is(NSStreams, "error"):
		return false, readStreamError(el)
	case el.Local == "message" || el.Local == "presence" || el.Local == "iq":
		return false, &StreamError{Condition: "not-authorized"} // RFC 6120 §4.9.3.12
	}
	return false, &StreamError{Condition: "unsupported-stanza-type"} // §4.9.3.24
}

// startTLS answers <starttls/> (RFC 6120 §5.4.2). After a failure the stream is
// closed.
func (s *Stream) startTLS() error {
	t, ok := s.wire.(tcp)
	// What came in the clear behind <starttls/> would be taken as if it had
	// come under TLS; somebody in the middle may have put it there.
	if !ok || s.encrypted() || s.a.starttls == nil || t.Buffered() > 0 {
		if err := s.writeNow(s.wire.appendElement(nil, "<failure xmlns='"+NSTLS+"'/>")); err != nil {
			return err
		}
		return io.EOF
	}
	if err := s.writeNow([]byte("<proceed xmlns='" + NSTLS + "'/>")); err != nil {
		return err
	}
	return s.handshake(s.a.starttls)
}
