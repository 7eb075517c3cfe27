package faults

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// In the lab a node reaches another over the bus, until it is cut off; delays are kept.
func TestLab(t *testing.T) {
	l, err := newLab(2)
	if errors.Is(err, ErrNoLab) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	a, b := l.spots[0], l.spots[1]
	// A shell in one namespace answers what comes from the other.
	echo := a.command("python3", "-c", `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("`+a.busIP.String()+`", 7))
while True:
    d, p = s.recvfrom(2048)
    s.sendto(d, p)
`)
	if err := echo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Process.Kill(); _ = echo.Wait() }()
	c, err := packetConnIn(b.name, netip.AddrPortFrom(b.busIP, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(within time.Duration) (time.Duration, error) {
		from := time.Now()
		if _, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.busIP, 7))); err != nil {
			return 0, err
		}
		_ = c.SetReadDeadline(from.Add(within))
		_, _, err := c.ReadFrom(make([]byte, 10))
		return time.Since(from), err
	}
	for until := time.Now().Add(10 * time.Second); ; { // the shell has to start
		if _, err = ask(200 * time.Millisecond); err == nil || time.Now().After(until) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	l.bus.faulty(150*time.Millisecond, 0)
	if d, err := ask(5 * time.Second); err != nil || d < 300*time.Millisecond {
		t.Errorf("delayed: %v, %v", d, err)
	}
	l.bus.faulty(0, 0)
	if err := l.cut(a); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(200 * time.Millisecond); err == nil {
		t.Error("answered though cut off")
	}
	if err := l.heal(a); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(5 * time.Second); err != nil {
		t.Errorf("healed: %v", err)
	}
	l.bus.faulty(0, 1)
	if _, err := ask(200 * time.Millisecond); err == nil {
		t.Error("answered though everything is lost")
	}
}
