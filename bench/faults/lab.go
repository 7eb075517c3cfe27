package faults

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// lab is the network: a bridge in the machine's own namespace, at which each node's
// namespace hangs by a link for clients and the database; and for the bus another link, whose packets
// the lab itself carries, so that it can lose and delay them.
type lab struct {
	id    string // begins the names of all that is made
	spots []*spot
	bus   *carrier   // nil on loopback
	hub   netip.Addr // the lab's own end, where clients and the database are
}

// spot is where a node runs.
type spot struct {
	name  string     // of the namespace; empty: this one
	veth  string     // of the bridge's end of the link
	ip    netip.Addr // for clients
	busIP netip.Addr
}

// ErrNoLab: this machine does not let us make namespaces.
var ErrNoLab = errors.New("faults: needs root, network namespaces and /dev/net/tun")

func newLab(nodes int) (l *lab, err error) {
	l = &lab{id: fmt.Sprintf("ph%d", os.Getpid()%10000), hub: netip.MustParseAddr("10.77.0.1")}
	defer func() {
		if err != nil {
			l.close()
			err = fmt.Errorf("%w: %w", ErrNoLab, err)
		}
	}()
	if os.Getuid() != 0 {
		return l, errors.New("not root")
	}
	bridge := l.id + "b"
	if err := ip("link", "add", bridge, "type", "bridge"); err != nil {
		return l, err
	}
	if err := errors.Join(ip("addr", "add", l.hub.String()+"/24", "dev", bridge), ip("link", "set", bridge, "up")); err != nil {
		return l, err
	}
	l.bus = newCarrier()
	for i := range nodes {
		s := &spot{name: fmt.Sprintf("%sn%d", l.id, i+1), veth: fmt.Sprintf("%sv%d", l.id, i+1),
			ip: netip.AddrFrom4([4]byte{10, 77, 0, byte(11 + i)}), busIP: netip.AddrFrom4([4]byte{10, 78, 0, byte(11 + i)})}
		if err := ip("netns", "add", s.name); err != nil {
			return l, err
		}
		l.spots = append(l.spots, s)
		err := errors.Join(
			ip("link", "add", s.veth, "type", "veth", "peer", "name", "eth0", "netns", s.name),
			ip("link", "set", s.veth, "master", bridge), ip("link", "set", s.veth, "up"),
			ip("-n", s.name, "addr", "add", s.ip.String()+"/24", "dev", "eth0"),
			ip("-n", s.name, "link", "set", "eth0", "up"), ip("-n", s.name, "link", "set", "lo", "up"))
		if err != nil {
			return l, err
		}
		if err := l.bus.attach(s); err != nil {
			return l, err
		}
	}
	return l, nil
}

// loopback is a lab without namespaces: each node has an address of 127/8. It needs no
// rights, and has nothing that could be cut.
func loopback(nodes int) *lab {
	l := &lab{hub: netip.MustParseAddr("127.0.0.1")}
	for i := range nodes {
		a := netip.AddrFrom4([4]byte{127, 0, 77, byte(11 + i)})
		l.spots = append(l.spots, &spot{ip: a, busIP: a})
	}
	return l
}

func (l *lab) close() {
	if l.id == "" {
		return
	}
	if l.bus != nil {
		l.bus.close()
	}
	for _, s := range l.spots {
		_ = ip("netns", "del", s.name)
	}
	_ = ip("link", "del", l.id+"b")
}

// cut takes a node off everything: clients, database and bus. heal ends that.
func (l *lab) cut(s *spot) error {
	l.bus.cut(s, true)
	return ip("link", "set", s.veth, "down")
}

func (l *lab) heal(s *spot) error {
	l.bus.cut(s, false)
	return ip("link", "set", s.veth, "up")
}

// command is a program in a node's namespace.
func (s *spot) command(args ...string) *exec.Cmd {
	if s.name == "" {
		return exec.Command(args[0], args[1:]...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", s.name}, args...)...)
}

func ip(args ...string) error {
	var out bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
