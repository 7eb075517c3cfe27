package faults

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// carrier carries the packets of the bus between the namespaces, each of which has a
// tun device for them. It can delay them, lose some, and cut a node off.
type carrier struct {
	mu    sync.Mutex
	ports map[netip.Addr]*port
	delay time.Duration
	loss  float64
	ended chan struct{}
	wg    sync.WaitGroup
}

type port struct {
	spot *spot
	dev  *os.File
	cut  bool
	late chan late // packets that are delayed, in order
}

type late struct {
	at time.Time
	b  []byte
}

// maxLate bounds the packets on their way to one node; more are lost.
const maxLate = 10_000

func newCarrier() *carrier {
	return &carrier{ports: map[netip.Addr]*port{}, ended: make(chan struct{})}
}

// attach makes the device in the namespace of a node.
func (c *carrier) attach(s *spot) error {
	dev, err := tunIn(s.name, "bus0")
	if err != nil {
		return err
	}
	p := &port{spot: s, dev: dev, late: make(chan late, maxLate)}
	c.mu.Lock()
	c.ports[s.busIP] = p
	c.mu.Unlock()
	if err := ip("-n", s.name, "addr", "add", s.busIP.String()+"/24", "dev", "bus0"); err != nil {
		return err
	}
	if err := ip("-n", s.name, "link", "set", "bus0", "up"); err != nil {
		return err
	}
	c.wg.Go(func() { c.read(p) })
	c.wg.Go(func() { c.write(p) })
	return nil
}

// faulty sets delay and loss of all packets; zero ends it.
func (c *carrier) faulty(delay time.Duration, loss float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay, c.loss = delay, loss
}

func (c *carrier) cut(s *spot, off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports[s.busIP].cut = off
}

func (c *carrier) read(from *port) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.dev.Read(b)
		if err != nil {
			return
		}
		if n < 20 || b[0]>>4 != 4 {
			continue
		}
		to := netip.AddrFrom4([4]byte(b[16:20]))
		c.mu.Lock()
		p, delay := c.ports[to], c.delay
		lost := p == nil || p.cut || from.cut || c.loss > 0 && rand.Float64() < c.loss
		c.mu.Unlock()
		if lost || p == from {
			continue
		}
		c.send(p, late{time.Now().Add(delay), append([]byte(nil), b[:n]...)}, delay)
	}
}

// send hands a packet on, at once where it is not to be delayed.
func (c *carrier) send(p *port, l late, delay time.Duration) {
	if delay == 0 && len(p.late) == 0 {
		_, _ = p.dev.Write(l.b)
		return
	}
	select {
	case p.late <- l:
	default:
	}
}

func (c *carrier) write(p *port) {
	for {
		select {
		case l := <-p.late:
			time.Sleep(time.Until(l.at))
			_, _ = p.dev.Write(l.b)
		case <-c.ended:
			return
		}
	}
}

func (c *carrier) close() {
	close(c.ended)
	c.mu.Lock()
	for _, p := range c.ports {
		p.dev.Close()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// tunIn makes a tun device in a namespace. The device stays usable from here.
func tunIn(namespace, name string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is in another namespace afterwards, and is not used again.
		runtime.LockOSThread()
		f, err := func() (*os.File, error) {
			ns, err := os.Open("/run/netns/" + namespace)
			if err != nil {
				return nil, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			req, err := unix.NewIfreq(name)
			if err == nil {
				req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
				err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
			}
			if err != nil {
				unix.Close(fd)
				return nil, fmt.Errorf("tun: %w", err)
			}
			return os.NewFile(uintptr(fd), name), nil
		}()
		done <- result{f, err}
	}()
	r := <-done
	return r.f, r.err
}
