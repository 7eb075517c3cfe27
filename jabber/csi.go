package jabber

import (
	"pharos/markup"
	"pharos/xmpp"
)

// clientState takes <active/> and <inactive/> (XEP-0352): presence to an inactive
// client waits, the newest of each contact winning, until it is active again or
// something comes that cannot wait. False ends the stream.
func (s *session) clientState(st *xmpp.Stream, el *markup.Element) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch el.Local {
	case "active":
		s.inactive = false
		s.flush()
	case "inactive":
		s.inactive = true
	}
	return true
}
