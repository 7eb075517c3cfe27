package jabber

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/xmpp"
)

// A session whose client comes back at another node (XEP-0198 §5) goes there, in three
// steps. The node that has it stops sending and hands over all that it knows. The other one
// says to all owners that the session's presence and watches are there now, under the same
// names, so that nobody sees it go and come. Then it asks for what has reached the
// first one meanwhile, which forgets the session with that. When the second one dies in
// between, the first one goes on.

// departure is a session that was handed over and not taken yet.
type departure struct {
	handed int // stanzas of the queue
	timer  *time.Timer
}

// Answers to callTake.
const (
	takeUnknown = iota // with what was handled and 1, where that is known
	takeState          // with the session
	takeTooHigh        // with the two numbers of handled-count-too-high
)

// newToken makes a resumption token, which names the node.
func (e *Edge) newToken(random []byte) string {
	t := base64.RawURLEncoding.EncodeToString(random)
	if e.many {
		t += "." + base64.RawURLEncoding.EncodeToString([]byte(e.c.Engine.Self()))
	}
	return t
}

func nodeOfToken(token string) string {
	_, b, _ := strings.Cut(token, ".")
	node, err := base64.RawURLEncoding.DecodeString(b)
	if err != nil {
		return ""
	}
	return string(node)
}

// MoveSessions has the clients of a user's sessions here go to another host, as
// see-other-host names it (RFC 6120 §4.9.3.19), and resume there. Only those that can
// resume are asked to, and of these those that which, if it is not nil, picks. It returns
// how many.
func (e *Edge) MoveSessions(u presence.Entity, to string, which func(SessionInfo) bool) (n int) {
	for _, s := range e.reg.user(u).list() {
		if which != nil && !which(s.describe()) {
			continue
		}
		s.mu.Lock()
		old := s.stream
		goes := old != nil && !s.ended && !s.doomed && s.sm != nil && s.sm.token != ""
		if goes {
			s.stream = nil
			goes = s.hibernate()
		}
		s.mu.Unlock()
		if goes {
			n++
			old.Close(&xmpp.StreamError{Condition: "see-other-host", Other: to})
		}
	}
	return n
}

// calledTake hands a session over.
func (e *Edge) calledTake(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	token, h := in.Text(), uint32(in.Uint())
	v, _ := e.reg.tokens.Load(token)
	s, _ := v.(*session)
	if !in.Done() || s == nil || s.user.entity != u {
		answer(e.unknown(token, u))
		return
	}
	if !e.calls.spawn(func() {
		answer(s.handOver(ctx, token, h))
		s.remove(ctx)
	}) {
		answer(nil)
	}
}

func (e *Edge) unknown(token string, u presence.Entity) []byte {
	return packer{takeUnknown}.num(uint64(e.forgot.get(token, u) + 1))
}

// handOver waits until nothing is read for the session any more, and packs it.
func (s *session) handOver(ctx context.Context, token string, h uint32) []byte {
	if !s.alone(ctx) {
		return s.edge.unknown(token, s.user.entity)
	}
	s.act.Lock()
	defer s.act.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.doomed || s.stream != nil || s.far.moving != nil || s.edge.closing.Load() {
		return s.edge.unknown(token, s.user.entity)
	}
	s.sm.stop()
	if !s.sm.ack(h) {
		s.sm.timer.Reset(0)
		return packer{takeTooHigh}.num(uint64(h)).num(uint64(s.sm.sent()))
	}
	s.far.moving = &departure{handed: len(s.sm.queue), timer: time.AfterFunc(MoveTime, s.stay)}
	return s.pack(packer{takeState}.str(s.edge.c.Engine.Self()))
}

// alone detaches the session's stream, if it has one, and waits for its reader. False: it
// has ended.
func (s *session) alone(ctx context.Context) bool {
	for {
		s.mu.Lock()
		old, over := s.stream, s.ended || s.doomed
		s.mu.Unlock()
		if over {
			return false
		}
		if old == nil {
			return s.wait(ctx) == nil
		}
		s.detach(old)
	}
}

// stay goes on with a session that nobody has come for.
func (s *session) stay() {
	s.mu.Lock()
	stays := !s.ended && s.far.moving != nil
	s.far.moving = nil
	if stays && !s.hibernate() {
		s.sm.timer = time.AfterFunc(0, func() { s.end(context.Background(), nil) })
	}
	s.mu.Unlock()
	if stays && !s.edge.closing.Load() {
		s.edge.calls.spawn(func() {
			ctx := context.Background()
			if cleared := s.edge.renewPlace(ctx, s); cleared != nil {
				cleared(CallTime)
			}
			s.edge.renewSelf(ctx, s)
			s.edge.renewWatches(ctx, s, func(presence.Entity) bool { return true })
		})
	}
}

// calledTaken forgets a session that lives elsewhere now. The answer brings what has come
// since it was handed over; nothing: it has ended.
func (e *Edge) calledTaken(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	token := in.Text()
	v, _ := e.reg.tokens.Load(token)
	s, _ := v.(*session)
	if !in.Done() || s == nil || s.user.entity != u {
		answer(nil)
		return
	}
	s.mu.Lock()
	if s.ended || s.far.moving == nil {
		s.mu.Unlock()
		answer(nil)
		return
	}
	tail := packQueue(nil, s.sm.queue[min(s.far.moving.handed, len(s.sm.queue)):])
	s.drop()
	s.mu.Unlock()
	e.reg.remove(s)
	answer(packer(taken).bytes(tail))
}

// drop ends a session that goes on elsewhere: nobody is told. mu is held; the registry
// still has it.
func (s *session) drop() {
	s.ended = true
	for of := range s.watches {
		s.edge.c.Engine.Left(of, s.handle)
	}
	s.edge.c.Engine.Left(s.user.entity, s.handle+reachMark)
	if m := s.far.moving; m != nil {
		m.timer.Stop()
	}
	if s.sm != nil {
		s.sm.stop()
		s.edge.reg.tokens.Delete(s.sm.token)
		for i := range s.sm.queue {
			if d := s.sm.queue[i].duty; d != nil {
				d.open.Add(-1) // others who have it ask there before they give it back
			}
		}
	}
}

// moved drops a session that turns out to live on another node, to which it was handed over.
func (s *session) moved() {
	s.mu.Lock()
	drops := !s.ended && s.stream == nil // with a stream it is the other that has to go
	if drops {
		s.drop()
	}
	s.mu.Unlock()
	if drops {
		s.edge.reg.remove(s)
	}
}

// pack writes a session. act and mu are held.
func (s *session) pack(p packer) []byte {
	p = p.str(s.resource).str(s.handle).time(s.since).num(uint64(s.in.Load()))
	prio := s.prio.Load()
	p = p.bool(prio != unavailable)
	if prio != unavailable {
		p = p.num(uint64(prio - math.MinInt8))
	}
	p = p.bool(s.noPhoto).bool(s.interested).bool(s.carbons).bool(s.wantsBlocks).num(s.far.version)
	p = p.bool(s.far.said != nil)
	if said := s.far.said; said != nil {
		p = p.bytes(said.Native.Bytes).str(said.From).time(said.Said)
	}
	p = p.num(uint64(len(s.directed)))
	for to, in := range s.directed {
		p = p.str(to.String()).bool(in != nil)
		if in != nil {
			p = p.str(in.Via.Handle).bytes(in.Source.Native.Bytes).time(in.Source.Updated)
		}
	}
	p = p.capability(s.capsKey, s.caps).str(s.capsAsked)
	p = s.packWatches(p)
	p = s.packMail(p)
	m := s.sm
	p = p.str(m.token).num(uint64(m.lifetime)).num(uint64(m.acked))
	return packQueue(p, m.queue)
}

// packWatches writes what the client was told of those whom it watches, and of those of whom
// it is to be told yet that they are gone.
func (s *session) packWatches(p packer) packer {
	told := make(map[presence.Entity]*heldNotice, len(s.watches))
	for of, v := range s.watches {
		told[of] = &heldNotice{prev: v}
	}
	for of, h := range s.held {
		told[of] = h
	}
	p = p.num(uint64(len(told)))
	for of, h := range told {
		_, watched := s.watches[of]
		p = p.said(of, h.prev).bool(watched).bool(h.renew)
	}
	return p
}

func packQueue(p packer, queue []sent) packer {
	p = p.num(uint64(len(queue)))
	for i := range queue {
		q := &queue[i]
		for _, part := range q.parts {
			p = p.bytes(part)
		}
		p = p.bool(q.duty != nil && !q.duty.met.Load())
		if q.duty != nil && !q.duty.met.Load() {
			p = p.num(uint64(q.at)).num(uint64(q.duty.stored)).bytes(messageCall(q.duty.message, false))
		}
	}
	return p
}

func (e *Edge) unpackQueue(u *unpacker) (queue []sent) {
	for range u.Count() {
		var q sent
		for i := range q.parts {
			q.parts[i] = u.Bytes()
		}
		if u.Bool() {
			q.at = int64(u.Uint())
			stored := int64(u.Uint())
			_, in := openCall(u.Bytes())
			in.Entity()
			in.Bool()
			if m := readMessage(in.Bytes()); m != nil {
				q.duty = e.newDuty(m, 1)
				if q.duty.stored = stored; stored == 0 {
					e.recent.put(q.duty)
				}
			}
		}
		queue = append(queue, q)
	}
	return queue
}

// unpack makes the session, without a stream; nil: it cannot be read.
func (e *Edge) unpack(u presence.Entity, in *unpacker) *session {
	s := &session{edge: e, resource: in.Text(), handle: in.Text(), since: in.time(), far: &far{}, reader: make(chan struct{})}
	s.in.Store(uint32(in.Uint()))
	s.prio.Store(unavailable)
	if in.Bool() {
		s.prio.Store(int32(in.Uint()) + math.MinInt8)
	}
	jid := xmpp.JID{Local: u.User, Domain: u.Domain, Resource: s.resource}
	s.full = jid.String()
	s.noPhoto, s.interested, s.carbons, s.wantsBlocks = in.Bool(), in.Bool(), in.Bool(), in.Bool()
	s.far.version = in.Uint()
	if in.Bool() {
		native := presence.Payload{Type: nsClient, Bytes: in.Bytes()}
		from, at := in.Text(), in.time()
		s.far.said = &presence.Publish{ID: s.source(), Native: native, From: from, Since: s.since, Said: at, Doc: &presence.Document{}}
		if el := parsed(native); el != nil {
			s.far.said.Doc = documentOf(readStanza(el, ""), u, s.resource, at)
		}
	}
	for range in.Count() {
		to, err := xmpp.ParseJID(in.Text())
		var d *presence.Direct
		if in.Bool() {
			d = &presence.Direct{Watcher: entityOf(to), Available: true, Via: presence.Via{Edge: EdgeName, Handle: in.Text()}}
			d.Source = &presence.Source{ID: s.source(), Native: presence.Payload{Type: nsClient, Bytes: in.Bytes()}, Updated: in.time(), Node: e.c.Engine.Self()}
		}
		if err == nil {
			if s.directed == nil {
				s.directed = make(map[xmpp.JID]*presence.Direct)
			}
			s.directed[to] = d
		}
	}
	s.capsKey, s.caps = in.capability()
	s.capsAsked = in.Text()
	s.unpackWatches(in)
	s.mail = unpackMail(in)
	s.sm = &management{token: in.Text(), lifetime: time.Duration(in.Uint()), acked: uint32(in.Uint())}
	s.sm.put(e.unpackQueue(in))
	s.sm.handed = len(s.sm.queue)
	if !in.Done() || s.resource == "" || s.handle == "" {
		return nil
	}
	return s
}

func (s *session) unpackWatches(in *unpacker) {
	for range in.Count() {
		of, v := in.said()
		watched, renew := in.Bool(), in.Bool()
		if watched {
			if s.watches == nil {
				s.watches = make(map[presence.Entity]*presence.View)
			}
			s.watches[of] = v
		}
		if !watched || renew {
			h := s.hold(of, v)
			h.renew = renew
			if !watched {
				h.view = nil
			}
		}
	}
}

// put takes over a queue.
func (m *management) put(queue []sent) {
	m.queue, m.bytes, m.duties = queue, 0, 0
	for i := range queue {
		m.bytes += queue[i].size()
		if queue[i].duty != nil {
			m.duties++
		}
	}
}

// fetch brings a session here that is resumed and lives on another node. Nil: there is
// none; answer is what the client is told then.
func (e *Edge) fetch(ctx context.Context, u presence.Entity, token string, h uint32) (s *session, answer []byte, se *xmpp.StreamError) {
	state := e.askFor(ctx, u, token, h)
	in := newUnpacker(state)
	switch in.Uint() {
	case takeTooHigh:
		h, sent := in.Uint(), in.Uint()
		return nil, nil, handledTooHigh(uint32(h), uint32(sent))
	case takeUnknown:
		return nil, smFailed("item-not-found", int64(in.Uint())-1), nil
	}
	node := in.Text()
	if s = e.unpack(u, in); s == nil {
		e.log.Error("session that was handed over cannot be read", "entity", u.String(), "node", node)
		return nil, smFailed("item-not-found", -1), nil
	}
	holder, condition := e.add(ctx, s, s.jidOf(u))
	if holder != nil || condition != "" {
		return nil, smFailed("item-not-found", -1), nil // the resource was bound here meanwhile
	}
	e.reg.tokens.Store(token, s)
	e.settleIn(ctx, s)
	if !e.takeRest(ctx, s, node, token) {
		close(s.reader)
		s.end(ctx, nil)
		return nil, smFailed("item-not-found", -1), nil
	}
	return s, nil, nil
}

func (s *session) jidOf(u presence.Entity) xmpp.JID {
	return xmpp.JID{Local: u.User, Domain: u.Domain, Resource: s.resource}
}

// askFor asks the node that the token names, and if the session has gone on from there, all
// at which the user has sessions.
func (e *Edge) askFor(ctx context.Context, u presence.Entity, token string, h uint32) (state []byte) {
	state = packer{takeUnknown}.num(0)
	request := newCall(callTake).entity(u).str(token).num(uint64(h))
	if node := nodeOfToken(token); slices.Contains(e.c.Engine.Nodes(), node) {
		b, err := ask(ctx, func(done func([]byte, error)) error { return e.c.Engine.CallEdge(node, EdgeName, request, done) })
		if err == nil && len(b) > 0 {
			if state = b; b[0] != takeUnknown {
				return state
			}
		} else if err != nil && !errors.Is(err, engine.ErrGone) {
			e.log.Warn("session not asked for", "entity", u.String(), "node", node, "err", err)
		}
	}
	answers, err := e.reach(ctx, u, request)
	if err != nil {
		e.log.Warn("session not asked for", "entity", u.String(), "err", err)
	}
	for _, b := range answers {
		if len(b) > 0 && b[0] != takeUnknown {
			return b
		}
	}
	return state
}

// settleIn says to all owners that a session is here now.
func (e *Edge) settleIn(ctx context.Context, s *session) {
	s.act.Lock()
	defer s.act.Unlock()
	u := s.user.entity
	tell := func(to presence.Entity, in presence.Input) {
		if err := e.submit(ctx, to, in, nil); err != nil {
			s.log().Error("owner not told of a session's move", "presentity", to.String(), "err", err)
		}
	}
	tell(u, s.reachWatch())
	if s.far.said != nil {
		in := *s.far.said
		in.Again = true
		tell(u, in)
	}
	for _, in := range s.directed {
		if in != nil {
			again := *in
			again.Again = true
			tell(u, again)
		}
	}
	for _, contact := range s.watched() {
		tell(contact, s.watchOf())
	}
}

// takeRest ends the session where it was. False: it had ended there.
func (e *Edge) takeRest(ctx context.Context, s *session, node, token string) bool {
	// The owner has to know of the session here before it goes there, or what is
	// addressed to it in between would find it nowhere.
	e.settled(ctx, s.user.entity)
	b, err := ask(ctx, func(done func([]byte, error)) error {
		return e.c.Engine.CallEdge(node, EdgeName, newCall(callTaken).entity(s.user.entity).str(token), done)
	})
	if err != nil {
		s.log().Warn("session's former node does not answer", "node", node, "err", err)
		return errors.Is(err, engine.ErrGone)
	}
	in := newUnpacker(b)
	if !in.Bool() {
		return false
	}
	rest := newUnpacker(in.Bytes())
	tail := e.unpackQueue(rest)
	if !in.Done() || !rest.Done() {
		s.log().Error("what came last for a session cannot be read", "node", node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What has come there is older than what has come here, or the same.
	all := slices.Clip(s.sm.queue[:s.sm.handed])
	known := make(map[uint64]bool)
	for i := range tail {
		if d := tail[i].duty; d != nil {
			known[e.recent.key(d.message)] = true
		}
	}
	all = append(all, tail...)
	for _, q := range s.sm.queue[s.sm.handed:] {
		if q.duty == nil || !known[e.recent.key(q.duty.message)] {
			all = append(all, q)
		}
	}
	s.sm.put(all)
	return !s.ended
}
