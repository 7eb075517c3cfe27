package soak

import (
	"context"
	"math/rand/v2"
	"time"

	"pharos/bench"
	"pharos/bench/client"
)

// Every is how often each does what it does, on average.
type Every struct {
	Say       time.Duration `json:"say_ns"`       // each client says something new
	Away      time.Duration `json:"away_ns"`      // each client logs out
	AwayFor   time.Duration `json:"away_for_ns"`  // and comes back after this, more or less
	Resub     time.Duration `json:"resub_ns"`     // each phone ends one of its subscriptions, and subscribes anew
	Unfriend  time.Duration `json:"unfriend_ns"`  // each chat cancels a subscription, and asks again
	Name      time.Duration `json:"name_ns"`      // each chat names a contact anew
	Document  time.Duration `json:"document_ns"`  // each phone's user writes a document
	Message   time.Duration `json:"message_ns"`   // each chat sends a message
	Homewards time.Duration `json:"homewards_ns"` // each chat that is not at its node goes back there
}

// mostly idle users.
var usual = Every{
	Say: 5 * time.Minute, Away: 20 * time.Minute, AwayFor: time.Minute, Resub: 40 * time.Minute, Unfriend: 2 * time.Hour,
	Name: time.Hour, Document: time.Hour, Message: 10 * time.Minute, Homewards: 30 * time.Second,
}

// faster has all happen so many times as often.
func (e Every) faster(by float64) Every {
	for _, d := range []*time.Duration{&e.Say, &e.Away, &e.AwayFor, &e.Resub, &e.Unfriend, &e.Name, &e.Document, &e.Message, &e.Homewards} {
		*d = time.Duration(float64(*d) / by)
	}
	return e
}

// atOnce bounds what is under way.
const atOnce = 400

// churn has everybody do what they do, until ctx ends.
func (r *run) churn(ctx context.Context, e Every) {
	chat := func() *chat { return r.chats[rand.IntN(len(r.chats))] }
	phone := func() *phone { return r.phones[rand.IntN(len(r.phones))] }
	chats, phones := len(r.chats), len(r.phones)
	for _, x := range []struct {
		n     int
		every time.Duration
		name  string
		do    func()
	}{
		{chats, e.Say, "presence (chat)", func() { chat().say() }},
		{phones, e.Say, "PUBLISH", func() { phone().publish(r.ctx, true) }},
		{chats, e.Away, "log out (chat)", func() { r.chatAway(ctx, chat(), e.AwayFor) }},
		{phones, e.Away, "log out (phone)", func() { r.phoneAway(ctx, phone(), e.AwayFor) }},
		{phones, e.Resub, "unsubscribe, subscribe (phone)", func() { r.resub(ctx, phone(), e.AwayFor) }},
		{chats, e.Unfriend, "unsubscribe, subscribe (roster)", func() { r.unfriend(ctx, chat(), e.AwayFor) }},
		{chats, e.Name, "roster name", func() { r.rename(chat()) }},
		{phones, e.Document, "XCAP document", func() { r.document(ctx, phone()) }},
		{chats, e.Message, "message", func() { r.message(chat()) }},
		{chats, e.Homewards, "", func() { r.homewards(chat()) }},
	} {
		if x.n > 0 {
			go r.often(ctx, time.Duration(float64(x.every)/float64(x.n)), x.name, x.do)
		}
	}
}

// often does something at a rate, each time on its own, in groups where it is more than a hundred times a second.
func (r *run) often(ctx context.Context, every time.Duration, name string, do func()) {
	from, n := time.Now(), 0
	for {
		if pause(ctx, max(every, 10*time.Millisecond)); ctx.Err() != nil {
			return
		}
		for ; n < int(time.Since(from)/every); n++ {
			select {
			case r.lanes <- struct{}{}:
			default:
				r.count.skipped.Add(1)
				continue
			}
			if name != "" {
				r.tally(name)
			}
			r.busy.Go(func() {
				do()
				<-r.lanes
			})
		}
	}
}

// within is about so long.
func within(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func (r *run) chatAway(ctx context.Context, c *chat, d time.Duration) {
	if online, _ := c.is(); !online {
		return
	}
	c.want(false)
	c.leave(rand.IntN(2) == 0)
	r.later(ctx, within(d), func() { c.want(true) })
}

func (r *run) phoneAway(ctx context.Context, p *phone, d time.Duration) {
	p.leave(r.ctx)
	p.goHome()
	r.later(ctx, within(d), func() { p.come(r.ctx) })
}

// later does something after a time, or at once when ctx ends before; it is waited for.
func (r *run) later(ctx context.Context, d time.Duration, do func()) {
	r.busy.Go(func() {
		pause(ctx, d)
		do()
	})
}

func (r *run) resub(ctx context.Context, p *phone, d time.Duration) {
	s := p.subs[rand.IntN(len(p.subs))]
	if !p.is() {
		return
	}
	s.end(r.ctx)
	r.later(ctx, within(d/4), func() {
		if p.is() {
			s.begin(r.ctx)
		}
	})
}

// unfriend cancels the subscription to a contact who has a chat, which answers when it is asked again.
func (r *run) unfriend(ctx context.Context, c *chat, d time.Duration) {
	w := c.watches[rand.IntN(len(c.watches))]
	if w.of.chat == nil || !w.stands.Swap(false) {
		return
	}
	c.send("<presence type='unsubscribe' to='%s@%s'/>", w.of.name, bench.Domain)
	r.later(ctx, within(d/4), func() {
		c.send("<presence type='subscribe' to='%s@%s'/>", w.of.name, bench.Domain)
	})
}

func (r *run) rename(c *chat) {
	w := c.watches[rand.IntN(len(c.watches))]
	c.mu.Lock()
	e := c.names[w.of.name]
	if e == nil {
		e = &entry{}
		c.names[w.of.name] = e
	}
	c.mu.Unlock()
	e.write(func(n int) bool {
		a := c.query("set", "<query xmlns='"+client.NSRoster+"'><item jid='"+w.of.name+"@"+bench.Domain+"' name='"+rosterName(n)+"'/></query>", 10*time.Second)
		return a != nil && a.Attr("type") == "result" // an error may be of a commit whose outcome is not known
	})
}

func (r *run) document(ctx context.Context, p *phone) {
	r.mu.Lock()
	e := r.docs[p.u.name]
	if e == nil {
		e = &entry{}
		r.docs[p.u.name] = e
	}
	r.mu.Unlock()
	at := r.nodes[rand.IntN(len(r.nodes))]
	e.write(func(n int) bool { return r.xcap.put(ctx, at, p.u.name, n) })
}

func (r *run) message(c *chat) {
	w := c.watches[rand.IntN(len(c.watches))]
	if w.of.chat == nil {
		return
	}
	there, _ := w.of.chat.is()
	if online, _ := c.is(); !online || !there {
		return
	}
	quiet := r.quiet.Load() && w.of.says[byChat].said.Load() != 0
	n := r.messages.begin(c.u.name, w.of.name, quiet)
	c.send("<message type='chat' id='m%d' to='%s@%s'><body>%s</body></message>", n, w.of.name, bench.Domain, mailBody(n))
}

// homewards has a chat that is not at its own node log in there.
func (r *run) homewards(c *chat) {
	if online, at := c.is(); online && at != c.home && r.nodes[c.home].PID() != 0 && !r.o.frozen[c.home].Load() {
		r.tally("chat goes back to its node")
		c.leave(true)
	}
}
