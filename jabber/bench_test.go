package jabber

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"pharos/store"
	"pharos/xmpp"
)

// benchClient is a client that costs little: it reads, and counts stanzas.
type benchClient struct {
	conn net.Conn
	r    io.Reader
	seen chan int // how many of what is counted came, at each read
	what []byte
}

func benchWorld(b *testing.B, users ...string) (*world, net.Listener) {
	w := newWorld(b, users...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	w.conns.Go(func() { w.acc.ServeListener(w.ctx, l, xmpp.Insecure) })
	b.Cleanup(func() { l.Close(); w.close() })
	return w, l
}

func (w *world) benchLogin(b *testing.B, l net.Listener, user, resource, more string) *benchClient {
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	r := bufio.NewReader(conn)
	header := "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	until := func(s string) {
		var got []byte
		for !bytes.Contains(got, []byte(s)) {
			c, err := r.ReadByte()
			if err != nil {
				b.Fatal(err, string(got))
			}
			got = append(got, c)
		}
	}
	io.WriteString(conn, header)
	until("</stream:features>")
	io.WriteString(conn, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain(user)+"</auth>")
	until("/>")
	io.WriteString(conn, header)
	until("</stream:features>")
	io.WriteString(conn, "<iq type='set' id='b'><bind xmlns='"+nsBind+"'><resource>"+resource+"</resource></bind></iq>"+more)
	until("</iq>")
	return &benchClient{conn: conn, r: r}
}

// count starts to read and counts what.
func (c *benchClient) count(what string) {
	c.what, c.seen = []byte(what), make(chan int, 4096)
	go func() {
		buf := make([]byte, 64<<10)
		have := 0
		for {
			n, err := c.r.Read(buf[have:])
			if err != nil {
				close(c.seen)
				return
			}
			have += n
			if k := bytes.Count(buf[:have], c.what); k > 0 {
				c.seen <- k
				i := bytes.LastIndex(buf[:have], c.what) + len(c.what)
				have = copy(buf, buf[i:have])
			} else if have > len(buf)-4096 {
				have = copy(buf, buf[have-len(c.what):have])
			}
		}
	}()
}

func (c *benchClient) await(n int) {
	for n > 0 {
		k, ok := <-c.seen
		if !ok {
			return
		}
		n -= k
	}
}

func friends(b *testing.B, w *world, of string, n int) (names []string) {
	for i := range n {
		name := fmt.Sprint("c", i)
		names = append(names, name)
		for _, p := range [][2]string{{of, name}, {name, of}} {
			if _, err := w.store.UpdateItem(w.ctx, entity(p[0]), entity(p[1]), func(it *store.Item) bool {
				it.To, it.From, it.Visible, it.Groups = true, true, true, []string{"Friends"}
				return true
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return names
}

func userNames(n int) []string {
	out := []string{"alice"}
	for i := range n {
		out = append(out, fmt.Sprint("c", i))
	}
	return out
}

const benchPresence = "<presence><show>away</show><status>lunch</status><priority>1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://example.org/client' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/></presence>"

// BenchmarkPresence is a change of presence to contacts, clients included.
func BenchmarkPresence(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, l := benchWorld(b, userNames(n)...)
			var cs []*benchClient
			for _, name := range friends(b, w, "alice", n) {
				c := w.benchLogin(b, l, name, "r", "<presence/>")
				c.count("<presence from='alice@localhost/r'")
				cs = append(cs, c)
			}
			a := w.benchLogin(b, l, "alice", "r", "<presence/>")
			a.count("<presence from='alice@localhost/r'")
			for _, c := range cs {
				c.await(1)
			}
			a.await(1)
			b.ReportAllocs()
			start := cpuTime()
			b.ResetTimer()
			for range b.N {
				io.WriteString(a.conn, benchPresence)
				for _, c := range cs {
					c.await(1)
				}
				a.await(1)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N*(n+1)), "cpu-ns/delivery")
		})
	}
}

// BenchmarkMessage is one chat message between two clients, clients included.
func BenchmarkMessage(b *testing.B) {
	for _, to := range []string{"c0@localhost", "c0@localhost/r"} {
		b.Run(to, func(b *testing.B) {
			w, l := benchWorld(b, userNames(1)...)
			a := w.benchLogin(b, l, "alice", "r", "<presence/>")
			a.count("<message")
			c := w.benchLogin(b, l, "c0", "r", "<presence/>")
			c.count("<message ")
			time.Sleep(50 * time.Millisecond)
			m := "<message to='" + to + "' type='chat' id='abc123'><body>The quick brown fox jumps over the lazy dog</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
			var batch bytes.Buffer
			const per = 16
			for range per {
				batch.WriteString(m)
			}
			b.ReportAllocs()
			start := cpuTime()
			b.ResetTimer()
			for i := 0; i < b.N; i += per {
				a.conn.Write(batch.Bytes())
				c.await(per)
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/message")
		})
	}
}

// BenchmarkLogin is a login with 20 contacts who are online until all presences
// are in, and the logout; clients included.
func BenchmarkLogin(b *testing.B) {
	const n = 20
	w, l := benchWorld(b, userNames(n)...)
	for _, name := range friends(b, w, "alice", n) {
		c := w.benchLogin(b, l, name, "r", benchPresence)
		go io.Copy(io.Discard, c.r)
	}
	b.ReportAllocs()
	start := cpuTime()
	b.ResetTimer()
	for range b.N {
		a := w.benchLogin(b, l, "alice", "r", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
		a.count("<presence ")
		a.await(n + 1)
		a.conn.Close()
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/login")
}

// BenchmarkSubscribe is a handshake: request, approval, and the end of it.
func BenchmarkSubscribe(b *testing.B) {
	w, l := benchWorld(b, userNames(1)...)
	ask := "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>"
	a := w.benchLogin(b, l, "alice", "r", ask)
	a.count("type='subscribed'")
	c := w.benchLogin(b, l, "c0", "r", ask)
	c.count("type='subscribe'")
	time.Sleep(50 * time.Millisecond)
	b.ReportAllocs()
	start := cpuTime()
	b.ResetTimer()
	for range b.N {
		io.WriteString(a.conn, "<presence to='c0@localhost' type='subscribe'/>")
		c.await(1)
		io.WriteString(c.conn, "<presence to='alice@localhost' type='subscribed'/>")
		a.await(1)
		io.WriteString(a.conn, "<presence to='c0@localhost' type='unsubscribe'/>")
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/handshake")
}

// BenchmarkIdle reports the memory of an idle session, its client's end of the
// connection included.
func BenchmarkIdle(b *testing.B) {
	const n = 2000
	w, l := benchWorld(b, "alice")
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var conns []net.Conn
		for i := range n {
			c := w.benchLogin(b, l, fmt.Sprint("u", i), "r", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
			conns = append(conns, c.conn)
		}
		time.Sleep(500 * time.Millisecond)
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/n, "B/session")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/session")
		for _, c := range conns {
			c.Close()
		}
	}
}
