package loadcontrol

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"pharos/loaddoc"
	"pharos/sip"
)

// Peer is another server.
type Peer struct {
	Name string
	URI  string // where it takes SUBSCRIBE
}

// watch is our subscription at another server: the subscriber of RFC 6665. It is
// guarded by the edge's lock.
type watch struct {
	dialog
	Peer
	own    bool   // we hear of that server only, and not all it knows
	invite string // tag of the INVITE that asked for it; it is not begun anew then
	joined func(d *loaddoc.Document, err error)

	known   *loaddoc.Document
	busy    bool      // a SUBSCRIBE is under way
	asked   time.Time // when the last one was sent
	until   time.Time // the subscription lives so long; zero: there is none
	next    time.Time // when to ask again
	fails   int
	deliver sync.Mutex // what is heard is handed on in order
}

// Exchange says which other servers run, and who leads: from now on this server hears them,
// each of its own load. Of more than MaxPeers it hears the leader only, of all that it knows.
func (e *Edge) Exchange(peers []Peer, leader string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	own := len(peers) <= MaxPeers
	wanted := make(map[string]bool, len(peers))
	for _, p := range peers {
		if p.Name == e.c.Name || p.URI == "" || !own && p.Name != leader {
			continue
		}
		if e.fetchedFrom(p.Name) != nil {
			continue // we hear all that it knows since we have joined
		}
		wanted[p.Name] = true
		w := e.peers[p.Name]
		if w != nil && w.URI == p.URI && w.own == own {
			continue
		}
		if w != nil {
			e.unsubscribe(w)
		}
		w = &watch{Peer: p, own: own}
		e.peers[p.Name] = w
		e.subscribe(w, time.Now())
	}
	for name, w := range e.peers {
		if !wanted[name] {
			e.unsubscribe(w)
		}
	}
}

// fetchedFrom is the subscription with which this server has joined at another, as long as
// it lives. The edge is locked.
func (e *Edge) fetchedFrom(server string) *watch {
	for _, w := range e.watches {
		if w.Name == server && w.invite != "" {
			return w
		}
	}
	return nil
}

// subscribe begins a subscription. The edge is locked.
func (e *Edge) subscribe(w *watch, now time.Time) {
	delete(e.watches, w.local)
	w.dialog = dialog{callID: newTag(), local: newTag(), localURI: "sip:" + e.c.Name + "@" + e.c.Domain, peerURI: e.aor,
		target: e.aor, contact: e.c.Contact, sign: true}
	w.known, w.until = nil, time.Time{}
	e.watches[w.local] = w
	e.ask(w, PeerExpires, now)
}

// ask sends a SUBSCRIBE, which brings the whole state. The edge is locked.
func (e *Edge) ask(w *watch, expires time.Duration, now time.Time) {
	w.busy, w.asked = true, now
	more := []byte("Event: presence")
	if w.own {
		more = append(more, ";scope=server"...)
	}
	more = append(more, "\r\n"...)
	more = sip.AppendNumber(more, sip.HExpires, uint32(expires/time.Second))
	more = sip.AppendHeader(more, sip.HAccept, loaddoc.Type)
	if i := e.invites[w.invite]; i != nil && w.remote == "" { // RFC 4538
		more = sip.AppendHeader(more, sip.HTargetDialog, i.callID+";local-tag="+i.local+";remote-tag="+i.remote)
	}
	tag := w.local
	next := func() sip.OutRequest {
		hop := ""
		if w.remote == "" {
			hop = w.URI
		}
		return w.request("SUBSCRIBE", hop, more)
	}
	e.send(&w.dialog, next(), func(string) sip.OutRequest {
		e.mu.Lock()
		defer e.mu.Unlock()
		return next()
	}, func(m *sip.Message, err error) { e.subscribeAnswered(w, tag, m, err) })
}

func (e *Edge) subscribeAnswered(w *watch, tag string, m *sip.Message, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w.local != tag || e.watches[tag] != w {
		return
	}
	w.busy = false
	now := time.Now()
	if err != nil || m.Status/100 != 2 {
		if err == nil {
			e.log.Info("loadcontrol: SUBSCRIBE refused", "server", w.Name, "status", m.Status)
		}
		e.lost(w, now)
		return
	}
	if w.remote == "" {
		w.answered(m)
	}
	granted := PeerExpires
	if sec, has, err := m.Seconds(sip.HExpires); err == nil && has {
		granted = min(granted, time.Duration(sec)*time.Second)
	}
	w.fails = 0
	w.until, w.next = now.Add(granted), now.Add(granted/2)
}

// lost has a subscription begun anew, later, if it is still wanted. The edge is locked.
func (e *Edge) lost(w *watch, now time.Time) {
	delete(e.watches, w.local)
	w.until = time.Time{}
	if e.peers[w.Name] != w {
		return
	}
	w.fails++
	wait := min(15*time.Second, time.Second<<min(w.fails-1, 4))
	w.next = now.Add(wait + rand.N(wait/2+1))
}

// refresh keeps subscriptions alive and begins those anew that were lost.
func (e *Edge) refresh(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.watches {
		if !w.busy && !w.until.IsZero() && !now.Before(w.next) {
			e.ask(w, PeerExpires, now)
		}
	}
	for _, w := range e.peers {
		if e.watches[w.local] != w && !now.Before(w.next) {
			e.subscribe(w, now)
		}
	}
}

// unsubscribe ends a subscription. The edge is locked.
func (e *Edge) unsubscribe(w *watch) {
	if e.peers[w.Name] == w {
		delete(e.peers, w.Name)
	}
	if e.watches[w.local] != w {
		return
	}
	delete(e.watches, w.local)
	if w.remote != "" {
		e.ask(w, 0, time.Now())
	}
}

// notifiedOf takes a NOTIFY of another server.
func (e *Edge) notifiedOf(tx *sip.ServerTx, m *sip.Message, w *watch) {
	event, ok, err := m.Event()
	state, has, serr := m.SubscriptionState()
	switch {
	case err != nil || serr != nil || !has || !ok:
		refuse(tx, 400, "Malformed Or Missing Event Or Subscription-State")
		return
	case !strings.EqualFold(event.Package, "presence"):
		refuse(tx, 489, "")
		return
	}
	d, ok := e.document(tx, m, w.Name)
	if !ok {
		return
	}
	w.deliver.Lock()
	defer w.deliver.Unlock()
	known, joined, ok := e.apply(tx, m, w, d, state)
	if !ok {
		return
	}
	if joined != nil {
		joined(known, nil)
	}
	if known != nil && e.c.Heard != nil {
		e.c.Heard(w.Name, known)
	}
}

// apply takes what a NOTIFY says; known is nil when it is nothing new.
func (e *Edge) apply(tx *sip.ServerTx, m *sip.Message, w *watch, d *loaddoc.Document, state sip.SubscriptionState) (known *loaddoc.Document, joined func(*loaddoc.Document, error), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches[m.To().Tag()] != w {
		refuse(tx, 481, "")
		return nil, nil, false
	}
	if !w.refreshed(m) {
		refuse(tx, 500, "CSeq Out Of Order") // RFC 3261 §12.2.2
		return nil, nil, false
	}
	if w.remote == "" {
		w.remote = m.From().Tag()
	}
	refuse(tx, 200, "")
	now := time.Now()
	if d != nil {
		after, err := loaddoc.Apply(w.known, d)
		switch {
		case errors.Is(err, loaddoc.ErrGap):
			e.log.Info("loadcontrol: changes are missing, asking for the whole", "server", w.Name, "err", err)
			if w.next = now; !w.busy && now.Sub(w.asked) >= Interval {
				e.ask(w, PeerExpires, now)
			}
		case err == nil:
			w.known, known = after, after
			joined, w.joined = w.joined, nil
			if i := e.invites[w.invite]; joined != nil && i != nil {
				i.joined = nil
			}
		}
	}
	if state.State == "terminated" {
		e.lost(w, now)
	}
	return known, joined, true
}
