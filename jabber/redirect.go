package jabber

import (
	"context"
	"strconv"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/redirect"
	"pharos/xmpp"
)

// Redirect has clients that follow go to the node at which their user lives: with
// see-other-host when they have logged in, or with the IQ when they have announced the
// feature. All others are served where they are.
type Redirect struct {
	Clients *redirect.Redirects
	// Owner is the node at which a user lives, as far as that is known here; Locate finds
	// it, and chooses one for a newcomer (engine.Peers).
	Owner  func(presence.Entity) (node string, ok bool)
	Locate func(presence.Entity, func(node string, err error))
	// Host is where XMPP clients reach a node, host:port; Web the URI of its WebSocket.
	// "" where there is none.
	Host, Web func(node string) string
}

// locateWithin bounds how long a login waits for the answer where its user lives.
const locateWithin = 2 * time.Second

// home is the node at which a user lives, "" when it is this one or not to be found out.
// search: it is worth a question.
func (e *Edge) home(ctx context.Context, u presence.Entity, search bool) (node string, known bool) {
	d := e.c.Redirect
	node, known = d.Owner(u)
	if !known && search {
		found := make(chan string, 1)
		d.Locate(u, func(node string, err error) {
			if err != nil {
				node = ""
			}
			found <- node
		})
		t := time.NewTimer(locateWithin)
		defer t.Stop()
		select {
		case node = <-found:
			known = node != ""
		case <-ctx.Done():
		case <-t.C:
		}
	}
	if node == e.c.Engine.Self() {
		node = ""
	}
	return node, known
}

// sendElsewhere closes a stream that has been authenticated with see-other-host (RFC 6120
// §4.9.3.19, §4.9.1.1: also then), if its user lives elsewhere and his client follows. Its
// session resumes there, where it has one (XEP-0198 §5).
func (e *Edge) sendElsewhere(ctx context.Context, st *xmpp.Stream) bool {
	d := e.c.Redirect
	if d == nil {
		return false
	}
	u := entityOf(st.User())
	c := redirect.Client{User: u.String()}
	node, known := e.home(ctx, u, d.Clients.Likely(time.Now(), c))
	switch {
	case !known:
		return false
	case node == "":
		d.Clients.Here(time.Now(), c)
		return false
	}
	host := d.Host(node)
	if st.WebSocket() {
		host = d.Web(node) // RFC 7395 §3.6.1
	}
	if host == "" || !d.Clients.XMPP(time.Now(), c, node, false) {
		return false
	}
	st.Close(&xmpp.StreamError{Condition: "see-other-host", Other: host})
	return true
}

// announcedRedirect looks where the user of a session lives whose client has announced the
// feature: elsewhere, and it gets the IQ of the paper (§3.1). What it answers is of no
// importance: it goes, or it does not.
func (s *session) announcedRedirect(ctx context.Context) {
	e := s.edge
	d := e.c.Redirect
	if d == nil {
		return
	}
	u := s.user.entity
	c := s.announcing()
	node, known := e.home(ctx, u, true)
	switch {
	case !known:
		return
	case node == "":
		d.Clients.Here(time.Now(), c)
		return
	}
	if host := d.Host(node); host != "" && d.Clients.XMPP(time.Now(), c, node, true) {
		s.sendRedirect(host)
	}
}

// announcing is the client of a session that has announced the feature.
func (s *session) announcing() redirect.Client {
	return redirect.Client{User: s.user.bare, Device: redirect.Feature + "/" + s.resource}
}

func (s *session) sendRedirect(host string) {
	b := markup.AppendAttr([]byte("<iq type='set'"), "id", "redirect-"+strconv.FormatUint(s.edge.seq.Add(1), 36))
	b = markup.AppendAttr(b, "from", s.user.entity.Domain)
	b = markup.AppendAttr(b, "to", s.full)
	b = append(b, "><redirect xmlns='"+redirect.Feature+"'>"...)
	b = markup.AppendText(b, host)
	s.send(append(b, "</redirect></iq>"...))
}

// Moved has the clients of users who live at another node from now on go there, those that
// follow: by the IQ, or with see-other-host where they can resume. It returns how many.
func (e *Edge) Moved(u presence.Entity, node string) (n int) {
	d := e.c.Redirect
	if d == nil || node == "" || node == e.c.Engine.Self() {
		return 0
	}
	host := d.Host(node)
	if host == "" {
		return 0
	}
	now := time.Now()
	silent := map[string]bool{}
	for _, s := range e.reg.user(u).list() {
		s.mu.Lock()
		knows := s.caps.redirects()
		there := s.stream != nil && !s.ended
		silent[s.handle] = there && !knows && !s.stream.WebSocket()
		s.mu.Unlock()
		if there && knows && d.Clients.XMPP(now, s.announcing(), node, true) {
			s.sendRedirect(host)
			n++
		}
	}
	c := redirect.Client{User: u.String()}
	if d.Clients.Likely(now, c) && d.Clients.XMPP(now, c, node, false) {
		n += e.MoveSessions(u, host, func(i SessionInfo) bool { return silent[i.Handle] })
	}
	return n
}
