package jabber

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/markup"
	"pharos/pidf"
	"pharos/presence"
)

// TestOracle lets users come, go, change, subscribe, refuse, block and break
// their connections in any order, and then asks whether each client knows exactly
// what it should: the presence of every session and SIP device of every contact
// whose presence it may see, and of nobody else.
func TestOracle(t *testing.T) {
	rounds := 16
	if testing.Short() {
		rounds = 3
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorlds(t, oracleUsers, func(t *testing.T, w *world) {
				o := oracle{world: w, r: rand.New(rand.NewPCG(uint64(seed), 2)), sip: map[string]bool{}}
				if seed%2 == 0 {
					for i, a := range oracleUsers {
						for _, b := range oracleUsers[i+1:] {
							w.befriend(a, b)
						}
					}
				}
				for step := range 120 {
					o.step()
					if step%20 == 19 {
						settle()
						o.check(step)
						if t.Failed() {
							t.Log(strings.Join(o.did, "\n"))
							return
						}
					}
				}
			})
		})
	}
}

var oracleUsers = []string{"alice", "bob", "carol", "dave"}

type oracle struct {
	*world
	r      *rand.Rand
	online []*client
	broken []*client       // hibernating
	sip    map[string]bool // users with a device
	did    []string
	n      int
}

func (o *oracle) pick(of []string) string { return of[o.r.IntN(len(of))] }

func (o *oracle) say(format string, args ...any) { o.did = append(o.did, fmt.Sprintf(format, args...)) }

// step does one thing, at once: nothing settles in between.
func (o *oracle) step() {
	u, v := o.pick(oracleUsers), o.pick(oracleUsers)
	show := o.pick([]string{"away", "dnd", "xa", "chat"})
	switch o.r.IntN(12) {
	case 0, 1:
		if len(o.online) >= 8 {
			return
		}
		res := o.pick([]string{"x", "y"})
		o.say("%s/%s comes", u, res)
		// Whoever holds the resource is thrown out.
		same := func(c *client) bool { return c.name == u+"/"+res }
		o.online, o.broken = slices.DeleteFunc(o.online, same), slices.DeleteFunc(o.broken, same)
		old := o.clients[u+"/"+res]
		c := o.login(u, res)
		if old != nil {
			old.conn.Close()
		}
		if o.r.IntN(2) == 0 {
			c.token = c.manage(o.t)
		}
		c.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
		c.show(show)
		o.online = append(o.online, c)
		return
	case 2:
		if v != u {
			o.say("%s subscribes to %s", u, v)
			o.as(u, "<presence type='subscribe' to='"+v+"@localhost'/>")
		}
		return
	case 3, 4:
		if v != u {
			o.say("%s approves %s", u, v)
			o.as(u, "<presence type='subscribed' to='"+v+"@localhost'/>")
		}
		return
	case 5:
		if v != u {
			k := o.pick([]string{"unsubscribe", "unsubscribed"})
			o.say("%s %s %s", u, k, v)
			o.as(u, "<presence type='"+k+"' to='"+v+"@localhost'/>")
		}
		return
	case 6:
		if v != u {
			what := o.pick([]string{"block", "unblock"})
			o.say("%s %s %s", u, what, v)
			o.as(u, "<iq type='set' id='b'><"+what+" xmlns='urn:xmpp:blocking'><item jid='"+v+"@localhost'/></"+what+"></iq>")
		}
		return
	case 7:
		o.say("%s's phone is %s", u, show)
		id := presence.SourceID{Kind: presence.Publication, Key: "phone"}
		if o.sip[u] {
			delete(o.sip, u)
			o.engine.Submit(entity(u), presence.Retract{ID: id}, nil)
			return
		}
		o.sip[u] = true
		o.n++
		doc := &presence.Document{
			Tuples:  []presence.Tuple{{ID: "t", Basic: presence.Open, Priority: -1}},
			Persons: []presence.Person{{Rich: presence.Rich{Activities: &presence.Values{Names: []string{"away"}}}}}}
		o.engine.Submit(entity(u), presence.Publish{ID: id, NewTag: fmt.Sprint(o.n), Lifetime: 24 * time.Hour, Doc: doc,
			Native: presence.Payload{Type: pidf.Type, Bytes: pidf.Append(nil, "sip:"+u+"@localhost", doc)}}, nil)
		return
	case 8:
		o.resume()
		return
	}
	if len(o.online) == 0 {
		return
	}
	i := o.r.IntN(len(o.online))
	c := o.online[i]
	switch o.r.IntN(5) {
	case 0:
		o.say("%s vanishes", c.name)
		o.online = slices.Delete(o.online, i, i+1)
		c.conn.Close()
		if c.token != "" {
			o.broken = append(o.broken, c)
		}
	case 1:
		o.say("%s leaves", c.name)
		o.online = slices.Delete(o.online, i, i+1)
		c.send("<presence type='unavailable'/></stream:stream>")
	case 2:
		o.say("%s sleeps", c.name)
		c.send("<inactive xmlns='urn:xmpp:csi:0'/>")
	default:
		o.say("%s is %s", c.name, show)
		c.show(show)
	}
}

func (c *client) show(show string) {
	c.said = "<show>" + show + "</show>"
	c.send("<presence>" + c.said + "</presence>")
}

// resume brings back a client whose connection broke; it knows what it knew.
func (o *oracle) resume() {
	if len(o.broken) == 0 {
		return
	}
	i := o.r.IntN(len(o.broken))
	old := o.broken[i]
	o.broken = slices.Delete(o.broken, i, i+1)
	o.say("%s resumes", old.name)
	user, _, _ := strings.Cut(old.name, "/")
	<-old.gone
	c := o.dial(old.name, user)
	c.send(fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%d'/>", old.token, old.n))
	c.await("resumed")
	c.mu.Lock()
	c.token, c.said, c.n, c.got = old.token, old.said, c.n+old.n, append(old.got, c.got...)
	c.mu.Unlock()
	o.online = append(o.online, c)
}

// as sends from some session of a user; nothing when there is none.
func (o *oracle) as(user, xml string) {
	for _, c := range o.online {
		if strings.HasPrefix(c.name, user+"/") {
			c.send(xml)
			return
		}
	}
}

func (o *oracle) check(step int) {
	o.t.Helper()
	for _, c := range o.online {
		c.send("<active xmlns='urn:xmpp:csi:0'/>")
	}
	settle()
	// What is true, by what clients last said.
	last := map[string]string{} // full JID -> content
	for _, c := range o.online {
		c.mu.Lock()
		err := c.err
		c.mu.Unlock()
		if err != nil {
			o.t.Fatalf("step %d: %s was closed: %v", step, c.name, err)
		}
	}
	for _, c := range slices.Concat(o.online, o.broken) {
		user, res, _ := strings.Cut(c.name, "/")
		last[user+"@localhost/"+res] = c.said
	}
	for u := range o.sip {
		last[u+"@localhost/"+resourceOf(presence.SourceID{Kind: presence.Publication, Key: "phone"})] = "<show>away</show>"
	}
	for _, c := range o.online {
		user, _, _ := strings.Cut(c.name, "/")
		want := map[string]string{}
		for full, show := range last {
			who, _, _ := strings.Cut(full, "@")
			if who == user || o.sees(user, who) {
				want[full] = show
			}
		}
		got := c.knows()
		for full, show := range want {
			if got[full] != show {
				o.t.Errorf("step %d: %s believes %s to be %q, it is %q", step, c.name, full, got[full], show)
			}
		}
		for full, show := range got {
			if _, ok := want[full]; !ok {
				o.t.Errorf("step %d: %s still believes %s to be %q", step, c.name, full, show)
			}
		}
	}
}

// sees tells by the store whether a user should see a contact.
func (o *oracle) sees(user, contact string) bool {
	items, _, err := o.store.Roster(o.ctx, entity(user))
	if err != nil {
		o.t.Fatal(err)
	}
	to := false
	for _, it := range items {
		to = to || it.Contact == entity(contact) && it.To && !it.Removed
	}
	theirs, _, err := o.store.Roster(o.ctx, entity(contact))
	if err != nil {
		o.t.Fatal(err)
	}
	from := false
	for _, it := range theirs {
		from = from || it.Contact == entity(user) && it.From && !it.Removed
	}
	if to != from {
		o.t.Errorf("%s has to=%v of %s, who has from=%v", user, to, contact, from)
	}
	for _, p := range [][2]string{{user, contact}, {contact, user}} {
		names, err := o.store.Blocks(o.ctx, entity(p[0]))
		if err != nil {
			o.t.Fatal(err)
		}
		if slices.Contains(names, p[1]+"@localhost") {
			return false
		}
	}
	return to
}

// knows replays what a client was told; it keeps what it has replayed.
func (c *client) knows() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]string{}
	for _, el := range c.got {
		if el.Local != "presence" || !strings.Contains(el.Attr("from"), "/") {
			continue
		}
		switch el.Attr("type") {
		case "":
			m[el.Attr("from")] = inner(el)
		case "unavailable":
			delete(m, el.Attr("from"))
		}
	}
	return m
}

func inner(el *markup.Element) string { return string(el.AppendInner(nil, nsClient)) }

// TestOracleWithLoss is the same among four nodes of which two die, one after the other: what
// is done before anybody knows, and while what was lost is said again, counts too.
func TestOracleWithLoss(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			amongNodes(t, []string{"a", "b", "c", "d"}, oracleUsers, nil, func(ns *nodes) {
				w := ns.worlds["a"]
				w.among = ns
				o := oracle{world: w, r: rand.New(rand.NewPCG(uint64(seed), 3)), sip: map[string]bool{}}
				for i, a := range oracleUsers {
					for _, b := range oracleUsers[i+1:] {
						if seed%3 > 0 {
							w.befriend(a, b)
						}
					}
				}
				alive := []string{"a", "b", "c", "d"}
				for step := range 150 {
					o.step()
					if step == 50 || step == 100 {
						i := 1 + o.r.IntN(len(alive)-1) // SIP is at a
						dead := alive[i]
						alive = slices.Delete(alive, i, i+1)
						o.lose(ns, dead, o.pick(alive))
					}
					if step%25 == 24 {
						settle()
						o.check(step)
						if t.Failed() {
							t.Log(strings.Join(o.did, "\n"))
							return
						}
					}
				}
			})
		})
	}
}

// lose has a node die with all that is connected to it.
func (o *oracle) lose(ns *nodes, name, heir string) {
	o.say("node %s dies, heir %s", name, heir)
	there := func(c *client) bool { return c.host.name == name }
	ns.fail(name)
	o.online, o.broken = slices.DeleteFunc(o.online, there), slices.DeleteFunc(o.broken, there)
	for range 8 {
		o.change()
	}
	time.Sleep(2500 * time.Millisecond)
	ns.bury(name, heir)
	for range 8 {
		o.change()
	}
	time.Sleep(5 * time.Second)
}

// change has somebody who is online say something.
func (o *oracle) change() {
	if len(o.online) == 0 {
		return
	}
	c := o.online[o.r.IntN(len(o.online))]
	show := o.pick([]string{"away", "dnd", "xa", "chat"})
	o.say("%s is %s", c.name, show)
	c.show(show)
}
