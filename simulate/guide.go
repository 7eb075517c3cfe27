package simulate

import (
	"fmt"
	"time"

	"pharos/redirect"
)

// sampled is how many redirects of a step are decided one by one; each stands for as many
// as there are.
const sampled = 16

// guide decides redirects by the real code, between a node where clients come and one where their
// users live.
type guide struct {
	now         time.Time
	here, there *redirect.Redirects
	clients     int
}

func newGuide() *guide {
	g := &guide{}
	g.here = redirect.New(redirect.Settings{Self: "here", Learn: true, Tell: func(e redirect.Event) { g.there.Heard(g.now, e) }})
	g.there = redirect.New(redirect.Settings{Self: "there", Learn: true, Tell: func(e redirect.Event) { g.here.Heard(g.now, e) }})
	return g
}

// send decides about clients that have come to another node than their user's: it returns how many of them
// go there. Those that follow announce it.
func (g *guide) send(now time.Duration, clients int, follow bool) int {
	if clients == 0 {
		return 0
	}
	g.now = epoch.Add(now)
	k, sent := min(clients, sampled), 0
	for range k {
		g.clients++
		c := redirect.Client{User: fmt.Sprintf("u%d@example.com", g.clients), Device: "chat"}
		if g.here.XMPP(g.now, c, "there", follow) {
			g.there.Here(g.now, c)
			sent++
		}
	}
	return clients * sent / k
}
