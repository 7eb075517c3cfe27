package faults

import (
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// packetConnIn opens a UDP socket in a namespace.
func packetConnIn(namespace string, at netip.AddrPort) (c net.PacketConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open("/run/netns/" + namespace); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		}
	}()
	<-done
	return c, err
}
