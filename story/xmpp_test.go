package story

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/markup"
)

const (
	nsClient  = "jabber:client"
	nsStreams = "http://etherx.jabber.org/streams"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsRoster  = "jabber:iq:roster"
	nsSM      = "urn:xmpp:sm:3"
	nsBlock   = "urn:xmpp:blocking"
	nsDelay   = "urn:xmpp:delay"
	nsCarbons = "urn:xmpp:carbons:2"
	nsForward = "urn:xmpp:forward:0"
	nsErrors  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsPing    = "urn:xmpp:ping"
)

// chatter is an XMPP client.
type chatter struct {
	node     *node // the server that it speaks to
	w        *world
	name     string
	user     string // local@domain
	resource string
	from     netip.Addr
	wants    []string // nodes whose events it wants

	conn net.Conn
	sc   *markup.Scanner

	mu     sync.Mutex
	n      int
	events []event
	online bool
	leave  bool // it ends the stream itself
	wait   map[string]chan *markup.Element
	each   func(*markup.Element) // hears each stanza; may be nil
	sm     struct {
		id   string
		on   bool
		h    uint32 // stanzas taken
		mute bool   // does not acknowledge
	}
}

func (c *chatter) domain() string { return c.user[strings.IndexByte(c.user, '@')+1:] }

// dial opens a connection and goes up to the features after SASL.
func (c *chatter) dial() error {
	conn, err := c.w.net.Host(c.from.String()).Dial(context.Background(), "tcp", c.node.at(xmppPort).String())
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.conn, c.sc = conn, markup.NewScanner(conn, markup.Options{})
	c.mu.Unlock()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if err := c.open(); err != nil {
		return err
	}
	local, _, _ := strings.Cut(c.user, "@")
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + local + "\x00" + password))
	c.write("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + token + "</auth>")
	e, err := c.sc.Next()
	if err != nil {
		return err
	}
	if !e.Is(nsSASL, "success") {
		return fmt.Errorf("%s cannot log in: %s", c.name, e.Source())
	}
	c.sc.Restart()
	return c.open()
}

// open sends a stream header and reads the server's, with its features.
func (c *chatter) open() error {
	c.write("<?xml version='1.0'?><stream:stream to='" + c.domain() + "' version='1.0' xmlns='" + nsClient + "' xmlns:stream='" + nsStreams + "'>")
	if _, err := c.sc.Header(); err != nil {
		return err
	}
	e, err := c.sc.Next()
	if err != nil {
		return err
	}
	if !e.Is(nsStreams, "features") {
		return fmt.Errorf("%s: no features: %s", c.name, e.Source())
	}
	return nil
}

// connect logs in and binds, without roster and presence.
func (c *chatter) connect(sm bool) error {
	if err := c.dial(); err != nil {
		return err
	}
	c.write("<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>" + c.resource + "</resource></bind></iq>")
	e, err := c.sc.Next()
	if err != nil {
		return err
	}
	if e.Attr("type") != "result" {
		return fmt.Errorf("%s cannot bind: %s", c.name, e.Source())
	}
	jid := e.Child(nsBind, "bind").Child(nsBind, "jid").Text()
	if want := c.user + "/" + c.resource; jid != want {
		return fmt.Errorf("%s asked for %s and got %s", c.name, want, jid)
	}
	c.mu.Lock()
	c.sm.on, c.sm.h = false, 0
	c.mu.Unlock()
	if sm {
		c.write("<enable xmlns='" + nsSM + "' resume='true'/>")
		e, err := c.sc.Next()
		if err != nil {
			return err
		}
		if !e.Is(nsSM, "enabled") || e.Attr("id") == "" {
			return fmt.Errorf("%s: stream management: %s", c.name, e.Source())
		}
		c.sm.on, c.sm.id = true, e.Attr("id")
	}
	c.start()
	return nil
}

// resume takes up the session that was cut (XEP-0198 §5).
func (c *chatter) resume() error {
	if err := c.dial(); err != nil {
		return err
	}
	c.write("<resume xmlns='" + nsSM + "' previd='" + c.sm.id + "' h='" + strconv.Itoa(int(c.sm.h)) + "'/>")
	e, err := c.sc.Next()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.events = append(c.events, event{words: []string{e.Local}, raw: e.Source()})
	c.mu.Unlock()
	if e.Is(nsSM, "resumed") {
		c.start()
	} else {
		c.conn.Close()
	}
	return nil
}

func (c *chatter) start() {
	c.conn.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.online, c.leave = true, false
	c.wait = map[string]chan *markup.Element{}
	c.mu.Unlock()
	go c.read(c.conn, c.sc)
}

func (c *chatter) read(conn net.Conn, sc *markup.Scanner) {
	for {
		e, err := sc.Next()
		c.mu.Lock()
		if err != nil {
			if c.conn == conn {
				c.online = false
				if !c.leave {
					words := []string{"disconnected"}
					if !errors.Is(err, io.EOF) {
						words = append(words, err.Error())
					}
					c.events = append(c.events, event{words: words})
				}
			}
			c.mu.Unlock()
			conn.Close()
			return
		}
		c.take(e)
		c.mu.Unlock()
	}
}

func (c *chatter) take(e *markup.Element) {
	switch {
	case e.Is(nsSM, "r"):
		if !c.sm.mute {
			c.write("<a xmlns='" + nsSM + "' h='" + strconv.Itoa(int(c.sm.h)) + "'/>")
		}
		return
	case e.Is(nsSM, "a"):
		return
	case e.Is(nsStreams, "error"):
		words := []string{"stream-error"}
		for x := range e.Children() {
			words = append(words, x.Local)
		}
		c.events = append(c.events, event{words: words, raw: e.Source()})
		return
	}
	if e.Space == nsClient {
		c.sm.h++
	}
	if c.each != nil {
		c.each(e)
	}
	ev := event{raw: e.Source()}
	switch e.Local {
	case "presence":
		ev.words = c.presence(e)
		// Everybody is told of himself too (RFC 6121 §4.2.2).
		if ev.quiet = e.Attr("from") == c.user+"/"+c.resource; ev.quiet {
			ev.words[0] = "self"
		}
	case "message":
		ev.words = c.message(e)
	case "iq":
		var drop bool
		if ev.words, ev.quiet, drop = c.iq(e); drop {
			return
		}
	default:
		ev.words = []string{e.Local}
	}
	c.events = append(c.events, ev)
}

// sender gives the words for an address: with and without resource.
func (c *chatter) sender(e *markup.Element) []string {
	from := e.Attr("from")
	bare, _, full := strings.Cut(from, "/")
	words := []string{"from=" + c.w.short(bare)}
	if full {
		words = append(words, "from="+c.w.short(from))
	} else {
		words = append(words, "bare")
	}
	return words
}

func (c *chatter) presence(e *markup.Element) []string {
	typ := e.Attr("type")
	if typ == "" {
		typ = "available"
	}
	words := append([]string{"presence", typ}, c.sender(e)...)
	if to, _, _ := strings.Cut(e.Attr("to"), "/"); to != "" && to != c.user {
		words = append(words, "wrong-to="+to)
	}
	for x := range e.Children() {
		switch {
		case x.Is(nsClient, "show"), x.Is(nsClient, "status"), x.Is(nsClient, "priority"):
			words = append(words, x.Local+"="+x.Text())
		case x.Is(nsDelay, "delay"):
			words = append(words, "delay")
		case x.Is(nsClient, "error"):
			words = append(words, condition(x))
		default:
			words = append(words, "child="+x.Local)
		}
	}
	return words
}

func condition(x *markup.Element) string {
	for y := range x.Children() {
		if y.Space == nsErrors && y.Local != "text" {
			return y.Local
		}
	}
	return "no-condition"
}

func (c *chatter) message(e *markup.Element) []string {
	for _, kind := range []string{"sent", "received"} {
		if carbon := e.Child(nsCarbons, kind); carbon != nil {
			return append([]string{"carbon=" + kind}, c.message(carbon.Child(nsForward, "forwarded").Child(nsClient, "message"))...)
		}
	}
	typ := e.Attr("type")
	if typ == "" {
		typ = "normal"
	}
	words := append([]string{"message", typ}, c.sender(e)...)
	for x := range e.Children() {
		switch {
		case x.Is(nsClient, "body"), x.Is(nsClient, "subject"):
			words = append(words, x.Local+"="+x.Text())
		case x.Is(nsDelay, "delay"):
			words = append(words, "delay")
		case x.Is(nsClient, "error"):
			words = append(words, condition(x))
		case x.Is(nsEvent, "event"):
			words = append(words, itemWords(e)...)
		default:
			words = append(words, "child="+x.Local)
		}
	}
	return words
}

// iq answers what a client has to; drop means that nobody needs to know.
func (c *chatter) iq(e *markup.Element) (words []string, quiet, drop bool) {
	id, typ := e.Attr("id"), e.Attr("type")
	switch typ {
	case "get", "set":
		reply := "<iq type='result' id='" + id + "'"
		if from := e.Attr("from"); from != "" {
			reply += " to='" + string(markup.AppendText(nil, from)) + "'"
		}
		if q := e.Child(nsInfo, "query"); q != nil && c.wants != nil {
			c.write(reply + ">" + c.info(q) + "</iq>")
			return nil, true, true
		}
		if e.Child(nsPing, "ping") != nil {
			if !c.sm.mute {
				c.write(reply + "/>")
			}
			return nil, true, true
		}
		c.write(reply + "/>")
		for x := range e.Children() {
			words = append(words, "push", x.Local)
			for y := range x.Children() {
				words = append(words, item(c.w, y)...)
			}
			quiet = x.Space == nsRoster || x.Space == nsBlock
		}
		return words, quiet, false
	case "error":
		words = []string{"iq", "error", condition(e.Child(nsClient, "error"))}
	default:
		words, quiet = []string{"iq", "result"}, true
		if q := e.Child(nsRoster, "query"); q != nil {
			words = append(words, "roster")
			for y := range q.Children() {
				words = append(words, strings.Join(item(c.w, y), ","))
			}
		}
		if q := e.Child(nsBlock, "blocklist"); q != nil {
			words = append(words, "blocklist")
			for y := range q.Children() {
				words = append(words, item(c.w, y)...)
			}
		}
	}
	if ch := c.wait[id]; ch != nil {
		delete(c.wait, id)
		ch <- e
	}
	return words, quiet, false
}

// item is a roster or block item: bob subscription=both ask=subscribe name=…
func item(w *world, e *markup.Element) []string {
	words := []string{"item=" + w.short(e.Attr("jid"))}
	for _, a := range []string{"subscription", "ask", "approved", "name"} {
		if v := e.Attr(a); v != "" {
			words = append(words, a+"="+v)
		}
	}
	for g := range e.Children() {
		words = append(words, "group="+g.Text())
	}
	return words
}

// write sends; what cannot be sent shows as a disconnection.
func (c *chatter) write(s string) { io.WriteString(c.conn, s) }

// query sends an iq and waits for the answer.
func (c *chatter) query(typ, payload string) error {
	c.mu.Lock()
	c.n++
	id := "q" + strconv.Itoa(c.n)
	ch := make(chan *markup.Element, 1)
	c.wait[id] = ch
	c.mu.Unlock()
	c.write("<iq type='" + typ + "' id='" + id + "'>" + payload + "</iq>")
	select {
	case <-ch:
		return nil
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s: no answer to %s", c.name, payload)
	}
}

// stanza writes <presence> or <message>.
func (c *chatter) stanza(name, to, typ, children string) {
	s := "<" + name
	if name == "presence" && to == "" && typ == "" {
		children += c.capabilities()
	}
	if to != "" {
		s += string(markup.AppendAttr(nil, "to", to))
	}
	if typ != "" {
		s += " type='" + typ + "'"
	}
	if children == "" {
		s += "/>"
	} else {
		s += ">" + children + "</" + name + ">"
	}
	c.write(s)
}

// leaveStream ends the stream as a client should (RFC 6120 §4.4).
func (c *chatter) leaveStream() {
	c.mu.Lock()
	c.leave = true
	c.mu.Unlock()
	c.write("</stream:stream>")
}

// drop cuts the connection without a word.
func (c *chatter) drop() {
	c.mu.Lock()
	c.leave = true
	c.mu.Unlock()
	c.conn.Close()
}

func (c *chatter) close() {
	if c.conn != nil {
		c.drop()
	}
}

func (c *chatter) drain() []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.events
	c.events = nil
	return got
}

func text(element, s string) string {
	return "<" + element + ">" + string(markup.AppendText(nil, s)) + "</" + element + ">"
}
