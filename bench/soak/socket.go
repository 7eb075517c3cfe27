package soak

import (
	"net/netip"
	"sync"

	"pharos/bench/client"
	"pharos/sip"
)

// phonesPerSocket share an address, as behind a NAT.
const phonesPerSocket = 200

// socket carries the requests and NOTIFYs of some phones.
type socket struct {
	*client.Socket
	local string

	mu   sync.Mutex
	subs map[string]*subscription // by Call-ID
}

func newSocket() (*socket, error) {
	c, err := client.Listen(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return nil, err
	}
	if err := c.SetReadBuffer(4 << 20); err != nil {
		return nil, err
	}
	s := &socket{Socket: c, local: c.Local(), subs: map[string]*subscription{}}
	go s.Serve(s.answer, func(error) {})
	return s, nil
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
	return client.Answer(m, status)
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
