package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// deadline is that of one who waits at a Cond, under whose lock all but set is called.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(c *sync.Cond, t time.Time) {
	c.L.Lock()
	defer c.L.Unlock()
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			c.L.Lock()
			defer c.L.Unlock()
			c.Broadcast()
		})
	}
	c.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// half is one direction of a stream, with a bounded buffer as the kernel has one.
type half struct {
	mu          sync.Mutex
	cond        sync.Cond
	room        int
	b           []byte
	ended       bool // by the writer: what is held can still be read
	gone        bool // the reader is
	read, write deadline
}

func newHalf(room int) *half {
	h := &half{room: max(room, 1)}
	h.cond.L = &h.mu
	return h
}

func (h *half) take(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.read.passed():
			return 0, os.ErrDeadlineExceeded
		case len(h.b) > 0 || len(b) == 0:
			n := copy(b, h.b)
			h.b = h.b[n:]
			h.cond.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) put(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return n, net.ErrClosed
		case h.gone:
			return n, failed("write", "tcp", syscall.ECONNRESET)
		case h.write.passed():
			return n, os.ErrDeadlineExceeded
		case len(b) == 0:
			return n, nil
		}
		if k := min(len(b), h.room-len(h.b)); k > 0 {
			h.b = append(h.b, b[:k]...)
			b, n = b[k:], n+k
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

// set sets ended or gone.
func (h *half) set(which *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = true
	h.cond.Broadcast()
}

// Conn is one end of a stream, with the deadlines of a TCP connection. Who writes is held up only while the buffer is full, and
// hears at the next write that the other side has closed.
type Conn struct {
	in, out       *half
	net           *Network // nil: of none
	local, remote net.Addr
}

// Pipe is the two ends of a stream that belongs to no network and holds as many bytes in each direction. It has no IP addresses.
func Pipe(room int) (*Conn, *Conn) {
	x, y := newHalf(room), newHalf(room)
	none := &net.UnixAddr{Net: "unix", Name: "memnet"}
	return &Conn{in: x, out: y, local: none, remote: none}, &Conn{in: y, out: x, local: none, remote: none}
}

func (c *Conn) Read(b []byte) (int, error)  { return c.in.take(b) }
func (c *Conn) Write(b []byte) (int, error) { return c.out.put(b) }

// CloseWrite ends the stream for the other side, and goes on reading.
func (c *Conn) CloseWrite() error {
	c.out.set(&c.out.ended)
	return nil
}

// Close ends both directions. What the other side has not read yet it can still read.
func (c *Conn) Close() error {
	_ = c.SetDeadline(time.Time{}) // stops the timers
	c.out.set(&c.out.ended)
	c.in.set(&c.in.gone)
	if n := c.net; n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if i := slices.Index(n.conns, c); i >= 0 {
			n.conns = slices.Delete(n.conns, i, i+1)
		}
	}
	return nil
}

// of tells whether either end is a host's.
func (c *Conn) of(host netip.Addr) bool {
	for _, a := range []net.Addr{c.local, c.remote} {
		if t, ok := a.(*net.TCPAddr); ok && t.AddrPort().Addr() == host {
			return true
		}
	}
	return false
}

func (c *Conn) LocalAddr() net.Addr  { return c.local }
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.read.set(&c.in.cond, t)
	return nil
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.write.set(&c.out.cond, t)
	return nil
}
