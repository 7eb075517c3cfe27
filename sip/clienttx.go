package sip

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// OutRequest is a request that we send. The stack writes the request line, Via,
// Max-Forwards and Content-Length.
type OutRequest struct {
	Method  string
	URI     string // request-URI
	Header  []byte // complete lines: From, To, Call-ID, CSeq, Contact, Route, ...; not changed, copied
	Body    []byte // may be shared by many requests; not changed, copied
	Flow    *Flow  // used while alive (RFC 5626, RFC 5923)
	NextHop string // URI resolved by RFC 3263 when Flow is nil or dead; empty: no fallback
	// Brief: of a 2xx nothing matters but its status. It is looked at only as far as it takes
	// to find its request, and the Message that done gets has nothing else.
	Brief bool
}

// maxDatagram is the largest request that goes by UDP where TCP is to be had:
// the path's MTU is not known (RFC 3261 §18.1.1).
const maxDatagram = 1300

// maxTargets bounds how many addresses one request is tried at.
const maxTargets = 8

// clientTx is a client transaction (RFC 3261 §17.1.2; clientinvite.go has what INVITE
// does otherwise). It lives until its final response: what timer K waits for,
// retransmissions of that response, is dropped without a transaction as well. An
// ACK to a 2xx is one that ends with being sent.
type clientTx struct {
	timer // E and F
	stack *Stack
	done  func(*Message, error)

	mu       sync.Mutex
	over     bool
	brief    bool // OutRequest.Brief
	settled  bool // INVITE: done was called, and retransmissions are waited for
	invite   *inviteClient
	method   string
	buf      *buffer // the request as it goes out
	via, end int     // where its Via line begins and ends
	id       uint64  // in the branch of that Via; the key in the table
	at       peer    // where it has been sent
	sentBy   netip.AddrPort
	hop      string   // what is left to be tried when a flow fails: OutRequest.NextHop
	targets  []Target // what is left to be tried
	large    *peer    // UDP peer to fall back on when TCP was tried for size only
	failed   *Message // a 503, to be reported if nothing better comes
	interval time.Duration
	deadline time.Time // timer F

	// Under the connection's lock.
	attached           bool
	connNext, connPrev *clientTx
}

// clientTable finds client transactions by the number in their branch. It is
// random and 64 bits wide: who has not seen the request cannot answer it.
type clientTable struct {
	outstanding atomic.Int64
	shards      [64]struct {
		mu sync.Mutex
		tx map[uint64]*clientTx
	}
}

func (t *clientTable) init() {
	for i := range t.shards {
		t.shards[i].tx = make(map[uint64]*clientTx)
	}
}

func (t *clientTable) put(id uint64, tx *clientTx) {
	sh := &t.shards[id%64]
	sh.mu.Lock()
	sh.tx[id] = tx
	sh.mu.Unlock()
}

func (t *clientTable) get(id uint64) *clientTx {
	sh := &t.shards[id%64]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.tx[id]
}

func (t *clientTable) delete(id uint64) {
	sh := &t.shards[id%64]
	sh.mu.Lock()
	delete(sh.tx, id)
	sh.mu.Unlock()
}

func (t *clientTable) closeAll(cause error) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		all := make([]*clientTx, 0, len(sh.tx))
		for _, tx := range sh.tx {
			all = append(all, tx)
		}
		sh.mu.Unlock()
		for _, tx := range all {
			tx.mu.Lock()
			tx.finish(nil, cause)
		}
	}
}

// Request starts a client transaction (RFC 3261 §17.1.2, RFC 4320); INVITE, ACK
// and CANCEL are not for it. done is called exactly once, with the final
// response or with ErrTimeout, ErrTransport, ErrNoTarget, ErrOverload, ErrRequest
// or ErrClosed, on a goroutine of the stack, never before Request returns from
// another than a quick peer's answer; it must not block. Requests above 1300
// octets go by TCP (RFC 3261 §18.1.1) where the target has it, else by UDP.
// Where DNS gives several targets, the next is tried after a failure, a
// time-out or a 503 (RFC 3263 §4.3), each with a branch of its own.
func (s *Stack) Request(out OutRequest, done func(resp *Message, err error)) {
	switch {
	case out.Method == "" || out.URI == "" || out.Method == "INVITE" || out.Method == "ACK" || out.Method == "CANCEL":
		go done(nil, ErrRequest)
		return
	case s.closed.Load():
		go done(nil, ErrClosed)
		return
	case s.client.outstanding.Load() >= int64(s.limits.Outstanding):
		go done(nil, ErrOverload)
		return
	}
	s.newClientTx(&out, done).begin(&out)
}

// newClientTx counts a request as outstanding.
func (s *Stack) newClientTx(out *OutRequest, done func(*Message, error)) *clientTx {
	s.client.outstanding.Add(1)
	tx := &clientTx{stack: s, done: done, method: out.Method, brief: out.Brief}
	tx.owner = tx
	tx.compose(out)
	return tx
}

// begin sends, or finds out where to.
func (tx *clientTx) begin(out *OutRequest) {
	tx.mu.Lock()
	if out.Flow != nil && out.Flow.Alive() {
		if tx.useFlow(out.Flow, out.NextHop) {
			tx.sent()
			return
		}
	}
	tx.resolve(out.NextHop)
}

// compose builds the request, as yet without a Via.
func (tx *clientTx) compose(out *OutRequest) {
	tx.buf = getBuffer()
	b := tx.buf.b[:0]
	b = append(b, out.Method...)
	b = append(b, ' ')
	b = append(b, out.URI...)
	b = append(b, " SIP/2.0\r\n"...)
	tx.via, tx.end = len(b), len(b)
	b = append(b, "Max-Forwards: 70\r\n"...)
	b = append(b, out.Header...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(out.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	tx.buf.b = append(b, out.Body...)
}

// useFlow sends over a live flow; false when it failed at once.
func (tx *clientTx) useFlow(f *Flow, nextHop string) bool {
	if f.conn == nil && len(tx.buf.b) > maxDatagram-maxVia {
		if t, ok := numericTarget(nextHop); ok && t.Transport == "UDP" && !t.explicit && t.Addr == f.addr {
			if tx.tryLarge(t, f.peer) {
				return true
			}
		}
	}
	tx.hop = nextHop
	return tx.sendTo(f.peer)
}

// maxVia is about the length of a Via line of ours.
const maxVia = 100

// tryLarge tries TCP in place of UDP for a large request.
func (tx *clientTx) tryLarge(t Target, udp peer) bool {
	s := tx.stack
	if s.tcpNo.refused(t.Addr) {
		return false
	}
	c := s.connTo(Target{Transport: "TCP", Addr: t.Addr, Host: t.Host})
	if c == nil {
		return false
	}
	tx.large = &udp
	if tx.sendTo(c.flow.peer) {
		return true
	}
	tx.large = nil
	s.tcpNo.note(t.Addr)
	return false
}

// resolve finds the targets of a next hop. It is called with tx.mu held and
// unlocks it. A numeric address needs no goroutine.
func (tx *clientTx) resolve(nextHop string) {
	s := tx.stack
	tx.hop = ""
	if nextHop == "" {
		tx.finish(nil, ErrTransport)
		return
	}
	if t, ok := numericTarget(nextHop); ok {
		tx.targets = []Target{t}
		tx.next(ErrTransport)
		return
	}
	u, err := ParseURI(nextHop)
	if err != nil || u.Host == "" || unresolvable(u.Host) {
		tx.finish(nil, ErrNoTarget)
		return
	}
	if !s.lookups.acquire(s.limits.Lookups) {
		tx.finish(nil, ErrOverload)
		return
	}
	started := s.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
		stop := context.AfterFunc(s.context, cancel)
		targets, err := s.resolve.Resolve(ctx, u)
		stop()
		cancel()
		s.lookups.release()
		tx.mu.Lock()
		switch {
		case tx.over:
			tx.mu.Unlock()
		case err != nil || len(targets) == 0:
			s.log.Debug("sip: next hop not found", "uri", nextHop, "error", err)
			if err = ErrNoTarget; s.closed.Load() {
				err = ErrClosed
			}
			tx.finish(nil, err)
		default:
			tx.targets = targets[:min(len(targets), maxTargets)]
			tx.next(ErrTransport)
		}
	})
	if !started {
		s.lookups.release()
		tx.finish(nil, ErrClosed)
		return
	}
	tx.mu.Unlock()
}

// next sends to the next target that takes it; cause is what done gets when
// there is none. It is called with tx.mu held and unlocks it.
func (tx *clientTx) next(cause error) {
	s := tx.stack
	for {
		if udp := tx.large; udp != nil { // RFC 3261 §18.1.1: TCP failed, by UDP then
			tx.large = nil
			if tx.sendTo(*udp) {
				break
			}
		}
		if len(tx.targets) == 0 {
			if tx.failed != nil {
				tx.finish(tx.failed, nil)
			} else {
				tx.finish(nil, cause)
			}
			return
		}
		t := tx.targets[0]
		tx.targets = tx.targets[1:]
		if !t.Addr.IsValid() || t.Addr.Addr().IsUnspecified() || t.Addr.Port() == 0 {
			continue
		}
		if t.Transport != "UDP" {
			if c := s.connTo(t); c != nil && tx.sendTo(c.flow.peer) {
				break
			}
			continue
		}
		u := s.socketFor(t.Addr.Addr())
		if u == nil {
			continue
		}
		udp := peer{socket: u, addr: t.Addr}
		if len(tx.buf.b) > maxDatagram-maxVia && !t.explicit && tx.tryLarge(t, udp) {
			break
		}
		if tx.sendTo(udp) {
			break
		}
	}
	tx.sent()
}

// sent ends an ACK, which is not answered. It is called with tx.mu held and unlocks it.
func (tx *clientTx) sent() {
	if tx.method == "ACK" {
		tx.finish(nil, nil)
		return
	}
	tx.mu.Unlock()
}

// sendTo sends over p with a branch of its own; false when that failed at
// once. Called with tx.mu held.
func (tx *clientTx) sendTo(p peer) bool {
	s := tx.stack
	tx.leave()
	tx.at = p
	tx.id = rand.Uint64()
	tx.writeVia(p)
	s.client.put(tx.id, tx)
	if p.conn != nil && !p.conn.attach(tx) {
		tx.leave()
		return false
	}
	if err := p.sendFor(tx.buf.b, tx); err != nil {
		tx.leave()
		return false
	}
	if s.closed.Load() { // Close may have passed by before we were in the table
		go s.client.closeAll(ErrClosed)
	}
	s.count.sent.Add(1)
	if tx.invite != nil {
		tx.invite.state = inviteCalling // also at the next target
	}
	now := time.Now()
	tx.deadline = now.Add(timerF)
	tx.interval = timerF
	if !p.reliable() {
		tx.interval = timerT1
	}
	s.wheel.armAt(&tx.timer, now.Add(tx.interval))
	return true
}

// leave takes the transaction out of where sendTo put it.
func (tx *clientTx) leave() {
	if tx.id != 0 {
		tx.stack.client.delete(tx.id)
		tx.id = 0
	}
	if tx.at.conn != nil {
		tx.at.conn.detach(tx)
	}
}

// writeVia puts the Via line for p in place of the one before.
func (tx *clientTx) writeVia(p peer) {
	var room [160]byte
	line := tx.appendVia(room[:0], p)
	b := tx.buf.b
	old := tx.end - tx.via
	if grow := len(line) - old; grow > 0 {
		b = append(b, line[:grow]...) // any octets: the copy overwrites them
	}
	copy(b[tx.via+len(line):], tx.buf.b[tx.end:])
	b = b[:len(tx.buf.b)-old+len(line)]
	copy(b[tx.via:], line)
	tx.buf.b, tx.end = b, tx.via+len(line)
}

// appendVia appends a Via line: RFC 3261 §18.1.1, rport of RFC 3581 §3, for
// which the client has to ask.
func (tx *clientTx) appendVia(b []byte, p peer) []byte {
	s := tx.stack
	b = append(b, "Via: SIP/2.0/"...)
	b = append(b, p.transport()...)
	b = append(b, ' ')
	if p.conn != nil {
		tx.sentBy = p.conn.sentBy()
	} else {
		tx.sentBy = s.routes.localFor(p.socket.local, p.addr.Addr())
	}
	switch {
	case s.host != "":
		b = append(b, s.host...)
	case !tx.sentBy.Addr().IsValid():
		b = append(b, "localhost.invalid"...) // as of a pipe in a test
	case tx.sentBy.Addr().Is6():
		b = append(b, '[')
		b = tx.sentBy.Addr().WithZone("").AppendTo(b)
		b = append(b, ']')
	default:
		b = tx.sentBy.Addr().AppendTo(b)
	}
	if port := tx.sentBy.Port(); port != 0 { // not known where we do not listen
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(port), 10)
	}
	b = append(b, ";branch="+MagicCookie...)
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], tx.id)
	b = hex.AppendEncode(b, id[:])
	b = append(b, ";rport"...)
	return append(b, "\r\n"...)
}

// branchID reads the number in a branch of ours.
func branchID(branch string) (uint64, bool) {
	if len(branch) != len(MagicCookie)+16 || branch[:len(MagicCookie)] != MagicCookie {
		return 0, false
	}
	n, err := strconv.ParseUint(branch[len(MagicCookie):], 16, 64)
	return n, err == nil
}

// response takes a response (RFC 3261 §17.1.3, §18.1.2). One that fits no
// request of ours is dropped.
func (t *clientTable) response(s *Stack, m *Message) {
	via := m.Via()
	id, ok := branchID(via.Branch)
	var tx *clientTx
	if ok {
		tx = t.get(id)
	}
	if tx == nil || !tx.takes(m.Method) {
		s.count.garbage.Add(1)
		return
	}
	tx.mu.Lock()
	switch {
	case tx.over || tx.id != id || !tx.ours(&via):
		tx.mu.Unlock()
	case tx.invite != nil:
		tx.inviteResponse(m)
	case m.Status < 200:
		// RFC 3261 §17.1.2.2: from now on at intervals of T2.
		if !tx.at.reliable() && tx.interval < timerT2 {
			tx.interval = timerT2
			s.wheel.arm(&tx.timer, min(timerT2, time.Until(tx.deadline)))
		}
		tx.mu.Unlock()
	case m.Status == 503 && (len(tx.targets) > 0):
		tx.failed = m
		tx.large = nil
		s.count.responses.Add(1)
		tx.next(ErrTransport)
	default:
		s.count.responses.Add(1)
		tx.finish(m, nil)
	}
}

// ours checks that the sent-by of a response is what we wrote (§18.1.2).
func (tx *clientTx) ours(via *Via) bool {
	if tx.stack.host != "" {
		return equalFold(via.Host, tx.stack.host)
	}
	if !tx.sentBy.Addr().IsValid() {
		return true
	}
	return via.Port == int(tx.sentBy.Port()) && hostIs(via.Host, tx.sentBy.Addr().WithZone(""))
}

// expire retransmits (timer E) or gives up (timer F).
func (tx *clientTx) expire(now time.Time) {
	tx.mu.Lock()
	switch {
	case tx.over || tx.id == 0:
		tx.mu.Unlock()
	case tx.invite != nil:
		tx.expireInvite(now)
	case !now.Before(tx.deadline):
		tx.stack.count.timeouts.Add(1)
		tx.large = nil
		tx.next(ErrTimeout)
	default:
		if !tx.at.reliable() {
			tx.stack.count.resent.Add(1)
			tx.at.send(tx.buf.b)
			tx.interval = min(2*tx.interval, timerT2)
		}
		tx.stack.wheel.arm(&tx.timer, min(tx.interval, tx.deadline.Sub(now)))
		tx.mu.Unlock()
	}
}

// transportFailed is told by a connection that has ended.
func (tx *clientTx) transportFailed(c *conn, cause error) {
	tx.mu.Lock()
	if tx.over || tx.at.conn != c {
		tx.mu.Unlock()
		return
	}
	if cause == ErrClosed {
		tx.finish(nil, ErrClosed)
		return
	}
	if tx.large != nil {
		tx.stack.tcpNo.note(tx.large.addr)
	}
	tx.next(ErrTransport)
}

// sendFailed is told when what was gathered could not be sent after all.
func (tx *clientTx) sendFailed(id uint64) {
	tx.mu.Lock()
	switch {
	case tx.over || tx.id != id:
		tx.mu.Unlock()
	case tx.hop != "":
		tx.leave()
		tx.resolve(tx.hop)
	default:
		tx.next(ErrTransport)
	}
}

// finish ends the transaction. It is called with tx.mu held and unlocks it.
func (tx *clientTx) finish(resp *Message, err error) {
	if tx.over {
		tx.mu.Unlock()
		return
	}
	tx.over = true
	sent := tx.id != 0
	tx.leave()
	tx.stack.wheel.stop(&tx.timer)
	if tx.settled { // an INVITE whose end was told
		tx.mu.Unlock()
		return
	}
	putBuffer(tx.buf)
	tx.buf, tx.targets, tx.failed = nil, nil, nil
	tx.mu.Unlock()
	tx.stack.client.outstanding.Add(-1)
	if sent {
		tx.done(resp, err)
	} else {
		go tx.done(resp, err) // within Request, perhaps: its caller may hold locks
	}
}
