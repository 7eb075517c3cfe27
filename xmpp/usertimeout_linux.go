package xmpp

import (
	"net"
	"syscall"
	"time"
)

// setUserTimeout bounds the time that sent data may stay unacknowledged
// (RFC 5482). Without it a peer that vanished keeps its session for a quarter of
// an hour, since keep-alive probes do not run while data is outstanding.
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	const tcpUserTimeout = 0x12
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
