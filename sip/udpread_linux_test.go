package sip

import (
	"net"
	"strings"
	"testing"
)

// Datagrams of all sizes come whole and with their senders, several at a time.
func TestBatchReader(t *testing.T) {
	for _, network := range []string{"udp4", "udp6", "udp"} {
		t.Run(network, func(t *testing.T) {
			c, err := net.ListenPacket(network, map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}[network])
			if err != nil {
				t.Skip(err)
			}
			defer c.Close()
			u := c.(*net.UDPConn)
			u.SetReadBuffer(8 << 20)
			to := u.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			ip := net.IPv4(127, 0, 0, 1)
			if network == "udp6" {
				ip = net.IPv6loopback
			}
			var peers [2]*net.UDPConn
			for i := range peers {
				if peers[i], err = net.DialUDP("udp", nil, &net.UDPAddr{IP: ip, Port: int(to)}); err != nil {
					t.Fatal(err)
				}
				defer peers[i].Close()
			}
			sizes := []int{0, 1, 500, 1400, 1500, 9000, 65000}
			for range 4 {
				for i, n := range sizes {
					if _, err := peers[i%2].Write([]byte(strings.Repeat(string('a'+rune(i)), n))); err != nil {
						t.Fatal(err)
					}
				}
			}
			r := newBatchReader(u, MaxMessage+1)
			calls := 0
			for got := 0; got < 4*len(sizes); calls++ {
				n, err := r.read()
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					k := got % len(sizes)
					b, from := r.datagram(i)
					if len(b) != sizes[k] || strings.Trim(string(b), string('a'+rune(k))) != "" {
						t.Errorf("datagram %d: %d octets, want %d", got, len(b), sizes[k])
					}
					if want := addrPort(peers[k%2].LocalAddr()); from != want {
						t.Errorf("datagram %d is from %v, want %v", got, from, want)
					}
					got++
				}
			}
			if want := (4*len(sizes) + readAtOnce - 1) / readAtOnce; calls != want {
				t.Errorf("%d calls, want %d", calls, want)
			}
			c.Close()
			if _, err := r.read(); err == nil {
				t.Error("a closed socket was read")
			}
		})
	}
}
