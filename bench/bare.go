package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bareWindow datagrams are under way; nothing sends a lost one again.
const bareWindow = 50

// Echo answers each datagram (of is "udp:400") with so many octets, and each read from a
// connection ("tcp:400") too, and does nothing else: the least that a server over such sockets
// can cost on this machine, now. "relay:FILE" passes XMPP stanzas on, see Relay.
func Echo(of string) error {
	network, octets, _ := strings.Cut(of, ":")
	if network == "relay" {
		return runRelay(octets)
	}
	n, err := strconv.Atoi(octets)
	if err != nil {
		return err
	}
	answer := make([]byte, n)
	if network == "tcp" {
		return echoTCP(answer)
	}
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	if err := c.SetReadBuffer(4 << 20); err != nil {
		return err
	}
	fmt.Println(c.LocalAddr())
	buf := make([]byte, 65536)
	for {
		_, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteToUDPAddrPort(answer, from); err != nil {
			return err
		}
	}
}

func echoTCP(answer []byte) error {
	return accept(func(c *net.TCPConn) {
		defer c.Close()
		buf := make([]byte, 65536)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

// accept prints the address of a listener of its own, for who has started this process, and serves each connection in a goroutine.
func accept(serve func(*net.TCPConn)) error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

// Loop is how the bare loop is driven.
type Loop struct {
	Network string // "udp", "tcp"
	Conns   int    // of streams, each with one message under way
	In, Out int    // octets of what the loop gets and gives
	Events  int
}

// Bare measures Echo. self is a program that runs Echo when it is called with -echo.
func Bare(ctx context.Context, self string, l Loop) (Row, error) {
	r := Row{Name: fmt.Sprintf("bare loop: one datagram of %d octets in, one of %d out", l.In, l.Out), Goal: "(the physical limit)"}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-echo", fmt.Sprintf("%s:%d", l.Network, l.Out))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() { cancel(); _ = cmd.Wait() }() // it was killed: the error says just that
	var addr string
	if _, err := fmt.Fscan(out, &addr); err != nil {
		return r, err
	}
	before, err := CPU(cmd.Process.Pid)
	if err != nil {
		return r, err
	}
	drive := l.datagrams
	if l.Network == "tcp" {
		drive = l.streams
	}
	own, start := ownCPU(), time.Now()
	lost, err := drive(addr)
	if err != nil {
		return r, err
	}
	r.Wall, r.Own, r.Events = time.Since(start), ownCPU()-own, l.Events-lost
	after, err := CPU(cmd.Process.Pid)
	r.CPU = after - before
	return r, err
}

// datagrams are lost at times, on a busy machine: who does not come for long is given up.
func (l Loop) datagrams(addr string) (lost int, err error) {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.(*net.UDPConn).SetReadBuffer(4 << 20); err != nil {
		return 0, err
	}
	slots := make(chan struct{}, bareWindow)
	go func() {
		buf := make([]byte, 65536)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			select {
			case slots <- struct{}{}:
			default: // it was given up
			}
		}
	}()
	msg := make([]byte, l.In)
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for i := range l.Events + bareWindow {
		if i >= bareWindow {
			t.Reset(time.Second)
			select {
			case <-slots:
			case <-t.C:
				if lost++; lost > bareWindow {
					return lost, fmt.Errorf("bench: %d datagrams of the bare loop were lost", lost)
				}
			}
		}
		if i < l.Events {
			if _, err := c.Write(msg); err != nil {
				return lost, err
			}
		}
	}
	return lost, nil
}

// streams has one message under way on each connection.
func (l Loop) streams(addr string) (lost int, err error) {
	n := max(l.Conns, 1)
	errs := make(chan error, n)
	for k := range n {
		go func() {
			errs <- func() error {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return err
				}
				defer c.Close()
				msg, buf := make([]byte, l.In), make([]byte, l.Out)
				for i := k; i < l.Events; i += n {
					if _, err := c.Write(msg); err != nil {
						return err
					}
					if _, err := io.ReadFull(c, buf); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return 0, first
}
