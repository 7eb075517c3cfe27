package story

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/markup"
)

// talker is somebody with a chat client.
type talker struct {
	*crowd
	user  string
	c     *chatter
	n     int
	shows bool // it has said that it is there
	sees  *screen
}

// screen is what a chat client shows, by what it was told.
type screen struct {
	note     func(stanza string) // for who looks into one story; may be nil
	mu       sync.Mutex
	c        *chatter
	presence map[string]string // by full address
	roster   map[string]string
	blocks   map[string]bool
	events   map[string]string // by address and node
}

func newScreen(c *chatter) *screen {
	s := &screen{c: c, presence: map[string]string{}, roster: map[string]string{}, blocks: map[string]bool{}, events: map[string]string{}}
	return s
}

// hear takes a stanza. c.mu is held.
func (s *screen) hear(e *markup.Element) {
	if s.note != nil {
		s.note(string(e.Source()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Local {
	case "presence":
		s.hearPresence(e)
	case "message":
		if items := e.Child(nsEvent, "event").Child(nsEvent, "items"); items != nil {
			key := e.Attr("from") + " " + items.Attr("node")
			for it := range items.Children() {
				if it.Local == "retract" {
					delete(s.events, key)
				} else {
					s.events[key] = strings.Join(itemWords(e), " ")
				}
			}
		}
	case "iq":
		if q := e.Child(nsRoster, "query"); q != nil {
			if e.Attr("type") == "result" {
				s.roster = map[string]string{}
			}
			for x := range q.Children() {
				if x.Attr("subscription") == "remove" {
					delete(s.roster, x.Attr("jid"))
				} else {
					words := item(s.c.w, x)
					slices.Sort(words)
					s.roster[x.Attr("jid")] = strings.Join(words, " ")
				}
			}
		}
		if q := e.Child(nsBlock, "blocklist"); q != nil && e.Attr("type") == "result" {
			s.blocks = map[string]bool{}
			for x := range q.Children() {
				s.blocks[x.Attr("jid")] = true
			}
		}
		if q := e.Child(nsBlock, "block"); q != nil {
			for x := range q.Children() {
				s.blocks[x.Attr("jid")] = true
			}
		}
		if q := e.Child(nsBlock, "unblock"); q != nil {
			n := 0
			for x := range q.Children() {
				n++
				delete(s.blocks, x.Attr("jid"))
			}
			if n == 0 {
				clear(s.blocks)
			}
		}
	}
}

func (s *screen) hearPresence(e *markup.Element) {
	from := e.Attr("from")
	switch e.Attr("type") {
	case "":
		words := slices.DeleteFunc(s.c.presence(e)[2:], func(w string) bool { return w == "delay" || strings.HasPrefix(w, "child=") })
		s.presence[from] = strings.Join(words, " ")
	case "unavailable":
		if strings.Contains(from, "/") {
			delete(s.presence, from)
			return
		}
		for k := range s.presence {
			if strings.HasPrefix(k, from+"/") {
				delete(s.presence, k)
			}
		}
	}
}

func (a *talker) online() bool {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	return a.c.online
}

// login begins a session with everything that a client asks for.
func (a *talker) login(resumable bool) {
	a.note(a.user, a.c.name, "logs in")
	a.c.drain()
	a.shows = false
	a.see()
	if err := a.c.connect(resumable); err != nil {
		a.wrong("%s: %v", a.c.name, err)
		return
	}
	for _, q := range []string{"<query xmlns='" + nsRoster + "'/>", "<blocklist xmlns='" + nsBlock + "'/>"} {
		if err := a.c.query("get", q); err != nil {
			a.wrong("%s: %v", a.c.name, err)
			return
		}
	}
	a.c.stanza("presence", "", "", "")
	a.shows = true
}

func (a *talker) see() {
	s := newScreen(a.c)
	if *stressSeed != 0 {
		s.note = func(x string) { a.note(a.user, a.c.name, "hears", x) }
	}
	a.c.mu.Lock()
	a.sees, a.c.each, a.c.wants = s, s.hear, []string{"mood"}
	a.c.mu.Unlock()
}

func (a *talker) query(payload string) {
	if err := a.c.query("set", payload); err != nil && a.online() {
		a.wrong("%v", err)
	}
}

func (a *talker) act(r *rand.Rand) {
	if !a.online() {
		a.roams(r, a.c.name)
		a.login(r.IntN(3) == 0)
		return
	}
	a.c.drain()
	o := a.w.address(a.other(r, a.user))
	n := r.IntN(24)
	a.note(a.user, a.c.name, "does", strconv.Itoa(n), o)
	switch n {
	case 0, 1, 2, 3:
		a.c.stanza("presence", o, "subscribe", "")
	case 4, 5, 6:
		a.c.stanza("presence", o, "subscribed", "")
	case 7:
		a.c.stanza("presence", o, "unsubscribed", "")
	case 8:
		a.c.stanza("presence", o, "unsubscribe", "")
	case 9, 10:
		a.n++
		a.query("<query xmlns='" + nsRoster + "'><item" + string(markup.AppendAttr(nil, "jid", o)) + " name='" + a.c.resource + strconv.Itoa(a.n) + "'><group>g" + strconv.Itoa(r.IntN(3)) + "</group></item></query>")
	case 11:
		a.query("<query xmlns='" + nsRoster + "'><item" + string(markup.AppendAttr(nil, "jid", o)) + " subscription='remove'/></query>")
	case 12:
		a.query("<block xmlns='" + nsBlock + "'><item" + string(markup.AppendAttr(nil, "jid", o)) + "/></block>")
	case 13, 14:
		a.query("<unblock xmlns='" + nsBlock + "'><item" + string(markup.AppendAttr(nil, "jid", o)) + "/></unblock>")
	case 15:
		a.query("<unblock xmlns='" + nsBlock + "'/>")
	case 16:
		a.c.stanza("presence", "", "unavailable", "")
		a.shows = false
		time.Sleep(300 * time.Millisecond)
		a.sees.mu.Lock()
		clear(a.sees.presence)
		clear(a.sees.events)
		a.sees.mu.Unlock()
	case 17:
		a.c.leaveStream()
		time.Sleep(300 * time.Millisecond)
	case 18:
		a.c.mu.Lock()
		sm := a.c.sm.on
		a.c.mu.Unlock()
		a.c.drop()
		time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		a.roams(r, a.c.name)
		if sm && r.IntN(2) == 0 {
			if err := a.c.resume(); err != nil {
				a.wrong("%s: %v", a.c.name, err)
			}
		}
		time.Sleep(300 * time.Millisecond)
	case 19, 20:
		a.c.publishItem("mood", "<mood xmlns='http://jabber.org/protocol/mood'><"+moods[r.IntN(3)]+"/></mood>")
	default:
		a.n++
		a.c.stanza("presence", "", "", text("show", []string{"away", "dnd", "chat"}[r.IntN(3)])+text("status", strconv.Itoa(a.n)))
		a.shows = true
	}
}
