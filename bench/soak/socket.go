package soak

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/bench"
	"pharos/sip"
)

var errUnanswered = errors.New("no answer")

// phonesPerSocket share an address, as behind a NAT.
const phonesPerSocket = 200

// socket carries the requests and NOTIFYs of some phones.
type socket struct {
	conn  *net.UDPConn
	local string

	mu      sync.Mutex
	pending map[string]chan *sip.Message // by branch
	subs    map[string]*subscription     // by Call-ID
}

func newSocket() (*socket, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		return nil, err
	}
	s := &socket{conn: conn, local: conn.LocalAddr().String(), pending: map[string]chan *sip.Message{}, subs: map[string]*subscription{}}
	go s.read()
	return s, nil
}

func (s *socket) read() {
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
		if err != nil {
			continue
		}
		if m.IsRequest() {
			_, _ = s.conn.WriteToUDPAddrPort(s.answer(m, from), from)
			continue
		}
		if m.Status < 200 {
			continue
		}
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

// answer is what a phone says to a request.
func (s *socket) answer(m *sip.Message, from netip.AddrPort) []byte {
	status := 200
	if m.Method == "NOTIFY" {
		s.mu.Lock()
		sub := s.subs[m.CallID()]
		s.mu.Unlock()
		status = 481
		if sub != nil {
			status = sub.notified(m, from)
		}
	}
	out := append(make([]byte, 0, 512), "SIP/2.0 "+strconv.Itoa(status)+" Answer\r\n"...)
	for _, h := range []sip.Header{sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq} {
		out = m.AppendCopy(out, h)
	}
	return append(out, "Content-Length: 0\r\n\r\n"...)
}

func (s *socket) put(id string, sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub == nil {
		delete(s.subs, id)
	} else {
		s.subs[id] = sub
	}
}

// transmit sends a request, whose Via comes behind its first line, and waits for the answer.
func (s *socket) transmit(ctx context.Context, to netip.AddrPort, text string) (*sip.Message, error) {
	c := make(chan *sip.Message, 1)
	branch := "z9hG4bK" + id()
	head, rest, _ := strings.Cut(text, "\r\n")
	msg := []byte(head + "\r\nVia: SIP/2.0/UDP " + s.local + ";rport;branch=" + branch + "\r\nMax-Forwards: 70\r\n" + rest)
	s.mu.Lock()
	s.pending[branch] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, branch)
		s.mu.Unlock()
	}()
	end := time.NewTimer(tryFor)
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
			return nil, errUnanswered
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

func id() string { return strconv.FormatUint(rand.Uint64(), 36) }

// challenge is what a server wants to be answered, with how often that was done.
type challenge struct {
	sip.Credentials
	count uint32
}

// digest answers RFC 7616 §3.4 for any way of writing it down.
func (c *challenge) digest(user, method, uri string) sip.Credentials {
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	c.count++
	x := c.Credentials
	x.Username, x.URI, x.QOP, x.CNonce, x.NC = user, uri, "auth", "0a4f113b", c.count
	nc := strconv.FormatUint(uint64(1)<<32|uint64(c.count), 16)[1:]
	x.Response = sum(sum(user+":"+x.Realm+":"+bench.Password) + ":" + x.Nonce + ":" + nc + ":" + x.CNonce + ":auth:" + sum(method+":"+uri))
	return x
}

// challenged reads one of some challenges.
func challenged(values []string) *challenge {
	for _, v := range values {
		if x, ok := sip.ParseCredentials(v); ok && (x.Algorithm == "" || strings.EqualFold(x.Algorithm, "MD5")) {
			return &challenge{Credentials: x}
		}
	}
	return nil
}
