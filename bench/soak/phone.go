package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"pharos/bench"
	"pharos/bench/client"
	"pharos/sip"
)

// Lifetimes of what phones hold; they are refreshed at half of them.
const (
	subscribeFor = 600 * time.Second
	publishFor   = 300 * time.Second
)

// phone is a SIP user agent: it publishes, and watches its contacts each by a subscription. Requests outside of dialogs go to the server
// that has answered last, then to the others; those in a dialog to its remote target.
type phone struct {
	r    *run
	u    *user
	s    *socket
	home int
	subs []*subscription

	turn sync.Mutex // held while something is published
	last int32
	etag string
	due  time.Time // of the next refresh
	lost int       // PUBLISHes without an answer since the last that had one

	mu    sync.Mutex
	there bool
	at    int
	cseq  uint32
	auth  *client.Challenge
}

func newPhone(r *run, u *user, s *socket, home int, watches []*watch) *phone {
	p := &phone{r: r, u: u, s: s, home: home, at: home}
	for _, w := range watches {
		p.subs = append(p.subs, &subscription{p: p, w: w})
	}
	return p
}

// head is the begin of a request; each time it is asked for it has another number.
func (p *phone) head(method, uri, to, callID, local string, more string) func(*client.Challenge) string {
	return func(ch *client.Challenge) string {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cseq++
		r := client.Request{Method: method, URI: uri, From: p.u.name + "@" + bench.Domain, Tag: local, To: to, CallID: callID, CSeq: p.cseq, Contact: p.s.local}
		return r.String() + ch.Authorization(p.u.name, bench.Password, method, uri) + more
	}
}

// ask sends a request to one place.
func (p *phone) ask(ctx context.Context, to netip.AddrPort, build func(*client.Challenge) string) (*sip.Message, error) {
	for range 3 {
		p.mu.Lock()
		ch := p.auth
		p.mu.Unlock()
		m, err := p.s.Ask(ctx, to, build(ch), tryFor)
		if err != nil {
			return nil, err
		}
		if m.Status != 401 {
			return m, nil
		}
		p.mu.Lock()
		p.auth = client.Challenged(m.Lines(sip.HWWWAuthenticate))
		p.mu.Unlock()
	}
	return nil, fmt.Errorf("challenged again and again")
}

// tries are those of a request that led nowhere.
type tries struct {
	silent  int // that the server may have taken, without an answer
	refused int // with 500 and above
}

// anywhere sends a request to the servers in turn until one says anything but that it cannot now.
func (p *phone) anywhere(ctx context.Context, build func(*client.Challenge) string) (m *sip.Message, led tries, err error) {
	for range 2 * len(p.r.nodes) {
		p.mu.Lock()
		at := p.at
		p.mu.Unlock()
		m, err = p.ask(ctx, p.r.nodes[at].SIP(), build)
		if err == nil && m.Status < 500 {
			return m, led, nil
		}
		if ctx.Err() != nil {
			return nil, led, ctx.Err()
		}
		if err != nil {
			led.silent++
		} else {
			led.refused++
			p.r.troubleStatus("another server is asked", m)
		}
		p.r.count.retried.Add(1)
		p.mu.Lock()
		if p.at == at {
			p.at = (at + 1) % len(p.r.nodes)
		}
		p.mu.Unlock()
	}
	if err == nil {
		err = fmt.Errorf("%d %s", m.Status, m.Reason)
	}
	return nil, led, err
}

func (p *phone) is() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.there
}

// goHome has the next requests go to the phone's own node again.
func (p *phone) goHome() {
	p.mu.Lock()
	p.at = p.home
	p.mu.Unlock()
}

// come logs in: it publishes, and subscribes to all.
func (p *phone) come(ctx context.Context) {
	p.mu.Lock()
	was := p.there
	p.there = true
	p.mu.Unlock()
	if was {
		return
	}
	p.r.count.phones.Add(1)
	p.publish(ctx, true)
	for _, s := range p.subs {
		s.begin(ctx)
	}
}

// leave takes everything back.
func (p *phone) leave(ctx context.Context) {
	p.mu.Lock()
	was := p.there
	p.there = false
	p.mu.Unlock()
	if !was {
		return
	}
	p.r.count.phones.Add(-1)
	for _, s := range p.subs {
		s.end(ctx)
	}
	p.publish(ctx, false)
}

// publish says the next thing, or takes the publication back; it is tried until the service has it.
func (p *phone) publish(ctx context.Context, open bool) {
	p.turn.Lock()
	defer p.turn.Unlock()
	t := &p.u.says[byPhone]
	if p.is() != open || !open && p.etag == "" {
		return // meanwhile it has come or gone
	}
	n := int32(0)
	if open {
		p.last++
		n = p.last
	}
	t.unsure.Store(true)
	for !p.publishOnce(ctx, n, false) {
		if pause(ctx, time.Second+rand.N(time.Second)); ctx.Err() != nil {
			return
		}
	}
	t.said.Store(n)
	t.unsure.Store(false)
}

// refresh keeps the publication alive.
func (p *phone) refresh(ctx context.Context) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if !p.is() || p.etag == "" || time.Until(p.due) > 0 {
		return
	}
	t := &p.u.says[byPhone]
	for !p.publishOnce(ctx, p.last, true) {
		if pause(ctx, time.Second+rand.N(time.Second)); ctx.Err() != nil || !p.is() {
			return
		}
	}
	t.said.Store(p.last)
}

// publishOnce is one PUBLISH, with all the tries that it needs; n is 0 to take it back.
func (p *phone) publishOnce(ctx context.Context, n int32, refresh bool) bool {
	uri := "sip:" + p.u.name + "@" + bench.Domain
	callID, local := client.ID(), client.ID()
	for {
		more, body := "Event: presence\r\nExpires: "+strconv.Itoa(int(publishFor/time.Second))+"\r\n", ""
		if n == 0 {
			more = "Event: presence\r\nExpires: 0\r\n"
		}
		if p.etag != "" {
			more += "SIP-If-Match: " + p.etag + "\r\n"
		}
		if n > 0 && (!refresh || p.etag == "") {
			body = client.PIDF(p.u.name+"@"+bench.Domain, say(byPhone, n))
			more += "Content-Type: application/pidf+xml\r\n"
		}
		more += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		m, led, err := p.anywhere(ctx, p.head("PUBLISH", uri, "<"+uri+">", callID, local, more))
		if p.lost += led.silent; n == 0 {
			p.lost += led.refused // what could not be removed from the disk may have gone from memory
		}
		if p.lost > 0 && p.etag == "" {
			p.doubtful()
		}
		switch {
		case err != nil:
			p.r.trouble("PUBLISH", err)
			return false
		case m.Status == 412 && p.etag != "":
			// What is certain: the one with this tag was acknowledged to us last. A PUBLISH whose answer was lost may have
			// changed it since (RFC 3903 §6).
			if p.lost == 0 {
				p.r.o.never("%s: entity-tag %s of an acknowledged publication is not known", p.u.name, p.etag)
			} else {
				p.doubtful()
			}
			p.etag, p.lost = "", 0
			if n == 0 {
				return true
			}
		case m.Status < 300:
			p.etag, _ = m.GetName("SIP-ETag")
			p.lost = 0
			if n == 0 {
				p.etag = ""
			}
			p.schedule(ctx)
			return true
		default:
			p.r.trouble("PUBLISH", fmt.Errorf("%d %s", m.Status, m.Reason))
			return false
		}
	}
}

// doubtful: there may be a publication of which we have no entity-tag, until it runs out.
func (p *phone) doubtful() {
	p.u.doubtful.Store(time.Now().Add(publishFor + 10*time.Second).UnixNano())
}

// schedule has the publication refreshed in time.
func (p *phone) schedule(ctx context.Context) {
	d := publishFor/2 - rand.N(publishFor/8)
	p.due = time.Now().Add(d)
	time.AfterFunc(d+time.Second, func() {
		if ctx.Err() == nil {
			p.refresh(ctx)
		}
	})
}
