package sip

import "time"

// inviteServer is the INVITE server transaction (RFC 3261 §17.2.1 as changed
// by RFC 6026 §7.1). A presence server refuses calls, so these are rare and each
// has a timer. Its fields are guarded by the shard's lock.
type inviteServer struct {
	timer
	tx       *ServerTx
	state    inviteState
	interval time.Duration // timer G, or of a 2xx
	end      time.Time     // timer H, I or L; or when we give up the handler
	sent     bool          // a provisional response has been sent

	acked    func(error) // Accept: called when the ACK has come, or not
	awaiting txKey       // that ACK
}

type inviteState uint8

const (
	inviteProceeding inviteState = iota
	inviteCompleted              // 3xx-6xx sent, retransmitted until the ACK
	inviteConfirmed              // ACK received, further ones absorbed
	inviteAccepted               // 2xx sent, retransmissions of the INVITE absorbed
	inviteTerminated
)

const (
	due100INVITE   = 200 * time.Millisecond // RFC 3261 §17.2.1
	inviteHandling = 3 * time.Minute        // for a handler that never answers
)

// newInviteServer is called with the shard locked.
func newInviteServer(tx *ServerTx) *inviteServer {
	i := &inviteServer{tx: tx, end: time.Now().Add(inviteHandling)}
	i.owner = i
	tx.stack.wheel.arm(&i.timer, due100INVITE)
	return i
}

// received takes an INVITE or ACK of this transaction and tells whether the
// last response is to be sent again.
func (i *inviteServer) received(m *Message) bool {
	if m.Method != "ACK" {
		return i.state == inviteProceeding || i.state == inviteCompleted
	}
	switch i.state {
	case inviteAccepted: // of a client that repeats the branch
		if acked := i.established(); acked != nil {
			go acked(nil) // the shard is locked
		}
	case inviteCompleted:
		i.state = inviteConfirmed
		if i.tx.reply.reliable() {
			i.terminate()
		} else {
			i.until(timerT4) // timer I
		}
	}
	return false
}

func (i *inviteServer) provisional() { i.sent = true }

// final is called once, with the first final response.
func (i *inviteServer) final(status int) {
	if status < 300 {
		i.state = inviteAccepted
		i.until(timerF) // timer L
		if i.acked != nil {
			i.interval = timerT1
			i.tx.stack.wheel.arm(&i.timer, timerT1)
		}
		return
	}
	i.state = inviteCompleted
	i.end = time.Now().Add(timerF) // timer H
	i.interval = timerF
	if !i.tx.reply.reliable() {
		i.interval = timerT1 // timer G
	}
	i.tx.stack.wheel.arm(&i.timer, i.interval)
}

// again2xx tells whether a response after the final one may pass: the handler
// retransmits its 2xx itself (RFC 6026 §7.1).
func (i *inviteServer) again2xx(r *Response) bool {
	return i.state == inviteAccepted && r.Status/100 == 2
}

func (i *inviteServer) until(d time.Duration) {
	i.end = time.Now().Add(d)
	i.tx.stack.wheel.arm(&i.timer, d)
}

func (i *inviteServer) terminate() {
	if i.state != inviteTerminated {
		i.state = inviteTerminated
		i.tx.shard.forget(i.tx)
		i.tx.stack.wheel.stop(&i.timer)
	}
}

func (i *inviteServer) expire(now time.Time) {
	sh, tx := i.tx.shard, i.tx
	sh.mu.Lock()
	var again []byte
	var acked func(error)
	trying := false
	switch {
	case i.state == inviteTerminated:
	case !now.Before(i.end):
		if !tx.settled {
			sh.settle(tx)
		}
		acked = i.established()
		i.terminate()
	case i.state == inviteProceeding:
		trying = !i.sent
		i.tx.stack.wheel.arm(&i.timer, i.end.Sub(now))
	case i.state == inviteCompleted || i.acked != nil && i.state == inviteAccepted:
		again = tx.response
		i.interval = min(2*i.interval, timerT2)
		i.tx.stack.wheel.arm(&i.timer, min(i.interval, i.end.Sub(now)))
	default:
		i.tx.stack.wheel.arm(&i.timer, i.end.Sub(now))
	}
	sh.mu.Unlock()
	if again != nil {
		i.tx.reply.send(again)
	}
	if trying {
		i.tx.trying()
	}
	if acked != nil {
		acked(ErrTimeout)
	}
}

// cancel answers a CANCEL (RFC 3261 §9.2): 481 where there is nothing to
// cancel, else 200, and 487 for an INVITE that has no final response yet. It has
// no effect on other requests.
func (s *Stack) cancel(m *Message, via *Via, p peer) {
	t := &s.server
	key := t.key(m, via, "INVITE")
	sh := t.shard(m.CallID())
	sh.mu.Lock()
	tx := sh.byKey[key]
	sh.mu.Unlock()
	if tx == nil {
		s.answer(m, p, &Response{Status: 481})
		return
	}
	buf := getBuffer()
	buf.b = appendResponse(buf.b[:0], m, p.addr, &Response{Status: 200}, key.tag())
	replyTo(via, p).send(buf.b)
	putBuffer(buf)
	tx.Respond(Response{Status: 487}) // ignored when there is a final response
}
