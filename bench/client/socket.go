package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/sip"
)

// ErrUnanswered is of a request that the other side may have taken.
var ErrUnanswered = errors.New("no answer")

// Socket is a UDP socket with the client transactions of its user agents. Requests may be sent by any goroutine.
type Socket struct {
	conn *net.UDPConn

	mu      sync.Mutex
	pending map[string]chan *sip.Message // by branch
}

// Listen opens a socket at an address; Serve has to read it.
func Listen(at netip.Addr) (*Socket, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, err
	}
	return &Socket{conn: conn, pending: map[string]chan *sip.Message{}}, nil
}

// SetReadBuffer has the kernel keep so many octets of what has not been read yet.
func (s *Socket) SetReadBuffer(octets int) error { return s.conn.SetReadBuffer(octets) }

// Local is host:port, as Via and Contact have it.
func (s *Socket) Local() string { return s.conn.LocalAddr().String() }

// Close ends Serve; what is under way gets no answer.
func (s *Socket) Close() error { return s.conn.Close() }

// Serve reads until the socket is closed. It calls request for each request, retransmissions too, and sends back what that gives,
// if anything; and unreadable for what is no SIP message. Neither may wait for an answer.
func (s *Socket) Serve(request func(m *sip.Message, from netip.AddrPort) []byte, unreadable func(error)) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a port that is not there
		}
		m, err := sip.Parse(b[:n])
		switch {
		case err != nil:
			unreadable(err)
		case m.IsRequest():
			if out := request(m, from); out != nil {
				_, _ = s.conn.WriteToUDPAddrPort(out, from)
			}
		case m.Status >= 200:
			branch := m.Via().Branch
			s.mu.Lock()
			c := s.pending[branch]
			delete(s.pending, branch)
			s.mu.Unlock()
			if c != nil {
				c <- m
			}
		}
	}
}

// Ask sends a request, to which it adds Via and Max-Forwards behind the first line, again and again, and waits for its final answer;
// ErrUnanswered: there was none within that time.
func (s *Socket) Ask(ctx context.Context, to netip.AddrPort, text string, within time.Duration) (*sip.Message, error) {
	c := make(chan *sip.Message, 1)
	branch := "z9hG4bK" + ID()
	head, rest, _ := strings.Cut(text, "\r\n")
	msg := []byte(head + "\r\nVia: SIP/2.0/UDP " + s.Local() + ";rport;branch=" + branch + "\r\nMax-Forwards: 70\r\n" + rest)
	s.mu.Lock()
	s.pending[branch] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, branch)
		s.mu.Unlock()
	}()
	end := time.NewTimer(within)
	defer end.Stop()
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 4*time.Second) { // RFC 3261 §17.1.2.2
		_, _ = s.conn.WriteToUDPAddrPort(msg, to)
		t := time.NewTimer(wait)
		select {
		case m := <-c:
			t.Stop()
			return m, nil
		case <-t.C:
		case <-end.C:
			t.Stop()
			return nil, ErrUnanswered
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// Answer is a response to a request, without a body (RFC 3261 §8.2.6.2).
func Answer(m *sip.Message, status int) []byte {
	out := append(make([]byte, 0, 512), "SIP/2.0 "+strconv.Itoa(status)+" Answer\r\n"...)
	for _, h := range []sip.Header{sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq} {
		out = m.AppendCopy(out, h)
	}
	return append(out, "Content-Length: 0\r\n\r\n"...)
}

// ID is new, for a Call-ID or a tag.
func ID() string { return strconv.FormatUint(rand.Uint64(), 36) }
