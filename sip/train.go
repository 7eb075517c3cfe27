package sip

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Bounds of what a held socket gathers.
const (
	// maxTrains is the number of trains that wait at one UDP socket; with more they leave.
	maxTrains = 32
	// maxTrain is the number of datagrams of one train: the kernel's UDP_MAX_SEGMENTS.
	maxTrain = 64
	// maxTrainOctets is the size of a train: that of a UDP datagram, which it is
	// for a part of its way.
	maxTrainOctets = 65000
	// maxSegment is the largest datagram in a train, since each has to fit the path's MTU;
	// larger ones travel alone.
	maxSegment = 1400
	// maxSpare is the number of sets of empty trains that are kept at a socket: as many as
	// leave at one time.
	maxSpare = 4
)

// A train is some datagrams of one size to one address. The kernel takes it in one
// call and through its layers in one piece, and cuts it at the other end (UDP_SEGMENT,
// udp(7)): for watchers behind one proxy a NOTIFY then costs a fifth of a sendto. Where
// it cannot be had, they are sent one by one.
type train struct {
	to      netip.AddrPort
	size    int // of each datagram
	octets  []byte
	control [32]byte  // of writeTrain
	of      []carried // of a train of requests, each's transaction; empty: responses
}

// carried names a request in a train.
type carried struct {
	tx *clientTx
	id uint64
}

// Hold has what is sent by UDP gathered until Release. Holds may overlap; each is to
// be short, since what is sent meanwhile by anybody waits for the first Release.
func (s *Stack) Hold() { s.held.Add(1) }

// Release ends a Hold, and sends what has gathered. No lock may be held that a
// response's handler takes.
func (s *Stack) Release() {
	s.held.Add(-1)
	if s.gathered.Load() == 0 {
		return
	}
	s.mu.Lock()
	sockets := s.sockets
	s.mu.Unlock()
	for _, u := range sockets {
		u.flush()
	}
}

// gather puts a datagram into a train; false: nobody holds the socket. tx is that of a
// request.
func (u *packetSocket) gather(b []byte, to netip.AddrPort, tx *clientTx) bool {
	u.mu.Lock()
	if len(u.trains) == 0 {
		// Said before it is looked whether there is a Release to come, which looks at this
		// after it has ended its Hold: so one sees the other.
		u.stack.gathered.Add(1)
		if u.stack.held.Load() == 0 {
			u.stack.gathered.Add(-1)
			u.mu.Unlock()
			return false
		}
	}
	t := u.trainFor(len(b), to, tx != nil)
	t.octets = append(t.octets, b...)
	if tx != nil {
		t.of = append(t.of, carried{tx, tx.id})
	}
	full := len(u.trains) == maxTrains
	u.mu.Unlock()
	if full {
		u.flush()
	}
	return true
}

// trainFor finds the train that a datagram goes with. Responses and requests have
// trains of their own, so that the 200 to a SUBSCRIBE stays before its NOTIFY. u.mu is held.
func (u *packetSocket) trainFor(size int, to netip.AddrPort, request bool) *train {
	if size <= maxSegment {
		for i := len(u.trains) - 1; i >= 0; i-- {
			t := &u.trains[i]
			if t.size == size && t.to == to && len(t.of) > 0 == request &&
				len(t.octets) <= min((maxTrain-1)*size, maxTrainOctets-size) {
				return t
			}
		}
	}
	n := len(u.trains)
	if n < cap(u.trains) {
		u.trains = u.trains[:n+1] // with the room of one that has left
	} else {
		u.trains = append(u.trains, train{})
	}
	t := &u.trains[n]
	t.to, t.size, t.octets, t.of = to, size, t.octets[:0], t.of[:0]
	return t
}

// flush sends all that waits at u: responses first.
func (u *packetSocket) flush() {
	u.mu.Lock()
	trains := u.trains
	if len(trains) == 0 {
		u.mu.Unlock()
		return
	}
	u.trains = nil
	if n := len(u.spareTrains); n > 0 {
		u.trains, u.spareTrains = u.spareTrains[n-1], u.spareTrains[:n-1]
	}
	u.stack.gathered.Add(-1)
	u.mu.Unlock()
	for _, requests := range [...]bool{false, true} {
		for i := range trains {
			if t := &trains[i]; len(t.of) > 0 == requests {
				u.depart(t)
			}
		}
	}
	for i := range trains {
		t := &trains[i]
		clear(t.of)
		if cap(t.octets) > 16<<10 && i >= 4 {
			t.octets = nil // what a burst has grown
		}
	}
	u.mu.Lock()
	if len(u.spareTrains) < maxSpare {
		u.spareTrains = append(u.spareTrains, trains[:0])
	}
	u.mu.Unlock()
}

// depart sends a train.
func (u *packetSocket) depart(t *train) {
	if len(t.octets) > t.size && u.segments.Load() {
		err := u.writeTrain(t)
		if err == nil {
			return
		}
		if errors.Is(err, syscall.EIO) { // no checksums for segments on that way
			u.segments.Store(false)
		}
	}
	// An empty datagram is never sent: t.size is not 0.
	for i, rest := 0, t.octets; len(rest) > 0; i, rest = i+1, rest[t.size:] {
		err := u.write(rest[:t.size], t.to)
		switch {
		case err == nil:
		case len(t.of) > 0:
			c := t.of[i]
			u.stack.start(func() { c.tx.sendFailed(c.id) })
		default: // the client will ask again
			u.stack.log.Debug("sip: response not sent", "to", t.to, "octets", t.size, "error", err)
		}
	}
}

// writeTrain sends a train in one piece.
func (u *packetSocket) writeTrain(t *train) error {
	_, _, err := u.udp.WriteMsgUDPAddrPort(t.octets, segmentSize(t.control[:0], uint16(t.size)), t.to)
	return err
}

// canSegment asks the kernel whether it takes trains.
func canSegment(c *net.UDPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	can := false
	err = raw.Control(func(fd uintptr) { can = takesSegments(fd) })
	return err == nil && can
}
