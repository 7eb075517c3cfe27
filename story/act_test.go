package story

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"pharos/markup"
	"pharos/pidf"
	"pharos/presence"
)

// act does one line.
func (w *world) act(l line) error {
	switch l.words[0] {
	case "after":
		d, err := time.ParseDuration(l.words[1])
		if err != nil {
			return err
		}
		settle(d)
		return nil
	case "restart":
		if err := w.end(); err != nil {
			return err
		}
		synctest.Wait()
		w.stopped()
		return w.start()
	case "kill":
		if err := w.halt(); err != nil {
			return err
		}
		return w.start()
	case "halt":
		return w.halt()
	case "start":
		return w.start()
	case "server":
		return w.serverDoes(l.words[1:])
	}
	if len(l.words) < 2 {
		return fmt.Errorf("who does what?")
	}
	name, verb, args := l.words[0], l.words[1], newArgs(l.words[2:])
	var err error
	switch {
	case verb == "and" && len(l.words) == 5 && strings.Join(l.words[3:], " ") == "are friends":
		return w.befriend(name, l.words[2])
	case (verb == "goes" || verb == "lives") && len(l.words) == 5 && l.words[3] == "server":
		if verb == "goes" { // to server 2
			return w.goes(name, l.words[4])
		}
		return w.lives(name, l.words[4]) // at server 2
	case w.phones[name] != nil:
		err = w.phoneDoes(w.phones[name], verb, args)
	case w.clients[name] != nil:
		err = w.clients[name].does(verb, args)
	case w.chatters[name] != nil:
		err = w.chatterDoes(w.chatters[name], verb, args)
	default:
		return fmt.Errorf("no actor %q", name)
	}
	if err == nil {
		err = args.unused()
	}
	return err
}

// args are the words after a verb: plain ones in order, and key=value.
type args struct {
	plain []string
	named map[string]string
}

func newArgs(words []string) *args {
	a := &args{named: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.ContainsAny(k, "<@ ") {
			a.named[k] = v
		} else {
			a.plain = append(a.plain, w)
		}
	}
	return a
}

// next takes the next plain word, "" when there is none.
func (a *args) next() string {
	if len(a.plain) == 0 {
		return ""
	}
	w := a.plain[0]
	a.plain = a.plain[1:]
	return w
}

func (a *args) get(key, otherwise string) string {
	v, ok := a.named[key]
	if !ok {
		return otherwise
	}
	delete(a.named, key)
	return v
}

// flag takes a plain word that may be there.
func (a *args) flag(word string) bool {
	for i, w := range a.plain {
		if w == word {
			a.plain = append(append([]string(nil), a.plain[:i]...), a.plain[i+1:]...)
			return true
		}
	}
	return false
}

func (a *args) unused() error {
	if len(a.plain)+len(a.named) > 0 {
		return fmt.Errorf("what is %v %v?", a.plain, a.named)
	}
	return nil
}

func (w *world) phoneDoes(p *phone, verb string, a *args) error {
	switch verb {
	case "registers":
		return p.register(a.get("expires", "3600"), a.flag("outbound"))
	case "publishes", "modifies":
		match := a.get("match", "")
		if verb == "modifies" {
			match = p.etag
		}
		as, event, expires := w.address(a.get("as", p.user)), a.get("event", "presence"), a.get("expires", "3600")
		if name := a.get("document", ""); name != "" {
			doc, err := w.document(name)
			if err != nil {
				return err
			}
			return p.publish(as, event, a.get("type", bodyTypes[event]), match, expires, doc)
		}
		doc, err := document(p, a)
		if err != nil {
			return err
		}
		return p.publish(as, event, pidf.Type, match, expires, doc)
	case "refreshes":
		return p.publish(p.user, a.get("event", "presence"), "", p.etag, a.get("expires", "3600"), "")
	case "unpublishes":
		return p.publish(p.user, a.get("event", "presence"), "", p.etag, "0", "")
	case "subscribes":
		s, err := w.wanted(p, a)
		if err != nil {
			return err
		}
		return p.subscribe(s, a.get("expires", "3600"))
	case "fetches":
		s, err := w.wanted(p, a)
		if err != nil {
			return err
		}
		return p.subscribe(s, "0")
	case "resubscribes", "unsubscribes":
		s, err := p.dialog(w.address(a.next()), a.get("event", ""))
		if err != nil {
			return err
		}
		if v := a.get("more", ""); v != "" {
			s.more = strings.ReplaceAll(v, "{tag}", s.tag) + "\r\n"
		}
		if v, ok := a.named["document"]; ok { // of this SUBSCRIBE and those to come
			delete(a.named, "document")
			if s.body, err = w.document(v); err != nil {
				return err
			}
		}
		expires := "0"
		if verb == "resubscribes" {
			expires = a.get("expires", "3600")
		}
		return p.resubscribe(s, expires)
	case "messages":
		return p.message(w.address(a.next()), a.get("type", "text/plain"), a.next())
	case "answers":
		method := a.next()
		status, err := strconv.Atoi(a.next())
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.answers[method] = status
		p.mu.Unlock()
		return nil
	case "unplugs", "plugs":
		a.flag("in")
		p.mu.Lock()
		p.deaf = verb == "unplugs"
		p.mu.Unlock()
		return nil
	}
	return fmt.Errorf("a SIP client cannot %q", verb)
}

// document is what "publishes open note=… activity=… person-note=… contact=…
// priority=… tuple=… extension=…" means.
func document(p *phone, a *args) (string, error) {
	t := presence.Tuple{ID: a.get("tuple", "t4109"), Priority: -1, Contact: a.get("contact", "")}
	switch state := a.next(); state {
	case "open":
		t.Basic = presence.Open
	case "closed":
		t.Basic = presence.Closed
	default:
		return "", fmt.Errorf("publish open or closed, not %q", state)
	}
	if v := a.get("priority", ""); v != "" {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return "", err
		}
		t.Priority = int(f * 1000)
	}
	if v := a.get("note", ""); v != "" {
		if n, err := strconv.Atoi(a.get("repeat", "1")); err == nil {
			v = strings.Repeat(v, n)
		}
		t.Notes = []presence.Note{{Text: v}}
	}
	if v := a.get("extension", ""); v != "" {
		t.Extra = []presence.Fragment{{Space: "urn:x", Local: v, XML: "<" + v + " xmlns='urn:x'>kept</" + v + ">"}}
	}
	d := presence.Document{Tuples: []presence.Tuple{t}}
	activity, note := a.get("activity", ""), a.get("person-note", "")
	if activity != "" || note != "" {
		person := presence.Person{ID: "p4159"}
		if activity != "" {
			person.Rich.Activities = &presence.Values{Names: strings.Split(activity, ",")}
		}
		if note != "" {
			person.Notes = []presence.Note{{Text: note}}
		}
		d.Persons = []presence.Person{person}
	}
	return string(pidf.Append(nil, "sip:"+p.user, &d)), nil
}

func (w *world) chatterDoes(c *chatter, verb string, a *args) error {
	switch verb {
	case "logs":
		switch a.next() {
		case "in":
			sm := a.flag("resumable")
			if err := c.connect(sm); err != nil {
				return err
			}
			if err := c.query("get", "<query xmlns='"+nsRoster+"'/>"); err != nil {
				return err
			}
			c.stanza("presence", "", "", shown(a))
			return nil
		case "out":
			c.stanza("presence", "", "unavailable", status(a))
			c.leaveStream()
			return nil
		}
	case "connects":
		return c.connect(a.flag("resumable"))
	case "drops":
		c.drop()
		return nil
	case "resumes":
		return c.resume()
	case "is":
		return w.shows(c, a)
	case "subscribes", "approves", "refuses", "cancels", "unsubscribes":
		typ := map[string]string{"subscribes": "subscribe", "approves": "subscribed", "refuses": "unsubscribed",
			"cancels": "unsubscribed", "unsubscribes": "unsubscribe"}[verb]
		c.stanza("presence", w.address(a.next()), typ, status(a))
		return nil
	case "adds", "removes":
		it := "<item" + string(markup.AppendAttr(nil, "jid", w.address(a.next())))
		if name := a.get("name", ""); name != "" {
			it += string(markup.AppendAttr(nil, "name", name))
		}
		if verb == "removes" {
			it += " subscription='remove'"
		}
		it += ">"
		if g := a.get("group", ""); g != "" {
			it += text("group", g)
		}
		return c.query("set", "<query xmlns='"+nsRoster+"'>"+it+"</item></query>")
	case "reads":
		a.flag("the")
		if a.next() == "blocks" { // and is told of changes from then on (XEP-0191 §3.3)
			return c.query("get", "<blocklist xmlns='"+nsBlock+"'/>")
		}
		return c.query("get", "<query xmlns='"+nsRoster+"'/>")
	case "blocks", "unblocks":
		jid := w.address(a.next())
		return c.query("set", "<"+verb[:len(verb)-1]+" xmlns='"+nsBlock+"'><item"+string(markup.AppendAttr(nil, "jid", jid))+"/></"+verb[:len(verb)-1]+">")
	case "messages":
		to := a.next()
		jid := w.address(to)
		if _, resource, ok := strings.Cut(to, "/"); ok {
			jid += "/" + resource
		}
		body := text("body", a.next())
		if s := a.get("subject", ""); s != "" {
			body = text("subject", s) + body
		}
		c.stanza("message", jid, a.get("type", "chat"), body)
		return nil
	case "wants":
		c.wants = strings.Split(a.next(), ",")
		return nil
	case "publishes":
		return c.publishItem(a.next(), a.next())
	case "enables":
		a.flag("carbons")
		return c.query("set", "<enable xmlns='"+nsCarbons+"'/>")
	case "sends":
		c.write(a.next())
		return nil
	}
	return fmt.Errorf("an XMPP client cannot %q", verb)
}

// shows sends presence: is away "lunch" priority=1 [to somebody].
func (w *world) shows(c *chatter, a *args) error {
	show, to := a.next(), ""
	if a.flag("to") {
		to = w.address(a.plain[len(a.plain)-1])
		a.plain = a.plain[:len(a.plain)-1]
	}
	switch show {
	case "unavailable":
		c.stanza("presence", to, "unavailable", status(a))
		return nil
	case "available":
	case "away", "chat", "dnd", "xa":
		a.named["show"] = show
	default:
		return fmt.Errorf("nobody is %q", show)
	}
	c.stanza("presence", to, "", shown(a))
	return nil
}

func shown(a *args) string {
	s := ""
	if v := a.get("show", ""); v != "" {
		s += text("show", v)
	}
	s += status(a)
	if v := a.get("priority", ""); v != "" {
		s += text("priority", v)
	}
	return s
}

// status is the free word of a presence.
func status(a *args) string {
	if v := a.next(); v != "" {
		return text("status", v)
	}
	return ""
}

// stranger is where clients are that belong to nobody in the story.
var stranger = netip.MustParseAddr("198.51.100.254")

// befriend has two users subscribe to each other as XMPP clients of theirs
// would, before the story goes on.
func (w *world) befriend(a, b string) error {
	x := &chatter{w: w, name: a, user: w.address(a), resource: "friend", from: stranger, node: w.nodes[0]}
	y := &chatter{w: w, name: b, user: w.address(b), resource: "friend", from: stranger, node: w.nodes[len(w.nodes)-1]}
	for _, c := range []*chatter{x, y} {
		if err := c.connect(false); err != nil {
			return err
		}
		if err := c.query("get", "<query xmlns='"+nsRoster+"'/>"); err != nil {
			return err
		}
	}
	for _, c := range [][2]*chatter{{x, y}, {y, x}} {
		c[0].stanza("presence", c[1].user, "subscribe", "")
		settle(between)
		c[1].stanza("presence", c[0].user, "subscribed", "")
		settle(between)
	}
	x.leaveStream()
	y.leaveStream()
	settle(between)
	for _, name := range w.names { // what happened on the way is not the story
		w.drain(name)
	}
	return nil
}
