package soak

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/bench"
	"pharos/bench/client"
	"pharos/sip"
)

// subscription is a phone's watch of one contact, dialog after dialog.
type subscription struct {
	p *phone
	w *watch

	turn sync.Mutex // held while a request is under way
	due  time.Time

	mu             sync.Mutex
	on             bool
	callID, local  string
	remote, target string
	heard          uint32     // CSeq
	seen           [16]uint64 // branches, so that one who was stopped may send again what was answered long ago
	accepted       bool
	fetches        bool         // once, without a subscription
	ended          bool         // by the service: a new one is needed
	trace          client.Trace // the last steps
}

// begin subscribes, until it is accepted.
func (s *subscription) begin(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	s.on = true
	s.mu.Unlock()
	s.anew(ctx)
}

// anew has it in a new dialog. The turn is held.
func (s *subscription) anew(ctx context.Context) {
	uri := "sip:" + s.w.of.name + "@" + bench.Domain
	for ctx.Err() == nil && s.p.is() {
		s.drop()
		s.mu.Lock()
		s.callID, s.local, s.remote, s.target, s.heard, s.accepted, s.ended = client.ID(), client.ID(), "", uri, 0, false, false
		callID := s.callID
		s.mu.Unlock()
		s.w.told[byPhone].Store(0)
		s.w.told[byChat].Store(0)
		s.w.extra.Store(0)
		s.p.s.put(callID, s)
		m, _, err := s.p.anywhere(ctx, s.request(uri, subscribeFor))
		if err == nil && m.Status < 300 {
			s.agreed(ctx, m)
			return
		}
		if err == nil {
			s.p.r.troubleStatus("SUBSCRIBE", m)
		} else {
			s.p.r.trouble("SUBSCRIBE", err)
		}
		pause(ctx, time.Second+rand.N(time.Second))
	}
}

// drop forgets the dialog.
func (s *subscription) drop() {
	s.mu.Lock()
	callID := s.callID
	s.callID = ""
	s.mu.Unlock()
	s.w.stands.Store(false)
	if callID != "" {
		s.p.s.put(callID, nil)
	}
}

// end takes it back.
func (s *subscription) end(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	on, target := s.on && s.callID != "", s.target
	s.on = false
	s.mu.Unlock()
	s.w.stands.Store(false)
	if on {
		s.inDialog(ctx, target, 0)
	}
	s.drop()
}

func (s *subscription) request(uri string, lifetime time.Duration) func(*client.Challenge) string {
	s.mu.Lock()
	callID, local, to := s.callID, s.local, "<sip:"+s.w.of.name+"@"+bench.Domain+">"
	if s.remote != "" {
		to += ";tag=" + s.remote
	}
	s.mu.Unlock()
	return s.p.head("SUBSCRIBE", uri, to, callID, local, "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: "+
		strconv.Itoa(int(lifetime/time.Second))+"\r\nContent-Length: 0\r\n\r\n")
}

// inDialog asks the remote target, then anybody.
func (s *subscription) inDialog(ctx context.Context, target string, lifetime time.Duration) (*sip.Message, error) {
	build := s.request(target, lifetime)
	m, err := s.p.ask(ctx, client.Target(target), build)
	s.mu.Lock()
	if err != nil {
		s.trace.Note("no answer from", client.Target(target), 0)
	} else {
		s.trace.Note("SUBSCRIBE answered by", client.Target(target), m.Status)
	}
	s.mu.Unlock()
	if err != nil || m.Status >= 500 {
		s.p.r.count.retried.Add(1)
		m, _, err = s.p.anywhere(ctx, build)
		s.mu.Lock()
		if err == nil {
			s.trace.Note("SUBSCRIBE answered elsewhere", netip.AddrPort{}, m.Status)
		}
		s.mu.Unlock()
	}
	return m, err
}

// agreed is after a 200, which says which dialog it is where a request was sent to several servers.
func (s *subscription) agreed(ctx context.Context, m *sip.Message) {
	s.mu.Lock()
	if tag := m.To().Tag(); !s.accepted && s.remote != tag {
		s.remote, s.heard = tag, 0
	}
	s.accepted = true
	if c, ok, err := m.Contact(); err == nil && ok {
		s.target = c.URI
	}
	ended, on := s.ended, s.on
	s.mu.Unlock()
	s.w.stands.Store(!ended && on)
	d := subscribeFor/2 - rand.N(subscribeFor/8)
	s.due = time.Now().Add(d)
	time.AfterFunc(d+time.Second, func() {
		if ctx.Err() == nil {
			s.refresh(ctx)
		}
	})
}

// refresh keeps it alive.
func (s *subscription) refresh(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	for ctx.Err() == nil && s.p.is() && time.Until(s.due) <= 0 {
		s.mu.Lock()
		on, ended, target := s.on, s.ended, s.target
		s.mu.Unlock()
		if !on || ended {
			return
		}
		m, err := s.inDialog(ctx, target, subscribeFor)
		switch {
		case err != nil:
			s.p.r.trouble("SUBSCRIBE", err)
			pause(ctx, time.Second+rand.N(time.Second))
		case m.Status < 300:
			s.agreed(ctx, m)
		default: // RFC 6665 §4.1.2.2: 481 ends it
			s.p.r.troubleStatus("SUBSCRIBE", m)
			s.p.r.count.dialogs.Add(1)
			s.anew(ctx)
		}
	}
}

var seed = maphash.MakeSeed()

// notified takes a NOTIFY, and gives the status of the answer.
func (s *subscription) notified(m *sip.Message, from netip.AddrPort) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace.Note("NOTIFY", from, int(m.CSeq()))
	if s.ended || s.callID != m.CallID() || s.local != m.To().Tag() {
		return 481
	}
	branch := maphash.String(seed, m.Via().Branch)
	if slices.Contains(s.seen[:], branch) {
		return 200
	}
	if tag := m.From().Tag(); s.remote != tag {
		if s.accepted {
			return 481 // of a request whose answer was lost
		}
		s.remote, s.heard = tag, 0
	}
	if m.CSeq() <= s.heard { // RFC 3261 §12.2.2
		// Two nodes may have the dialog for a moment. What counts is that the one to whom it belongs is heard soon.
		s.p.r.count.stale.Add(1)
		s.p.r.o.odd("%s: CSeq went from %d to %d in a dialog about %s:%s", s.p.u.name, s.heard, m.CSeq(), s.w.of.name, s.trace)
		return 500
	}
	copy(s.seen[1:], s.seen[:])
	s.seen[0] = branch
	s.heard = m.CSeq()
	if c, ok, err := m.Contact(); err == nil && ok {
		s.target = c.URI
	}
	if m.Body != "" {
		for k := range kinds {
			s.w.told[k].Store(token(k, m.Body))
		}
		s.w.extra.Store(int32(max(0, strings.Count(m.Body, "~p")-1)))
	}
	s.p.r.count.notifies.Add(1)
	if st, _, _ := m.SubscriptionState(); st.State == "terminated" {
		if !s.on || s.fetches {
			return 200
		}
		s.ended = true
		s.w.stands.Store(false)
		if st.Reason != "timeout" && st.Reason != "deactivated" {
			s.p.r.o.never("%s: subscription to %s ended with %q", s.p.u.name, s.w.of.name, st.Reason)
		}
		s.p.r.count.dialogs.Add(1)
		go func() {
			s.turn.Lock()
			defer s.turn.Unlock()
			s.mu.Lock()
			again := s.on && s.ended
			s.mu.Unlock()
			if again {
				s.anew(s.p.r.ctx)
			}
		}()
	}
	return 200
}
