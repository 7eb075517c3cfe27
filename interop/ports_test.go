package interop

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freePort asks the system for a port that is free now, for programs that
// must be told theirs.
func freePort(t *testing.T, transport string) string {
	t.Helper()
	if transport == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer c.Close()
		_, port, _ := net.SplitHostPort(c.LocalAddr().String())
		return port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// listens waits until a program has opened its port on 127.0.0.1, as the
// kernel tells: it can be asked without a packet to the program.
func listens(t *testing.T, transport, port string) {
	t.Helper()
	n, err := strconv.Atoi(port)
	must(t, err)
	local := fmt.Sprintf(": 0100007F:%04X ", n)
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		table, err := os.ReadFile("/proc/net/" + transport)
		must(t, err)
		if strings.Contains(string(table), local) {
			return
		}
	}
	t.Fatalf("nobody listens on %s port %s", transport, port)
}
