package sip

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ServerTx is a server transaction (RFC 3261 §17.2, RFC 6026), in the hands of
// the handler. The stack itself keeps only a small entry of it, so that the
// request can be collected while its response is still kept.
type ServerTx struct {
	stack *Stack
	req   *Message
	flow  *Flow
	reply peer // where responses go
	entry *serverEntry
	shard *serverShard
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
	invite := tx.entry.invite != nil
	if !invite && (r.Status == 408 || r.Status > 100 && r.Status < 200 || r.Status == 100 && !tx.reply.reliable()) {
		return
	}
	tag := r.ToTag
	if tag == "" {
		tag = tx.entry.key.tag()
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
	byKey   map[txKey]*serverEntry
	merging map[txKey]*serverEntry // unanswered requests by From tag, Call-ID, CSeq
	// Entries in the order of their age; each list has one time-out, so that
	// its due entries are at the front and need no timer each.
	trying, proceeding, completed entryList
	kept                          int // octets of responses in completed
}

// serverEntry is what is kept of a transaction.
type serverEntry struct {
	key        txKey
	merge      txKey
	since      time.Time // when it came to its list
	response   []byte    // the last one sent
	tx         *ServerTx // until the final response
	invite     *inviteServer
	list       *entryList
	next, prev *serverEntry
}

// entryOverhead is what an entry costs beside its response.
const entryOverhead = 256

func (t *serverTable) init(s *Stack) {
	t.stack = s
	t.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	t.sweep.owner = t
	for i := range t.shards {
		sh := &t.shards[i]
		sh.table = t
		sh.byKey = make(map[txKey]*serverEntry)
		sh.merging = make(map[txKey]*serverEntry)
	}
}

func (t *serverTable) kept() (n int) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		n += sh.kept
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
// CANCEL belong to their INVITE.
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
func (t *serverTable) mergeKey(m *Message) txKey {
	var room [256]byte
	b := append(room[:0], m.From().Tag()...)
	b = append(b, 0)
	b = append(b, m.CallID()...)
	b = append(b, 0)
	b = append(b, m.Method...)
	b = strconv.AppendUint(b, uint64(m.CSeq()), 10)
	return t.hash(b)
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
	if e := sh.byKey[key]; e != nil {
		sh.again(e, m, &via, p)
		return
	}
	if m.Method == "ACK" { // for a 2xx, or a stray: never answered
		sh.mu.Unlock()
		return
	}
	if s.handler == nil || s.closed.Load() || t.unanswered.Load() >= int64(s.limits.Unanswered) {
		sh.mu.Unlock()
		s.count.refused.Add(1)
		s.answer(m, p, &Response{Status: 503, Header: []byte("Retry-After: 5\r\n")})
		return
	}
	e := &serverEntry{key: key, since: time.Now()}
	if m.To().Tag() == "" {
		// Only while the other one is unanswered: libpurple repeats a refused
		// request with credentials under the same CSeq and a new branch.
		e.merge = t.mergeKey(m)
		if sh.merging[e.merge] != nil {
			sh.mu.Unlock()
			s.answer(m, p, &Response{Status: 482, Reason: "Merged Request"})
			return
		}
		sh.merging[e.merge] = e
	}
	tx := &ServerTx{stack: s, req: m, flow: s.flow(p), reply: replyTo(&via, p), entry: e, shard: sh}
	e.tx = tx
	sh.byKey[key] = e
	if method == "INVITE" {
		e.invite = newInviteServer(tx)
	} else {
		sh.trying.push(e)
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

// again takes a request whose transaction exists. It unlocks the shard.
func (sh *serverShard) again(e *serverEntry, m *Message, via *Via, p peer) {
	s := sh.table.stack
	if e.invite != nil {
		again := e.invite.received(m)
		response := e.response
		sh.mu.Unlock()
		if again && response != nil {
			s.count.retransmitted.Add(1)
			replyTo(via, p).send(response)
		}
		return
	}
	response := e.response
	sh.mu.Unlock()
	if m.Method == "ACK" {
		return
	}
	s.count.retransmitted.Add(1)
	if response != nil && !p.reliable() {
		replyTo(via, p).send(response)
	}
}

// answered notes a response; false when it is not to be sent.
func (sh *serverShard) answered(tx *ServerTx, r *Response, b []byte) bool {
	e, t := tx.entry, sh.table
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.tx == nil { // final response sent, or given up
		return e.invite != nil && e.invite.again2xx(r)
	}
	if r.Status < 200 {
		if !tx.reply.reliable() || e.invite != nil {
			e.response = append([]byte(nil), b...)
		}
		if e.invite != nil {
			e.invite.provisional()
		} else if e.list == &sh.trying {
			sh.trying.remove(e)
			sh.proceeding.push(e)
		}
		return true
	}
	sh.settle(e)
	switch {
	case e.invite != nil:
		e.response = append([]byte(nil), b...)
		e.invite.final(r.Status)
	case tx.reply.reliable():
		sh.forget(e) // timer J is zero (RFC 3261 §17.2.2)
	default:
		e.response = append([]byte(nil), b...)
		e.since = time.Now()
		sh.completed.push(e)
		sh.kept += len(b) + entryOverhead
		for sh.kept > t.stack.limits.Kept/serverShards && sh.completed.head != e {
			sh.drop(sh.completed.head)
		}
	}
	return true
}

// settle ends the unanswered part of an entry's life.
func (sh *serverShard) settle(e *serverEntry) {
	e.tx = nil
	if e.list != nil {
		e.list.remove(e)
	}
	if sh.merging[e.merge] == e {
		delete(sh.merging, e.merge)
	}
	sh.table.unanswered.Add(-1)
}

// drop forgets an entry of the completed list.
func (sh *serverShard) drop(e *serverEntry) {
	sh.kept -= len(e.response) + entryOverhead
	sh.completed.remove(e)
	sh.forget(e)
}

func (sh *serverShard) forget(e *serverEntry) {
	delete(sh.byKey, e.key)
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
func (t *serverTable) expire(now time.Time) {
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

func (sh *serverShard) sweep(now time.Time) {
	var late []*ServerTx
	sh.mu.Lock()
	for e := sh.completed.head; e != nil && now.Sub(e.since) >= timerF; e = sh.completed.head {
		sh.drop(e) // timer J
	}
	for e := sh.trying.head; e != nil && now.Sub(e.since) >= due100; e = sh.trying.head {
		sh.trying.remove(e)
		sh.proceeding.push(e) // with its first since: order by age stays
		late = append(late, e.tx)
	}
	// The client has given up by its timer F; an answer now would only be a
	// stray one (RFC 4320 §4.2).
	for e := sh.proceeding.head; e != nil && now.Sub(e.since) >= timerF; e = sh.proceeding.head {
		sh.settle(e)
		sh.forget(e)
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

// entryList is a list in the order of insertion.
type entryList struct{ head, tail *serverEntry }

func (l *entryList) push(e *serverEntry) {
	e.list, e.prev, e.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = e
	} else {
		l.head = e
	}
	l.tail = e
}

func (l *entryList) remove(e *serverEntry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.tail = e.prev
	}
	e.list, e.next, e.prev = nil, nil, nil
}
