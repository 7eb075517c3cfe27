package sip

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ServerTx is a server transaction (RFC 3261 §17.2, RFC 6026). After the final
// response the stack keeps only that (keptResponses), so that the request can
// be collected; INVITE is kept whole until it ends.
type ServerTx struct {
	stack *Stack
	req   *Message
	flow  *Flow
	reply peer // where responses go
	key   txKey
	shard *serverShard

	// Under the shard's lock.
	merge      uint64
	since      time.Duration // when it came
	settled    bool          // final response sent, or given up
	response   []byte        // the last one sent
	invite     *inviteServer
	list       *txList
	next, prev *ServerTx
}

// Request is the request that began the transaction.
func (tx *ServerTx) Request() *Message { return tx.req }

// Flow is where the request came from.
func (tx *ServerTx) Flow() *Flow { return tx.flow }

// Respond sends a response. Via, From, To (with ToTag added when the request
// had none), Call-ID, CSeq and, for dialog-creating 1xx/2xx, Record-Route are
// copied from the request (RFC 3261 §8.2.6). A second final response is ignored,
// and so is what RFC 4320 forbids for other requests than INVITE: a 408, a
// provisional response but 100, and a 100 over UDP, which the stack sends itself
// when it is due.
func (tx *ServerTx) Respond(r Response) {
	if r.Status < 100 || r.Status > 699 {
		tx.stack.log.Error("sip: response with an impossible status", "status", r.Status, "method", tx.req.Method)
		r = Response{Status: 500}
	}
	invite := tx.invite != nil
	if !invite && (r.Status == 408 || r.Status > 100 && r.Status < 200 || r.Status == 100 && !tx.reply.reliable()) {
		return
	}
	tag := r.ToTag
	if tag == "" {
		tag = tx.key.tag()
	}
	if tx.stack.overload.loss != nil {
		via := tx.req.Via()
		r.overload = tx.stack.overload.params(&via, tx.flow.addr.Addr(), time.Now())
	}
	buf := getBuffer()
	buf.b = appendResponse(buf.b[:0], tx.req, tx.flow.addr, &r, tag)
	if tx.shard.answered(tx, &r, buf.b) {
		tx.stack.sendResponse(tx, buf.b)
	}
	putBuffer(buf)
}

// sendResponse sends over the flow that the request came on; where that
// connection is gone, over one to the address of the client's sent-by
// (RFC 3261 §18.2.2).
func (s *Stack) sendResponse(tx *ServerTx, b []byte) {
	err := tx.reply.send(b)
	if err == nil {
		return
	}
	if !tx.reply.reliable() { // the client will ask again
		s.log.Debug("sip: response not sent", "method", tx.req.Method, "to", tx.reply.addr, "octets", len(b), "error", err)
		return
	}
	c := tx.reply.conn
	if c.websocket || !c.flow.addr.IsValid() || s.closed.Load() {
		return // RFC 7118: nobody listens there
	}
	via := tx.req.Via()
	t := Target{Transport: c.transport, Host: via.Host}
	port := uint16(via.Port)
	if port == 0 {
		port = defaultPort(c.transport)
	}
	t.Addr = netip.AddrPortFrom(c.flow.addr.Addr(), port)
	if c := s.connTo(t); c != nil {
		c.send(b)
	}
}

// txKey names a transaction: a keyed 128-bit hash of what RFC 3261 §17.2.3
// matches by, since a key of pointers and strings for each of 32 seconds'
// transactions costs the collector more than the hashing.
type txKey [2]uint64

// tag is a To tag made from the key: the same for each retransmission, also
// when the response was sent without state (RFC 3261 §8.2.7).
func (k txKey) tag() string {
	var b [16]byte
	const digits = "0123456789abcdef"
	for i := range b {
		b[i] = digits[k[1]>>(4*i)&15]
	}
	return string(b[:])
}

// serverTable finds server transactions. It is cut in shards by Call-ID, so
// that what can concern one another meets under one lock.
type serverTable struct {
	seeds      [2]maphash.Seed
	unanswered atomic.Int64
	entries    atomic.Int64
	sweeping   atomic.Bool
	stack      *Stack
	sweep      timer
	shards     [serverShards]serverShard
}

const serverShards = 64

type serverShard struct {
	mu      sync.Mutex
	table   *serverTable
	byKey   map[txKey]*ServerTx
	merging map[uint64]*ServerTx // unanswered requests by mergeKey
	// Unanswered requests in the order of their age; each list has one time-out,
	// so that what is due is at the front and needs no timer each.
	trying, proceeding txList
	kept               keptResponses
	accepted           map[txKey]*ServerTx // INVITEs whose 2xx waits for its ACK
}

func (t *serverTable) init(s *Stack) {
	t.stack = s
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	t.sweep.owner = t
	for i := range t.shards {
		sh := &t.shards[i]
		sh.table = t
		sh.kept.limit = s.limits.Kept / serverShards
		sh.byKey = make(map[txKey]*ServerTx)
		sh.merging = make(map[uint64]*ServerTx)
	}
}

func (t *serverTable) kept() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += sh.kept.octets
		sh.mu.Unlock()
	}
	return n
}

func (t *serverTable) hash(b []byte) txKey {
	return txKey{maphash.Bytes(t.seeds[0], b), maphash.Bytes(t.seeds[1], b)}
}

func (t *serverTable) shard(callID string) *serverShard {
	return &t.shards[maphash.String(t.seeds[0], callID)%serverShards]
}

// key is the transaction that a request belongs to (RFC 3261 §17.2.3). ACK and
// CANCEL belong to their INVITE. The CSeq number counts too: libpurple repeats a
// request with credentials under a new CSeq and the old branch, which by the
// letter is a retransmission and would be answered 401 for ever.
func (t *serverTable) key(m *Message, via *Via, method string) txKey {
	var room [256]byte
	b := room[:0]
	if via.Cookie() {
		b = append(b, via.Branch...)
		b = append(b, 0)
		b = append(b, lower(via.Host)...)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(via.Port), 10)
		b = append(b, 0)
		b = append(b, method...)
		b = strconv.AppendUint(b, uint64(m.CSeq()), 10)
		return t.hash(b)
	}
	// An RFC 2543 client. The To tag is left out for INVITE, since its ACK has
	// the one of our response.
	top, _ := m.Get(HVia)
	top, _, _ = nextValue(top)
	for _, part := range [...]string{m.URI, m.From().Tag(), m.CallID(), method, top} {
		b = append(b, part...)
		b = append(b, 0)
	}
	b = strconv.AppendUint(b, uint64(m.CSeq()), 10)
	if method != "INVITE" {
		b = append(b, m.To().Tag()...)
	}
	return t.hash(b)
}

// mergeKey is what two copies of one request that came on different paths have
// in common (RFC 3261 §8.2.2.2).
func (t *serverTable) mergeKey(m *Message) uint64 {
	var room [256]byte
	b := append(room[:0], m.From().Tag()...)
	b = append(b, 0)
	b = append(b, m.CallID()...)
	b = append(b, 0)
	b = append(b, m.Method...)
	b = strconv.AppendUint(b, uint64(m.CSeq()), 10)
	return maphash.Bytes(t.seeds[0], b)
}

// request takes a request: a retransmission is answered from the table, a new
// one goes to the handler.
func (s *Stack) request(m *Message, p peer) {
	via := m.Via()
	method := m.Method
	switch method {
	case "CANCEL":
		s.cancel(m, &via, p)
		return
	case "ACK":
		method = "INVITE"
	}
	t := &s.server
	key := t.key(m, &via, method)
	sh := t.shard(m.CallID())

	sh.mu.Lock()
	if tx := sh.byKey[key]; tx != nil {
		sh.again(tx, m, &via, p)
		return
	}
	if response, ok := sh.kept.get(key); ok {
		sh.mu.Unlock()
		s.count.retransmitted.Add(1)
		replyTo(&via, p).send(response)
		return
	}
	if m.Method == "ACK" { // for a 2xx, or a stray: never answered
		sh.ack(m)
		return
	}
	if s.handler == nil || s.closed.Load() || t.unanswered.Load() >= int64(s.limits.Unanswered) {
		sh.mu.Unlock()
		s.count.refused.Add(1)
		s.answer(m, p, &Response{Status: 503, Header: []byte("Retry-After: 5\r\n")})
		return
	}
	tx := &ServerTx{stack: s, req: m, flow: s.flow(p), reply: replyTo(&via, p), key: key, shard: sh, since: s.now()}
	if m.To().Tag() == "" {
		// Only while the other one is unanswered: libpurple repeats a refused
		// request with credentials under the same CSeq and a new branch.
		tx.merge = t.mergeKey(m)
		if sh.merging[tx.merge] != nil {
			sh.mu.Unlock()
			s.answer(m, p, &Response{Status: 482, Reason: "Merged Request"})
			return
		}
		sh.merging[tx.merge] = tx
	}
	sh.byKey[key] = tx
	if method == "INVITE" {
		tx.invite = newInviteServer(tx)
	} else {
		sh.trying.push(tx)
	}
	sh.mu.Unlock()
	t.unanswered.Add(1)
	t.entries.Add(1)
	t.keepSweeping()

	s.count.requests.Add(1)
	if p.conn != nil {
		p.conn.noteAlias(&via)
	}
	s.serve(tx)
}

// replyTo is where responses to a request from p go.
func replyTo(via *Via, p peer) peer {
	if !p.reliable() {
		p.addr = responseAddr(via, p.addr)
	}
	return p
}

// again takes a request whose transaction is there. It unlocks the shard.
func (sh *serverShard) again(tx *ServerTx, m *Message, via *Via, p peer) {
	response := tx.response
	switch {
	case tx.invite != nil:
		if !tx.invite.received(m) {
			response = nil
		}
	case m.Method == "ACK" || p.reliable():
		response = nil
	}
	sh.mu.Unlock()
	if m.Method != "ACK" {
		tx.stack.count.retransmitted.Add(1)
	}
	if response != nil {
		replyTo(via, p).send(response)
	}
}

// answered notes a response; false when it is not to be sent.
func (sh *serverShard) answered(tx *ServerTx, r *Response, b []byte) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if tx.settled {
		return tx.invite != nil && tx.invite.again2xx(r)
	}
	if r.Status < 200 {
		if !tx.reply.reliable() || tx.invite != nil {
			tx.response = append([]byte(nil), b...)
		}
		if tx.invite != nil {
			tx.invite.provisional()
		} else if tx.list == &sh.trying {
			sh.trying.remove(tx)
			sh.proceeding.push(tx)
		}
		return true
	}
	sh.settle(tx)
	if tx.invite != nil {
		tx.response = append([]byte(nil), b...)
		tx.invite.final(r.Status)
		return true
	}
	sh.forget(tx)
	if !tx.reply.reliable() { // else timer J is zero (RFC 3261 §17.2.2)
		before := sh.kept.len()
		sh.kept.add(tx.key, b, tx.stack.now())
		sh.table.entries.Add(int64(sh.kept.len() - before))
	}
	return true
}

// settle ends the unanswered part of a transaction's life.
func (sh *serverShard) settle(tx *ServerTx) {
	tx.settled = true
	if tx.list != nil {
		tx.list.remove(tx)
	}
	if sh.merging[tx.merge] == tx {
		delete(sh.merging, tx.merge)
	}
	sh.table.unanswered.Add(-1)
}

func (sh *serverShard) forget(tx *ServerTx) {
	delete(sh.byKey, tx.key)
	sh.table.entries.Add(-1)
}

// sweepInterval is how late a time-out of the lists can be.
const sweepInterval = 100 * time.Millisecond

// due100 is when a client's timer E has grown to T2 (RFC 4320 §4.1).
const due100 = timerT1 + 2*timerT1 + 4*timerT1

func (t *serverTable) keepSweeping() {
	if !t.sweeping.Load() && t.sweeping.CompareAndSwap(false, true) {
		t.stack.wheel.arm(&t.sweep, sweepInterval)
	}
}

// expire sweeps the lists; it stops when the table is empty.
func (t *serverTable) expire(time.Time) {
	now := t.stack.now()
	for i := range t.shards {
		t.shards[i].sweep(now)
	}
	if t.entries.Load() > 0 {
		t.stack.wheel.arm(&t.sweep, sweepInterval)
		return
	}
	t.sweeping.Store(false)
	if t.entries.Load() > 0 { // one came in between
		t.keepSweeping()
	}
}

func (sh *serverShard) sweep(now time.Duration) {
	var late []*ServerTx
	sh.mu.Lock()
	before := sh.kept.len()
	sh.kept.expire(now) // timer J
	sh.table.entries.Add(int64(sh.kept.len() - before))
	for tx := sh.trying.head; tx != nil && now-tx.since >= due100; tx = sh.trying.head {
		sh.trying.remove(tx)
		sh.proceeding.push(tx) // with its first since: order by age stays
		late = append(late, tx)
	}
	// The client has given up by its timer F; an answer now would only be a
	// stray one (RFC 4320 §4.2).
	for tx := sh.proceeding.head; tx != nil && now-tx.since >= timerF; tx = sh.proceeding.head {
		sh.settle(tx)
		sh.forget(tx)
	}
	sh.mu.Unlock()
	for _, tx := range late {
		tx.trying()
	}
}

// trying sends the 100 that the standard asks for when there is no answer yet.
func (tx *ServerTx) trying() {
	r := Response{Status: 100}
	b := appendResponse(nil, tx.req, tx.flow.addr, &r, "")
	if tx.shard.answered(tx, &r, b) {
		tx.reply.send(b)
	}
}

// txList is a list in the order of insertion.
type txList struct{ head, tail *ServerTx }

func (l *txList) push(tx *ServerTx) {
	tx.list, tx.prev, tx.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = tx
	} else {
		l.head = tx
	}
	l.tail = tx
}

func (l *txList) remove(tx *ServerTx) {
	if tx.prev != nil {
		tx.prev.next = tx.next
	} else {
		l.head = tx.next
	}
	if tx.next != nil {
		tx.next.prev = tx.prev
	} else {
		l.tail = tx.prev
	}
	tx.list, tx.next, tx.prev = nil, nil, nil
}
