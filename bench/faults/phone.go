package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/bench/client"
	"pharos/sip"
)

const (
	domain   = "example.com"
	password = "of the oracle, 1"
	sipPort  = 5060
	xmppPort = 5222
	httpPort = 8080

	// subscribeFor is the lifetime of the phones' subscriptions and publications, which are
	// refreshed at half of it.
	subscribeFor = 60 * time.Second
	// tryFor is how long a phone tries one server before it asks the next.
	tryFor = 2 * time.Second
)

// phone is a SIP user agent on UDP. Requests outside of dialogs go to the server that has
// answered last, then to the others; those in a dialog to its remote target.
type phone struct {
	o     *oracle
	user  string
	nodes []netip.AddrPort
	s     *client.Socket
	ctx   context.Context

	mu       sync.Mutex
	at       int // server that has answered last
	cseq     uint32
	watching map[string]*watching // by Call-ID
	answered map[string][]byte    // by branch, those of the last requests
	order    []string
	etag     string
	said     int
	gone     bool   // says nothing any more
	trouble  string // why the last PUBLISH was not acknowledged; empty: it was
	doubt    int    // PUBLISHes without an answer since the last that had one
}

// watching is a subscription.
type watching struct {
	of            string
	callID, local string
	remote        string
	target        string
	heard         uint32 // CSeq
	ended         bool
	trace         client.Trace // the last steps
}

func newPhone(ctx context.Context, o *oracle, user string, from netip.Addr, nodes []netip.AddrPort, at int) (*phone, error) {
	s, err := client.Listen(from)
	if err != nil {
		return nil, err
	}
	p := &phone{o: o, user: user, nodes: nodes, s: s, ctx: ctx, at: at, cseq: 1, watching: map[string]*watching{}, answered: map[string][]byte{}}
	go s.Serve(p.request, func(err error) { o.never("%s got what cannot be read: %v", user, err) })
	return p, nil
}

func (p *phone) close() { p.s.Close() }

// request answers what the service asks.
func (p *phone) request(m *sip.Message, from netip.AddrPort) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	branch := m.Via().Branch + m.Method
	if out := p.answered[branch]; out != nil {
		return out
	}
	status := 200
	if m.Method == "NOTIFY" {
		status = p.notified(m, from)
	}
	out := client.Answer(m, status)
	p.answered[branch] = out
	if p.order = append(p.order, branch); len(p.order) > 500 {
		delete(p.answered, p.order[0])
		p.order = p.order[1:]
	}
	return out
}

var number = regexp.MustCompile(`\bn(\d+)\b`)

// notified takes a NOTIFY.
func (p *phone) notified(m *sip.Message, from netip.AddrPort) int {
	w := p.watching[m.CallID()]
	if w != nil {
		w.trace.Note("NOTIFY", from, int(m.CSeq()))
	}
	if w == nil || w.ended || w.local != m.To().Tag() {
		return 481
	}
	if m.CSeq() <= w.heard {
		p.o.never("%s: CSeq went back from %d to %d in dialog %s about %s:%s", p.user, w.heard, m.CSeq(), m.From().Tag(), w.of, w.trace)
		return 500
	}
	w.heard = m.CSeq()
	if w.remote == "" {
		w.remote = m.From().Tag()
	}
	if c, ok, err := m.Contact(); err == nil && ok {
		w.target = c.URI
	}
	st, _, err := m.SubscriptionState()
	if err != nil {
		p.o.never("%s: NOTIFY without Subscription-State", p.user)
	}
	if st.State == "terminated" {
		w.ended = true
		delete(p.watching, m.CallID())
		if st.Reason != "timeout" && st.Reason != "deactivated" {
			p.o.never("%s: subscription to %s ended with %q", p.user, w.of, st.Reason)
		}
		go p.watch(w.of)
		return 200
	}
	if m.Body == "" {
		return 200
	}
	n := -1
	for _, f := range number.FindAllStringSubmatch(m.Body, -1) {
		if v, err := strconv.Atoi(f[1]); err == nil {
			n = max(n, v)
		}
	}
	away := !strings.Contains(m.Body, ">open<")
	p.o.told(p.user, w.of, n, away, fmt.Sprintf("%s gets NOTIFY %d from %s: n%d, away=%t", p.user, m.CSeq(), from.Addr(), n, away))
	return 200
}

// send sends a request to one place and waits for its answer.
func (p *phone) send(to netip.AddrPort, build func(cseq uint32, auth string) string, method, uri string) (*sip.Message, error) {
	auth := ""
	for range 3 {
		p.mu.Lock()
		p.cseq++
		text := build(p.cseq, auth)
		p.mu.Unlock()
		m, err := p.s.Ask(p.ctx, to, text, tryFor)
		if err != nil {
			return nil, err
		}
		if m.Status != 401 {
			return m, nil
		}
		auth = client.Challenged(m.Lines(sip.HWWWAuthenticate)).Authorization(p.user, password, method, uri)
	}
	return nil, errors.New("challenged again and again")
}

// anywhere sends a request to the servers in turn until one says anything but that it
// cannot now.
func (p *phone) anywhere(build func(cseq uint32, auth string) string, method, uri string) (m *sip.Message, err error) {
	for range 2 * len(p.nodes) {
		p.mu.Lock()
		at := p.at
		p.mu.Unlock()
		m, err = p.send(p.nodes[at], build, method, uri)
		if err == nil && m.Status < 500 {
			return m, nil
		}
		if p.ctx.Err() != nil {
			return nil, p.ctx.Err()
		}
		p.mu.Lock()
		if err != nil && method == "PUBLISH" {
			p.doubt++ // this server may have taken it
		}
		if p.at == at {
			p.at = (at + 1) % len(p.nodes)
		}
		p.mu.Unlock()
	}
	if err == nil {
		err = fmt.Errorf("%s: %d", method, m.Status)
	}
	return nil, err
}

func (p *phone) head(method, uri, to, callID, local string, cseq uint32, auth, more string) string {
	r := client.Request{Method: method, URI: uri, From: p.user + "@" + domain, Tag: local, To: to, CallID: callID, CSeq: cseq, Contact: p.s.Local()}
	return r.String() + auth + more
}

// say is publish; what went wrong is kept for the report.
func (p *phone) say() {
	err := p.publish()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = ""
	if err != nil {
		p.trouble = err.Error()
	}
}

// publish says the next thing. It is the truth once it is acknowledged. A lost entity-tag is a breach:
// the publication was acknowledged, and is refreshed in time.
func (p *phone) publish() error {
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return nil
	}
	p.said++
	n, etag := p.said, p.etag
	p.mu.Unlock()
	uri, callID, local := "sip:"+p.user+"@"+domain, client.ID(), client.ID()
	for {
		m, err := p.anywhere(func(cseq uint32, auth string) string {
			more := "Event: presence\r\nExpires: " + strconv.Itoa(int(subscribeFor/time.Second)) + "\r\n"
			if etag != "" {
				more += "SIP-If-Match: " + etag + "\r\n"
			}
			b := client.PIDF(p.user+"@"+domain, "n"+strconv.Itoa(n))
			return p.head("PUBLISH", uri, "<"+uri+">", callID, local, cseq, auth, more) +
				"Content-Type: application/pidf+xml\r\nContent-Length: " + strconv.Itoa(len(b)) + "\r\n\r\n" + b
		}, "PUBLISH", uri)
		if err != nil {
			return err // it may or may not have come about; what was said before stands
		}
		switch {
		case m.Status == 412 && etag != "":
			// What is certain: the one with this tag was acknowledged to us last. A PUBLISH whose answer
			// was lost may have changed it since (RFC 3903 §6).
			p.mu.Lock()
			sure := p.etag == etag && p.said == n && p.doubt == 0
			p.doubt = 0
			p.mu.Unlock()
			if sure {
				p.o.never("%s: entity-tag %s of an acknowledged publication is not known", p.user, etag)
			}
			etag = ""
		case m.Status < 300:
			tag, _ := m.GetName("SIP-ETag")
			p.mu.Lock()
			p.etag, p.doubt = tag, 0
			p.mu.Unlock()
			p.o.says(p.user, n, false)
			return nil
		default:
			return fmt.Errorf("PUBLISH: %d %s", m.Status, m.Reason)
		}
	}
}

// leave takes everything back. Others see the last word of the publication go.
func (p *phone) leave() {
	p.mu.Lock()
	etag := p.etag
	p.gone = true
	var ws []*watching
	for _, w := range p.watching {
		w.ended = true
		ws = append(ws, w)
	}
	p.mu.Unlock()
	for _, w := range ws {
		p.o.stands(p.user, w.of, false)
		build := func(cseq uint32, auth string) string {
			return strings.Replace(p.subscribe(w, w.target, cseq, auth), "Expires: "+strconv.Itoa(int(subscribeFor/time.Second)), "Expires: 0", 1)
		}
		if _, err := p.send(client.Target(w.target), build, "SUBSCRIBE", w.target); err != nil {
			_, _ = p.anywhere(build, "SUBSCRIBE", w.target)
		}
	}
	uri, callID, local := "sip:"+p.user+"@"+domain, client.ID(), client.ID()
	m, err := p.anywhere(func(cseq uint32, auth string) string {
		return p.head("PUBLISH", uri, "<"+uri+">", callID, local, cseq, auth, "Event: presence\r\nExpires: 0\r\nSIP-If-Match: "+etag+"\r\n") + "Content-Length: 0\r\n\r\n"
	}, "PUBLISH", uri)
	if err == nil && m.Status < 300 {
		p.mu.Lock()
		n := p.said
		p.mu.Unlock()
		p.o.says(p.user, n, true)
	}
}

// watch subscribes until it is accepted, and goes on refreshing.
func (p *phone) watch(of string) {
	for p.ctx.Err() == nil {
		w := &watching{of: of, callID: client.ID(), local: client.ID()}
		p.mu.Lock()
		if p.gone {
			p.mu.Unlock()
			return
		}
		p.watching[w.callID] = w
		p.mu.Unlock()
		uri := "sip:" + of + "@" + domain
		m, err := p.anywhere(func(cseq uint32, auth string) string { return p.subscribe(w, uri, cseq, auth) }, "SUBSCRIBE", uri)
		if err == nil && m.Status < 300 {
			p.accepted(w, m)
			p.refresh(w)
			return // ended: a new one was begun
		}
		p.mu.Lock()
		delete(p.watching, w.callID)
		p.mu.Unlock()
		sleep(p.ctx, 200*time.Millisecond)
	}
}

func (p *phone) subscribe(w *watching, uri string, cseq uint32, auth string) string {
	to := "<sip:" + w.of + "@" + domain + ">"
	if w.remote != "" {
		to += ";tag=" + w.remote
	}
	return p.head("SUBSCRIBE", uri, to, w.callID, w.local, cseq, auth, "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: "+
		strconv.Itoa(int(subscribeFor/time.Second))+"\r\n") + "Content-Length: 0\r\n\r\n"
}

func (p *phone) accepted(w *watching, m *sip.Message) {
	p.mu.Lock()
	if w.remote == "" {
		w.remote = m.To().Tag()
	}
	if c, ok, err := m.Contact(); err == nil && ok {
		w.target = c.URI
	}
	p.mu.Unlock()
	p.o.stands(p.user, w.of, true)
}

// refresh keeps a subscription alive, in its dialog where that is answered.
func (p *phone) refresh(w *watching) {
	for {
		sleep(p.ctx, subscribeFor/2+time.Duration(rand.Int64N(int64(subscribeFor/8))))
		p.mu.Lock()
		ended, target := w.ended, w.target
		p.mu.Unlock()
		if ended || p.ctx.Err() != nil {
			return
		}
		build := func(cseq uint32, auth string) string { return p.subscribe(w, target, cseq, auth) }
		m, err := p.send(client.Target(target), build, "SUBSCRIBE", target)
		if err != nil || m.Status >= 500 {
			p.noted(w, "no answer to SUBSCRIBE by", client.Target(target), m)
			m, err = p.anywhere(build, "SUBSCRIBE", target)
			target = ""
		}
		p.noted(w, "SUBSCRIBE answered by", client.Target(target), m)
		switch {
		case err != nil:
			continue
		case m.Status < 300:
			p.accepted(w, m)
		default: // RFC 6665 §4.1.2.2: 481 ends it
			p.mu.Lock()
			w.ended = true
			delete(p.watching, w.callID)
			p.mu.Unlock()
			go p.watch(w.of)
			return
		}
	}
}

func (p *phone) noted(w *watching, what string, peer netip.AddrPort, m *sip.Message) {
	n := 0
	if m != nil {
		n = m.Status
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.trace.Note(what, peer, n)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
