// Package redirect knows which clients follow a redirect: by what is configured, by
// what they announce, and by what each did the last time. It is pure.
//
// Most clients follow none, and some answer one with a storm of requests, so nobody is
// redirected of whom nothing is known, unless the operator wants to try; whoever does not
// turn up where it was sent is served where it is from then on; and nobody is sent about
// more than a few times.
package redirect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Feature is what XMPP clients announce that take the redirect IQ, and its namespace.
const Feature = "urn:pharos:redirect:1"

const (
	// Within is the time in which a client has to turn up at the server that it was sent to.
	Within = 30 * time.Second
	// Forget is how long a client that did not is served where it comes.
	Forget = 24 * time.Hour
	// Loop is how often a client is redirected in Window, at most, by one server.
	Loop   = 3
	Window = 10 * time.Minute
	// Grace is the time in which requests of a SIP client that were on their way are answered
	// as the first was, Burst of them at most.
	Grace = time.Second
	Burst = 20
	// MaxClients are remembered; beyond it those are forgotten who were not here for the
	// longest time.
	MaxClients = 100_000
	// MaxName bounds what is remembered as the name of a client, in octets.
	MaxName = 512
	// MaxRules bounds the configured list.
	MaxRules = 64
)

// ErrRule: a configured rule makes no sense.
var ErrRule = errors.New("redirect: a rule is METHOD,METHOD:part of the User-Agent")

// Rule says that clients with such a User-Agent follow 302 to some methods.
type Rule struct {
	Methods []string
	Agent   string // part of the User-Agent; without regard to case
}

// methods are those that a user's own server is asked by.
var methods = []string{"REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE"}

// ParseRule reads "SUBSCRIBE,PUBLISH:name". The part of the User-Agent must not be empty: no
// method is followed by all clients.
func ParseRule(s string) (Rule, error) {
	list, agent, ok := strings.Cut(s, ":")
	agent = strings.TrimSpace(agent)
	if !ok || agent == "" || len(agent) > MaxName {
		return Rule{}, fmt.Errorf("%w: %q", ErrRule, s)
	}
	r := Rule{Agent: strings.ToLower(agent)}
	for m := range strings.SplitSeq(list, ",") {
		m = strings.ToUpper(strings.TrimSpace(m))
		if !slices.Contains(methods, m) {
			return Rule{}, fmt.Errorf("%w: %q is none of %s", ErrRule, m, strings.Join(methods, ", "))
		}
		if storms(m, r.Agent) {
			return Rule{}, fmt.Errorf("%w: Linphone answers a 302 to %s with a storm", ErrRule, m)
		}
		r.Methods = append(r.Methods, m)
	}
	return r, nil
}

// storms tells whether a client is known to answer a 302 with a storm, as Linphone does with
// about 90 requests a second, for ever: then no rule has it redirected.
func storms(method, agent string) bool {
	return (method == "SUBSCRIBE" || method == "MESSAGE") && strings.Contains(strings.ToLower(agent), "linphone")
}

// Settings of a Redirects.
type Settings struct {
	Self  string // name of this server
	SIP   []Rule
	Try   bool // XMPP clients of which nothing is known are tried
	Learn bool // what a client did with its last redirect counts
	// Tell passes what this server has learned on to the others, whose Heard takes it; may
	// be nil. It is called with Redirects unlocked.
	Tell func(Event)
}

// Client is who is redirected.
type Client struct {
	User string // address
	// Device tells clients of a user from one another: an instance ID, or the name of the
	// program; "" where neither is known.
	Device string
	Agent  string // User-Agent, "" for XMPP
}

func (c Client) key() string {
	device := c.Device
	if device == "" {
		device = c.Agent
	}
	k := c.User + "\x00" + device
	return k[:min(len(k), MaxName)]
}

// Kind of an Event.
type Kind uint8

// Kinds.
const (
	Sent     Kind = iota + 1 // a client was sent to another server
	Followed                 // it has turned up there
)

// Event is what servers tell each other of a client.
type Event struct {
	Kind   Kind
	Client string // key
	To     string // server
}

// Append writes an event for the way to another server.
func (e Event) Append(b []byte) []byte {
	b = append(b, byte(e.Kind), byte(len(e.To)))
	b = append(b, e.To...)
	return append(b, e.Client...)
}

// ParseEvent reads one.
func ParseEvent(b []byte) (e Event, ok bool) {
	if len(b) < 2 || len(b) < 2+int(b[1]) || len(b) > 2+255+MaxName {
		return e, false
	}
	e = Event{Kind: Kind(b[0]), To: string(b[2 : 2+b[1]]), Client: string(b[2+int(b[1]):])}
	return e, e.Kind == Sent || e.Kind == Followed
}

// Counts since the start, for status and metrics.
type Counts struct {
	Redirected uint64 // sent to the server of their own
	Followed   uint64 // of those, turned up there, as far as was heard
	Served     uint64 // served here though their own server is another
}

// Redirects decides, and remembers. It is safe for concurrent use.
type Redirects struct {
	set Settings

	mu       sync.Mutex
	now, old map[string]*memory // two generations
	counts   Counts
}

// memory is what is known of one client.
type memory struct {
	sent    time.Time // when it was redirected last, by anybody; zero: never, or it has followed
	to      string
	here    bool      // it was by this server
	follows bool      // it has followed the last one
	refused time.Time // until then it is served
	loop    int       // redirects by this server since
	since   time.Time
	burst   int       // of requests that were on their way
	came    time.Time // when it has followed last
	at      string    // and to where
}

// New makes one.
func New(s Settings) *Redirects {
	if len(s.SIP) > MaxRules {
		s.SIP = s.SIP[:MaxRules]
	}
	return &Redirects{set: s, now: make(map[string]*memory)}
}

// Listed tells whether a client may be redirected by a method at all: so that nobody asks where
// a user lives for nothing.
func (r *Redirects) Listed(c Client, method string) bool {
	agent := strings.ToLower(c.Agent)
	for _, rule := range r.set.SIP {
		if strings.Contains(agent, rule.Agent) && slices.Contains(rule.Methods, method) {
			return !storms(method, c.Agent)
		}
	}
	return false
}

// Likely is Listed for XMPP clients that have announced nothing.
func (r *Redirects) Likely(now time.Time, c Client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.find(c.key())
	return (r.set.Try || r.set.Learn && m != nil && m.follows) && !(m != nil && r.set.Learn && now.Before(m.refused))
}

// SIP decides whether a request of a client whose own server is another is to be answered
// with 302; then it counts as sent there.
func (r *Redirects) SIP(now time.Time, c Client, method, to string) bool {
	// That a client followed with one method says nothing of another: so only what was
	// learned against it counts beside the list.
	return r.decide(now, c, to, r.Listed(c, method), false)
}

// XMPP decides whether a client that has logged in, and whose own server is another, is to be
// sent there. announced: it has the feature, and the IQ is what it gets.
func (r *Redirects) XMPP(now time.Time, c Client, to string, announced bool) bool {
	return r.decide(now, c, to, announced || r.set.Try, true)
}

// decide; learned: that the client has followed before is reason enough.
func (r *Redirects) decide(now time.Time, c Client, to string, wanted, learned bool) bool {
	key := c.key()
	r.mu.Lock()
	m := r.find(key)
	if m != nil && wanted && !learned && m.here && m.to == to && !m.sent.IsZero() && now.Sub(m.sent) < Grace && m.burst < Burst {
		m.burst++
		r.counts.Redirected++
		r.mu.Unlock()
		return true
	}
	if m != nil {
		m.judge(now)
		wanted = wanted || learned && r.set.Learn && m.follows
	}
	if !wanted || to == "" || to == r.set.Self || m != nil && r.set.Learn && now.Before(m.refused) {
		r.counts.Served++
		r.mu.Unlock()
		return false
	}
	if m == nil {
		m = r.add(key)
	}
	if now.Sub(m.since) >= Window {
		m.since, m.loop = now, 0
	}
	if m.loop >= Loop {
		r.counts.Served++
		r.mu.Unlock()
		return false
	}
	m.loop++
	m.sent, m.to, m.here, m.follows, m.burst = now, to, true, false, 0
	r.counts.Redirected++
	r.mu.Unlock()
	r.tell(Event{Sent, key, to})
	return true
}

// judge says what became of the last redirect, now that the client is here again, which is
// not where it was sent: it did not follow, whether it came back at once or gave up.
func (m *memory) judge(now time.Time) {
	if m.sent.IsZero() {
		return
	}
	m.sent, m.follows = time.Time{}, false
	m.refused = now.Add(Forget)
}

// Here says that a client has come to its own server, this one. If it was sent here that is
// told to all.
func (r *Redirects) Here(now time.Time, c Client) {
	key := c.key()
	r.mu.Lock()
	m := r.find(key)
	if m == nil || m.sent.IsZero() || m.to != r.set.Self || now.Sub(m.sent) > Within {
		r.mu.Unlock()
		return
	}
	m.followed(now, r.set.Self)
	r.mu.Unlock()
	r.tell(Event{Followed, key, r.set.Self})
}

// Came says the same of a client whose request shows that it was sent here: it may be faster
// than the word of the server that has sent it.
func (r *Redirects) Came(now time.Time, c Client) {
	key := c.key()
	r.mu.Lock()
	m := r.find(key)
	if m == nil {
		m = r.add(key)
	}
	m.followed(now, r.set.Self)
	r.mu.Unlock()
	r.tell(Event{Followed, key, r.set.Self})
}

func (m *memory) followed(now time.Time, to string) {
	m.sent, m.follows, m.refused, m.here = time.Time{}, true, time.Time{}, false
	m.came, m.at = now, to
}

// Heard takes what another server has learned.
func (r *Redirects) Heard(now time.Time, e Event) {
	if len(e.Client) > MaxName {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.find(e.Client)
	if m == nil {
		m = r.add(e.Client)
	}
	switch e.Kind {
	case Sent:
		if m.at == e.To && now.Sub(m.came) < Grace {
			return // it was faster than this word
		}
		m.sent, m.to, m.here, m.follows = now, e.To, false, false
	case Followed:
		if m.here {
			r.counts.Followed++
		}
		m.followed(now, e.To)
	}
}

// Counts since the start.
func (r *Redirects) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

func (r *Redirects) tell(e Event) {
	if r.set.Tell != nil {
		r.set.Tell(e)
	}
}

// find looks into both generations, and keeps what was found for another one.
func (r *Redirects) find(key string) *memory {
	if m := r.now[key]; m != nil {
		return m
	}
	m := r.old[key]
	if m != nil {
		delete(r.old, key)
		r.put(key, m)
	}
	return m
}

func (r *Redirects) add(key string) *memory {
	m := &memory{}
	r.put(key, m)
	return m
}

func (r *Redirects) put(key string, m *memory) {
	if len(r.now) >= MaxClients/2 {
		r.old, r.now = r.now, make(map[string]*memory)
	}
	r.now[key] = m
}
