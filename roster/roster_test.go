package roster

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tables of RFC 6121 appendix A as they stand there: state, MUST or MUST NOT
// route (deliver), new state ("-": no change). P: pre-approval, see §3.4.
var appendixA = map[string]string{
	"out subscribe": `
		None                    MUST      None + Pending Out
		None + Pending Out      MUST      -
		None + Pending In       MUST      None + Pending Out+In
		None + Pending Out+In   MUST      -
		To                      MUST      -
		To + Pending In         MUST      -
		From                    MUST      From + Pending Out
		From + Pending Out      MUST      -
		Both                    MUST      -`,
	"out unsubscribe": `
		None                    MUST      -
		None + Pending Out      MUST      None
		None + Pending In       MUST      -
		None + Pending Out+In   MUST      None + Pending In
		To                      MUST      None
		To + Pending In         MUST      None + Pending In
		From                    MUST      -
		From + Pending Out      MUST      From
		Both                    MUST      From`,
	"out subscribed": `
		None                    MUST NOT  P
		None + Pending Out      MUST NOT  P
		None + Pending In       MUST      From
		None + Pending Out+In   MUST      From + Pending Out
		To                      MUST NOT  P
		To + Pending In         MUST      Both
		From                    MUST NOT  -
		From + Pending Out      MUST NOT  -
		Both                    MUST NOT  -`,
	"out unsubscribed": `
		None                    MUST NOT  -
		None + Pending Out      MUST NOT  -
		None + Pending In       MUST      None
		None + Pending Out+In   MUST      None + Pending Out
		To                      MUST NOT  -
		To + Pending In         MUST      To
		From                    MUST      None
		From + Pending Out      MUST      None + Pending Out
		Both                    MUST      To`,
	"in subscribe": `
		None                    MUST      None + Pending In
		None + Pending Out      MUST      None + Pending Out+In
		None + Pending In       MUST NOT  -
		None + Pending Out+In   MUST NOT  -
		To                      MUST      To + Pending In
		To + Pending In         MUST NOT  -
		From                    MUST NOT  -
		From + Pending Out      MUST NOT  -
		Both                    MUST NOT  -`,
	"in unsubscribe": `
		None                    MUST NOT  -
		None + Pending Out      MUST NOT  -
		None + Pending In       MUST      None
		None + Pending Out+In   MUST      None + Pending Out
		To                      MUST NOT  -
		To + Pending In         MUST      To
		From                    MUST      None
		From + Pending Out      MUST      None + Pending Out
		Both                    MUST      To`,
	"in subscribed": `
		None                    MUST NOT  -
		None + Pending Out      MUST      To
		None + Pending In       MUST NOT  -
		None + Pending Out+In   MUST      To + Pending In
		To                      MUST NOT  -
		To + Pending In         MUST NOT  -
		From                    MUST NOT  -
		From + Pending Out      MUST      Both
		Both                    MUST NOT  -`,
	"in unsubscribed": `
		None                    MUST NOT  -
		None + Pending Out      MUST      None
		None + Pending In       MUST NOT  -
		None + Pending Out+In   MUST      None + Pending In
		To                      MUST      None
		To + Pending In         MUST      None + Pending In
		From                    MUST NOT  -
		From + Pending Out      MUST      From
		Both                    MUST      From`,
}

// parseState reads a name of RFC 6121 §A.1 by its words, without the table.
func parseState(t *testing.T, s string) State {
	base, pending, _ := strings.Cut(s, " + Pending ")
	var st State
	switch base {
	case "None":
	case "To":
		st.To = true
	case "From":
		st.From = true
	case "Both":
		st.To, st.From = true, true
	default:
		t.Fatalf("no such state: %q", s)
	}
	st.Ask = strings.Contains(pending, "Out")
	st.PendingIn = strings.Contains(pending, "In")
	return st
}

func TestAppendixA(t *testing.T) {
	kinds := map[string]Kind{"subscribe": Subscribe, "subscribed": Subscribed, "unsubscribe": Unsubscribe, "unsubscribed": Unsubscribed}
	tested := 0
	for title, table := range appendixA {
		way, kindName, _ := strings.Cut(title, " ")
		kind := kinds[kindName]
		for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
			line = strings.TrimSpace(line)
			name, rest := strings.TrimSpace(line[:24]), line[24:]
			must, next := strings.TrimSpace(rest[:8]) == "MUST", strings.TrimSpace(rest[8:])
			before := parseState(t, name)
			want := before
			if next != "-" && next != "P" {
				want = parseState(t, next)
			}
			var e Effect
			var passed bool
			if way == "out" {
				e = Out(before, kind)
				passed = e.Route
				if e.Deliver || e.Reply != 0 {
					t.Errorf("%s in %s: outbound, yet delivered or answered: %+v", title, name, e)
				}
			} else {
				e = In(before, kind)
				passed = e.Deliver
				if e.Route {
					t.Errorf("%s in %s: inbound, yet routed: %+v", title, name, e)
				}
				// RFC 6121 §A.3.1, last note.
				if wantReply := kind == Subscribe && before.From; (e.Reply == Subscribed) != wantReply || e.Reply != 0 && e.Reply != Subscribed {
					t.Errorf("%s in %s: reply %v", title, name, e.Reply)
				}
			}
			want.Approved = next == "P"
			if passed != must || e.State != want || e.Changed != (want != before) {
				t.Errorf("%s in %s: %+v; want passed %v, state %+v", title, name, e, must, want)
			}
			tested++
		}
	}
	if tested != 8*9 {
		t.Errorf("%d lines of 72 tested", tested)
	}
}

// Pre-approval, RFC 6121 §3.4.
func TestPreApproval(t *testing.T) {
	approved := func(name string) State { s := parseState(t, name); s.Approved = true; return s }
	for _, c := range []struct {
		what   string
		got    Effect
		state  State
		reply  Kind
		passed bool
	}{
		{"subscribe to one who has approved", In(approved("None"), Subscribe), approved("From"), Subscribed, false},
		{"the same, asking back", In(approved("None + Pending Out"), Subscribe), approved("From + Pending Out"), Subscribed, false},
		{"the same, already seen", In(approved("To"), Subscribe), approved("Both"), Subscribed, false},
		{"unsubscribe keeps it", In(approved("From"), Unsubscribe), approved("None"), 0, true},
		{"subscribed again changes nothing", Out(approved("None"), Subscribed), approved("None"), 0, false},
		{"unsubscribed cancels it", Out(approved("None"), Unsubscribed), parseState(t, "None"), 0, false},
		{"unsubscribed cancels it with the subscription", Out(approved("Both"), Unsubscribed), parseState(t, "To"), 0, true},
		{"other stanzas leave it", Out(approved("To"), Unsubscribe), approved("None"), 0, true},
		{"others' answers leave it", In(approved("None + Pending Out"), Subscribed), approved("To"), 0, true},
	} {
		if c.got.State != c.state || c.got.Reply != c.reply || (c.got.Route || c.got.Deliver) != c.passed {
			t.Errorf("%s: %+v, want %+v, reply %v, passed %v", c.what, c.got, c.state, c.reply, c.passed)
		}
	}
}

// A change of PendingIn alone is saved but not pushed: a contact who asks does
// not come into the roster by it (RFC 6121 §3.1.3).
func TestPush(t *testing.T) {
	for _, c := range []struct {
		what          string
		e             Effect
		changed, push bool
	}{
		{"asked", In(State{}, Subscribe), true, false},
		{"asked again", In(State{PendingIn: true}, Subscribe), false, false},
		{"refused", Out(State{PendingIn: true}, Unsubscribed), true, false},
		{"approved", Out(State{PendingIn: true}, Subscribed), true, true},
		{"approved in advance", Out(State{}, Subscribed), true, true},
		{"asking", Out(State{}, Subscribe), true, true},
		{"granted", In(State{Ask: true}, Subscribed), true, true},
	} {
		if c.e.Changed != c.changed || c.e.Push != c.push {
			t.Errorf("%s: changed %v, push %v", c.what, c.e.Changed, c.e.Push)
		}
	}
}

// Whatever comes in whatever state, the result is one of the nine, and a
// stanza that changes something is passed on unless it is a pre-approval.
func TestClosed(t *testing.T) {
	for bits := range 32 {
		s := State{To: bits&1 != 0, From: bits&2 != 0, Ask: bits&4 != 0, PendingIn: bits&8 != 0, Approved: bits&16 != 0}
		for k := Subscribe; k <= Unsubscribed; k++ {
			for _, e := range []Effect{Out(s, k), In(s, k)} {
				if e.State.To && e.State.Ask || e.State.From && e.State.PendingIn {
					t.Errorf("%+v, %v: impossible state %+v", s, k, e.State)
				}
				if e.Push && !e.Changed {
					t.Errorf("%+v, %v: pushed without a change", s, k)
				}
			}
		}
	}
}

func TestStrings(t *testing.T) {
	for k, want := range map[Kind]string{Subscribe: "subscribe", Subscribed: "subscribed", Unsubscribe: "unsubscribe", Unsubscribed: "unsubscribed"} {
		if k.String() != want {
			t.Errorf("%d is %q", k, k)
		}
	}
	for name, want := range map[string]string{"None": "none", "None + Pending Out": "none", "To + Pending In": "to", "From": "from", "Both": "both"} {
		if got := parseState(t, name).Subscription(); got != want {
			t.Errorf("%s: subscription=%q", name, got)
		}
	}
}

// pair is two users' machines and the two links between them.
type pair struct {
	state [2]State
	link  [2][]Kind // link[i]: on its way to user i
}

func (p *pair) send(from int, k Kind) {
	e := Out(p.state[from], k)
	p.state[from] = e.State
	if e.Route {
		p.link[1-from] = append(p.link[1-from], k)
	}
}

func (p *pair) receive(at int) {
	k := p.link[at][0]
	p.link[at] = p.link[at][1:]
	e := In(p.state[at], k)
	p.state[at] = e.State
	if e.Reply != 0 {
		p.link[1-at] = append(p.link[1-at], e.Reply)
	}
}

func (p *pair) settle(t *rapid.T) {
	for n := 0; len(p.link[0])+len(p.link[1]) > 0; n++ {
		if n > 1000 {
			t.Fatal("they never stop answering each other")
		}
		for at := range 2 {
			if len(p.link[at]) > 0 {
				p.receive(at)
			}
		}
	}
}

// consistent: what one calls "to" the other calls "from", and what one has asked
// the other has been asked.
func (p *pair) consistent() error {
	for i := range 2 {
		me, other := p.state[i], p.state[1-i]
		if me.To != other.From || me.Ask != other.PendingIn {
			return fmt.Errorf("user %d has %+v, user %d %+v", i, me, 1-i, other)
		}
	}
	return nil
}

var anyKind = rapid.SampledFrom([]Kind{Subscribe, Subscribed, Unsubscribe, Unsubscribed})

// When stanzas do not cross, the two sides always agree.
func TestPairWithoutCrossing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pair
		for range rapid.IntRange(1, 40).Draw(t, "stanzas") {
			p.send(rapid.IntRange(0, 1).Draw(t, "from"), anyKind.Draw(t, "kind"))
			p.settle(t)
			if err := p.consistent(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Stanzas that cross may leave the two apart: that is how the RFC's machine is
// (one cancels what the other grants in the same moment). But it always comes to
// rest, and one more exchange by either side heals its direction.
func TestPairCrossing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pair
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at := rapid.IntRange(0, 1).Draw(t, "at")
			if len(p.link[at]) > 0 && rapid.Bool().Draw(t, "receive") {
				p.receive(at)
			} else {
				p.send(at, anyKind.Draw(t, "kind"))
			}
		}
		p.settle(t)
		for watcher := range 2 {
			// The watcher starts again: gives up, then asks.
			p.send(watcher, Unsubscribe)
			p.settle(t)
			if me, other := p.state[watcher], p.state[1-watcher]; me.To || me.Ask || other.From || other.PendingIn {
				t.Fatalf("after giving up: %+v and %+v", me, other)
			}
			p.send(watcher, Subscribe)
			p.settle(t)
			p.send(1-watcher, Subscribed)
			p.settle(t)
			if !p.state[watcher].To || !p.state[1-watcher].From {
				t.Fatalf("asked and granted: %+v and %+v", p.state[watcher], p.state[1-watcher])
			}
		}
		if err := p.consistent(); err != nil {
			t.Fatal(err)
		}
	})
}
