package sip

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// dnsServer is a real one on loopback, over UDP and TCP.
func dnsServer(t *testing.T, h dns.HandlerFunc) (host, port string) {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", pc.LocalAddr().String())
	if err != nil {
		t.Skip("the same port is not free for TCP")
	}
	var started sync.WaitGroup
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		started.Add(1)
		s.NotifyStartedFunc = started.Done
		ended := make(chan struct{})
		go func() { defer close(ended); s.ActivateAndServe() }()
		t.Cleanup(func() { s.Shutdown(); <-ended })
	}
	started.Wait()
	host, port, _ = net.SplitHostPort(pc.LocalAddr().String())
	return host, port
}

func dnsWith(t *testing.T, conf string) *dnsClient {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return &dnsClient{file: file, cache: make(map[dnsQuestion]dnsAnswer)}
}

func TestDNS(t *testing.T) {
	var asked atomic.Int64
	host, port := dnsServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		asked.Add(1)
		q, a := m.Question[0], new(dns.Msg)
		a.SetReply(m)
		record := func(s string) {
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			a.Answer = append(a.Answer, rr)
		}
		switch {
		case q.Name == "example.com." && q.Qtype == dns.TypeNAPTR:
			record(`example.com. 60 IN NAPTR 10 20 "s" "SIP+D2T" "" _sip._tcp.example.com.`)
		case q.Name == "_sip._tcp.example.com.":
			_, udp := w.RemoteAddr().(*net.UDPAddr)
			if a.Truncated = udp; !udp { // cut short: asked again by TCP
				for i := range 100 {
					record(fmt.Sprintf("_sip._tcp.example.com. 60 IN SRV %d 1 5060 s%d.example.com.", i, i))
				}
			}
		case q.Name == "broken.example.":
			a.Rcode = dns.RcodeServerFailure
		default:
			a.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(a)
	})
	d := dnsWith(t, "nameserver "+host+"\noptions timeout:2 attempts:1\n")
	config, err := d.servers()
	if err != nil {
		t.Fatal(err)
	}
	config.Port = port
	ctx := context.Background()
	for range 2 { // the second time from memory
		n, err := d.NAPTR(ctx, "Example.com")
		if err != nil || len(n) != 1 || n[0] != (NAPTR{10, 20, "s", "SIP+D2T", "_sip._tcp.example.com."}) {
			t.Errorf("%v, %v", n, err)
		}
		s, err := d.SRV(ctx, "_sip._tcp.example.com")
		if err != nil || len(s) != 100 || s[7] != (SRV{7, 1, 5060, "s7.example.com."}) {
			t.Errorf("%d records, %v", len(s), err)
		}
		s, err = d.SRV(ctx, "_sip._udp.nowhere.example")
		if err != nil || len(s) != 0 {
			t.Errorf("%v, %v", s, err)
		}
	}
	if n := asked.Load(); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
	if _, err := d.SRV(ctx, "broken.example"); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("SERVFAIL: %v", err)
	}
	if _, err := d.SRV(ctx, strings.Repeat("x", 70)+".example"); err == nil {
		t.Error("an impossible name was asked for")
	}
	if ips, err := d.IP(ctx, "localhost"); err != nil || len(ips) == 0 || !ips[0].IsLoopback() {
		t.Errorf("localhost: %v, %v", ips, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.SRV(ended, "other.example"); err == nil {
		t.Error("asked after the end")
	}
}

// What is remembered is bounded.
func TestDNSMemory(t *testing.T) {
	d := dnsWith(t, "")
	for i := range 3 * maxAnswers {
		d.keep(dnsQuestion{fmt.Sprint(i), dns.TypeSRV}, nil)
	}
	if n := len(d.cache); n > maxAnswers {
		t.Errorf("%d answers", n)
	}
}
