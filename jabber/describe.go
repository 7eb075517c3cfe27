package jabber

import (
	"time"

	"pharos/presence"
)

// SessionInfo describes a session to people.
type SessionInfo struct {
	Handle, Resource string
	Remote, Stream   string // "" while it hibernates
	Since            time.Time
	Available        bool
	Priority         int
	Interested       bool // has asked for the roster
	Carbons          bool // XEP-0280
	Inactive         bool // XEP-0352
	Managed          bool // XEP-0198 acknowledgements
	Resumable        bool // XEP-0198 resumption
	Hibernating      bool
	Unacked          int // stanzas
	Held             int // contacts whose presence waits
	Queued           int // bytes
	Watches          []WatchInfo
}

// WatchInfo is what a session was last told of a contact.
type WatchInfo struct {
	Presentity presence.Entity
	Version    uint64 // of the view, 0: nothing is shown
	Sources    []string
	Held       bool
}

// Sessions describes the sessions of a user.
func (e *Edge) Sessions(u presence.Entity) []SessionInfo {
	var out []SessionInfo
	for _, s := range e.reg.user(u).list() {
		out = append(out, s.describe())
	}
	return out
}

// Describe describes the session with a handle, as subscriptions carry it.
func (e *Edge) Describe(handle string) (SessionInfo, bool) {
	s := e.reg.session(handle)
	if s == nil {
		return SessionInfo{}, false
	}
	return s.describe(), true
}

// Count is the number of sessions, and of those that hibernate.
func (e *Edge) Count() (sessions, hibernating int) {
	for _, s := range e.reg.all() {
		sessions++
		s.mu.Lock()
		if s.stream == nil {
			hibernating++
		}
		s.mu.Unlock()
	}
	return sessions, hibernating
}

func (s *session) describe() SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := SessionInfo{
		Handle: s.handle, Resource: s.resource, Since: s.since,
		Interested: s.interested, Carbons: s.carbons, Inactive: s.inactive,
		Hibernating: s.stream == nil, Held: len(s.held),
	}
	if p := s.prio.Load(); p != unavailable {
		d.Available, d.Priority = true, int(p)
	}
	if s.stream != nil {
		d.Remote, d.Stream, d.Queued = s.stream.RemoteAddr().String(), s.stream.ID(), s.stream.Queued()
	}
	if s.sm != nil {
		d.Managed, d.Resumable, d.Unacked = true, s.sm.token != "", len(s.sm.queue)
	}
	for of, v := range s.watches {
		w := WatchInfo{Presentity: of}
		_, w.Held = s.held[of]
		if v != nil {
			w.Version = v.Version
			for _, src := range v.Sources {
				if src.ID.Kind == presence.Extended {
					w.Sources = append(w.Sources, src.ID.String()) // an event, of no resource
					continue
				}
				w.Sources = append(w.Sources, resourceOf(src.ID))
			}
		}
		d.Watches = append(d.Watches, w)
	}
	return d
}
