package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/engine"
)

// post is a node with nothing but links, which writes down what they tell.
type post struct {
	t     *testing.T
	name  string
	bus   Bus
	links *Links
	stop  func()
	mu    sync.Mutex
	log   []string
	reply func(node string, b []byte) // on Frame
}

func newPost(t *testing.T, bus Bus, name string, epoch uint64) *post {
	t.Helper()
	p := &post{t: t, name: name, bus: bus}
	p.links = NewLinks(bus, name, Handlers{
		Frame: func(node string, b []byte) {
			p.note(node + ":" + string(b))
			if p.reply != nil {
				p.reply(node, b)
			}
		},
		Broadcast: func(node string, b []byte) { p.note(node + " to all:" + string(b)) },
		Missed: func(node string, epoch uint64) {
			if epoch == 0 {
				t.Errorf("missed %s of no epoch", node)
			}
			p.note("missed " + node)
		},
		Gone:    func(node string, before uint64) { p.note(fmt.Sprintf("gone %s before %d", node, before)) },
		Reached: func(node string, yes bool) { p.note(fmt.Sprintf("reached %s %v", node, yes)) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{p.bus.Run, p.links.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	p.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	if epoch != 0 {
		p.links.Begin(epoch)
	}
	return p
}

func (p *post) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, s)
}

func (p *post) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	log := p.log
	p.log = nil
	return log
}

func (p *post) send(node, s string) {
	p.t.Helper()
	if err := p.links.Send(node, []byte(s)); err != nil {
		p.t.Errorf("%s to %s: %v", p.name, node, err)
	}
}

func (p *post) expect(want ...string) {
	p.t.Helper()
	synctest.Wait()
	if got := p.take(); !slices.Equal(got, want) {
		p.t.Errorf("%s heard %q, want %q", p.name, got, want)
	}
}

// expectAll is expect where the order does not matter.
func (p *post) expectAll(want ...string) {
	p.t.Helper()
	synctest.Wait()
	got := p.take()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Errorf("%s heard %q, want %q", p.name, got, want)
	}
}

// inOffice runs posts a, b, c on a bus in memory; they have met.
func inOffice(t *testing.T, f func(t *testing.T, m *Memory, a, b, c *post)) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		var ps []*post
		for i, n := range []string{"a", "b", "c"} {
			ps = append(ps, newPost(t, m.Join(n), n, uint64(i+1)))
			defer ps[i].stop()
		}
		time.Sleep(2 * helloEvery)
		synctest.Wait()
		for _, p := range ps {
			if got := p.take(); len(got) != 4 { // missed and reached, of each
				t.Errorf("%s has met %q", p.name, got)
			}
		}
		f(t, m, ps[0], ps[1], ps[2])
	})
}

func TestLinksCarry(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		began := time.Now()
		b.reply = func(node string, f []byte) { b.send(node, "re "+string(f)) }
		a.send("b", "1")
		a.send("b", "2")
		b.expect("a:1", "a:2")
		a.expect("b:re 1", "b:re 2")
		if err := c.links.Broadcast([]byte("x")); err != nil {
			t.Error(err)
		}
		b.expect("c to all:x")
		a.expect("c to all:x")
		if d := time.Since(began); d != 0 {
			t.Errorf("took %v", d)
		}
		c.expect()
		if err := a.links.Send("a", nil); err == nil {
			t.Error("sent to itself")
		}
		if err := a.links.Send("no good name", nil); err == nil {
			t.Error("sent to a bad name")
		}
		if err := a.links.Send("b", make([]byte, MaxFrame+1)); err == nil || a.links.Broadcast(make([]byte, MaxFrame+1)) == nil {
			t.Error("sent what is too long")
		}
		time.Sleep(time.Second)
		st := a.links.Stats()
		if len(st) != 2 || st[0].Node != "b" || st[0].Epoch != 2 || !st[0].Reached || st[0].Sent != 2 || st[0].Received != 2 ||
			st[0].Queued != 0 || st[0].Again != 0 || st[0].RTT == 0 {
			t.Errorf("%+v", st)
		}
		m.Join("stranger").Send("a", []byte("nonsense"))
		synctest.Wait()
		if a.links.Malformed() != 1 {
			t.Error("not counted")
		}
	})
}

func TestLinksOrder(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		m.Faults(Faults{Delay: 100 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Duplicate: 0.05})
		var want []string
		began := time.Now()
		for i := range 3000 {
			want = append(want, fmt.Sprintf("a:%d", i))
			a.send("b", want[i][2:])
			c.send("b", want[i][2:])
			time.Sleep(time.Millisecond)
		}
		if err := a.links.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("took %v", d)
		}
		got := b.take()
		fromA := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.HasPrefix(s, "a:") })
		if !slices.Equal(fromA, want) {
			t.Errorf("%d of %d came", len(fromA), len(want))
		}
		st := a.links.Stats()[0]
		t.Logf("sent again %d of %d, rtt %v, %d datagrams", st.Again, st.Sent, st.RTT, st.Datagrams)
		if st.Again == 0 || st.Again > 600 || st.RTT < 200*time.Millisecond || st.RTT > 220*time.Millisecond {
			t.Errorf("%+v", st)
		}
	})
}

func TestLinksOutage(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		m.Cut("a", "b")
		a.send("b", "kept")
		if err := a.links.Broadcast([]byte("1")); err != nil {
			t.Error(err)
		}
		time.Sleep(UnreachableAfter + keepalive)
		a.expect("reached b false")
		b.expect("reached a false")
		c.expect("a to all:1")
		if err := a.links.Broadcast([]byte("2")); err != nil {
			t.Error(err)
		}
		a.send("b", "kept, too")
		c.expect("a to all:2")
		m.Heal()
		time.Sleep(slowest + 10*time.Millisecond)
		a.expect("reached b true")
		synctest.Wait()
		got := slices.DeleteFunc(b.take(), func(s string) bool { return s == "reached a true" })
		if want := []string{"a:kept", "a to all:1", "a:kept, too", "missed a"}; !slices.Equal(got, want) {
			t.Errorf("b heard %q, want %q", got, want)
		}

		m.Freeze("b")
		var err error
		n := 0
		for ; err == nil; n++ {
			err = a.links.Send("b", []byte("x"))
		}
		if !errors.Is(err, engine.ErrOverload) || n != MaxQueuedPieces+1 {
			t.Errorf("%v after %d", err, n)
		}
		if st := a.links.Stats()[0]; st.Overloads != 1 || st.Queued != MaxQueuedPieces {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.links.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flushed: %v", err)
		}
		time.Sleep(10 * time.Second)
		m.Thaw("b")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := slices.DeleteFunc(b.take(), func(s string) bool { return s != "a:x" }); len(got) != MaxQueuedPieces {
			t.Errorf("%d came", len(got))
		}
	})
}

func TestLinksIncarnations(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		// b is killed and begins anew at once.
		m.Stop("b")
		b.stop()
		a.send("b", "lost")
		b = newPost(t, m.Join("b"), "b", 7)
		defer b.stop()
		time.Sleep(10 * time.Millisecond)
		a.expect("gone b before 7", "missed b", "reached b true")
		b.expectAll("missed a", "reached a true", "missed c", "reached c true")
		a.send("b", "1")
		b.expect("a:1")

		// The store says that c is dead, who only stands still.
		c.expect("gone b before 7", "missed b", "reached b true")
		m.Freeze("c")
		c.send("a", "too late")
		a.links.Fence("c", 4)
		a.expect("gone c before 4")
		m.Thaw("c")
		time.Sleep(UnreachableAfter + keepalive)
		a.expect()
		c.expect("reached a false")
		c.links.Begin(5)
		c.send("a", "again")
		time.Sleep(100 * time.Millisecond)
		a.expectAll("missed c", "reached c true", "c:again")
		b.expectAll("gone c before 5", "missed c", "reached c true")
		if st := a.links.Stats(); st[1].Epoch != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// Who begins anew while something is handed over to him gets no more of it.
func TestLinksBeginWithin(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		b.reply = func(node string, f []byte) {
			if string(f) == "2" {
				b.links.Begin(10)
			}
		}
		m.Between("a", "b", Faults{Delay: time.Millisecond})
		for i := range 5 {
			a.send("b", fmt.Sprint(i))
		}
		time.Sleep(100 * time.Millisecond)
		a.expectAll("gone b before 10", "missed b", "reached b true")
		b.expectAll("a:0", "a:1", "a:2", "missed a", "reached a true", "missed c", "reached c true")
	})
}

func TestLinksBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := newPost(t, m.Join("a"), "a", 0), newPost(t, m.Join("b"), "b", 1)
		defer b.stop()
		if err := a.links.Send("b", nil); !errors.Is(err, engine.ErrStopped) {
			t.Errorf("before Begin: %v", err)
		}
		time.Sleep(5 * time.Second)
		a.expect()
		b.expect()
		b.send("a", "waits")
		time.Sleep(time.Second)
		a.links.Begin(9)
		time.Sleep(time.Second)
		a.expectAll("missed b", "b:waits", "reached b true")
		a.stop()
		if a.links.Send("b", nil) == nil || a.links.Broadcast(nil) == nil || a.links.Send("new", nil) == nil {
			t.Error("sent after the end")
		}
		a.links.Fence("b", 100)
		a.expect()
		// More nodes than there may be.
		for i := range MaxNodes {
			_ = b.links.Send(fmt.Sprintf("n%d", i), nil)
		}
		if err := b.links.Send("one-more", nil); err == nil {
			t.Error("too many links")
		}
	})
}

// Nodes that come under ever new names and go for good do not keep the next from being met.
func TestLinksMakeRoom(t *testing.T) {
	inOffice(t, func(t *testing.T, m *Memory, a, b, c *post) {
		for i := range MaxNodes - 2 {
			a.send(fmt.Sprintf("n%d", i), "lost")
		}
		if err := a.links.Send("one-more", nil); err == nil {
			t.Error("more links than there may be")
		}
		time.Sleep(ForgetAfter)
		c.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		a.take()
		b.take()
		d := newPost(t, m.Join("one-more"), "one-more", 7)
		defer d.stop()
		time.Sleep(2 * helloEvery)
		a.expectAll("missed one-more", "reached one-more true")
		a.send("one-more", "hello")
		a.send("b", "still")
		time.Sleep(time.Second)
		d.expectAll("missed a", "reached a true", "missed b", "reached b true", "a:hello")
		b.expectAll("missed one-more", "reached one-more true", "a:still")
		if n := len(a.links.Stats()); n != MaxNodes {
			t.Errorf("%d links", n)
		}
		if !slices.ContainsFunc(a.links.Stats(), func(s LinkStats) bool { return s.Node == "c" }) {
			t.Error("c is forgotten, which was there a minute ago")
		}
	})
}

func TestCheckName(t *testing.T) {
	for name, good := range map[string]bool{"a": true, "Node-1": true, strings.Repeat("x", 63): true,
		"": false, "a.b": false, "a b": false, "*": false, ">": false, "ä": false, strings.Repeat("x", 64): false} {
		if (CheckName(name) == nil) != good {
			t.Errorf("%q", name)
		}
	}
}
