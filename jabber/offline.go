package jabber

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/engine"
	"pharos/markup"
)

// mail is what a session was handed of its user's stored messages (XEP-0160). They stay in
// the mailbox until the client is known to have them: so whatever breaks before that, the
// connection or this node, they are handed over again at the next login. With stream
// management it is known when the client has acknowledged them (XEP-0198 §4). Without, a ping
// follows them (XEP-0199), and its answer, be it an error, proves that all before it has arrived. A
// client that answers no ping, against RFC 6120 §8.2.3, is believed to have what it was handed for
// longer than ProofTime when it closes its stream in order.
//
// Under the session's mu.
type mail struct {
	turn   uint64   // the number of the session's turn; 0: it has none
	busy   bool     // somebody hands over
	again  bool     // and is to look once more
	more   bool     // more is stored than is handed over at once
	failed bool     // the connection takes no more, and there is no stream management
	pings  uint64   // that were sent
	handed []handed // without stream management, and not proved
	got    []int64  // what the client has, and the mailbox may have yet
}

// handed is a stored message that a ping has followed.
type handed struct {
	number int64
	ping   uint64
	at     time.Time
}

// takeStored hands over what came while the user was away (XEP-0160 §2), in its order, as far
// as no other session of the user is handed it at present. It blocks.
func (s *session) takeStored(ctx context.Context) {
	if ms, _ := s.stored(ctx); len(ms) == 0 {
		return
	}
	s.mu.Lock()
	if s.mail == nil {
		s.mail = new(mail)
	}
	m := s.mail
	if s.ended || m.busy || m.failed {
		m.again = true
		s.mu.Unlock()
		return
	}
	m.busy = true
	s.mu.Unlock()
	for again := true; again; {
		s.handStored(ctx)
		s.mu.Lock()
		again, m.again = m.again && !s.ended && !m.failed, false
		m.busy = again
		s.mu.Unlock()
	}
	s.arrived(ctx)
}

// stored are the messages in the mailbox that the session was not handed; of those
// that it was, how many there are.
func (s *session) stored(ctx context.Context) (ms []engine.Stored, inHand int) {
	ms, err := s.edge.c.Engine.Stored(ctx, s.user.entity)
	if err != nil {
		s.log().Error("stored messages not read", "err", err)
		return nil, 0
	}
	if len(ms) == 0 {
		return nil, 0
	}
	s.mu.Lock()
	known := s.inHand()
	s.mu.Unlock()
	return slices.DeleteFunc(ms, func(m engine.Stored) bool { return known[m.Number] }), len(known)
}

// inHand are the numbers of what the session was handed and the mailbox has yet. mu is held.
func (s *session) inHand() map[int64]bool {
	all := make(map[int64]bool)
	if s.sm != nil {
		for i := range s.sm.queue {
			if d := s.sm.queue[i].duty; d != nil && d.stored != 0 {
				all[d.stored] = true
			}
		}
		for _, n := range s.sm.got {
			all[n] = true
		}
	}
	if s.mail != nil {
		for _, h := range s.mail.handed {
			all[h.number] = true
		}
		for _, n := range s.mail.got {
			all[n] = true
		}
	}
	return all
}

// handStored is takeStored for the one who is busy with it.
func (s *session) handStored(ctx context.Context) {
	number := s.turn(ctx)
	if number == 0 {
		return // told when it is over
	}
	s.mu.Lock()
	m := s.mail
	m.turn = number
	m.more = false
	s.mu.Unlock()
	// Again: whoever had the turn before may have been handed them.
	ms, count := s.stored(ctx)
	size := 0
	for i := range ms {
		x := &ms[i]
		if s.user.blocked(x.From, x.FromResource) {
			s.mu.Lock()
			m.got = append(m.got, x.Number) // dropped unseen
			s.mu.Unlock()
			continue
		}
		if count >= MaxHanded || size >= MaxHandedBytes {
			s.mu.Lock()
			m.more = true
			s.mu.Unlock()
			break
		}
		head, rest := messageBytes(x.Message)
		end := len(rest) - len("</message>")
		delay := appendDelay(nil, x.Message, s.user.entity.Domain)
		if !s.hand(x, head, rest[:end:end], delay) {
			break
		}
		count++
		size += len(head) + len(rest) + len(delay)
	}
	s.askProof()
}

// hand sends one stored message. False: it cannot be sent, and waits for the next login.
func (s *session) hand(x *engine.Stored, parts ...[]byte) bool {
	d := s.edge.newDuty(x.Message, 1)
	d.stored = x.Number
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	managed := s.sm != nil
	switch {
	case !s.put(d, parts...):
		s.mail.failed = true
		return false
	case !managed:
		s.mail.handed = append(s.mail.handed, handed{x.Number, s.mail.pings + 1, time.Now()})
	}
	return true
}

// proofMark begins the ids of the pings that follow stored messages.
const proofMark = "stored-"

// askProof sends a ping after stored messages if there is no stream management.
func (s *session) askProof() {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mail
	if n := len(m.handed); n == 0 || m.handed[n-1].ping <= m.pings {
		return
	}
	m.pings++
	b := append([]byte("<iq type='get'"), " id='"+proofMark...)
	b = append(strconv.AppendUint(b, m.pings, 10), '\'')
	b = markup.AppendAttr(b, "from", s.user.entity.Domain)
	b = markup.AppendAttr(b, "to", s.full)
	s.put(nil, append(b, "><ping xmlns='"+nsPing+"'/></iq>"...))
}

// proved takes the answer to such a ping; false: it is none.
func (s *session) proved(ctx context.Context, el *markup.Element) bool {
	id, ok := strings.CutPrefix(el.Attr("id"), proofMark)
	if to := el.Attr("to"); !ok || to != "" && to != s.user.entity.Domain {
		return false
	}
	ping, err := strconv.ParseUint(id, 10, 64)
	s.mu.Lock()
	m := s.mail
	if err != nil || m == nil || ping == 0 || ping > m.pings {
		s.mu.Unlock()
		return false
	}
	m.believe(func(h *handed) bool { return h.ping <= ping })
	s.mu.Unlock()
	s.arrived(ctx)
	return true
}

// believe counts what was handed as arrived.
func (m *mail) believe(arrived func(*handed) bool) {
	rest := m.handed[:0]
	for i := range m.handed {
		if arrived(&m.handed[i]) {
			m.got = append(m.got, m.handed[i].number)
		} else {
			rest = append(rest, m.handed[i])
		}
	}
	m.handed = rest
	if len(rest) == 0 {
		m.handed = nil
	}
}

// closedInOrder is for a stream that its client has closed. mu is held.
func (s *session) closedInOrder() {
	if s.mail != nil {
		now := time.Now()
		s.mail.believe(func(h *handed) bool { return now.Sub(h.at) >= ProofTime })
	}
}

// collect has what was acknowledged removed. mu is held.
func (s *session) collect() {
	if s.sm == nil || len(s.sm.got) == 0 {
		return
	}
	if s.mail == nil {
		s.mail = new(mail)
	}
	s.mail.got = append(s.mail.got, s.sm.got...)
	s.sm.got = nil
}

// arrived removes from the mailbox what the client has, and goes on with what is stored
// beyond, or lets the user's other sessions look. It blocks.
func (s *session) arrived(ctx context.Context) {
	for {
		m := s.remove(ctx)
		if m == nil {
			return
		}
		s.mu.Lock()
		over := !m.busy && (s.ended || m.failed || len(s.inHand()) == 0)
		next := over && m.more && !s.ended && !m.failed
		number := uint64(0)
		if over && !next {
			number, m.turn = m.turn, 0
		}
		if next {
			m.more = false
		}
		s.mu.Unlock()
		if !next {
			s.turnOver(number)
			return
		}
		s.takeStored(ctx)
	}
}

// remove takes from the mailbox what the client has. What the store does not remove it is asked to remove
// again with what comes next, or at the session's end. nil: the session was handed nothing.
func (s *session) remove(ctx context.Context) *mail {
	var got []int64
	s.mu.Lock()
	s.collect()
	m := s.mail
	if m != nil {
		got = slices.Clone(m.got)
	}
	s.mu.Unlock()
	if len(got) == 0 {
		return m
	}
	if err := s.edge.c.Engine.RemoveStored(ctx, s.user.entity, got...); err != nil {
		s.log().Error("stored messages not removed", "err", err)
		return m
	}
	s.mu.Lock()
	m.got = slices.DeleteFunc(m.got, func(n int64) bool { return slices.Contains(got, n) })
	s.mu.Unlock()
	return m
}

// leaveStored gives back what a session that has ended was handed and its client is not known to
// have: to the user's other sessions, else it waits for the next login. It blocks.
func (s *session) leaveStored(ctx context.Context) {
	m := s.remove(ctx)
	if m == nil {
		return
	}
	s.mu.Lock()
	left := m.more || len(s.inHand()) > 0
	number := m.turn
	m.turn = 0
	s.mu.Unlock()
	s.turnOver(number)
	if left {
		s.edge.mailAgain(s.user.entity)
	}
}

// packMail is for a session that goes to another node. mu is held.
func (s *session) packMail(p packer) packer {
	s.collect()
	p = p.bool(s.mail != nil)
	if m := s.mail; m != nil {
		p = p.num(m.turn).bool(m.more).num(m.pings).num(uint64(len(m.handed)))
		for _, h := range m.handed {
			p = p.num(uint64(h.number)).num(h.ping).time(h.at)
		}
		p = p.num(uint64(len(m.got)))
		for _, n := range m.got {
			p = p.num(uint64(n))
		}
	}
	return p
}

func unpackMail(in *unpacker) *mail {
	if !in.Bool() {
		return nil
	}
	m := &mail{turn: in.Uint(), more: in.Bool(), pings: in.Uint()}
	for range in.Count() {
		m.handed = append(m.handed, handed{int64(in.Uint()), in.Uint(), in.time()})
	}
	for range in.Count() {
		m.got = append(m.got, int64(in.Uint()))
	}
	return m
}

// appendDelay says when a message was sent (XEP-0203), and ends the message.
func appendDelay(b []byte, m *engine.Message, domain string) []byte {
	b = append(b, "<delay xmlns='"+nsDelay+"'"...)
	b = markup.AppendAttr(b, "from", domain)
	b = append(b, " stamp='"...)
	b = m.Sent.UTC().AppendFormat(b, stampFormat)
	return append(b, "'/></message>"...)
}

// redeliver passes on what a session never acknowledged (XEP-0198 §4): as to an
// unavailable resource, that is to the user's other sessions, else the mailbox.
func (e *Edge) redeliver(ctx context.Context, s *session, ms []*engine.Message) {
	far := e.many
	for _, m := range ms {
		again := *m
		again.ToResource = ""
		if m.ToResource != "" && m.Type != "chat" && m.Type != "" {
			continue
		}
		rec := e.reg.user(m.To)
		if e.deliverTo(rec, rec.willing(m.Type), &again) || e.passOn(ctx, &again, &far) || m.NoStore {
			continue
		}
		e.c.Engine.Undelivered(&again)
	}
}
