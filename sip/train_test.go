package sip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/memnet"
)

// udpSocket is a socket of a stack on loopback, and the stack.
func udpSocket(t *testing.T) (*Stack, *packetSocket) {
	t.Helper()
	s := NewStack(Config{})
	t.Cleanup(func() { s.Close() })
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.openSocket(pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.closeSocket(u) })
	return s, u
}

// receiver is a socket that somebody else reads.
func receiver(t *testing.T) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadBuffer(4 << 20)
	t.Cleanup(func() { c.Close() })
	return c, addrPort(c.LocalAddr())
}

func read(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	buf := make([]byte, 65536)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// What is gathered arrives as it was written, each datagram alone, once, whether the
// kernel cuts trains or not; responses come before requests.
func TestTrains(t *testing.T) {
	for _, segments := range []bool{true, false} {
		t.Run(fmt.Sprint(segments), func(t *testing.T) {
			s, u := udpSocket(t)
			if segments && !u.segments.Load() {
				t.Skip("no UDP_SEGMENT here")
			}
			u.segments.Store(segments)
			c, to := receiver(t)
			other, toOther := receiver(t)
			tx := &clientTx{stack: s}
			var responses, requests []string
			s.Hold()
			for i := range 300 {
				m := fmt.Sprintf("%d %s", i, strings.Repeat("x", 100+i%3+2000*(i%50/49)))
				if i%2 == 0 {
					requests = append(requests, m)
					u.send([]byte(m), to, tx)
				} else {
					responses = append(responses, m)
					u.send([]byte(m), to, nil)
				}
				if i%100 == 0 {
					u.send([]byte("other"), toOther, nil)
				}
			}
			c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := c.Read(make([]byte, 10)); err == nil {
				t.Errorf("%d octets before Release", n)
			}
			s.Release()
			var got []string
			for range 300 {
				got = append(got, read(t, c))
			}
			for i, m := range got {
				if slices.Contains(responses, m) != (i < len(responses)) {
					t.Errorf("the %d. is %.5q", i, m)
				}
			}
			for range 3 {
				if m := read(t, other); m != "other" {
					t.Errorf("%q", m)
				}
			}
			slices.Sort(got)
			want := append(requests, responses...)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Error("other datagrams came than were sent")
			}
			// Nobody holds: at once.
			u.send([]byte("alone"), to, nil)
			if m := read(t, c); m != "alone" {
				t.Errorf("%q", m)
			}
		})
	}
}

// Trains of more addresses or sizes than are kept leave without a Release.
func TestTrainsBounded(t *testing.T) {
	s, u := udpSocket(t)
	c, to := receiver(t)
	s.Hold()
	defer s.Release()
	for i := range maxTrains {
		u.send([]byte(strings.Repeat("x", i+1)), to, nil)
	}
	for i := range maxTrains {
		if m := read(t, c); len(m) != i+1 {
			t.Errorf("%d octets", len(m))
		}
	}
	u.send([]byte("x"), to, nil)
	if len(u.trains) != 1 {
		t.Errorf("%d trains", len(u.trains))
	}
}

// Nothing stays behind however Holds and senders meet.
func TestTrainsAtOnce(t *testing.T) {
	s, u := udpSocket(t)
	c, to := receiver(t)
	const senders, each = 8, 400
	var wg sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			for i := range each {
				hold := rand.IntN(2) == 0
				if hold {
					s.Hold()
				}
				u.send(fmt.Appendf(nil, "%02d%04d", g, i), to, nil)
				if hold {
					s.Release()
				}
			}
		})
	}
	seen := make(map[string]bool)
	for range senders * each {
		seen[read(t, c)] = true
	}
	wg.Wait()
	if len(seen) != senders*each || s.gathered.Load() != 0 || s.held.Load() != 0 {
		t.Errorf("%d datagrams, %d sockets with more, %d holds", len(seen), s.gathered.Load(), s.held.Load())
	}
}

// brokenPacket takes nothing.
type brokenPacket struct {
	*memnet.PacketConn
	sends int
}

func (p *brokenPacket) WriteTo([]byte, net.Addr) (int, error) {
	p.sends++
	return 0, errors.New("no buffers")
}

// A gathered request that cannot be sent goes to the next hop then, and fails like one
// that was refused at once.
func TestTrainFails(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		broken := &brokenPacket{PacketConn: w.net.MustListenPacket("192.0.2.77:5060")}
		go w.stack.ServePacket(broken)
		time.Sleep(time.Millisecond)
		dead := &Flow{stack: w.stack, peer: peer{socket: w.stack.socketAt(broken.AddrPort()), addr: p.pc.AddrPort()}}
		w.stack.Hold()
		alone := w.ask(OutRequest{Method: "NOTIFY", URI: toPhone, Flow: dead})
		rerouted := w.ask(OutRequest{Method: "NOTIFY", URI: toPhone, Flow: dead, NextHop: toPhone})
		if broken.sends != 0 {
			t.Errorf("%d sends before Release", broken.sends)
		}
		w.stack.Release()
		w.wantOutcome(alone, 0, ErrTransport)
		p.send(reply(p.want("NOTIFY "), 200))
		w.wantOutcome(rerouted, 200, nil)
		if broken.sends != 2 {
			t.Errorf("%d sends", broken.sends)
		}
	})
}
