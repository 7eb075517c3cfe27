package presence

import (
	"slices"
	"strings"
	"time"
)

// winfo makes the views of WatcherInfo out of the subscriptions to presence. It
// is there from the first watcher on, and lists nothing while there is none.
type winfo struct {
	column  *column
	dirty   bool      // something has changed in this step
	missed  bool      // something has changed while nobody watched
	old     bool      // a subscription was refreshed: the listed one has a former end
	ending  []Watcher // ended in this step
	ended   []Watcher // ended with the present version
	waiting []Watcher // as they are listed
}

// changed notes that a subscription has a new state.
func (w *winfo) changed(s *sub, st State, r Reason) {
	if w == nil || s.Package != "" {
		return
	}
	if len(w.column.groups) == 0 {
		w.missed = true
		return
	}
	w.dirty = true
	if st == Terminated {
		e := s.listed()
		e.State, e.Event = Terminated, s.ending(r)
		w.ending = append(w.ending, e)
	}
}

// aged notes a refresh. It is no transition, so nobody is told (RFC 3857 §4.7.2).
func (w *winfo) aged(s *sub) {
	if w != nil && s.Package == "" {
		w.old = true
	}
}

// waits notes a change of those who wait for an answer.
func (w *winfo) waits(p *Presentity) {
	if w == nil || slices.EqualFunc(w.waiting, p.waiting(), Watcher.same) {
		return
	}
	if len(w.column.groups) == 0 {
		w.missed = true
	} else {
		w.dirty = true
	}
}

// ending is the event that ends a subscription for this reason.
func (s *sub) ending(r Reason) WatcherEvent {
	if s.leaving {
		r = Timeout
	}
	switch r {
	case Deactivated:
		return EventDeactivated
	case Probation:
		return EventProbation
	case Rejected:
		return EventRejected
	case Giveup:
		return EventGiveup
	case NoResource:
		return EventNoResource
	}
	if s.State == Pending {
		// In the state machine of RFC 3857 §4.7.1 a timeout leads from pending to
		// waiting only; who waits has an entry of his own.
		return EventGiveup
	}
	return EventTimeout
}

func (s *sub) listed() Watcher {
	return Watcher{ID: s.ID, Watcher: s.Watcher, State: s.State, Event: s.Event, Since: s.Created, Expires: s.Expires}
}

func (w Watcher) same(o Watcher) bool {
	since, expires := w.Since.Equal(o.Since), w.Expires.Equal(o.Expires)
	w.Since, w.Expires = o.Since, o.Expires
	return since && expires && w == o
}

// Watchers lists who watches the presence, in the order in which they came,
// and who waits for an answer.
func (p *Presentity) Watchers(now time.Time) []Watcher {
	list := make([]Watcher, 0, len(p.subs.list))
	for _, s := range p.subs.list {
		if s.Package == "" && !s.over(now) {
			list = append(list, s.listed())
		}
	}
	list = append(list, p.waiting()...)
	slices.SortFunc(list, func(a, b Watcher) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// waiting lists those who have asked and have no subscription any more.
func (p *Presentity) waiting() (list []Watcher) {
	if p.policy == nil {
		return nil
	}
	for _, w := range p.policy.Waiting {
		if p.subscribed(w.Watcher) {
			continue
		}
		w.State, w.Waiting, w.Expires = Pending, true, time.Time{}
		if w.Event == 0 {
			w.Event = EventTimeout
		}
		list = append(list, w)
	}
	return list
}

// subscribed tells whether a watcher has a subscription to presence.
func (p *Presentity) subscribed(e Entity) bool {
	found := false
	p.subs.eachOf(e, func(s *sub) bool {
		found = s.Package == ""
		return !found
	})
	return found
}

// ready sees to it that a view of winfo shows what is true now.
func (w *winfo) ready(p *Presentity) {
	if w.missed {
		w.missed = false
		w.column.touched++
		w.column.next()
		w.ended, w.waiting = nil, p.waiting()
	}
	if w.old || w.dirty {
		w.old = false
		w.column.forget()
	}
}

// tellWatchers ends a step: whoever watches the watchers is told what changed in it.
func (p *Presentity) tellWatchers(now time.Time, out *Outcome) {
	w := p.winfo
	if w == nil || !w.dirty {
		return
	}
	waiting := p.waiting()
	for _, o := range w.waiting {
		if !slices.ContainsFunc(waiting, func(n Watcher) bool { return n.ID == o.ID }) {
			o.State, o.Waiting, o.Event = Terminated, false, p.answered(now, o.Watcher)
			w.ending = append(w.ending, o)
		}
	}
	// An id that went to somebody else is listed as his.
	w.ending = slices.DeleteFunc(w.ending, func(e Watcher) bool {
		s := p.subs.get(e.ID)
		return s != nil && s.Package == ""
	})
	w.ended, w.ending, w.waiting, w.dirty, w.missed = w.ending, nil, waiting, false, false
	w.column.touched++
	w.column.next()
	p.tellAll(w.column, nil, out)
}

// answered is the event that has ended the waiting of a watcher (RFC 3857 §4.7.1).
func (p *Presentity) answered(now time.Time, w Entity) WatcherEvent {
	switch p.decide(w, false, p.at(now)).Class.Handling {
	case Allow, PoliteBlock:
		return EventApproved
	case Block:
		return EventRejected
	}
	return EventGiveup // he has subscribed again, or is asked no more
}
