package simple

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/sip"
)

const (
	// messageWait bounds the work on one MESSAGE: below Timer F, after which the
	// sender has given up (RFC 3261 §17.1.2.2).
	messageWait = 20 * time.Second
	composing   = "application/im-iscomposing+xml" // RFC 3994
	plainText   = "text/plain"
)

// message takes a MESSAGE for a user here (RFC 3428 §7). It ends here and goes
// on as a message of the engine, to every device of the user in either world
// (RFC 7572), or waits for the user.
func (r *request) message() {
	from, ok := r.sender()
	if !ok {
		return
	}
	if n, has := r.msg.MaxForwards(); has && n == 0 {
		r.fail(483, "") // it would go on (RFC 3261 §16.3)
		return
	}
	if strings.HasSuffix(r.msg.CallID(), r.edge.callID) {
		r.fail(482, "") // one of ours: somebody has registered us as a contact
		return
	}
	if len(r.msg.Body) > r.edge.limits.Body {
		r.fail(413, "")
		return
	}
	if !r.enter(load.Message) {
		return
	}
	r.authenticate(from, func(r *request) {
		r.existing(r.to, (*request).relay)
	})
}

// relay hands the message to the engine, which may have to wait for the store.
func (r *request) relay() {
	m, ok := r.instantMessage()
	if !ok {
		return
	}
	e := r.edge
	select {
	case e.messages <- struct{}{}:
	default:
		r.retryLater(overloadWait)
		return
	}
	go func() {
		defer func() { <-e.messages }()
		ctx, cancel := context.WithTimeout(context.Background(), messageWait)
		defer cancel()
		stored, err := e.engine.Send(ctx, m)
		switch {
		case m.Native.Type == composing && (err == nil || errors.Is(err, engine.ErrUndeliverable)):
			r.fail(200, "") // nobody is there to see that somebody types, and that is fine
		case err == nil && (stored || !e.engine.Shows(ctx, m.To, m.From)):
			// RFC 3428 §7: taken, perhaps not yet delivered. Whom the user does not show
			// her presence is not told by this that she is there.
			r.fail(202, "")
		case err == nil:
			r.fail(200, "")
		case errors.Is(err, engine.ErrMailboxFull):
			r.fail(480, "Too Many Messages Wait For This User")
		case errors.Is(err, engine.ErrUndeliverable):
			r.fail(480, "") // RFC 7247 §5: <service-unavailable/>; whatever the reason
		default:
			r.failed(err)
		}
	}()
}

// instantMessage reads a MESSAGE by the table of RFC 7572 §5; ok is false when it
// has been answered.
func (r *request) instantMessage() (m *engine.Message, ok bool) {
	if r.encoded() {
		return nil, false
	}
	m = &engine.Message{
		From: r.who, To: r.to, ID: r.msg.Via().Branch, Thread: r.msg.CallID(),
		Edge: Name, Sent: time.Now(),
	}
	if at, has, err := r.msg.Date(); has && err == nil && at.Before(m.Sent) {
		m.Sent = at
	}
	sec, has, err := r.msg.Seconds(sip.HExpires)
	if err != nil {
		r.fail(400, "Malformed Expires")
		return nil, false
	}
	if has {
		// From its Date, else from now (RFC 3428 §7). One that comes too late is
		// still for those who are there, but not kept.
		m.Expires = m.Sent.Add(time.Duration(sec) * time.Second)
		m.NoStore = !m.Expires.After(time.Now())
	}
	m.Subject, _ = r.msg.Get(sip.HSubject)
	m.Lang, _ = r.msg.Get(sip.HContentLanguage)
	t, has, err := r.msg.ContentType()
	if err != nil {
		r.fail(400, "Malformed Content-Type")
		return nil, false
	}
	if !has {
		if r.msg.Body != "" {
			r.fail(400, "Body Without Content-Type") // RFC 3261 §7.4.1
			return nil, false
		}
		t = sip.MediaType{Type: "text", Subtype: "plain"}
	}
	if t.Is(plainText) {
		text, ok := plain(r.msg.Body, t.Params)
		if !ok {
			r.reply(415, "", []byte("Accept: text/plain;charset=UTF-8, */*\r\n"))
			return nil, false
		}
		m.Body = text
		return m, true
	}
	// What only SIP devices understand is carried as it is (RFC 7572 §7).
	m.ContentType, _ = r.msg.Get(sip.HContentType)
	m.Native = presence.Payload{Type: t.String(), Bytes: []byte(r.msg.Body)}
	m.NoStore = m.NoStore || t.Is(composing)
	if t.Type == "multipart" {
		m.Body = r.textParts()
	}
	return m, true
}

// textParts is what of a multipart body can be told as text, for those to whom the
// whole says nothing (RFC 5621 §4.2); empty when there is none.
func (r *request) textParts() string {
	parts, err := r.msg.Parts()
	if err != nil {
		return ""
	}
	var all []string
	for i := range parts {
		p := &parts[i]
		if !p.Type.Is(plainText) || p.Encoded || p.Disposition != "render" && p.Disposition != "inline" {
			continue
		}
		if text, ok := plain(p.Body, p.Type.Params); ok && text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

// plain is a text body in UTF-8, which is SIP's default (RFC 3261 §7.4.1).
func plain(body string, params sip.Params) (string, bool) {
	charset, _ := params.Get("charset")
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii":
		return strings.ToValidUTF8(body, "\uFFFD"), utf8.ValidString(body) || charset == ""
	case "iso-8859-1", "latin1":
		b := make([]rune, 0, len(body))
		for i := 0; i < len(body); i++ {
			b = append(b, rune(body[i]))
		}
		return string(b), true
	}
	return "", false
}

// Deliver sends a message to all contacts that the user has registered and that
// take messages (RFC 3428 §6); false when there is none. When it reaches none of
// them it is given back to the engine.
func (e *Edge) Deliver(m *engine.Message) bool {
	if e.bindings.shared && !e.bindings.read(m.To, e.engine.Term(m.To)) {
		return e.deliverLater(m)
	}
	return e.deliver(m)
}

func (e *Edge) deliver(m *engine.Message) bool {
	to := e.takers(m.To)
	if len(to) == 0 {
		e.bindings.wait(m.To) // registered, but not within reach: when that changes
		return false
	}
	e.spread(m, to, false, func() {
		// A phone that was started anew while its old contact was tried, for the 32
		// seconds of Timer F, has found nothing in the mailbox when it registered.
		fresh := slices.DeleteFunc(e.takers(m.To), func(b *binding) bool { return slices.Contains(to, b) })
		if len(fresh) == 0 || m.NoStore {
			e.undelivered(m)
			return
		}
		e.spread(m, fresh, true, func() { e.undelivered(m) })
	})
	return true
}

// takers are the contacts of a user that a message can be sent to.
func (e *Edge) takers(u presence.Entity) []*binding {
	return slices.DeleteFunc(e.bindings.get(u, time.Now()), func(b *binding) bool {
		return !b.takesMessages() || !e.reachable(b)
	})
}

// spread sends a message to several contacts; lost is called when none took it.
func (e *Edge) spread(m *engine.Message, to []*binding, waited bool, lost func()) {
	f := &fork{left: len(to)}
	for _, b := range to {
		e.sendMessage(m, b, waited, func(ok bool) {
			if f.ended(ok) {
				lost()
			}
		})
	}
}

// undelivered has the message stored, to be sent when the user registers next.
func (e *Edge) undelivered(m *engine.Message) {
	if m.NoStore {
		return
	}
	e.bindings.wait(m.To)
	e.engine.Undelivered(m)
}

// fork counts the answers of several contacts to one message.
type fork struct {
	mu   sync.Mutex
	left int
	ok   bool
}

// ended takes one answer; true when it was the last and none was good.
func (f *fork) ended(ok bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	f.ok = f.ok || ok
	return f.left == 0 && !f.ok
}

// takesMessages reads the methods of a Contact (RFC 3840 §10.7); without them
// nothing is known, and it is tried.
func (b *binding) takesMessages() bool {
	methods, has := sip.Params(b.params).Get("methods")
	if !has {
		return true
	}
	for m := range strings.SplitSeq(methods, ",") {
		if strings.EqualFold(strings.TrimSpace(m), "MESSAGE") {
			return true
		}
	}
	return false
}

// reachable reports whether there is any way to a contact. RFC 5626 §5.3: a flow that was registered is the
// only one; where it has ended with its node nobody has removed the binding.
func (e *Edge) reachable(b *binding) bool {
	return b.path != "" || !b.onlyFlow() && !b.outbound() || e.flowLives(b)
}

// flowOf is the live flow of a binding; nil when there is none.
func (e *Edge) flowOf(b *binding) *sip.Flow {
	if b.flow != nil {
		if b.flow.Alive() {
			return b.flow
		}
		return nil
	}
	if f, ok := e.stack.FlowByToken(b.token); ok && f.Alive() {
		return f
	}
	return nil
}

// sendMessage sends m to one contact, after those that are on their way there.
// done is called once.
func (e *Edge) sendMessage(m *engine.Message, b *binding, stored bool, done func(ok bool)) {
	e.lanes.enter(b.contact, func(free bool) {
		if !free {
			done(false)
			return
		}
		e.sendNow(m, b, stored, func(status int, err error) {
			// First this one is done with, so that the order is kept in the mailbox too.
			done(err == nil && status < 300)
			e.lanes.leave(b.contact, err == nil)
		})
	})
}

// sendNow sends m to one contact. A message that has waited gets a Date
// (RFC 3428 §10): the receiver shows when it was sent.
func (e *Edge) sendNow(m *engine.Message, b *binding, stored bool, done func(status int, err error)) {
	h := make([]byte, 0, 512)
	h = append(h, "From: <"...)
	h = appendAOR(h, m.From)
	// The sender's resource is not put there as a GRUU, as RFC 7572 §4 has it:
	// programs tell conversations apart by the whole URI of From.
	h = append(h, ">;tag="...)
	h = append(h, newID()[:16]...)
	h = append(h, "\r\nTo: <"...)
	h = appendAOR(h, m.To)
	h = append(h, ">\r\nCall-ID: "...)
	h = append(h, newID()...)
	h = append(h, e.callID...)
	h = append(h, "\r\nCSeq: 1 MESSAGE\r\n"...)
	if b.path != "" {
		h = sip.AppendHeader(h, sip.HRoute, b.path)
	}
	if m.Subject != "" {
		h = sip.AppendHeader(h, sip.HSubject, m.Subject)
	}
	if m.Lang != "" {
		h = sip.AppendHeader(h, sip.HContentLanguage, m.Lang)
	}
	if stored && !m.Sent.IsZero() {
		h = sip.AppendDate(h, m.Sent)
	}
	if !m.Expires.IsZero() { // counts from Date where there is one (RFC 3428 §7)
		from := time.Now()
		if stored {
			from = m.Sent
		}
		h = sip.AppendNumber(h, sip.HExpires, seconds(m.Expires.Sub(from)))
	}
	body := m.Native.Bytes
	switch {
	case m.ContentType == "":
		h = append(h, "Content-Type: text/plain\r\n"...)
		body = []byte(m.Body)
	default:
		h = sip.AppendHeader(h, sip.HContentType, m.ContentType)
	}
	e.count.messages.Add(1)
	if e.elsewhere(b) && e.flowLives(b) {
		e.sendFrom(b, h, body, done)
		return
	}
	e.sendHere(b, h, body, done)
}

// sendHere sends a MESSAGE of these header lines to a contact, over its flow or to
// its first route or itself.
func (e *Edge) sendHere(b *binding, header, body []byte, done func(status int, err error)) {
	out := sip.OutRequest{Method: "MESSAGE", URI: requestURI(b.contact), Flow: e.flowOf(b), Header: header, Body: body}
	if b.path != "" {
		first, _ := firstRoute(b.path)
		if a, ok := sip.ParseAddress(first); ok {
			out.NextHop = a.URI
		}
	} else if !b.onlyFlow() && !b.outbound() {
		out.NextHop = b.contact
	}
	e.stack.Request(out, func(resp *sip.Message, err error) {
		if err != nil {
			done(0, err)
			return
		}
		done(resp.Status, nil)
	})
}
