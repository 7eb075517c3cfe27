package jabber

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/redirect"
)

// homes is who lives at node b.
type homes struct {
	mu      sync.Mutex
	at      map[string]string
	unknown bool // Owner does not know
	asked   int
	events  []redirect.Event
}

func (h *homes) redirect(try bool) *Redirect {
	owner := func(e presence.Entity) string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.at[e.User]
	}
	return &Redirect{
		Clients: redirect.New(redirect.Settings{Try: try, Learn: true, Tell: func(e redirect.Event) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.events = append(h.events, e)
		}}),
		Owner: func(e presence.Entity) (string, bool) { return owner(e), !h.unknown },
		Locate: func(e presence.Entity, done func(string, error)) {
			h.mu.Lock()
			h.asked++
			h.mu.Unlock()
			if e.User == "lost" {
				go done("", errors.New("no home"))
				return
			}
			go done(owner(e), nil)
		},
		Host: func(node string) string { return node + ".example.com:5222" },
		Web:  func(node string) string { return "" },
	}
}

func (c *client) seesOther(host string) {
	c.w.t.Helper()
	el := c.await("error")
	if got := el.Child("urn:ietf:params:xml:ns:xmpp-streams", "see-other-host").Text(); got != host {
		c.w.t.Fatalf("%s: %s, want see-other-host %s", c.name, el.Source(), host)
	}
	<-c.gone
}

// RFC 6120 §4.9.3.19, after SASL; one that comes back is served.
func TestSeeOtherHost(t *testing.T) {
	inWorld(t, []string{"alice", "bob", "lost"}, func(w *world) {
		h := &homes{at: map[string]string{"alice": "b"}}
		w.edge.c.Redirect = h.redirect(true)
		w.dial("first", "alice").seesOther("b.example.com:5222")
		time.Sleep(2 * time.Second)
		a := w.login("alice", "again")
		b := w.login("bob", "x") // lives here
		settle()
		for _, c := range []*client{a, b} {
			if el := c.all(); len(el) != 0 {
				t.Errorf("%s: got %v", c.name, el)
			}
		}
		h.unknown = true
		w.dial("third", "alice") // served, it did not follow
		w.login("lost", "x")     // nobody knows where he lives
		if n := w.edge.c.Redirect.Clients.Counts(); n.Redirected != 1 {
			t.Errorf("%+v", n)
		}
		if h.asked != 1 {
			t.Errorf("asked %d times where somebody lives", h.asked)
		}
	})
}

// Nobody is tried unless the operator wants it; whoever has followed is known.
func TestSeeOtherHostLearned(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		h := &homes{at: map[string]string{"alice": "b", "bob": "b"}}
		w.edge.c.Redirect = h.redirect(false)
		w.login("bob", "x")
		w.edge.c.Redirect.Clients.Heard(time.Now(), redirect.Event{Kind: redirect.Followed, Client: "alice@localhost\x00", To: "b"})
		w.dial("a", "alice").seesOther("b.example.com:5222")
	})
}

const redirectCaps = "<identity category='client' type='pc'/><feature var='" + redirect.Feature + "'/>"

// announce sends presence with capabilities, and answers what is asked about them.
func (c *client) announce(features string) {
	c.w.t.Helper()
	c.send("<presence><c xmlns='" + nsCaps + "' hash='sha-1' node='n' ver='v'/></presence>")
	for {
		settle()
		for _, el := range c.all() {
			if el.Child(nsInfo, "query") != nil {
				c.send("<iq type='result' id='" + el.Attr("id") + "'><query xmlns='" + nsInfo + "'>" + features + "</query></iq>")
				return
			}
		}
	}
}

// The IQ of the paper, for those that announce the feature, and only for them.
func TestRedirectIQ(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		h := &homes{at: map[string]string{"alice": "b", "bob": ""}}
		w.edge.c.Redirect = h.redirect(false)
		a, old, b := w.login("alice", "phone"), w.login("alice", "old"), w.login("bob", "x")
		a.announce(redirectCaps)
		old.announce("<identity category='client' type='pc'/>")
		b.announce(redirectCaps)
		settle()
		iqs := 0
		for _, el := range a.all() {
			r := el.Child(redirect.Feature, "redirect")
			if r == nil {
				continue
			}
			iqs++
			if el.Attr("type") != "set" || el.Attr("from") != domain || el.Attr("to") != "alice@localhost/phone" || r.Text() != "b.example.com:5222" {
				t.Errorf("IQ %s", el.Source())
			}
			a.send("<iq type='result' id='" + el.Attr("id") + "'/>")
		}
		if iqs != 1 {
			t.Errorf("%d redirects", iqs)
		}
		for _, c := range []*client{old, b} {
			for _, el := range c.all() {
				if strings.Contains(el.Source(), redirect.Feature) {
					t.Errorf("%s got %s", c.name, el.Source())
				}
			}
		}
		// It stays all the same: it is served, and not asked again.
		a.send("<presence type='unavailable'/>")
		settle()
		a.all()
		a.announce(redirectCaps)
		settle()
		for _, el := range a.all() {
			if strings.Contains(el.Source(), redirect.Feature) {
				t.Errorf("asked again: %s", el.Source())
			}
		}
	})
}

// A user who has moved is told so: clients that announce the feature by the IQ, one
// that has followed before and can resume by see-other-host, others not at all.
func TestMoved(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		h := &homes{at: map[string]string{}}
		w.edge.c.Redirect = h.redirect(false)
		a, b, old := w.login("alice", "phone"), w.login("bob", "sm"), w.login("bob", "old")
		a.announce(redirectCaps)
		b.send("<enable xmlns='" + nsSM + "' resume='true'/>")
		b.await("enabled")
		settle()
		a.all()
		if n := w.edge.Moved(entity("bob"), "b"); n != 0 {
			t.Errorf("%d went of whom nothing is known", n)
		}
		w.edge.c.Redirect.Clients.Heard(time.Now(), redirect.Event{Kind: redirect.Followed, Client: "bob@localhost\x00", To: "b"})
		if n := w.edge.Moved(entity("alice"), "b") + w.edge.Moved(entity("bob"), "b"); n != 2 {
			t.Errorf("%d are told", n)
		}
		b.seesOther("b.example.com:5222")
		settle()
		if el := a.all(); len(el) != 1 || el[0].Child(redirect.Feature, "redirect") == nil {
			t.Errorf("got %v", el)
		}
		if el := old.all(); len(el) != 0 {
			t.Errorf("one that cannot resume got %v", el)
		}
		if ss := w.edge.Sessions(entity("bob")); len(ss) != 2 {
			t.Errorf("%d sessions", len(ss))
		}
		if w.edge.Moved(entity("alice"), w.engine.Self()) != 0 {
			t.Error("moved to where they are")
		}
	})
}

// all returns and forgets what has come.
func (c *client) all() []*markup.Element {
	settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}
