package xmpp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// listen serves a over TCP on the loopback.
func listen(b *testing.B, a *Acceptor, m Mode) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.ServeListener(context.Background(), l, m)
	}()
	b.Cleanup(func() {
		l.Close()
		<-done
		_ = a.Shutdown(canceled())
		for {
			if all, _ := a.Count(); all == 0 {
				break
			}
			runtime.Gosched()
		}
	})
	return l.Addr().String()
}

// loginTCP logs in over a real connection, under TLS when config is given.
func loginTCP(b *testing.B, addr string, config *tls.Config) (raw net.Conn, r *bufio.Reader, w io.Writer) {
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	conn := raw
	if config != nil {
		conn = tls.Client(raw, config)
	}
	r = bufio.NewReaderSize(conn, 4096)
	for _, step := range []struct{ send, until string }{{hello, "</stream:features>"}, {plainAuth, "/>"}, {hello, "</stream:features>"}} {
		if _, err := io.WriteString(conn, step.send); err != nil {
			b.Fatal(err)
		}
		readUntil(b, r, step.until)
	}
	return raw, r, conn
}

func readUntil(b *testing.B, r *bufio.Reader, end string) {
	var got []byte
	for !bytes.HasSuffix(got, []byte(end)) {
		c, err := r.ReadByte()
		if err != nil {
			b.Fatal(err)
		}
		got = append(got, c)
	}
}

// BenchmarkIdle reports the memory of an idle session, heap and stacks, all
// included but what the edge adds: B/session. The peers' ends, a bare
// descriptor each, are in it too.
func BenchmarkIdle(b *testing.B) {
	for name, m := range map[string]Mode{"tcp": Insecure, "tls": DirectTLS} {
		b.Run(name, func(b *testing.B) {
			const sessions = 1000
			a, _ := testAcceptor()
			addr := listen(b, a, m)
			var config *tls.Config
			if m == DirectTLS {
				config = clientTLS("xmpp-client")
			}
			measure := func() uint64 {
				var s runtime.MemStats
				for range 6 { // stacks shrink by half in each
					runtime.GC()
				}
				runtime.ReadMemStats(&s)
				return s.HeapAlloc + s.StackInuse
			}
			for b.Loop() {
				before := measure()
				conns := make([]net.Conn, sessions)
				for i := range conns {
					raw, r, w := loginTCP(b, addr, config)
					conns[i] = raw
					stanza := "<message><body>" + strings.Repeat("x", 400) + "</body></message>"
					if _, err := io.WriteString(w, stanza); err != nil {
						b.Fatal(err)
					}
					readUntil(b, r, "</message>")
				}
				b.ReportMetric(float64(measure()-before)/sessions, "B/session")
				for _, c := range conns {
					c.Close()
				}
				for {
					if all, _ := a.Count(); all == 0 {
						break
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
}

// BenchmarkEcho is a stanza read, parsed, and sent back over TCP, the client's
// part included.
func BenchmarkEcho(b *testing.B) {
	for name, m := range map[string]Mode{"tcp": Insecure, "tls": DirectTLS} {
		b.Run(name, func(b *testing.B) {
			a, _ := testAcceptor()
			addr := listen(b, a, m)
			var config *tls.Config
			if m == DirectTLS {
				config = clientTLS("xmpp-client")
			}
			raw, r, w := loginTCP(b, addr, config)
			defer raw.Close()
			stanza := []byte("<message to='romeo@example.net'><body>" + strings.Repeat("x", 300) + "</body></message>")
			in := make([]byte, len(stanza))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(stanza); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLogin is a connection from the first byte to the features after
// SASL PLAIN, and its end.
func BenchmarkLogin(b *testing.B) {
	a, _ := testAcceptor()
	a.Auth = yes{new(users)}
	addr := listen(b, a, Insecure)
	for b.Loop() {
		raw, r, w := loginTCP(b, addr, nil)
		_, _ = io.WriteString(w, closeTag)
		readUntil(b, r, closeTag)
		raw.Close()
	}
}

// BenchmarkSend is one stanza queued and written, to a peer that only reads.
func BenchmarkSend(b *testing.B) {
	a, _ := testAcceptor()
	streams := make(chan *Stream, 1)
	a.Serve = func(ctx context.Context, s *Stream) { streams <- s; echo(ctx, s) }
	raw, r, _ := loginTCP(b, listen(b, a, Insecure), nil)
	s := <-streams
	go io.Copy(io.Discard, r)
	head := []byte("<presence from='romeo@example.net/orchard'>")
	body := []byte(strings.Repeat("x", 300) + "</presence>")
	b.ReportAllocs()
	for b.Loop() {
		for s.Queued() > 100000 {
			runtime.Gosched()
		}
		s.Send(head, body)
	}
	raw.Close()
}

type yes struct{ *users }

func (yes) Plain(context.Context, net.Addr, string, string, string) error { return nil }
func (yes) Failed(net.Addr, string, string)                               {}
func (yes) Succeeded(net.Addr, string, string)                            {}
