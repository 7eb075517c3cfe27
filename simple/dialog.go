package simple

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"pharos/crowd"
	"pharos/presence"
	"pharos/sip"
)

// cseqBlock is how many CSeq numbers are reserved at once. What is reserved is
// saved before it is used, so that after a crash a dialog goes on above every
// number that can have been sent: phones ignore a NOTIFY whose CSeq went back.
const cseqBlock = 1000

// A dialog is the SIP side of one subscription (RFC 6665 §4.4.1): where its
// NOTIFYs go, and which of them is under way. The subscription itself is the
// presentity's. Its key is the tag that we put in To, which is also the
// subscription's ID.
//
// Its state is one immutable byte slice, the same that is saved as the
// subscription's Opaque: memory for a dialog is that, this struct and two words
// in a table.
type dialog struct {
	id         string
	presentity presence.Entity
	watcher    presence.Entity
	pkg        *eventPackage
	fetch      bool // asks once (RFC 6665 §4.4.3); never saved

	mu      sync.Mutex
	state   []byte    // see dialogState; replaced, never changed
	flow    *sip.Flow // over which the last SUBSCRIBE came; nil or dead: see route
	cseq    uint32    // last one sent
	ceiling uint32    // saved: cseq never passes it
	keeping bool      // a higher ceiling is being saved
	era     uint64    // Engine.Era in which the dialog was known to be this node's
	saved   uint64    // presence.Sum of the state that the owner was given last; only where there are other nodes

	next    notice // waits to be sent; the newest wins, or see memory
	now     notice // is under way
	held    bool   // nothing is sent until its package lets it go
	doubted bool   // it is being asked whether the dialog is still this node's
	paused  bool   // waits for eraPause: see asks
	passing bool   // the node that had it has not let it go yet
	unheard bool   // the owner may have been lost, and nothing has been heard of the next one
	queued  bool   // is in the outbox
	busy    bool   // a NOTIFY is under way
	loose   bool   // so is one before, which the answer to a SUBSCRIBE has overtaken
	ended   bool   // out of the table
	turn    uint32 // tells the answer to an overtaken NOTIFY from that to the last

	retry    *time.Timer // set while waiting after a failure
	stranded bool        // no way to the watcher until it shows up again
	troubled bool        // waits in the table for the watcher to register
	fails    uint8       // NOTIFYs in a row that failed
	code     uint16      // last answer; 408 for none, 503 when it could not be sent
	until    int64       // when the subscription runs out, as far as is known here, Unix seconds
	sent     int64       // when the last NOTIFY was sent, Unix nanoseconds
	version  uint64      // of the view that was last confirmed
	memory   *memory     // nil: nothing but the newest counts
}

// notice is what one NOTIFY tells.
type notice struct {
	view    *presence.View // nil: nothing may be told, or nothing is to be told
	expires int64          // Unix seconds
	state   presence.State // 0: no notice
	reason  presence.Reason
	neutral bool // the package's pending body instead of a view
	full    bool // everything is to be told, as in answer to a SUBSCRIBE
}

// dialogState is what of a dialog outlives the process.
type dialogState struct {
	ceiling    uint32
	remoteCSeq uint32
	part       [dialogParts]string
}

// The strings of a dialogState, in the order in which they are saved. Only add
// at the end: dialogs saved by an earlier version have fewer.
const (
	partPresentityUser = iota
	partPresentityDomain
	partWatcherUser
	partWatcherDomain
	partCallID
	partRemoteTag
	partLocalURI  // their To
	partRemoteURI // their From
	partTarget    // their Contact (remote target)
	partRoutes    // route set, as the value of a Route header
	partFlow      // token of the flow
	partEvent     // value of the Event header
	partContact   // our Contact
	partInstance  // +sip.instance of their Contact
	partAgent     // User-Agent, for people, and for what some clients need
	partAccept    // kind of body of the NOTIFYs; empty: the package's first (eventPackage.saved)
	partParams    // parameters of Event that the package keeps, beginning with ';'
	partKept      // what the package has kept of the bodies of SUBSCRIBE
	partStamp     // where there are several nodes: makes each state that is saved another one
	dialogParts
)

const dialogVersion = 1

// append writes s: version, ceiling, remote CSeq, number of parts, their
// lengths, the parts.
func (s *dialogState) append(b []byte) []byte {
	b = append(b, dialogVersion)
	b = binary.BigEndian.AppendUint32(b, s.ceiling)
	b = binary.BigEndian.AppendUint32(b, s.remoteCSeq)
	b = append(b, dialogParts)
	for _, p := range s.part {
		b = binary.AppendUvarint(b, uint64(len(p)))
	}
	for _, p := range s.part {
		b = append(b, p...)
	}
	return b
}

// encode is append in a slice of just the right size.
func (s *dialogState) encode() []byte {
	n := 10
	for _, p := range s.part {
		n += len(p) + 1
		if len(p) >= 0x80 {
			n++
		}
	}
	return s.append(make([]byte, 0, n))
}

var errDialog = errors.New("simple: dialog state cannot be read")

// decode reads what append wrote. The strings are views of b, which is never
// changed; no copy is made, since this runs for each NOTIFY.
func (s *dialogState) decode(b []byte) error {
	if len(b) < 10 || b[0] != dialogVersion {
		return errDialog
	}
	s.ceiling = binary.BigEndian.Uint32(b[1:])
	s.remoteCSeq = binary.BigEndian.Uint32(b[5:])
	n := int(b[9])
	sizes := b[10:]
	b, total := sizes, uint64(0)
	for range n {
		v, used := binary.Uvarint(b)
		if used <= 0 || v > 1<<20 {
			return errDialog
		}
		total += v
		b = b[used:]
	}
	if total != uint64(len(b)) {
		return errDialog
	}
	text := unsafe.String(unsafe.SliceData(b), len(b))
	for i := range min(n, dialogParts) {
		size, used := binary.Uvarint(sizes)
		sizes = sizes[used:]
		s.part[i], text = text[:size], text[size:]
	}
	return nil
}

// load reads d's state, which was encoded here or has been checked at Restore.
func (d *dialog) load() (s dialogState) {
	if err := s.decode(d.state); err != nil {
		panic(err)
	}
	return s
}

// save replaces d's state, with a new block of CSeq, which may be used once the
// state is durable. d.mu is held.
func (d *dialog) save(s *dialogState) []byte {
	s.ceiling = d.cseq + cseqBlock
	d.state = s.encode()
	return d.state
}

// end marks d as gone. d.mu is held.
func (d *dialog) end() {
	d.ended = true
	d.next, d.now = notice{}, notice{}
	if m := d.memory; m != nil {
		m.queue, m.told, m.last = nil, nil, notice{}
	}
	if d.retry != nil {
		d.retry.Stop()
		d.retry = nil
	}
	if d.memory != nil {
		d.memory.rates.stop()
	}
}

// dialogShards spreads the locks of the table.
const dialogShards = 32

// dialogTable finds dialogs by our tag, and counts them by watcher.
type dialogTable struct {
	edge  *Edge
	shard [dialogShards]struct {
		sync.RWMutex
		byID map[string]*dialog
		most int // see crowd.Left
	}
	mu        sync.Mutex
	byWatcher map[presence.Entity]*int      // nil: none
	most      int                           // of byWatcher
	troubled  map[presence.Entity][]*dialog // those to be tried when their watcher registers
}

func (t *dialogTable) init() {
	for i := range t.shard {
		t.shard[i].byID = make(map[string]*dialog)
	}
	t.byWatcher = make(map[presence.Entity]*int)
	t.troubled = make(map[presence.Entity][]*dialog)
}

// shardOf takes two characters of a tag, which is random.
func shardOf(id string) int {
	if len(id) < 2 {
		return 0
	}
	return int(id[0]^id[1]<<2) % dialogShards
}

func (t *dialogTable) get(id string) *dialog {
	s := &t.shard[shardOf(id)]
	s.RLock()
	d := s.byID[id]
	s.RUnlock()
	return d
}

// reserve counts one more subscription of a watcher; false at the bound.
func (t *dialogTable) reserve(w presence.Entity, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byWatcher[w]
	if n == nil {
		n = new(int)
		t.byWatcher[w] = n
	}
	if *n >= limit {
		return false
	}
	*n++
	return true
}

// release undoes reserve.
func (t *dialogTable) release(w presence.Entity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byWatcher[w]
	if *n--; *n == 0 {
		delete(t.byWatcher, w)
		t.byWatcher = crowd.Left(t.byWatcher, &t.most)
	}
}

// add enters a dialog for which there is a reservation. What goes by the same tag ends: it was the same dialog, before
// another node had it.
func (t *dialogTable) add(d *dialog) {
	s := &t.shard[shardOf(d.id)]
	s.Lock()
	old := s.byID[d.id]
	s.byID[d.id] = d
	s.Unlock()
	if old != nil && old != d {
		old.mu.Lock()
		t.edge.linger(old)
		old.end()
		old.mu.Unlock()
		t.left(old)
	}
}

// remove takes d out, once.
func (t *dialogTable) remove(d *dialog) {
	s := &t.shard[shardOf(d.id)]
	s.Lock()
	there := s.byID[d.id] == d
	if there {
		delete(s.byID, d.id)
		s.byID = crowd.Left(s.byID, &s.most)
	}
	s.Unlock()
	if there {
		t.left(d)
	}
}

// left undoes what stands for a dialog that is out of the table.
func (t *dialogTable) left(d *dialog) {
	t.release(d.watcher)
	if d.pkg.end != nil {
		d.pkg.end(t.edge, d)
	}
	t.mu.Lock()
	if ds := t.troubled[d.watcher]; ds != nil {
		if ds = slices.DeleteFunc(ds, func(x *dialog) bool { return x == d }); len(ds) == 0 {
			delete(t.troubled, d.watcher)
		} else {
			t.troubled[d.watcher] = ds
		}
	}
	t.mu.Unlock()
}

// drop ends d and takes it out.
func (t *dialogTable) drop(d *dialog) {
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
	t.remove(d)
}

// close stops all that waits for its time.
func (t *dialogTable) close() {
	for i := range t.shard {
		s := &t.shard[i]
		s.RLock()
		for _, d := range s.byID {
			d.mu.Lock()
			d.end()
			d.mu.Unlock()
		}
		s.RUnlock()
	}
}

// count adds the dialogs up by package.
func (t *dialogTable) count(by map[string]int) (n int) {
	for i := range t.shard {
		s := &t.shard[i]
		s.RLock()
		n += len(s.byID)
		for _, d := range s.byID {
			by[d.pkg.name]++
		}
		s.RUnlock()
	}
	return n
}

// waitFor remembers that d waits for its watcher to register.
func (t *dialogTable) waitFor(d *dialog) {
	t.mu.Lock()
	t.troubled[d.watcher] = append(t.troubled[d.watcher], d)
	t.mu.Unlock()
}

// returned takes out all that wait for a watcher.
func (t *dialogTable) returned(w presence.Entity) []*dialog {
	t.mu.Lock()
	defer t.mu.Unlock()
	ds := t.troubled[w]
	if ds != nil {
		delete(t.troubled, w)
	}
	return ds
}

// newDialog makes the dialog that a SUBSCRIBE asks for (RFC 3261 §12.1.1). ok is
// false when the request has been answered.
func (r *request) newDialog() (d *dialog, ok bool) {
	pkg, ev, body, kept := r.pkg, r.event, r.body, r.kept
	target, ok := r.target()
	if !ok {
		return nil, false
	}
	from := r.msg.From()
	var routes strings.Builder
	for v := range r.msg.All(sip.HRecordRoute) { // same order at the server side
		if routes.Len() > 0 {
			routes.WriteString(", ")
		}
		routes.WriteString(v)
	}
	var s dialogState
	s.ceiling, s.remoteCSeq = cseqBlock, r.msg.CSeq()
	agent, _ := r.msg.Get(sip.HUserAgent)
	event := ev.Package
	if pkg.members != nil {
		l := listSourceOf(kept)
		event = l.event(event)
	}
	if ev.ID != "" {
		event = string(sip.AppendParam([]byte(event), "id", ev.ID))
	}
	flow, token := r.wayBack(target.URI)
	s.part = [dialogParts]string{
		partPresentityUser: r.to.User, partPresentityDomain: r.to.Domain,
		partWatcherUser: r.who.User, partWatcherDomain: r.who.Domain,
		partCallID: r.msg.CallID(), partRemoteTag: from.Tag(),
		partLocalURI: r.msg.To().URI, partRemoteURI: from.URI,
		partTarget: target.URI, partRoutes: routes.String(), partFlow: token,
		partEvent: event, partContact: r.ourContact(),
		partInstance: target.Instance(), partAgent: clip(agent, 64),
		partAccept: pkg.saved(body), partParams: pkg.keptParams(ev),
	}
	if r.tooLong("Dialog Field", s.part[:]...) {
		return nil, false
	}
	s.part[partKept] = kept // bounded by itself
	d = &dialog{id: newID(), presentity: r.to, watcher: r.who, pkg: pkg, flow: flow, ceiling: cseqBlock}
	d.state = s.encode()
	d.remember(&s, body, r.condition(pkg))
	return d, true
}

// target is the Contact of a SUBSCRIBE, which makes or refreshes the remote
// target and so must be one SIP URI (RFC 3261 §8.1.1.8, §12.1.1).
func (r *request) target() (sip.Address, bool) {
	c, has, err := r.msg.Contact()
	if err != nil || !has {
		r.fail(400, "SUBSCRIBE Needs One Contact")
		return c, false
	}
	if !isSIP(c.URI) && !isSIPS(c.URI) {
		r.fail(400, "Contact Is Not A SIP URI")
		return c, false
	}
	return c, true
}
