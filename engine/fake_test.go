package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pharos/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func user(s string) presence.Entity { return presence.Entity{User: s, Domain: "example.com"} }

// phone is an edge that keeps what it is told.
type phone struct {
	mu       sync.Mutex
	notices  []*presence.Notice
	changes  []presence.WatcherChange
	messages []*Message
	takes    func(*Message) bool
	onNotice func(*presence.Notice)
}

func (p *phone) Notify(n *presence.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notices = append(p.notices, n)
	if p.onNotice != nil {
		p.onNotice(n)
	}
}

func (p *phone) WatcherChanged(c presence.WatcherChange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, c)
}

func (p *phone) Deliver(m *Message) bool {
	if p.takes == nil || !p.takes(m) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, m)
	return true
}

// told returns the notices since the last call.
func (p *phone) told() []*presence.Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	ns := p.notices
	p.notices = nil
	return ns
}

var errDisk = errors.New("disk full")

// disk is a Saver with delays and failures. It keeps what a real one would have.
type disk struct {
	delay   func(call int) time.Duration
	fails   func(call int) bool
	mu      sync.Mutex
	calls   int
	records map[saveKey]presence.Save
	queue   chan diskWrite
	ended   chan struct{}
}

type diskWrite struct {
	saves []presence.Save
	done  func(error)
	epoch uint64 // of the node
}

func newDisk(t *testing.T) *disk {
	d := &disk{records: map[saveKey]presence.Save{}, queue: make(chan diskWrite, 10000), ended: make(chan struct{})}
	go d.run()
	t.Cleanup(func() { close(d.queue); <-d.ended })
	return d
}

func (d *disk) Save(saves []presence.Save, done func(error)) { d.queue <- diskWrite{saves, done, 0} }

func (d *disk) run() {
	defer close(d.ended)
	for w := range d.queue {
		d.mu.Lock()
		d.calls++
		n := d.calls
		d.mu.Unlock()
		if d.delay != nil {
			time.Sleep(d.delay(n))
		}
		if d.fails != nil && d.fails(n) {
			w.done(errDisk)
			continue
		}
		d.mu.Lock()
		for _, s := range w.saves {
			if s.Delete {
				delete(d.records, keyOf(&s))
			} else {
				d.records[keyOf(&s)] = s
			}
		}
		d.mu.Unlock()
		w.done(nil)
	}
}

func (d *disk) source(of presence.Entity, key string) *presence.Source {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records[saveKey{of, presence.SavedSource, key}].Source
}

// rules is Policies from a map.
type rules struct {
	mu    sync.Mutex
	delay time.Duration
	err   error
	of    map[presence.Entity]*presence.Policy
	loads int
	rev   uint64
}

func (r *rules) Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error) {
	r.mu.Lock()
	r.loads++
	p, err, delay := r.of[e], r.err, r.delay
	r.mu.Unlock()
	// Read first, then be slow: what changes meanwhile is missed.
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if p == nil {
		p = &presence.Policy{Default: presence.Allow}
	}
	return p, nil
}

// set changes the policy of one user, by handling of single watchers.
func (r *rules) set(of presence.Entity, def presence.Handling, ws map[presence.Entity]presence.Handling) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rev++
	p := &presence.Policy{Revision: r.rev, Default: def, Watchers: map[presence.Entity]presence.Grant{}}
	for w, h := range ws {
		p.Watchers[w] = presence.Grant{Handling: h, Rule: "rule"}
	}
	if r.of == nil {
		r.of = map[presence.Entity]*presence.Policy{}
	}
	r.of[of] = p
}

func (r *rules) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// house is an engine that runs in a bubble.
type house struct {
	*Engine
	t    *testing.T
	sip  *phone
	xmpp *phone
	stop func() error
}

// inHouse runs fn with an engine in virtual time.
func inHouse(t *testing.T, c Config, before func(*house), fn func(*house)) {
	t.Helper()
	h := &house{Engine: New(c), t: t, sip: &phone{}, xmpp: &phone{}}
	h.Register("sip", h.sip)
	h.Register("xmpp", h.xmpp)
	if before != nil {
		before(h)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stopped := false
	h.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	defer func() { // also after t.Fatal
		if !stopped {
			if err := h.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		for _, s := range h.shards {
			if n := s.open.Load(); n != 0 {
				t.Errorf("%d inputs were never answered", n)
			}
		}
	}()
	fn(h)
}

func bubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

func (h *house) must(of presence.Entity, in presence.Input) presence.Outcome {
	h.t.Helper()
	out, err := h.Step(context.Background(), of, in)
	if err != nil {
		h.t.Fatalf("%T: %v", in, err)
	}
	return out
}

func publish(key, tag string, life time.Duration, activity string) presence.Publish {
	d := &presence.Document{Tuples: []presence.Tuple{{ID: "t", Basic: presence.Open}}}
	d.Persons = []presence.Person{{Rich: presence.Rich{Activities: &presence.Values{Names: []string{activity}}}}}
	return presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: key}, NewTag: tag, Doc: d, Lifetime: life}
}

func session(resource, activity string) presence.Publish {
	p := publish(resource, "", 0, activity)
	p.ID.Kind = presence.Session
	return p
}

func watch(id string, w presence.Entity) presence.Watch {
	return presence.Watch{ID: id, Watcher: w, Via: presence.Via{Edge: "sip", Handle: "d-" + id}, Lifetime: time.Hour}
}

// seen is what a notice shows: activities, or how it ends.
func seen(n *presence.Notice) string {
	if n.View == nil {
		return fmt.Sprintf("%s %s", n.State, n.Reason)
	}
	if a := n.View.Doc.Persons[0].Rich.Activities; a != nil {
		return a.Names[0]
	}
	if n.View.Doc.Tuples[0].Basic == presence.Closed {
		return "offline"
	}
	return "nothing"
}

func (p *phone) saw() (s []string) {
	for _, n := range p.told() {
		s = append(s, seen(n))
	}
	return s
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (h *house) expect(p *phone, want ...string) {
	h.t.Helper()
	synctest.Wait()
	if got := p.saw(); !equal(got, want) {
		h.t.Fatalf("watchers saw %q, want %q", got, want)
	}
}
