package story

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// phone is a SIP client on UDP, and TCP for what is too long for that.
type phone struct {
	node   *node // the server that it speaks to
	w      *world
	name   string // of the actor
	user   string // user@domain
	domain string
	host   string // its address with port
	pc     net.PacketConn
	stream string // "sip+tcp" or "sips": everything goes over one connection of its own; "" is UDP
	conn   net.Conn
	ln     net.Listener
	server net.Addr
	went   bool         // to another server: everything goes there, also what belongs to dialogs
	n      atomic.Int64 // makes tags, branches and Call-IDs

	mu       sync.Mutex
	cseq     uint32
	pending  map[string]*transaction // by branch
	subs     []*subscription
	answered map[string][]byte // server transactions by branch, for retransmissions
	answers  map[string]int    // status by method, 200 where absent
	deaf     bool
	etag     string
	events   []event
	got      chan struct{}
}

// transaction is a request of ours.
type transaction struct {
	method  string
	build   func(cseq uint32, auth string) string // whole message
	tried   bool
	uri     string
	to      string // address that it goes to; "": the phone's server
	done    func(m *sip.Message)
	waiting chan struct{}
}

// subscription is a dialog that we watch somebody in (RFC 6665 §4.1).
type subscription struct {
	of, as        string // user@domain, both
	event, accept string // event package with its parameters; Accept
	more          string // further header lines of each SUBSCRIBE
	body          string // of each SUBSCRIBE, and its type
	bodyType      string
	callID, local string
	remote        string // tag
	target        string
	routes        []string
	heard         uint32
	tag           string // entity-tag of the last NOTIFY (RFC 5839)
	ended         bool
	each          func(body string, words []string) // hears each NOTIFY; may be nil
}

func newPhone(w *world, at *node, name, user, host string) (*phone, error) {
	p := &phone{
		w: w, node: at, name: name, user: user, host: host, domain: user[strings.IndexByte(user, '@')+1:],
		server:  net.UDPAddrFromAddrPort(at.at(sipPort)),
		pending: map[string]*transaction{}, answered: map[string][]byte{}, answers: map[string]int{},
		got: make(chan struct{}, 1), cseq: 100,
	}
	var err error
	if p.pc, err = w.net.ListenPacket("udp", host); err != nil {
		return nil, err
	}
	if p.ln, err = w.net.Listen("tcp", host); err != nil {
		return nil, err
	}
	go p.packets()
	go p.streams()
	return p, nil
}

func (p *phone) close() {
	p.pc.Close()
	p.ln.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

func (p *phone) packets() {
	b := make([]byte, 65536)
	for {
		n, from, err := p.pc.ReadFrom(b)
		if err != nil {
			return
		}
		p.take(b[:n], func(out []byte) { p.pc.WriteTo(out, from) })
	}
}

func (p *phone) streams() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			p.readStream(c)
		}()
	}
}

func (p *phone) readStream(c net.Conn) {
	var f sip.Framer
	for {
		if _, err := f.ReadOnce(c); err != nil {
			return
		}
		for {
			msg, ping, err := f.Next()
			if err != nil {
				p.record(false, "", "broken stream", err.Error())
				return
			}
			if ping {
				c.Write([]byte("\r\n"))
				continue
			}
			if msg == nil {
				break
			}
			p.take(msg, func(out []byte) { c.Write(out) })
		}
	}
}

// via is the transport's name in Via.
func (p *phone) via() string {
	switch p.stream {
	case "sip+tcp":
		return "TCP"
	case "sips":
		return "TLS"
	}
	return "UDP"
}

// writeStream sends over the phone's one connection, which is opened when there
// is none. What cannot be sent shows as unanswered. p.mu is held.
func (p *phone) writeStream(msg string) {
	if p.conn != nil {
		if _, err := p.conn.Write([]byte(msg)); err == nil {
			return
		}
		p.conn.Close()
	}
	from, _, _ := strings.Cut(p.host, ":")
	to := p.node.at(sipPort)
	if p.stream == "sips" {
		to = p.node.at(sipsPort)
	}
	c, err := p.w.net.Host(from).Dial(context.Background(), "tcp", to.String())
	if err != nil {
		p.conn = nil
		return
	}
	if p.stream == "sips" { // the server's certificate is its own
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	p.conn = c
	go p.readStream(c)
	c.Write([]byte(msg))
}

// record keeps what was got, as words.
func (p *phone) record(quiet bool, raw string, words ...string) {
	p.events = append(p.events, event{words: words, quiet: quiet, raw: raw})
}

func (p *phone) take(b []byte, reply func([]byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf {
		return
	}
	m, err := sip.Parse(b)
	if err != nil {
		p.record(false, string(b), "malformed", err.Error())
		return
	}
	if !m.IsRequest() {
		p.response(m, string(b))
		return
	}
	branch := m.Via().Branch
	if old, ok := p.answered[branch]; ok {
		// A server that got our answer has no reason to ask again.
		p.record(false, string(b), m.Method, "retransmitted")
		reply(old)
		return
	}
	status := p.request(m, string(b))
	if status == 0 {
		return
	}
	out := answer(m, status, p.host, p.user)
	p.answered[branch] = out
	reply(out)
}

// answer copies what RFC 3261 §8.2.6.2 says.
func answer(m *sip.Message, status int, host, user string) []byte {
	b := []byte("SIP/2.0 " + strconv.Itoa(status) + " Answer\r\n")
	b = m.AppendCopy(b, sip.HVia)
	b = m.AppendCopy(b, sip.HFrom)
	b = m.AppendCopy(b, sip.HTo)
	b = m.AppendCopy(b, sip.HCallID)
	b = m.AppendCopy(b, sip.HCSeq)
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// request takes a request of the server and returns the status to answer with.
func (p *phone) request(m *sip.Message, raw string) int {
	status := 200
	if s := p.answers[m.Method]; s != 0 {
		status = s
	}
	switch m.Method {
	case "NOTIFY":
		return p.notify(m, raw, status)
	case "MESSAGE":
		ct, _, _ := m.ContentType()
		u, _ := m.From().ParseURI()
		p.record(false, raw, "MESSAGE", "from="+p.w.short(u.AOR()), "body="+m.Body, "type="+ct.String())
	default:
		p.record(false, raw, m.Method)
	}
	return status
}

// notify checks what RFC 6665 §4.1.3 has the subscriber check.
func (p *phone) notify(m *sip.Message, raw string, status int) int {
	var s *subscription
	for _, x := range p.subs {
		if x.callID == m.CallID() && x.local == m.To().Tag() && !x.ended {
			s = x
		}
	}
	if s == nil {
		p.record(false, raw, "NOTIFY", "stray")
		return 481
	}
	words := []string{"NOTIFY", "of=" + p.w.short(s.of)}
	pkg, _, _ := strings.Cut(s.event, ";")
	if ev, ok, err := m.Event(); err != nil || !ok || ev.Package != pkg {
		words = append(words, "wrong-event")
	}
	if pkg != "presence" {
		words = append(words, "event="+pkg)
	}
	if m.CSeq() <= s.heard {
		p.record(false, raw, append(words, "cseq-not-higher")...)
		return 500 // RFC 3261 §12.2.2
	}
	s.heard = m.CSeq()
	if s.remote == "" {
		s.remote = m.From().Tag()
	} else if s.remote != m.From().Tag() {
		words = append(words, "other-tag")
	}
	if c, ok, err := m.Contact(); err != nil || !ok {
		words = append(words, "no-contact")
	} else {
		s.target = c.URI
		if n := p.w.numberAt(c.URI); n != "" {
			words = append(words, "at="+n)
		}
	}
	st, ok, err := m.SubscriptionState()
	if err != nil || !ok {
		words = append(words, "no-state")
	}
	words = append(words, st.State)
	if st.Reason != "" {
		words = append(words, "reason="+st.Reason)
	}
	if st.State == "terminated" {
		s.ended = true
	} else {
		words = append(words, "expires="+strconv.Itoa(int(st.Expires)))
	}
	if t, ok := m.GetName("SIP-ETag"); ok {
		s.tag = t
	}
	ct, _, _ := m.ContentType()
	words = append(words, body(p.w, ct, m.Body)...)
	p.record(false, raw, words...)
	if s.each != nil {
		s.each(m.Body, words)
	}
	return status
}

// body says what the body of a NOTIFY shows.
func body(w *world, ct sip.MediaType, text string) []string {
	switch {
	case text == "":
		return []string{"body=none"}
	case ct.Is(pidf.Type):
		return presenceWords(text)
	}
	return eventWords(w, ct, text)
}

// presenceWords says what a presence document shows.
func presenceWords(text string) []string {
	d, entity, err := pidf.Parse([]byte(text))
	if err != nil {
		return []string{"bad-body", err.Error()}
	}
	words := []string{"entity=" + entity, "tuples=" + strconv.Itoa(len(d.Tuples))}
	state := "neutral"
	notes := append([]presence.Note(nil), d.Notes...)
	rich := func(r *presence.Rich) {
		if r.Activities != nil {
			for _, a := range append(r.Activities.Names, r.Activities.Other...) {
				words = append(words, "activity="+a)
			}
			notes = append(notes, r.Activities.Notes...)
		}
		if r.Mood != nil {
			for _, a := range append(r.Mood.Names, r.Mood.Other...) {
				words = append(words, "mood="+a)
			}
		}
		if r.UserInput.State != "" {
			words = append(words, "input="+r.UserInput.State)
		}
	}
	for i := range d.Tuples {
		t := &d.Tuples[i]
		switch {
		case t.Basic == presence.Open:
			state = "open"
			words = append(words, "tuple=open")
		case t.Basic == presence.Closed && state == "neutral":
			state = "closed"
			fallthrough
		case t.Basic == presence.Closed:
			words = append(words, "tuple=closed")
		}
		notes = append(notes, t.Notes...)
		rich(&t.Rich)
		if t.Contact != "" {
			words = append(words, "contact="+t.Contact)
		}
		if t.Priority >= 0 {
			words = append(words, fmt.Sprintf("priority=%g", float64(t.Priority)/1000))
		}
		for _, f := range append(append([]presence.Fragment(nil), t.Extra...), t.Status...) {
			words = append(words, "extension="+f.Local)
		}
	}
	for i := range d.Persons {
		notes = append(notes, d.Persons[i].Notes...)
		rich(&d.Persons[i].Rich)
		for _, f := range d.Persons[i].Extra {
			words = append(words, "extension="+f.Local)
		}
	}
	for i := range d.Devices {
		rich(&d.Devices[i].Rich)
	}
	for _, n := range notes {
		words = append(words, "note="+n.Text)
	}
	return append(words, state)
}

func (p *phone) id(what string) string {
	return fmt.Sprintf("%s%s%d", what, strings.ReplaceAll(p.name, "@", "."), p.n.Add(1))
}

// send starts a transaction and waits until it has a final answer.
func (p *phone) send(t *transaction) error {
	p.mu.Lock()
	t.waiting = make(chan struct{})
	p.transmit(t, "")
	p.mu.Unlock()
	select {
	case <-t.waiting:
		return nil
	case <-time.After(40 * time.Second):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.record(false, "", t.method, "unanswered")
		return nil
	}
}

// transmit sends once; the network loses nothing that is listened for.
func (p *phone) transmit(t *transaction, auth string) {
	p.cseq++
	msg := t.build(p.cseq, auth)
	branch := p.id("z9hG4bK")
	p.pending[branch] = t
	head, rest, _ := strings.Cut(msg, "\r\n")
	msg = head + "\r\nVia: SIP/2.0/" + p.via() + " " + p.host + ";rport;branch=" + branch + "\r\nMax-Forwards: 70\r\nUser-Agent: story\r\n" + rest
	if p.deaf {
		return
	}
	if p.stream == "" {
		to := p.server
		if a, err := netip.ParseAddrPort(t.to); err == nil {
			to = net.UDPAddrFromAddrPort(a)
		}
		p.pc.WriteTo([]byte(msg), to)
	} else {
		p.writeStream(msg)
	}
}

func (p *phone) response(m *sip.Message, raw string) {
	t := p.pending[m.Via().Branch]
	if t == nil {
		p.record(false, raw, m.Method, strconv.Itoa(m.Status), "again")
		return
	}
	if m.Status < 200 {
		return
	}
	delete(p.pending, m.Via().Branch)
	if (m.Status == 401 || m.Status == 407) && !t.tried {
		t.tried = true
		p.transmit(t, p.credentials(m, t.method, t.uri))
		return
	}
	words := []string{m.Method, strconv.Itoa(m.Status)}
	if e, ok, _ := m.Seconds(sip.HExpires); ok {
		words = append(words, "expires="+strconv.Itoa(int(e)))
	}
	if e, ok, _ := m.Seconds(sip.HMinExpires); ok {
		words = append(words, "min-expires="+strconv.Itoa(int(e)))
	}
	p.record(m.Status < 300, raw, words...)
	if t.done != nil {
		t.done(m)
	}
	close(t.waiting)
}

// credentials answers a challenge with MD5, which every server must know
// (RFC 8760 §2.7); quality of protection as most phones have it.
func (p *phone) credentials(m *sip.Message, method, uri string) string {
	h, out := sip.HWWWAuthenticate, sip.HAuthorization
	if m.Status == 407 {
		h, out = sip.HProxyAuthenticate, sip.HProxyAuthorization
	}
	var c sip.Credentials
	for v := range m.Lines(h) {
		x, ok := sip.ParseCredentials(v)
		if ok && (x.Algorithm == "" || strings.EqualFold(x.Algorithm, "MD5")) {
			c = x
			break
		}
	}
	user, _, _ := strings.Cut(p.user, "@")
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	c.Username, c.URI = user, uri
	ha1, ha2 := sum(user+":"+c.Realm+":"+password), sum(method+":"+uri)
	if c.QOP != "" {
		c.QOP, c.CNonce, c.NC = "auth", "0a4f113b", 1
		c.Response = sum(ha1 + ":" + c.Nonce + ":00000001:" + c.CNonce + ":auth:" + ha2)
	} else {
		c.Response = sum(ha1 + ":" + c.Nonce + ":" + ha2)
	}
	return string(sip.AppendCredentials(nil, out, c))
}

func withBody(head, contentType, body string) string {
	if body != "" {
		head += "Content-Type: " + contentType + "\r\n"
	}
	return head + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// outside is the head of a request outside of a dialog.
func (p *phone) outside(method, uri, to, callID string, cseq uint32, auth, more string) string {
	return method + " " + uri + " SIP/2.0\r\nFrom: <sip:" + p.user + ">;tag=" + p.id("f") + "\r\nTo: <" + to + ">\r\nCall-ID: " + callID +
		"\r\nCSeq: " + strconv.Itoa(int(cseq)) + " " + method + "\r\nContact: <sip:" + p.contact() + ">\r\n" + auth + more
}

func (p *phone) contact() string {
	user, _, _ := strings.Cut(p.user, "@")
	if p.stream != "" {
		return user + "@" + p.host + ";transport=" + strings.ToLower(p.via())
	}
	return user + "@" + p.host
}

// register sends REGISTER (RFC 3261 §10.2), with outbound for its flow alone (RFC 5626 §4.2).
func (p *phone) register(expires string, outbound bool) error {
	uri, callID := "sip:"+p.domain, p.id("r")
	return p.send(&transaction{method: "REGISTER", uri: uri, build: func(cseq uint32, auth string) string {
		more := "Expires: " + expires + "\r\n"
		head := p.outside("REGISTER", uri, "sip:"+p.user, callID, cseq, auth, more)
		if outbound {
			contact := "Contact: <sip:" + p.contact() + ">"
			head = strings.Replace(head, contact, contact+";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-"+
				fmt.Sprintf("%012x", p.user)[:12]+">\"", 1) + "Supported: outbound, path\r\n"
		}
		return withBody(head, "", "")
	}})
}

// publish sends PUBLISH (RFC 3903 §4) and remembers the entity-tag.
func (p *phone) publish(of, event, bodyType, match, expires, body string) error {
	uri, callID := "sip:"+of, p.id("p")
	more := "Event: " + event + "\r\n"
	if expires != "" {
		more += "Expires: " + expires + "\r\n"
	}
	if match != "" {
		more += "SIP-If-Match: " + match + "\r\n"
	}
	return p.send(&transaction{method: "PUBLISH", uri: uri, build: func(cseq uint32, auth string) string {
		return withBody(p.outside("PUBLISH", uri, uri, callID, cseq, auth, more), bodyType, body)
	}, done: func(m *sip.Message) {
		if m.Status < 300 {
			tag, _ := m.GetName("SIP-ETag")
			if p.etag != "" && tag == p.etag && body != "" { // RFC 3903 §6: a new state has a new tag
				p.record(false, "", "PUBLISH", "same-etag")
			}
			p.etag = tag
			if expires == "0" {
				p.etag = ""
			}
		}
	}})
}

// message sends MESSAGE (RFC 3428).
func (p *phone) message(to, contentType, text string) error {
	uri, callID := "sip:"+to, p.id("m")
	return p.send(&transaction{method: "MESSAGE", uri: uri, build: func(cseq uint32, auth string) string {
		return withBody(p.outside("MESSAGE", uri, uri, callID, cseq, auth, ""), contentType, text)
	}})
}

// subscribe makes a new dialog, or with Expires 0 fetches once (RFC 6665 §4.4.3).
// s says what is wanted.
func (p *phone) subscribe(s *subscription, expires string) error {
	p.mu.Lock()
	s.callID, s.local, s.target = p.id("s"), p.id("l"), "sip:"+s.of
	p.subs = append(p.subs, s)
	p.mu.Unlock()
	return p.resubscribe(s, expires)
}

// resubscribe refreshes or ends a dialog.
func (p *phone) resubscribe(s *subscription, expires string) error {
	p.mu.Lock()
	uri, to := s.target, ""
	if n := p.w.numberAt(uri); n != "" && s.remote != "" && !p.went {
		at, _ := p.w.node(n)
		to = at.at(sipPort).String() // RFC 3261 §12.2.1.1: where the last Contact was
	}
	p.mu.Unlock()
	return p.resubscribeAt(s, expires, to)
}

// resubscribeAt is resubscribe at an address; "": the phone's server.
func (p *phone) resubscribeAt(s *subscription, expires, at string) error {
	p.mu.Lock()
	uri := s.target
	p.mu.Unlock()
	return p.send(&transaction{method: "SUBSCRIBE", uri: uri, to: at, build: func(cseq uint32, auth string) string {
		to := "<sip:" + s.of + ">"
		if s.remote != "" {
			to += ";tag=" + s.remote
		}
		head := "SUBSCRIBE " + uri + " SIP/2.0\r\nFrom: <sip:" + s.as + ">;tag=" + s.local + "\r\nTo: " + to + "\r\nCall-ID: " + s.callID +
			"\r\nCSeq: " + strconv.Itoa(int(cseq)) + " SUBSCRIBE\r\nContact: <sip:" + p.contact() + ">\r\n"
		for _, r := range s.routes {
			head += "Route: " + r + "\r\n"
		}
		head += auth + "Event: " + s.event + "\r\nAccept: " + s.accept + "\r\nExpires: " + expires + "\r\n" + s.more
		return withBody(head, s.bodyType, s.body)
	}, done: func(m *sip.Message) {
		if m.Status >= 300 {
			if m.Status == 481 || s.remote == "" {
				s.ended = true
			}
			return
		}
		if c, ok, err := m.Contact(); err != nil || !ok {
			p.record(false, "", "SUBSCRIBE", "no-contact")
		} else {
			s.target = c.URI
		}
		if tag := m.To().Tag(); s.remote != "" && s.remote != tag {
			p.record(false, "", "SUBSCRIBE", "other-tag")
		} else {
			s.remote = tag
		}
	}})
}

// dialog is the newest living one that watches somebody; event "" means any.
func (p *phone) dialog(of, event string) (*subscription, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.subs) - 1; i >= 0; i-- {
		if s := p.subs[i]; s.of == of && !s.ended && (event == "" || strings.HasPrefix(s.event, event)) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s has no subscription to %s", p.name, of)
}

// drain hands over what was got since the last time.
func (p *phone) drain() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.events
	p.events = nil
	return got
}
