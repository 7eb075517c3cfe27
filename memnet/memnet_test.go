package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const here, there = "192.0.2.1:5060", "192.0.2.2:5060"

func dial(t *testing.T, n *Network, from, to string) *Conn {
	t.Helper()
	c, err := n.Dial(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddressesInUse(t *testing.T) {
	n := New()
	for what, listen := range map[string]func(string) (io.Closer, error){
		"packets": func(a string) (io.Closer, error) { return n.ListenPacket("udp", a) },
		"streams": func(a string) (io.Closer, error) { return n.Listen("tcp", a) },
	} {
		first, err := listen(here)
		if err != nil {
			t.Fatal(what, err)
		}
		if _, err := listen(here); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s, twice: %v", what, err)
		}
		if _, err := listen("nowhere:5060"); err == nil {
			t.Errorf("%s: a name was taken for an address", what)
		}
		first.Close()
		again, err := listen(here)
		if err != nil {
			t.Errorf("%s, after Close: %v", what, err)
			continue
		}
		first.Close() // takes nothing from who has the address now
		if _, err := listen(here); err == nil {
			t.Errorf("%s: closed twice, and another's address was free", what)
		}
		again.Close()
	}
}

func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		a, b := n.MustListenPacket(here), n.MustListenPacket(there)
		send := func(s string) {
			t.Helper()
			if k, err := a.WriteTo([]byte(s), b.LocalAddr()); k != len(s) || err != nil {
				t.Errorf("%q: %d, %v", s, k, err)
			}
		}
		send("one")
		send("two")
		buf := make([]byte, 2)
		if k, from, err := b.ReadFrom(buf); string(buf[:k]) != "on" || from.String() != here || err != nil {
			t.Errorf("%q from %v: %v", buf[:k], from, err)
		}
		if got := b.Next(); string(got) != "two" {
			t.Errorf("%q", got)
		}
		if got := b.Next(); got != nil {
			t.Errorf("%q from nobody", got)
		}

		n.Lose(func(from, to netip.AddrPort, b []byte) bool {
			return from == a.AddrPort() && to == netip.MustParseAddrPort(there) && string(b) == "lost"
		})
		send("lost")
		send("")
		if got := b.Next(); got == nil || len(got) != 0 {
			t.Errorf("%q", got)
		}
		n.Cut(a.AddrPort().Addr())
		send("cut")
		n.Mend(a.AddrPort().Addr())
		send("mended")
		if got := b.Next(); string(got) != "mended" {
			t.Errorf("%q", got)
		}

		start := time.Now()
		b.SetReadDeadline(start.Add(time.Second))
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		b.SetReadDeadline(time.Time{})
		ended := make(chan error)
		go func() {
			_, _, err := b.ReadFrom(buf)
			ended <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-ended; err != net.ErrClosed {
			t.Error(err)
		}
		send("to nobody")
		if _, err := b.WriteTo(nil, a.LocalAddr()); err != net.ErrClosed {
			t.Error(err)
		}
	})
}

func TestSocketIsBounded(t *testing.T) {
	n := New()
	a, b := n.MustListenPacket(here), n.MustListenPacket(there)
	for range queued + 10 {
		a.WriteTo([]byte("x"), b.LocalAddr())
	}
	got := 0
	for b.Next() != nil {
		got++
	}
	if got != queued {
		t.Errorf("%d datagrams held", got)
	}
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		if _, err := n.Dial(t.Context(), "192.0.2.9:0", here); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		l := n.MustListen(here)
		if l.Next() != nil {
			t.Error("nobody has called")
		}
		near := dial(t, n, "192.0.2.9:61000", here)
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range [][2]string{{near.LocalAddr().String(), "192.0.2.9:61000"}, {near.RemoteAddr().String(), here},
			{far.LocalAddr().String(), here}, {far.RemoteAddr().String(), "192.0.2.9:61000"}, {l.Addr().String(), here}} {
			if a[0] != a[1] {
				t.Errorf("%s, want %s", a[0], a[1])
			}
		}
		one, two := dial(t, n, "192.0.2.9:0", here), dial(t, n, "192.0.2.9:0", here)
		if one.LocalAddr().String() == two.LocalAddr().String() {
			t.Error("the same port twice")
		}
		if c := l.Next(); c == nil || c.RemoteAddr().String() != one.LocalAddr().String() {
			t.Errorf("%v called first", c)
		}
		l.Close()
		if _, err := two.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("who was never accepted: %v", err)
		}
		if _, err := l.Accept(); err != net.ErrClosed {
			t.Error(err)
		}

		n.Silence(netip.MustParseAddrPort(there))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("192.0.2.9").Dial(ctx, "tcp", there); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("silence: %v", err)
		}
		if got, want := n.Dialed(), []string{here, here, here, here, there}; !slices.Equal(got, want) {
			t.Errorf("dialed %v", got)
		}
	})
}

// Who is cut off loses his connections at once and gets none, and nobody else notices.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l, m := n.MustListen(here), n.MustListen(there)
		gone, stays := dial(t, n, "192.0.2.9:0", here), dial(t, n, "192.0.2.9:0", there)
		far := l.Next()
		other := m.Next()
		n.Cut(netip.MustParseAddr("192.0.2.1"))
		for _, c := range []*Conn{gone, far} {
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("written to who is cut off")
			}
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("read from who is cut off")
			}
		}
		for _, ends := range [][2]string{{"192.0.2.9:0", here}, {"192.0.2.1:0", there}} {
			if _, err := n.Dial(t.Context(), ends[0], ends[1]); err == nil {
				t.Errorf("connected %s to %s", ends[0], ends[1])
			}
		}
		stays.Write([]byte("x"))
		b := make([]byte, 2)
		if k, err := other.Read(b); k != 1 || err != nil {
			t.Errorf("%d, %v", k, err)
		}
		n.Mend(netip.MustParseAddr("192.0.2.1"))
		dial(t, n, "192.0.2.1:0", there).Close()
		stays.Close()
		other.Close()
		l.Close()
		m.Close()
		if len(n.conns) != 0 {
			t.Errorf("%d connections are still known", len(n.conns))
		}
	})
}
