package sip

import (
	"sync"
	"time"
)

// inviteClient is what an INVITE client transaction has beside the others
// (RFC 3261 §17.1.1 as changed by RFC 6026 §7.2). It is guarded by the lock of its
// clientTx.
type inviteClient struct {
	state   inviteClientState
	request *Message // as it was sent last
	ack     []byte   // to a final response that is no success
	tag     string   // of the first 2xx
	cancel  bool     // the caller does not want it any more
	said    bool     // a CANCEL has been sent
	resend  []byte   // the same, until it is answered
}

type inviteClientState uint8

const (
	inviteCalling     inviteClientState = iota
	inviteAnswering                     // Proceeding: a provisional response has come
	inviteRefused                       // Completed: each retransmission gets the ACK again
	inviteEstablished                   // Accepted: each 2xx gets its ACK
)

// inviteRinging bounds the time from a provisional response to the final one; then the
// INVITE is cancelled. RFC 3261 leaves it to the caller, whose peers are machines here.
const inviteRinging = time.Minute

// Invite starts an INVITE client transaction (RFC 3261 §17.1.1). done is called once, as
// that of Request is, with the first final response or an error. Responses that are
// no success are acknowledged by the transaction; so is a 2xx, also each time that
// it is retransmitted (§13.2.2.4), towards its Contact and along its Record-Route: the
// caller has a dialog then, and ends it with BYE. A 2xx of another branch of a fork is
// acknowledged and ended with BYE here, since the caller asked for one dialog.
//
// cancel gives the INVITE up (§9.1): done gets the 487, or a 2xx that was faster.
func (s *Stack) Invite(out OutRequest, done func(resp *Message, err error)) (cancel func()) {
	out.Method = "INVITE"
	switch {
	case out.URI == "":
		go done(nil, ErrRequest)
		return func() {}
	case s.closed.Load():
		go done(nil, ErrClosed)
		return func() {}
	case s.client.outstanding.Load() >= int64(s.limits.Outstanding):
		go done(nil, ErrOverload)
		return func() {}
	}
	tx := s.newClientTx(&out, done)
	tx.invite = &inviteClient{}
	tx.begin(&out)
	return sync.OnceFunc(tx.giveUp)
}

// inviteResponse takes a response in any state. It is called with tx.mu held and
// unlocks it.
func (tx *clientTx) inviteResponse(m *Message) {
	i, s := tx.invite, tx.stack
	if m.Method == "CANCEL" {
		i.resend = nil // it has arrived; the INVITE's own answer follows
		tx.mu.Unlock()
		return
	}
	switch i.state {
	case inviteCalling, inviteAnswering:
		if m.Status < 200 {
			if i.state == inviteCalling {
				i.state = inviteAnswering // timer A and B end here
				tx.deadline = time.Now().Add(inviteRinging)
				s.wheel.arm(&tx.timer, inviteRinging)
			}
			if i.cancel && !i.said {
				tx.sendCancel()
			}
			tx.mu.Unlock()
			return
		}
		s.count.responses.Add(1)
		request, err := Parse(tx.buf.b)
		if err != nil { // the caller's header lines are no SIP
			tx.finish(nil, ErrRequest)
			return
		}
		i.request = request
		if m.Status >= 300 {
			i.ack = appendRefusalACK(nil, request, m)
			tx.at.send(i.ack)
			if m.Status == 503 && len(tx.targets) > 0 && !i.cancel {
				tx.failed = m
				tx.next(ErrTransport) // RFC 3263 §4.3
				return
			}
			i.state = inviteRefused
			if tx.at.reliable() {
				tx.finish(m, nil) // timer D is zero
				return
			}
			tx.linger()
			tx.done(m, nil)
			return
		}
		i.state, i.tag = inviteEstablished, m.To().Tag()
		tx.linger()
		s.acknowledge(request, m)
		tx.done(m, nil)
	case inviteRefused:
		again := m.Status >= 300
		tx.mu.Unlock()
		if again {
			tx.at.send(i.ack)
		}
	case inviteEstablished:
		request, fork := i.request, m.To().Tag() != i.tag
		tx.mu.Unlock()
		if m.Status/100 == 2 {
			s.acknowledge(request, m)
			if fork {
				s.hangUp(request, m)
			}
		}
	}
}

// linger stays for retransmissions of the final response: timer D, or timer M, both 32
// seconds. It is called with tx.mu held and unlocks it.
func (tx *clientTx) linger() {
	s := tx.stack
	if tx.at.conn != nil {
		tx.at.conn.detach(tx)
	}
	putBuffer(tx.buf)
	tx.buf, tx.targets, tx.failed, tx.invite.resend = nil, nil, nil, nil
	tx.settled = true
	tx.deadline = time.Now().Add(timerF)
	s.wheel.arm(&tx.timer, timerF)
	tx.mu.Unlock()
	s.client.outstanding.Add(-1)
}

// expireInvite is expire for INVITE: timers A, B, D and M, and that of a CANCEL. It is
// called with tx.mu held and unlocks it.
func (tx *clientTx) expireInvite(now time.Time) {
	i := tx.invite
	late := !now.Before(tx.deadline)
	switch {
	case tx.settled && late:
		tx.over = true
		tx.leave()
		tx.mu.Unlock()
		return
	case late && i.state == inviteAnswering && !i.cancel:
		i.cancel = true
		tx.sendCancel()
	case late:
		tx.stack.count.timeouts.Add(1)
		tx.large = nil
		if i.cancel {
			tx.targets = nil
		}
		tx.next(ErrTimeout)
		return
	case tx.settled:
	case i.resend != nil:
		if !tx.at.reliable() {
			tx.at.send(i.resend)
			tx.interval = min(2*tx.interval, timerT2)
		}
	case i.state == inviteCalling && !tx.at.reliable(): // timer A doubles without a bound
		tx.stack.count.resent.Add(1)
		tx.at.send(tx.buf.b)
		tx.interval *= 2
	}
	wait := tx.deadline.Sub(now)
	if !tx.settled && (i.resend != nil || i.state == inviteCalling) {
		wait = min(wait, tx.interval)
	}
	tx.stack.wheel.arm(&tx.timer, wait)
	tx.mu.Unlock()
}

// giveUp is the caller's cancel. Before a provisional response nothing may be sent
// (RFC 3261 §9.1): then the CANCEL waits for one.
func (tx *clientTx) giveUp() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.over || tx.settled || tx.invite.cancel {
		return
	}
	tx.invite.cancel = true
	if tx.invite.state == inviteAnswering {
		tx.sendCancel()
	}
}

// sendCancel sends CANCEL to where the INVITE has gone, in its branch. After 64*T1
// without an answer the INVITE counts as cancelled (§9.1). Called with tx.mu held.
func (tx *clientTx) sendCancel() {
	tx.invite.said = true
	tx.interval = timerT1
	tx.deadline = time.Now().Add(timerF)
	tx.stack.wheel.arm(&tx.timer, timerT1)
	request, err := Parse(tx.buf.b)
	if err != nil {
		return
	}
	b := append([]byte(nil), "CANCEL "...)
	b = append(b, request.URI...)
	b = append(b, " SIP/2.0\r\n"...)
	b = request.AppendCopy(b, HVia)
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = request.AppendCopy(b, HRoute)
	b = request.AppendCopy(b, HFrom)
	b = request.AppendCopy(b, HTo)
	b = request.AppendCopy(b, HCallID)
	b = AppendCSeq(b, request.CSeq(), "CANCEL")
	b = append(b, "Content-Length: 0\r\n\r\n"...)
	tx.invite.resend = b
	tx.at.send(b)
}

// appendRefusalACK builds the ACK to a final response that is no success: of the INVITE's own
// transaction, so with its Via (RFC 3261 §17.1.1.3).
func appendRefusalACK(b []byte, invite, response *Message) []byte {
	b = append(b, "ACK "...)
	b = append(b, invite.URI...)
	b = append(b, " SIP/2.0\r\n"...)
	b = invite.AppendCopy(b, HVia)
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = invite.AppendCopy(b, HRoute)
	b = invite.AppendCopy(b, HFrom)
	b = response.AppendCopy(b, HTo)
	b = invite.AppendCopy(b, HCallID)
	b = AppendCSeq(b, invite.CSeq(), "ACK")
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// acknowledge sends the ACK to a 2xx: a request of its own, in the dialog
// (RFC 3261 §13.2.2.4), that nobody answers.
func (s *Stack) acknowledge(invite, response *Message) {
	out := inDialog(invite, response, "ACK", invite.CSeq())
	out.Header = invite.AppendCopy(out.Header, HAuthorization) // §22.1
	out.Header = invite.AppendCopy(out.Header, HProxyAuthorization)
	tx := s.newClientTx(&out, func(_ *Message, err error) {
		if err != nil {
			s.log.Debug("sip: ACK not sent", "to", out.NextHop, "error", err)
		}
	})
	tx.begin(&out)
}

// hangUp ends a dialog that nobody asked for.
func (s *Stack) hangUp(invite, response *Message) {
	s.Request(inDialog(invite, response, "BYE", invite.CSeq()+1), func(*Message, error) {})
}

// inDialog makes a request of the caller's in the dialog that a 2xx has established
// (RFC 3261 §12.1.2, §12.2.1.1): the remote target is its Contact, the route set its
// Record-Route in reverse.
func inDialog(invite, response *Message, method string, cseq uint32) OutRequest {
	out := OutRequest{Method: method, URI: invite.URI}
	if c, ok, err := response.Contact(); ok && err == nil {
		out.URI = c.URI
	}
	out.NextHop = out.URI
	routes := response.Values(HRecordRoute)
	for i := len(routes) - 1; i >= 0; i-- {
		if a, ok := parseAddress(routes[i]); ok && i == len(routes)-1 {
			out.NextHop = a.URI // a loose router; who is none is not of this century
		}
		out.Header = AppendHeader(out.Header, HRoute, routes[i])
	}
	out.Header = invite.AppendCopy(out.Header, HFrom)
	out.Header = response.AppendCopy(out.Header, HTo)
	out.Header = invite.AppendCopy(out.Header, HCallID)
	out.Header = AppendCSeq(out.Header, cseq, method)
	return out
}

// takes tells whether responses to a method belong here: a CANCEL has the branch of its
// INVITE.
func (tx *clientTx) takes(method string) bool {
	return tx.method == method || tx.invite != nil && method == "CANCEL"
}
