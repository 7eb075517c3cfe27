package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// bareWindow datagrams are under way; nothing sends a lost one again.
const bareWindow = 50

// Echo answers every datagram with n octets, and does nothing else: the least
// that a server over such sockets can cost on this machine, now.
func Echo(n int) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	fmt.Println(c.LocalAddr())
	buf, answer := make([]byte, 65536), make([]byte, n)
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

// Bare measures Echo with datagrams of the size of a PUBLISH and its 200. self
// is a program that runs Echo when called with -echo.
func Bare(ctx context.Context, self string, n int) (Row, error) {
	r := Row{Name: "bare loop: one datagram of 800 octets in, one of 400 out", Goal: "(the physical limit)"}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-echo", "400")
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
	c, err := net.Dial("udp", addr)
	if err != nil {
		return r, err
	}
	defer c.Close()
	slots := make(chan struct{}, bareWindow)
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			slots <- struct{}{}
		}
	}()
	msg := make([]byte, 800)
	before, err := CPU(cmd.Process.Pid)
	if err != nil {
		return r, err
	}
	own, start := ownCPU(), time.Now()
	for i := range n + bareWindow {
		if i >= bareWindow {
			if err := oneOf(slots); err != nil {
				return r, err
			}
		}
		if i < n {
			if _, err := c.Write(msg); err != nil {
				return r, err
			}
		}
	}
	r.Wall, r.Own, r.Events = time.Since(start), ownCPU()-own, n
	after, err := CPU(cmd.Process.Pid)
	r.CPU = after - before
	return r, err
}
