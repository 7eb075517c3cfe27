package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"pharos/markup"
)

// resting is a server whose streams rest soon, and echo by Read what they get; ends are the errors of their ends.
type resting struct {
	a    *Acceptor
	addr string
	mode Mode
	all  chan *Stream
	ends chan error
}

func startResting(t *testing.T, m Mode, silence time.Duration) *resting {
	if !canRest {
		t.Skip("streams do not rest here")
	}
	r := &resting{mode: m, all: make(chan *Stream, 8), ends: make(chan error, 64)}
	r.a, _ = testAcceptor()
	r.a.silence = silence
	r.a.Limits.CloseTimeout = time.Second
	r.a.Serve = func(_ context.Context, s *Stream) {
		r.all <- s
		s.Read(func(el *markup.Element, err error) bool {
			if err != nil {
				r.ends <- err
				return false
			}
			s.Send(el.Append(nil, NSClient))
			return true
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.a.ServeListener(context.Background(), l, m)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// login is a client whose stream rests.
func (r *resting) login(t *testing.T) (*client, *Stream) {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if r.mode == DirectTLS {
		conn = tls.Client(conn, clientTLS("xmpp-client"))
	}
	c := newClient(t, conn)
	for _, step := range []string{hello, plainAuth, hello} {
		c.send(step)
		if step == plainAuth {
			c.until("/>")
		} else {
			c.until("</stream:features>")
		}
	}
	s := <-r.all
	asleep(t, s)
	return c, s
}

// asleep waits until a stream rests.
func asleep(t *testing.T, s *Stream) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.a.rests.mu.Lock()
		here := s.a.rests.streams[s.descriptor] == s
		s.a.rests.mu.Unlock()
		if here {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stream does not rest")
		}
	}
}

func (r *resting) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ends:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the stream does not end")
		return nil
	}
}

const ping = "<message to='a@example.com'><body>x</body></message>"

func TestRest(t *testing.T) {
	for name, mode := range map[string]Mode{"TCP": Insecure, "TLS": DirectTLS} {
		t.Run(name, func(t *testing.T) {
			r := startResting(t, mode, 5*time.Millisecond)
			t.Run("reads on, and rests again", func(t *testing.T) {
				c, s := r.login(t)
				for range 3 {
					c.play("> "+ping, "< "+ping)
					asleep(t, s)
				}
				// A part of a stanza wakes it; the rest may take its time.
				c.send(ping[:20])
				time.Sleep(20 * time.Millisecond)
				asleep(t, s)
				c.play("> "+ping[20:]+ping, "< "+ping+ping)
				asleep(t, s)
				if !s.Send([]byte(ping)) {
					t.Error("nothing is sent to who rests")
				}
				c.play("< "+ping, "> "+closeTag, "< "+closeTag, "EOF")
				if err := r.ended(t); err != io.EOF {
					t.Error(err)
				}
			})
			t.Run("is closed", func(t *testing.T) {
				c, s := r.login(t)
				s.Close(&StreamError{Condition: "conflict"})
				c.until("</stream:stream>")
				var e *StreamError
				if err := r.ended(t); !errors.As(err, &e) || e.Condition != "conflict" {
					t.Error(err)
				}
			})
			t.Run("is cut by the peer", func(t *testing.T) {
				c, s := r.login(t)
				c.conn.Close()
				if err := r.ended(t); err == nil {
					t.Error("no error")
				}
				<-s.Done()
			})
			t.Run("is cut as a slow reader", func(t *testing.T) {
				_, s := r.login(t)
				for big := []byte(strings.Repeat("x", 1<<18)); s.Send(big); {
				}
				if err := r.ended(t); err == nil {
					t.Error("no error")
				}
				<-s.Done()
			})
		})
	}
}

// TestRestHoldsNothing: who rests has neither a goroutine nor a buffer.
func TestRestHoldsNothing(t *testing.T) {
	r := startResting(t, Insecure, 5*time.Millisecond)
	before := runtime.NumGoroutine()
	var cs []*client
	for range 40 {
		c, _ := r.login(t)
		cs = append(cs, c)
	}
	if n := runtime.NumGoroutine() - before; n > 10 {
		t.Errorf("%d more goroutines for %d streams", n, len(cs))
	}
	for _, c := range cs {
		c.play("> "+ping, "< "+ping)
	}
}

// TestRestUnderTraffic has streams fall asleep and be woken all the time, from all sides.
func TestRestUnderTraffic(t *testing.T) {
	r := startResting(t, DirectTLS, time.Millisecond)
	done := make(chan struct{})
	for range 8 {
		c, s := r.login(t)
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 60 {
				c.play("> "+ping, "< "+ping)
				time.Sleep(time.Duration(i%5) * time.Millisecond)
			}
			s.Close(nil)
			c.play("< " + closeTag)
			c.conn.Close()
		}()
	}
	for range 8 {
		<-done
	}
	for range 8 {
		if err := r.ended(t); err != io.EOF {
			t.Error(err)
		}
	}
}
