package simple

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
)

// These run requests through the real stack, engine, accounts and store; only the
// sockets are memory. cpu-ns/op is the processor time of the whole process,
// the phones' side included, which is kept small by working on bytes.

// loop is a socket whose other side answers every NOTIFY with 200.
type loop struct {
	in    chan []byte
	done  chan struct{}
	from  net.Addr
	acked atomic.Int64 // NOTIFYs
	final chan []byte  // responses to our requests
}

func (l *loop) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-l.in:
		n := copy(b, d)
		return n, l.from, nil
	case <-l.done:
		return 0, nil, net.ErrClosed
	}
}

func (l *loop) WriteTo(b []byte, _ net.Addr) (int, error) {
	if bytes.HasPrefix(b, []byte("NOTIFY ")) {
		r := append(make([]byte, 0, 512), "SIP/2.0 200 OK\r\n"...)
		for rest := b; ; {
			i := bytes.IndexByte(rest, '\n')
			line := rest[:i+1]
			rest = rest[i+1:]
			if len(line) <= 2 {
				break
			}
			switch line[0] | 0x20 {
			case 'v', 'f', 't':
				r = append(r, line...)
			case 'c':
				if bytes.HasPrefix(line, []byte("Call-ID:")) || bytes.HasPrefix(line, []byte("CSeq:")) {
					r = append(r, line...)
				}
			}
		}
		l.in <- append(r, "Content-Length: 0\r\n\r\n"...)
		l.acked.Add(1)
		return len(b), nil
	}
	l.final <- append([]byte(nil), b...)
	return len(b), nil
}

func (l *loop) Close() error { close(l.done); return nil }
func (l *loop) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverAddr))
}
func (l *loop) SetDeadline(time.Time) error      { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }

type allowAll struct{}

func (allowAll) Policy(context.Context, presence.Entity) (*presence.Policy, error) {
	return &presence.Policy{Default: presence.Allow}, nil
}

type bench struct {
	*testing.B
	loop     *loop
	edge     *Edge
	engine   *engine.Engine
	accounts *account.Accounts
	n        int
}

func benchUser(lane int) string { return "user" + strconv.Itoa(lane) }

// benchAccounts are as many users as there are lanes, and bob.
func benchAccounts() []store.Account {
	as := accountsOf()
	for l := range lanes {
		a := as[0] // its password nobody needs
		a.User.User = benchUser(l)
		as = append(as, a)
	}
	return as
}

func newBench(b *testing.B, trusted bool) *bench {
	b.Helper()
	st, err := store.Open(context.Background(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	if err := st.PutAccounts(context.Background(), benchAccounts()); err != nil {
		b.Fatal(err)
	}
	w := &bench{B: b, loop: &loop{
		in: make(chan []byte, 1<<16), final: make(chan []byte, 1<<16), done: make(chan struct{}),
		from: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.10:5060")),
	}}
	quiet := slog.New(slog.DiscardHandler)
	w.accounts = account.New(st, []string{domain})
	w.engine = engine.New(engine.Config{Save: st, Policies: allowAll{}, Log: quiet})
	c := Config{Engine: w.engine, Accounts: w.accounts, Store: st, Domains: []string{domain}, Log: quiet,
		Contact: func(*sip.Flow) string { return serverAddr }, Limits: Limits{Subscriptions: 1 << 30}}
	if trusted {
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}
	w.edge = New(c)
	w.engine.Register(Name, w.edge)
	stack := sip.NewStack(sip.Config{Handler: w.edge, Log: quiet, Host: "192.0.2.1",
		Limits: sip.Limits{Kept: 1 << 20}})
	w.edge.Use(stack)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.engine.Run(ctx) })
	wg.Go(func() { stack.ServePacket(w.loop) })
	b.Cleanup(func() {
		stack.Close()
		w.edge.Close()
		cancel()
		wg.Wait()
		st.Close()
	})
	return w
}

// request builds a request of lane's.
func (w *bench) request(method, user, to, toTag string, lane int, lines, body string) []byte {
	w.n++
	b := make([]byte, 0, 1024)
	b = append(b, method+" sip:"+to+"@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK"...)
	b = strconv.AppendInt(b, int64(w.n), 36)
	b = append(b, "\r\nMax-Forwards: 70\r\nFrom: <sip:"+user+"@example.com>;tag=b1\r\nTo: <sip:"+to+"@example.com>"...)
	if toTag != "" {
		b = append(b, ";tag="+toTag...)
	}
	b = append(b, "\r\nCall-ID: "...)
	b = strconv.AppendInt(b, int64(lane), 10)
	b = append(b, "@bench\r\nCSeq: "...)
	b = strconv.AppendInt(b, int64(w.n), 10)
	b = append(b, " "+method+"\r\nEvent: presence\r\nUser-Agent: baresip v1.0.0 (x86_64/linux)\r\n"+lines+"Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// value is a header of a response.
func value(msg []byte, name string) string {
	i := bytes.Index(msg, []byte("\r\n"+name+": "))
	if i < 0 {
		return ""
	}
	v, _, _ := bytes.Cut(msg[i+4+len(name):], []byte("\r\n"))
	return string(v)
}

// final waits for one response of 200, and returns it with its lane.
func (w *bench) final() ([]byte, int) {
	msg := <-w.loop.final
	if !bytes.HasPrefix(msg, []byte("SIP/2.0 200 ")) {
		w.Fatalf("got %s", msg)
	}
	id, _, _ := bytes.Cut([]byte(value(msg, "Call-ID")), []byte("@"))
	lane, err := strconv.Atoi(string(id))
	if err != nil {
		w.Fatalf("got %s", msg)
	}
	return msg, lane
}

const lanes = 64

// run works through w.N requests, in rounds of one on each lane: next makes the
// lane's next from the answer to its last, which is nil at first. It waits for
// notifies NOTIFYs each to be acknowledged.
func (w *bench) run(notifies int, next func(lane int, answer []byte) []byte) {
	w.Helper()
	// The first round, untimed, makes what is worked on.
	answers := make([][]byte, lanes)
	for l := range lanes {
		w.loop.in <- next(l, nil)
	}
	for range lanes {
		msg, l := w.final()
		answers[l] = msg
	}
	before := w.loop.acked.Load()
	w.settle(&before)
	var start, end syscall.Rusage
	w.ReportAllocs()
	w.ResetTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &start)
	want := before
	for left := w.N; left > 0; left -= lanes {
		n := min(left, lanes)
		for l := range n {
			w.loop.in <- next(l, answers[l])
		}
		for range n {
			msg, l := w.final()
			answers[l] = msg
		}
		// All have been told before the next round, so that no state is overtaken.
		for want += int64(notifies * n); w.loop.acked.Load() < want; {
			time.Sleep(20 * time.Microsecond)
		}
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &end)
	w.StopTimer()
	cpu := time.Duration(end.Utime.Nano() + end.Stime.Nano() - start.Utime.Nano() - start.Stime.Nano())
	w.ReportMetric(float64(cpu.Nanoseconds())/float64(w.N), "cpu-ns/op")
	if notifies > 1 {
		w.ReportMetric(float64(cpu.Nanoseconds())/float64(w.N*notifies), "cpu-ns/notify")
	}
}

// settle waits until no more NOTIFYs come.
func (w *bench) settle(count *int64) {
	for {
		time.Sleep(20 * time.Millisecond)
		n := w.loop.acked.Load()
		if n == *count {
			return
		}
		*count = n
	}
}

// benchDoc is baresip's document, with a note so that each is another.
var benchDoc = [2]string{
	`<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com"><dm:person id="p4159"><rpid:activities/></dm:person>` +
		`<tuple id="t4109"><status><basic>open</basic></status><contact>sip:alice@example.com</contact><note>`,
	`</note></tuple></presence>`,
}

// publish modifies the lane's publication with another document.
func (w *bench) publish(lane int, answer []byte) []byte {
	lines := "Expires: 600\r\nContent-Type: application/pidf+xml\r\n"
	if answer != nil {
		lines += "SIP-If-Match: " + value(answer, "SIP-ETag") + "\r\n"
	}
	doc := benchDoc[0] + strconv.Itoa(w.n) + benchDoc[1]
	u := benchUser(lane)
	return w.request("PUBLISH", u, u, "", lane, lines, doc)
}

func (w *bench) watch(watcher string, lane int) []byte {
	return w.request("SUBSCRIBE", watcher, benchUser(lane), "", lane, "Contact: <sip:"+watcher+"@192.0.2.10:5060>\r\nExpires: 600\r\n", "")
}

// PUBLISH→200 that changes the document, with nobody watching.
func BenchmarkPublish(b *testing.B) {
	w := newBench(b, true)
	w.run(0, w.publish)
}

// PUBLISH→200 that only refreshes.
func BenchmarkPublishRefresh(b *testing.B) {
	w := newBench(b, true)
	w.run(0, func(lane int, answer []byte) []byte {
		if answer == nil {
			return w.publish(lane, nil)
		}
		u := benchUser(lane)
		return w.request("PUBLISH", u, u, "", lane, "Expires: 600\r\nSIP-If-Match: "+value(answer, "SIP-ETag")+"\r\n", "")
	})
}

// PUBLISH→200 and the NOTIFY→200 of each watcher.
func BenchmarkPublishWatched(b *testing.B) {
	for _, watchers := range []int{1, 20} {
		b.Run(strconv.Itoa(watchers), func(b *testing.B) {
			w := newBench(b, true)
			for l := range lanes {
				for range watchers {
					w.loop.in <- w.watch("bob", l)
					w.final()
				}
			}
			w.run(watchers, w.publish)
		})
	}
}

// PUBLISH→200 of a call's next state, and the NOTIFY→200 of each lamp.
func BenchmarkLamp(b *testing.B) {
	w := newBench(b, true)
	dialog := func(msg []byte) []byte {
		return bytes.Replace(msg, []byte("Event: presence"), []byte("Event: dialog"), 1)
	}
	const watchers = 20
	for l := range lanes {
		for range watchers {
			w.loop.in <- dialog(w.watch("bob", l))
			w.final()
		}
	}
	w.run(watchers, func(lane int, answer []byte) []byte {
		lines := "Expires: 600\r\nContent-Type: application/dialog-info+xml\r\n"
		if answer != nil {
			lines += "SIP-If-Match: " + value(answer, "SIP-ETag") + "\r\n"
		}
		state := []string{"early", "confirmed"}[w.n/lanes%2]
		u := benchUser(lane)
		return dialog(w.request("PUBLISH", u, u, "", lane, lines, call(u, state, w.n)))
	})
}

// SUBSCRIBE→200→NOTIFY→200 of new subscriptions, by a trusted peer and with
// digest.
func BenchmarkSubscribe(b *testing.B) {
	b.Run("trusted", func(b *testing.B) {
		w := newBench(b, true)
		w.run(1, func(lane int, _ []byte) []byte { return w.watch(benchUser(w.n/lanes%lanes), lane) })
	})
	b.Run("digest", func(b *testing.B) {
		w := newBench(b, false)
		// As many as four watchers may have: 25,600.
		var auth [4][lanes]string
		for u := range auth {
			p := &phone{user: users[u], password: password}
			for l := range lanes {
				auth[u][l] = p.credentials(domain, w.accounts.Nonce(), "MD5", "SUBSCRIBE", "sip:"+benchUser(l)+"@example.com")
			}
		}
		w.run(1, func(lane int, _ []byte) []byte {
			u := w.n / lanes % 4
			return w.request("SUBSCRIBE", users[u], benchUser(lane), "", lane, auth[u][lane]+"Contact: <sip:bob@192.0.2.10:5060>\r\nExpires: 600\r\n", "")
		})
	})
}

// In-dialog SUBSCRIBE→200→NOTIFY→200.
func BenchmarkSubscribeRefresh(b *testing.B) {
	w := newBench(b, true)
	w.run(1, func(lane int, answer []byte) []byte {
		if answer == nil {
			return w.watch("bob", lane)
		}
		_, tag, _ := bytes.Cut([]byte(value(answer, "To")), []byte("tag="))
		return w.request("SUBSCRIBE", "bob", benchUser(lane), string(tag), lane, "Contact: <sip:bob@192.0.2.10:5060>\r\nExpires: 600\r\n", "")
	})
}

// The memory that one subscription holds, all parts together; answers kept for
// retransmissions are bounded apart from it.
func BenchmarkMemory(b *testing.B) {
	w := newBench(b, true)
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	const n = 5000
	w.loop.in <- w.watch("bob", 0)
	w.final()
	before := heap()
	for range n {
		w.loop.in <- w.watch("bob", w.n%lanes)
		w.final()
	}
	acked := w.loop.acked.Load()
	w.settle(&acked)
	b.ReportMetric(float64(heap()-before)/n, "B/subscription")
	for range b.N {
	}
}
