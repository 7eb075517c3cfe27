package jabber

import (
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pharos/engine"
	"pharos/markup"
	"pharos/presence"
	"pharos/xmpp"
)

// ackRequest asks the client to acknowledge (XEP-0198 §4).
var ackRequest = []byte("<r xmlns='" + nsSM + "'/>")

// ackEvery so many stanzas an acknowledgement is asked for; after a message at once.
const ackEvery = 8

// management is the state of XEP-0198 of one session; under the session's mu.
type management struct {
	token    string        // "" when the client did not ask for resumption
	lifetime time.Duration // of a hibernation
	acked    uint32        // h of the client's last <a/>; counts modulo 2^32
	queue    []sent        // sent and not acknowledged; queue[0] is number acked+1
	bytes    int
	duties   int     // messages in queue
	got      []int64 // of stored messages: acknowledged, see mail
	asked    bool    // an <r/> is out
	handed   int     // of a session from another node: stanzas in queue that it has brought
	timer    *time.Timer
}

// sent is one stanza that may have to be sent again.
type sent struct {
	parts [3][]byte
	duty  *duty // a message, to be passed on when it is never acknowledged
	at    int64 // Unix seconds; messages only
}

// duty is shared by the sessions that were handed one message.
type duty struct {
	message *engine.Message
	stored  int64 // its number in the mailbox, where it stays until it is acknowledged; 0: it is not there
	*fate
	own fate
}

// fate is what becomes of a message at the sessions that were handed it.
type fate struct {
	open atomic.Int32 // sessions that may still acknowledge it
	met  atomic.Bool  // one of them has it
}

// newDuty is for so many sessions. Of several nodes, what becomes of the message is remembered for
// longer than the message.
func (e *Edge) newDuty(m *engine.Message, sessions int) *duty {
	d := &duty{message: m}
	d.fate = &d.own
	if e.many {
		d.fate = new(fate)
	}
	d.open.Store(int32(sessions))
	return d
}

func (s *sent) size() int { return len(s.parts[0]) + len(s.parts[1]) + len(s.parts[2]) }

// keep remembers a stanza.
func (m *management) keep(d *duty, parts [][]byte) {
	e := sent{duty: d}
	if copy(e.parts[:], parts) < len(parts) {
		panic("jabber: a stanza in more than three parts")
	}
	if d != nil {
		e.at = time.Now().Unix()
		m.duties++
	}
	m.queue = append(m.queue, e)
	m.bytes += e.size()
}

func (m *management) full() bool {
	return len(m.queue) > MaxUnacked || m.bytes > MaxUnackedBytes
}

// ask tells whether an <r/> should follow.
func (m *management) ask() bool {
	if m.asked || m.duties == 0 && len(m.queue) < ackEvery {
		return false
	}
	m.asked = true
	return true
}

// ack drops what the client has handled; false if it claims more than was sent.
func (m *management) ack(h uint32) bool {
	n := h - m.acked // XEP-0198 §4: h wraps at 2^32
	if uint64(n) > uint64(len(m.queue)) {
		return false
	}
	for i := range m.queue[:n] {
		m.bytes -= m.queue[i].size()
		if d := m.queue[i].duty; d != nil {
			d.met.Store(true)
			m.duties--
			if d.stored != 0 {
				m.got = append(m.got, d.stored)
			}
		}
	}
	m.acked = h
	rest := copy(m.queue, m.queue[n:])
	clear(m.queue[rest:])
	m.queue = m.queue[:rest]
	if rest == 0 && cap(m.queue) > 64 {
		m.queue = nil
	}
	return true
}

// stop ends the timer of a hibernation. The session has ended.
func (m *management) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
}

// unacked are the messages that somebody else must get, but for those that are in the mailbox. The
// session has ended, so nothing is added any more.
func (m *management) unacked() []*engine.Message {
	var out []*engine.Message
	for i := range m.queue {
		if d := m.queue[i].duty; d != nil && d.stored == 0 && d.open.Add(-1) == 0 && !d.met.Load() {
			out = append(out, d.message)
		}
	}
	return out
}

// overflow ends a session that does not acknowledge; mu is held.
func (s *session) overflow() {
	if s.doomed {
		return
	}
	s.doomed = true
	if s.stream != nil {
		// The reading goroutine sees the end and cleans up.
		s.stream.Close(&xmpp.StreamError{Condition: "resource-constraint", Text: "too many stanzas not acknowledged"})
		return
	}
	if s.sm.timer != nil {
		s.sm.timer.Reset(0)
	}
}

// manage takes the elements of XEP-0198; false ends the stream.
func (s *session) manage(ctx context.Context, st *xmpp.Stream, el *markup.Element) bool {
	switch el.Local {
	case "enable":
		s.enable(el)
	case "resume":
		s.mu.Lock()
		s.putRaw(smFailed("unexpected-request", -1)) // XEP-0198 §5: only before binding
		s.mu.Unlock()
	case "r":
		b := append([]byte("<a xmlns='"+nsSM+"' h='"), strconv.FormatUint(uint64(s.in.Load()), 10)...)
		s.mu.Lock()
		s.putRaw(append(b, "'/>"...))
		s.mu.Unlock()
	case "a":
		return s.acknowledged(ctx, st, el)
	}
	return true
}

func (s *session) enable(el *markup.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sm != nil || s.ended {
		s.putRaw(smFailed("unexpected-request", -1))
		return
	}
	m := &management{}
	b := []byte("<enabled xmlns='" + nsSM + "'")
	if v := el.Attr("resume"); v == "true" || v == "1" {
		var raw [18]byte
		rand.Read(raw[:])
		m.token = s.edge.newToken(raw[:])
		m.lifetime = MaxHibernate
		if n, err := strconv.ParseUint(el.Attr("max"), 10, 31); err == nil {
			m.lifetime = min(m.lifetime, time.Duration(n)*time.Second)
		}
		s.edge.reg.tokens.Store(m.token, s)
		b = markup.AppendAttr(b, "id", m.token)
		b = append(b, " resume='true' max='"...)
		b = strconv.AppendInt(b, int64(m.lifetime/time.Second), 10)
		b = append(b, '\'')
		b = attr(b, "location", s.edge.c.Address) // XEP-0198 §5: where the client had best come back
	}
	s.putRaw(append(b, "/>"...))
	s.in.Store(0)
	s.sm = m
}

func (s *session) acknowledged(ctx context.Context, st *xmpp.Stream, el *markup.Element) bool {
	h, err := strconv.ParseUint(el.Attr("h"), 10, 32)
	s.mu.Lock()
	if s.sm == nil {
		s.mu.Unlock()
		return true
	}
	if err == nil && s.sm.ack(uint32(h)) {
		s.sm.asked = false
		if s.stream != nil && s.sm.ask() {
			s.stream.Send(ackRequest)
		}
		stored := len(s.sm.got) > 0
		s.mu.Unlock()
		if stored {
			s.arrived(ctx)
		}
		return true
	}
	e := tooHigh(uint32(h), s.sm)
	s.doomed = true
	s.mu.Unlock()
	st.Close(e)
	return false
}

// tooHigh is the stream error for a client that acknowledges what was never sent
// (XEP-0198 §4).
func tooHigh(h uint32, m *management) *xmpp.StreamError { return handledTooHigh(h, m.sent()) }

func handledTooHigh(h, sent uint32) *xmpp.StreamError {
	return &xmpp.StreamError{
		Condition: "undefined-condition", Text: "You acknowledged what was not sent",
		App: "<handled-count-too-high xmlns='" + nsSM + "' h='" + strconv.FormatUint(uint64(h), 10) +
			"' send-count='" + strconv.FormatUint(uint64(sent), 10) + "'/>",
	}
}

// sent is how many stanzas were sent.
func (m *management) sent() uint32 { return m.acked + uint32(len(m.queue)) }

// smFailed is <failed/>, with h where it is known (XEP-0198 §5).
func smFailed(condition string, h int64) []byte {
	b := []byte("<failed xmlns='" + nsSM + "'")
	if h >= 0 {
		b = append(b, " h='"...)
		b = append(strconv.AppendInt(b, h, 10), '\'')
	}
	b = append(append(b, "><"...), condition...)
	return append(b, " xmlns='"+nsStanzas+"'/></failed>"...)
}

// hibernate keeps a session whose stream broke for a while; false: its client
// did not ask for that. mu is held, stream is nil.
func (s *session) hibernate() bool {
	if s.sm == nil || s.sm.token == "" || s.edge.closing.Load() {
		return false
	}
	s.sm.stop()
	s.sm.asked = false
	s.sm.timer = time.AfterFunc(s.sm.lifetime, func() {
		s.mu.Lock()
		back := s.stream != nil
		s.mu.Unlock()
		if !back {
			s.end(context.Background(), nil)
		}
	})
	return true
}

// resume gives a session a new stream (XEP-0198 §5); nil: refused, the client may
// bind instead.
func (e *Edge) resume(ctx context.Context, st *xmpp.Stream, el *markup.Element) *session {
	token := el.Attr("previd")
	h, err := strconv.ParseUint(el.Attr("h"), 10, 32)
	if token == "" || err != nil {
		st.Send(smFailed("bad-request", -1))
		return nil
	}
	u := entityOf(st.User())
	v, _ := e.reg.tokens.Load(token)
	s, _ := v.(*session)
	if s == nil && e.many && !e.closing.Load() {
		return e.resumeFar(ctx, st, token, u, uint32(h))
	}
	if s == nil || s.user.entity != u {
		st.Send(smFailed("item-not-found", e.forgot.get(token, u)))
		return nil
	}
	for {
		s.mu.Lock()
		if s.ended || s.doomed || s.far != nil && s.far.moving != nil {
			s.mu.Unlock()
			st.Send(smFailed("item-not-found", e.forgot.get(token, u)))
			return nil
		}
		if s.stream == nil {
			break
		}
		// The client noticed the loss before we did. The old stream must be
		// read to its end, so that what was handled is counted.
		old := s.stream
		s.mu.Unlock()
		s.detach(old)
		if s.wait(ctx) != nil {
			return nil
		}
	}
	defer s.mu.Unlock()
	if s.sm.timer != nil {
		s.sm.timer.Stop()
	}
	if !s.sm.ack(uint32(h)) {
		se := tooHigh(uint32(h), s.sm)
		s.sm.timer.Reset(0)
		st.Close(se)
		return nil
	}
	s.attach(st, token)
	return s
}

// resumeFar is resume for a session on another node.
func (e *Edge) resumeFar(ctx context.Context, st *xmpp.Stream, token string, u presence.Entity, h uint32) *session {
	s, answer, se := e.fetch(ctx, u, token, h)
	switch {
	case se != nil:
		st.Close(se)
		return nil
	case s == nil:
		if n := e.forgot.get(token, u); n >= 0 {
			answer = smFailed("item-not-found", n)
		}
		st.Send(answer)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		close(s.reader)
		st.Send(smFailed("item-not-found", -1))
		return nil
	}
	s.attach(st, token)
	return s
}

// attach gives a session a new stream, and sends what was not acknowledged. mu is held.
func (s *session) attach(st *xmpp.Stream, token string) {
	s.stream, s.origin, s.reader = st, originOf(st), make(chan struct{})
	s.lang = st.Lang()
	s.inactive = false // XEP-0352 §4: every stream begins active
	b := append([]byte("<resumed xmlns='"+nsSM+"' h='"), strconv.FormatUint(uint64(s.in.Load()), 10)...)
	b = append(b, '\'')
	b = markup.AppendAttr(b, "previd", token)
	s.putRaw(append(b, "/>"...))
	s.again()
	s.flush()
}

// detach closes a stream that its client has given up, so that its session
// hibernates.
func (s *session) detach(old *xmpp.Stream) {
	s.mu.Lock()
	if s.stream == old {
		s.stream = nil
		if !s.hibernate() {
			s.doomed = true
		}
	}
	s.mu.Unlock()
	old.Close(&xmpp.StreamError{Condition: "conflict", Text: "resumed elsewhere"})
}

// again sends what was not acknowledged; messages say that they are late. mu is held.
func (s *session) again() {
	domain := s.user.entity.Domain
	now := time.Now().Unix()
	for i := range s.sm.queue {
		q := &s.sm.queue[i]
		if q.duty != nil && now-q.at > 1 && len(q.parts[2]) == 0 {
			end := len(q.parts[1]) - len("</message>")
			q.parts[1], q.parts[2] = q.parts[1][:end:end], appendDelay(nil, q.duty.message, domain)
		}
		s.stream.Send(q.parts[:]...)
	}
	if s.sm.ask() {
		s.stream.Send(ackRequest)
	}
}

// forgotten tells clients that come too late how many stanzas were handled.
type forgotten struct {
	mu   sync.Mutex
	m    map[string]ending
	ring [MaxForgotten]string
	next int
}

type ending struct {
	user    presence.Entity
	handled uint32
}

func (f *forgotten) put(token string, u presence.Entity, handled uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m == nil {
		f.m = make(map[string]ending)
	}
	delete(f.m, f.ring[f.next])
	f.ring[f.next] = token
	f.next = (f.next + 1) % len(f.ring)
	f.m[token] = ending{u, handled}
}

// get is the count for a token, -1 when it is not known.
func (f *forgotten) get(token string, u presence.Entity) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.m[token]; ok && e.user == u {
		return int64(e.handled)
	}
	return -1
}
