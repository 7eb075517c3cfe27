package xmpp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/memnet"
)

// bound logs a client in and returns it with the server's stream, whose Serve
// runs until release is closed.
func bound(t *testing.T, a *Acceptor) (c *client, s *Stream, release chan struct{}) {
	streams := make(chan *Stream, 1)
	release = make(chan struct{})
	a.Serve = serveOnce(func(s *Stream) {
		streams <- s
		<-release
	})
	c = connect(t, a, Insecure)
	c.login()
	return c, <-streams, release
}

func TestNextErrors(t *testing.T) {
	for _, c := range []struct {
		in        string
		condition string // "EOF" for a normal end, "" for a broken connection
		answer    string
	}{
		{closeTag, "EOF", closeTag},
		{"</stream:stream >", "EOF", closeTag},
		{"<a></b>", "not-well-formed", streamErrorXML("not-well-formed", "end tag does not match its start tag")},
		{"</stream:steam>", "not-well-formed", streamErrorXML("not-well-formed", "end tag does not match the stream header")},
		{"<message a='1' a='2'/>", "not-well-formed", streamErrorXML("not-well-formed", "an attribute given twice")},
		{"<message>\x01</message>", "not-well-formed", streamErrorXML("not-well-formed", "a control character")},
		{"<x:message/>", "bad-namespace-prefix", streamErrorXML("bad-namespace-prefix", "the prefix x is not bound")},
		{"<message><!--", "restricted-xml", streamErrorXML("restricted-xml", "a comment or declaration")},
		{"<message>&x;</message>", "restricted-xml", streamErrorXML("restricted-xml", "a reference to an entity that is not predefined")},
		{"<message>\xff</message>", "unsupported-encoding", streamErrorXML("unsupported-encoding", "not UTF-8")},
		{"text", "bad-format", streamErrorXML("bad-format", "text between elements")},
		{"<message>" + strings.Repeat("x", 300000), "policy-violation", streamErrorXML("policy-violation", "more bytes than allowed")},
		{strings.Repeat("<a>", 65), "policy-violation", streamErrorXML("policy-violation", "elements nested deeper than allowed")},
		{"<a>" + strings.Repeat("<b/>", 9000), "policy-violation", streamErrorXML("policy-violation", "more nodes than allowed")},
		{"<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'>x</reset><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>y</text></stream:error>", "reset", closeTag},
		{"<message", "", ""},
		{"", "", ""},
	} {
		t.Run(fmt.Sprintf("%.30q", c.in), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				errs := make(chan error, 1)
				a.Serve = serveOnce(func(s *Stream) {
					_, err := s.Next()
					errs <- err
				})
				p := connect(t, a, Insecure)
				p.login()
				go func() { // the server need not read all
					_, _ = p.conn.Write([]byte(c.in))
					if c.condition == "" {
						p.conn.Close()
					}
				}()
				err := <-errs
				var se *StreamError
				switch {
				case c.condition == "EOF" && err != io.EOF, c.condition == "" && err != io.ErrUnexpectedEOF:
					t.Errorf("got %v", err)
				case c.condition != "EOF" && c.condition != "" && (!errors.As(err, &se) || se.Condition != c.condition || se.Received != (c.condition == "reset")):
					t.Errorf("got %v, want %s", err, c.condition)
				}
				if c.condition != "" {
					p.play("< "+c.answer, "EOF")
				}
				p.conn.Close()
			})
		})
	}
}

// A size that is refused before SASL is fine after it.
func TestLimitGrowsWithTrust(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		p := connect(t, a, Insecure)
		p.login()
		big := "<message>" + strings.Repeat("x", 100000) + "</message>"
		p.play("> "+big, "< "+big)
		p.conn.Close()
	})
}

func TestSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		p, s, release := bound(t, a)
		var want strings.Builder
		var wg sync.WaitGroup
		for i := range 10 {
			part := strings.Repeat(fmt.Sprint(i), 1000*i)
			fmt.Fprintf(&want, "<m>%s</m>", part)
			if !s.Send([]byte("<m>"), nil, []byte(part), []byte("</m>")) {
				t.Fatal("refused")
			}
		}
		p.play("< " + want.String())
		synctest.Wait()
		if s.Queued() != 0 {
			t.Errorf("%d bytes still queued", s.Queued())
		}
		for range 20 { // many senders, whole elements
			wg.Go(func() {
				for range 50 {
					s.Send([]byte("<a>"), []byte("xyz"), []byte("</a>"))
				}
			})
		}
		p.play("< " + strings.Repeat("<a>xyz</a>", 1000))
		wg.Wait()
		close(release)
		p.play("< "+closeTag, "> "+closeTag, "EOF")
		<-s.Done()
		if s.Send([]byte("<late/>")) {
			t.Error("sent after the end")
		}
	})
}

func TestAccessors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		p, s, release := bound(t, a)
		if s.User() != (JID{Local: "juliet", Domain: "example.com"}) || s.Mechanism() != "PLAIN" || s.TLS() != nil || s.WebSocket() || s.RemoteAddr().String() != "memnet" || len(s.ID()) != 26 {
			t.Errorf("%+v", s)
		}
		if all, authenticated := a.Count(); all != 1 || authenticated != 1 {
			t.Error(all, authenticated)
		}
		close(release)
		p.conn.Close()
	})
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		langs := make(chan string, 1)
		a.Serve = serveOnce(func(s *Stream) { langs <- s.Lang() })
		p := connect(t, a, Insecure)
		p.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+plainAuth, "< "+success, "> "+strings.Replace(hello, "to=", "xml:lang='de' to=", 1))
		if l := <-langs; l != "de" {
			t.Error(l)
		}
		p.conn.Close()
	})
}

// Close from anywhere: what was queued goes out first, Next returns, and the
// peer has a bounded time to close its side.
func TestClose(t *testing.T) {
	for name, c := range map[string]struct {
		e    *StreamError
		want string
	}{
		"normal":   {nil, closeTag},
		"conflict": {&StreamError{Condition: "conflict"}, streamErrorXML("conflict", "")},
		"other": {&StreamError{Condition: "see-other-host", Other: "b.example.com:5222"},
			"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>b.example.com:5222</see-other-host></stream:error></stream:stream>"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				streams, errs := make(chan *Stream, 1), make(chan error, 1)
				a.Serve = serveOnce(func(s *Stream) {
					streams <- s
					_, err := s.Next()
					errs <- err
				})
				p := connect(t, a, Insecure)
				p.login()
				s := <-streams
				synctest.Wait() // Next waits
				s.Send([]byte("<last/>"))
				s.Close(c.e)
				s.Close(&StreamError{Condition: "reset"}) // too late
				err := <-errs
				if c.e == nil && err != io.EOF || c.e != nil && err != c.e {
					t.Errorf("Next returned %v", err)
				}
				p.play("< <last/>" + c.want)
				start := time.Now()
				p.send("<presence/>") // not an answer
				<-s.Done()
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("gone after %v", d)
				}
				p.eof()
			})
		})
	}
}

// Serve may end without having read the peer's last words.
func TestCloseDoesNotReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		p, s, release := bound(t, a)
		p.send("<presence/><presence/>")
		s.Close(&StreamError{Condition: "reset"})
		close(release)
		p.play("< "+streamErrorXML("reset", ""), "> <presence/>"+closeTag, "EOF")
		<-s.Done()
	})
}

func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		a.Limits.MaxQueue = 100000
		p, s, release := bound(t, a)
		stanza := bytes.Repeat([]byte("x"), 1000)
		n := 0
		for s.Send(stanza) {
			n++
			synctest.Wait()
			if q := s.Queued(); q > a.Limits.MaxQueue {
				t.Fatalf("%d bytes queued", q)
			}
		}
		// What the connection itself holds, and what the queue may hold.
		if n < 100 || n > 200 {
			t.Errorf("%d stanzas were taken", n)
		}
		if _, err := s.Next(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Next returned %v", err)
		}
		if s.Send([]byte("<more/>")) || s.Queued() != 0 {
			t.Error("the stream lives on")
		}
		close(release)
		<-s.Done()
		p.conn.Close()
	})
}

func TestWriteTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		_, s, release := bound(t, a)
		start := time.Now()
		s.Send(bytes.Repeat([]byte("x"), 100000)) // more than the connection holds
		close(release)
		<-s.Done()
		if d := time.Since(start); d != 5*time.Second { // the time to close is shorter
			t.Errorf("gone after %v", d)
		}
	})
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		streams := make(chan *Stream, 1)
		a.Serve = func(ctx context.Context, s *Stream) { streams <- s; echo(ctx, s) }
		p := connect(t, a, Insecure)
		p.login()
		s := <-streams
		time.Sleep(time.Hour) // an idle stream has no deadline
		start := time.Now()
		s.Send(bytes.Repeat([]byte("x"), 100000))
		<-s.Done()
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("gone after %v", d)
		}
	})
}

// An idle stream has one goroutine.
func TestIdleGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		l := newListener()
		go a.ServeListener(t.Context(), l, Insecure)
		for range 10 {
			p := newClient(t, l.dial("192.0.2.50:0"))
			p.login()
			p.play("> <presence/>", "< <presence/>")
		}
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if n := bytes.Count(stacks, []byte("created by pharos/xmpp.(*Acceptor).")) + bytes.Count(stacks, []byte("created by pharos/xmpp.(*Stream).")); n != 10 {
			t.Errorf("%d goroutines for 10 streams:\n%s", n, stacks)
		}
		l.Close()
		a.Shutdown(canceled())
		synctest.Wait()
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		l := newListener()
		go a.ServeListener(t.Context(), l, Insecure)
		early, fresh, working, stubborn := newClient(t, l.dial("192.0.2.50:0")), newClient(t, l.dial("192.0.2.50:0")), newClient(t, l.dial("192.0.2.50:0")), newClient(t, l.dial("192.0.2.50:0"))
		fresh.play("> "+hello, "< "+header, "< "+plainFeatures)
		working.login()
		stubborn.login()
		synctest.Wait()
		done := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			done <- a.Shutdown(ctx)
		}()
		bye := streamErrorXML("system-shutdown", "")
		early.play("< "+header, "< "+bye, "> "+closeTag, "EOF")
		fresh.play("< "+bye, "> "+closeTag, "EOF")
		working.play("< "+bye, "> "+closeTag, "EOF")
		late := newClient(t, l.dial("192.0.2.50:0"))
		late.play("< "+header, "< "+bye, "EOF")
		if err := <-done; err != context.DeadlineExceeded {
			t.Error(err) // stubborn has not closed
		}
		stubborn.play("< "+bye, "EOF")
		synctest.Wait()
		if err := a.Shutdown(canceled()); err != nil {
			t.Error(err)
		}
		if all, _ := a.Count(); all != 0 {
			t.Errorf("%d streams left", all)
		}
		l.Close()
	})
}

// When the context of Handle ends, so does the stream, and ServeListener.
func TestContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		l := newListener()
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error)
		go func() { served <- a.ServeListener(ctx, l, Insecure) }()
		p := newClient(t, l.dial("192.0.2.50:0"))
		p.login()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		p.play("< "+streamErrorXML("system-shutdown", ""), "> "+closeTag, "EOF")
	})
}

func TestServeListenerNeedsTLS(t *testing.T) {
	a, _ := testAcceptor()
	a.TLS = nil
	if err := a.ServeListener(t.Context(), newListener(), StartTLS); err != ErrNoTLS {
		t.Error(err)
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits    Limits
		addresses []string // the last one is refused
		login     bool
		condition string
		text      string
	}{
		"all":                     {Limits{MaxConns: 2}, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}, true, "resource-constraint", "too many connections"},
		"unauthenticated":         {Limits{MaxUnauth: 2}, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}, false, "resource-constraint", "too many connections that are not authenticated"},
		"address":                 {Limits{MaxConnsPerAddress: 2}, []string{"192.0.2.9:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"}, true, "policy-violation", "too many connections from this address"},
		"address unauthenticated": {Limits{MaxUnauthPerAddress: 2}, []string{"192.0.2.9:1", "[::ffff:192.0.2.1]:1", "192.0.2.1:2", "192.0.2.1:3"}, false, "policy-violation", "too many connections from this address that are not authenticated"},
		"network of IPv6":         {Limits{MaxConnsPerAddress: 1}, []string{"[2001:db8:1::1]:1", "[2001:db8::1]:1", "[2001:db8::2:1]:2"}, true, "policy-violation", "too many connections from this address"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				a.Limits = c.limits
				l := newListener()
				go a.ServeListener(t.Context(), l, Insecure)
				var last *client
				for _, addr := range c.addresses[:len(c.addresses)-1] {
					last = newClient(t, l.dial(addr))
					if c.login {
						last.login()
					} else {
						last.play("> "+hello, "< "+header)
					}
				}
				refused := c.addresses[len(c.addresses)-1]
				newClient(t, l.dial(refused)).play("< "+header, "< "+streamErrorXML(c.condition, c.text), "EOF")
				// When one goes, there is room again.
				last.conn.Close()
				synctest.Wait()
				again := newClient(t, l.dial(refused))
				again.play("> "+hello, "< "+header)
				a.Shutdown(canceled())
				l.Close()
				synctest.Wait()
				if len(a.peers) != 0 || len(a.streams) != 0 || a.fresh != 0 {
					t.Errorf("the books show %v, %d, %d", a.peers, len(a.streams), a.fresh)
				}
			})
		})
	}
}

// Logging in makes room for others who have not.
func TestAuthenticatedAreCountedApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		a.Limits.MaxUnauthPerAddress = 1
		l := newListener()
		go a.ServeListener(t.Context(), l, Insecure)
		for i := range 5 {
			newClient(t, l.dial(fmt.Sprintf("192.0.2.1:%d", i+1))).login()
		}
		if all, authenticated := a.Count(); all != 5 || authenticated != 5 {
			t.Error(all, authenticated)
		}
		a.Shutdown(canceled())
		l.Close()
	})
}

func TestReadRate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		a.Limits.MaxBytesPerSecond = 1000
		a.Limits.MaxStanza = 2000
		p := connect(t, a, Insecure)
		p.login()
		stanza := "<m>" + strings.Repeat("x", 493) + "</m>"
		start := time.Now()
		go p.conn.Write([]byte(strings.Repeat(stanza, 20)))
		p.play("< " + strings.Repeat(stanza, 20))
		if d := time.Since(start); d < 8*time.Second || d > 9*time.Second { // 10000 bytes less a burst of 2000
			t.Errorf("10 kB took %v", d)
		}
		p.conn.Close()
	})
}

// A connection over TLS that breaks, ends, and is closed.
func TestTLSEnds(t *testing.T) {
	for name, end := range map[string]func(raw net.Conn, c *tls.Conn, s *Stream){
		"cut":       func(raw net.Conn, _ *tls.Conn, _ *Stream) { raw.Close() },
		"notify":    func(_ net.Conn, c *tls.Conn, _ *Stream) { c.Close() },
		"close tag": func(_ net.Conn, c *tls.Conn, _ *Stream) { c.Write([]byte(closeTag)) },
		"garbage":   func(raw net.Conn, _ *tls.Conn, _ *Stream) { raw.Write(make([]byte, 100)) },
		"server":    func(_ net.Conn, _ *tls.Conn, s *Stream) { s.Close(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				streams := make(chan *Stream, 1)
				a.Serve = func(ctx context.Context, s *Stream) { streams <- s; echo(ctx, s) }
				clientSide, server := memnet.Pipe(room)
				go a.Handle(t.Context(), server, DirectTLS)
				c := tls.Client(clientSide, clientTLS())
				p := newClient(t, c)
				p.play("> "+hello, "< "+header)
				p.until("</stream:features>")
				p.play("> "+plainAuth, "< "+success, "> "+hello, "< "+header, "< "+bindFeatures)
				p.play("> <presence/><a/>", "< <presence/><a/>")
				s := <-streams
				end(clientSide, c, s)
				<-s.Done()
				clientSide.Close()
			})
		})
	}
}
