package sip

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The benchmarks run over loopback UDP in one process. The load generator is
// one goroutine on a thread of its own; what it uses is taken off, so that
// server-µs/op is the CPU time of all the rest: system calls, garbage collection
// and scheduling included.

func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const rusageThread = 1 // RUSAGE_THREAD

// benchStack serves UDP on loopback.
func benchStack(b *testing.B, h Handler) (*Stack, netip.AddrPort) {
	b.Helper()
	s := NewStack(Config{Handler: h, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.ServePacket(pc)
	b.Cleanup(func() { s.Close() })
	for s.socketAt(addrPort(pc.LocalAddr())) == nil {
		runtime.Gosched()
	}
	return s, addrPort(pc.LocalAddr())
}

// generator is a blocking UDP socket on a locked thread.
type generator struct {
	fd    int
	to    syscall.Sockaddr
	until time.Time // when receive gives up
}

func newGenerator(b *testing.B, to netip.AddrPort) *generator {
	b.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { syscall.Close(fd) })
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<20)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	return &generator{fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, time.Now().Add(time.Minute)}
}

func (g *generator) addr() netip.AddrPort {
	sa, _ := syscall.Getsockname(g.fd)
	a := sa.(*syscall.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}

// receive waits for a datagram without sleeping: that a sleeper on the same
// machine has to be woken would be counted as the server's. It gives up after
// a minute.
func (g *generator) receive(buf []byte) (n int, from syscall.Sockaddr, err error) {
	for i := 0; ; i++ {
		n, from, err = syscall.Recvfrom(g.fd, buf, syscall.MSG_DONTWAIT)
		if err != syscall.EINTR && err != syscall.EAGAIN || i%1024 == 1023 && time.Now().After(g.until) {
			return n, from, err
		}
	}
}

// measure runs f on a thread of its own and reports what the others used.
func measure(b *testing.B, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	all, own := cpu(syscall.RUSAGE_SELF), cpu(rusageThread)
	f()
	all, own = cpu(syscall.RUSAGE_SELF)-all, cpu(rusageThread)-own
	b.StopTimer()
	b.ReportMetric(float64((all-own).Nanoseconds())/1000/float64(b.N), "server-µs/op")
}

const outstanding = 64

// BenchmarkSubscribe is SUBSCRIBE→200 by the server transaction.
func BenchmarkSubscribe(b *testing.B) {
	extra := []byte("Contact: <sip:pharos@127.0.0.1:5060>\r\nExpires: 600\r\n")
	_, to := benchStack(b, HandlerFunc(func(tx *ServerTx, _ *Message) {
		tx.Respond(Response{Status: 200, Header: extra})
	}))
	g := newGenerator(b, to)
	const digits = "%016x"
	msg := []byte("SUBSCRIBE sip:bob@example.com SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP " + g.addr().String() + ";rport;branch=z9hG4bK" + fmt.Sprintf(digits, 0) + "\r\n" +
		"Max-Forwards: 70\r\n" +
		"From: \"Alice\" <sip:alice@example.com>;tag=" + fmt.Sprintf(digits, 0) + "\r\n" +
		"To: <sip:bob@example.com>\r\n" +
		"Contact: <sip:alice@127.0.0.1:5066>\r\n" +
		"Call-ID: " + fmt.Sprintf(digits, 0) + "@127.0.0.1\r\n" +
		"CSeq: 1 SUBSCRIBE\r\n" +
		"Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 600\r\n" +
		"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, MESSAGE\r\n" +
		"User-Agent: generator\r\nContent-Length: 0\r\n\r\n")
	var places []int
	for i := 0; ; {
		n := bytes.Index(msg[i:], []byte(fmt.Sprintf(digits, 0)))
		if n < 0 {
			break
		}
		places = append(places, i+n)
		i += n + 16
	}
	buf := make([]byte, 65536)
	measure(b, func() {
		sent, got := 0, 0
		for got < b.N {
			for sent < b.N && sent-got < outstanding {
				id := fmt.Appendf(nil, digits, sent)
				for _, at := range places {
					copy(msg[at:], id)
				}
				if err := syscall.Sendto(g.fd, msg, 0, g.to); err != nil {
					b.Fatal(err)
				}
				sent++
			}
			n, _, err := g.receive(buf)
			if err != nil || !bytes.HasPrefix(buf[:n], []byte("SIP/2.0 200")) {
				b.Fatal(err, string(buf[:n]))
			}
			got++
		}
	})
}

// BenchmarkNotify is NOTIFY with a PIDF body and its 200 taken in, by the
// client transaction.
func BenchmarkNotify(b *testing.B) {
	s, to := benchStack(b, nil)
	g := newGenerator(b, to)
	socket := s.sockets[0]
	flow := &Flow{stack: s, peer: peer{socket: socket, addr: g.addr()}}
	head := []byte("From: <sip:bob@example.com>;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n" +
		"Call-ID: call-1@192.0.2.9\r\nCSeq: 1 NOTIFY\r\nContact: <sip:127.0.0.1:5060>\r\n" +
		"Event: presence\r\nSubscription-State: active;expires=600\r\nContent-Type: application/pidf+xml\r\n")
	body := []byte(strings.Repeat("<tuple id=\"a\"><status><basic>open</basic></status></tuple>", 10))
	var ended atomic.Int64
	slots := make(chan struct{}, outstanding)
	done := func(m *Message, err error) {
		if err != nil || m.Status != 200 {
			panic(fmt.Sprint(m, err))
		}
		ended.Add(1)
		<-slots
	}
	go func() {
		for range b.N {
			slots <- struct{}{}
			s.Request(OutRequest{Method: "NOTIFY", URI: "sip:alice@127.0.0.1:5066", Header: head, Body: body, Flow: flow}, done)
		}
	}()
	buf := make([]byte, 65536)
	out := make([]byte, 0, 4096)
	measure(b, func() {
		for ended.Load() < int64(b.N) {
			n, from, err := syscall.Recvfrom(g.fd, buf, syscall.MSG_DONTWAIT)
			if err != nil {
				continue
			}
			out = append(out[:0], "SIP/2.0 200 OK\r\n"...)
			for l := range bytes.SplitAfterSeq(buf[:n], []byte("\r\n")) {
				if len(l) == 2 {
					break
				}
				switch l[0] {
				case 'V', 'F', 'T', 'C':
					if !bytes.HasPrefix(l, []byte("Cont")) {
						out = append(out, l...)
					}
				}
			}
			out = append(out, "Content-Length: 0\r\n\r\n"...)
			if err := syscall.Sendto(g.fd, out, 0, from); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// nowhere swallows what is written.
type nowhere struct{ net.PacketConn }

func (nowhere) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// BenchmarkSubscribeCode is the part of BenchmarkSubscribe that is ours: all
// but the system calls.
func BenchmarkSubscribeCode(b *testing.B) {
	extra := []byte("Contact: <sip:pharos@127.0.0.1:5060>\r\nExpires: 600\r\n")
	s := NewStack(Config{Log: slog.New(slog.DiscardHandler), Handler: HandlerFunc(func(tx *ServerTx, _ *Message) {
		tx.Respond(Response{Status: 200, Header: extra})
	})})
	defer s.Close()
	u := &packetSocket{stack: s, pc: nowhere{}, local: netip.MustParseAddrPort(serverAddr)}
	from := netip.MustParseAddrPort(phoneAddr)
	msg := []byte(strings.ReplaceAll(request("SUBSCRIBE", "z9hG4bK000000000", "Event: presence\r\nExpires: 600\r\nAccept: application/pidf+xml\r\n",
		"Contact: <sip:alice@127.0.0.1:5066>\r\n", "User-Agent: generator\r\n"), "call-1", "call000000000"))
	branch, call := bytes.Index(msg, []byte("bK000000000"))+2, bytes.Index(msg, []byte("call000000000"))+4
	b.ReportAllocs()
	for i := range b.N {
		for n, at := i, 8; at >= 0; n, at = n/10, at-1 {
			msg[branch+at], msg[call+at] = byte('0'+n%10), byte('0'+n%10)
		}
		u.datagram(msg, from)
	}
}

// BenchmarkEcho is the floor: the two system calls of a datagram that is only
// sent back, with as many octets as BenchmarkSubscribe sends.
func BenchmarkEcho(b *testing.B) {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			pc.WriteToUDPAddrPort(buf[:n*6/10], from)
		}
	}()
	defer pc.Close()
	g := newGenerator(b, addrPort(pc.LocalAddr()))
	msg, buf := make([]byte, 560), make([]byte, 65536)
	measure(b, func() {
		sent := 0
		for got := range b.N {
			for sent < b.N && sent-got < outstanding {
				if err := syscall.Sendto(g.fd, msg, 0, g.to); err != nil {
					b.Fatal(err)
				}
				sent++
			}
			if _, _, err := g.receive(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIdleConnection tells what an idle connection holds: heap and stacks
// of both its ends' process, less those of the other end, which is a bare
// socket.
func BenchmarkIdleConnection(b *testing.B) {
	const count = 1000
	for range b.N {
		s := NewStack(Config{Handler: respond(200), Log: slog.New(slog.DiscardHandler), Limits: Limits{ConnectionsPerAddress: count}})
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go s.ServeListener(l, "TCP")
		msg, buf := []byte(request("OPTIONS", "z9hG4bK1")), make([]byte, 4096)
		fds := make([]int, count)
		held := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapInuse + m.StackInuse
		}
		before := held()
		to := addrPort(l.Addr())
		for i := range fds {
			if fds[i], err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err != nil {
				b.Fatal(err)
			}
			if err := syscall.Connect(fds[i], &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
				b.Fatal(err)
			}
			syscall.Write(fds[i], msg)
			syscall.Read(fds[i], buf)
		}
		b.ReportMetric(float64(held()-before)/count, "B/connection")
		for _, fd := range fds {
			syscall.Close(fd)
		}
		s.Close()
	}
}
