package bench

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sipClient is a closed-loop SIP user agent on one UDP socket: so many dialogs
// and publications as there are users, a bounded number of requests under way.
// It answers every NOTIFY with 200. One goroutine reads; writes are direct.
type sipClient struct {
	conn   *net.UDPConn
	to     netip.AddrPort // of requests, where the socket is not connected: others may speak to it too
	local  string         // host:port
	remote string
	seq    int
	closed chan struct{} // by close

	mu       sync.Mutex
	waiting  map[string]*pending // by branch
	again    int                 // retransmissions
	onNotify func(m []byte)
	digest   *digester

	in, out, inOctets, outOctets atomic.Int64 // as the server sees it
}

// wire is what has gone over it so far.
func (c *sipClient) wire() Wire {
	return Wire{c.in.Load(), c.out.Load(), c.inOctets.Load(), c.outOctets.Load()}
}

// repeated is how many requests had to be sent again.
func (c *sipClient) repeated() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.again
}

// pending is a request without an answer; it is sent again after timer E's first
// interval (RFC 3261 §17.1.2.2), since the kernel drops datagrams when full.
type pending struct {
	done func(status int, m []byte)
	b    []byte
	sent time.Time
}

// digester answers a challenge again and again.
type digester struct{ nonce, header string }

func newSIPClient(addr string) (*sipClient, error) {
	ra, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	c, err := net.DialUDP("udp", nil, ra)
	if err != nil {
		return nil, err
	}
	return runSIPClient(c, addr, netip.AddrPort{})
}

// newRoamingClient answers NOTIFYs from wherever they come.
func newRoamingClient(addr string) (*sipClient, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return runSIPClient(c, addr, to)
}

func runSIPClient(c *net.UDPConn, addr string, to netip.AddrPort) (*sipClient, error) {
	if err := c.SetReadBuffer(8 << 20); err != nil {
		return nil, err
	}
	s := &sipClient{conn: c, to: to, local: c.LocalAddr().String(), remote: addr, waiting: map[string]*pending{}, closed: make(chan struct{})}
	go s.read()
	go s.resend()
	return s, nil
}

// write sends to one who has spoken, or to the server.
func (c *sipClient) write(b []byte, to netip.AddrPort) error {
	c.in.Add(1)
	c.inOctets.Add(int64(len(b)))
	var err error
	if c.to.IsValid() {
		_, err = c.conn.WriteToUDPAddrPort(b, to)
	} else {
		_, err = c.conn.Write(b)
	}
	return err
}

func (c *sipClient) close() {
	c.conn.Close()
	close(c.closed)
}

func (c *sipClient) read() {
	buf := make([]byte, 65536)
	out := make([]byte, 0, 2048)
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) || err != nil && !c.to.IsValid() {
			return
		}
		if err != nil {
			continue // a server that is not there any more
		}
		m := buf[:n]
		c.out.Add(1)
		c.outOctets.Add(int64(n))
		if bytes.HasPrefix(m, []byte("SIP/2.0 ")) {
			status, _ := strconv.Atoi(string(m[8:11]))
			if status < 200 {
				continue
			}
			branch := string(param(line(m, "Via: "), "branch="))
			c.mu.Lock()
			fn := c.waiting[branch]
			delete(c.waiting, branch)
			c.mu.Unlock()
			if fn != nil {
				fn.done(status, m)
			}
			continue
		}
		out = append(out[:0], "SIP/2.0 200 OK\r\n"...)
		for _, h := range []string{"Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "} {
			out = append(append(append(out, h...), line(m, h)...), "\r\n"...)
		}
		out = append(out, "Content-Length: 0\r\n\r\n"...)
		c.write(out, from)
		if c.onNotify != nil {
			c.onNotify(m)
		}
	}
}

func (c *sipClient) resend() {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-c.closed:
			return
		}
		c.mu.Lock()
		for _, p := range c.waiting {
			if time.Since(p.sent) > 500*time.Millisecond {
				p.sent = time.Now()
				c.again++
				if err := c.write(p.b, c.to); errors.Is(err, net.ErrClosed) || err != nil && !c.to.IsValid() {
					c.mu.Unlock()
					return
				}
			}
		}
		c.mu.Unlock()
	}
}

// line is the value of the first header that begins with h ("Via: ").
func line(m []byte, h string) []byte {
	i := bytes.Index(m, append([]byte("\r\n"), h...))
	if i < 0 {
		return nil
	}
	v := m[i+2+len(h):]
	if e := bytes.Index(v, []byte("\r\n")); e >= 0 {
		v = v[:e]
	}
	return v
}

func param(v []byte, name string) []byte {
	i := bytes.Index(v, []byte(name))
	if i < 0 {
		return nil
	}
	v = v[i+len(name):]
	if e := bytes.IndexAny(v, ";, \r\n"); e >= 0 {
		v = v[:e]
	}
	return v
}

// request is one request of ours.
type request struct {
	method, user, from, callID string
	cseq                       int
	header                     string // further lines
	body                       string
	toTag                      string
	password                   string
}

func (c *sipClient) send(r request, done func(status int, m []byte)) {
	c.mu.Lock()
	c.seq++
	branch := "z9hG4bK" + strconv.Itoa(c.seq)
	d := c.digest
	c.mu.Unlock()
	b := make([]byte, 0, 1500)
	b = fmt.Appendf(b, "%s sip:%s@localhost SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@localhost>;tag=f%s\r\nTo: <sip:%s@localhost>",
		r.method, r.user, c.local, branch, r.from, r.callID, r.user)
	if r.toTag != "" {
		b = append(append(b, ";tag="...), r.toTag...)
	}
	b = fmt.Appendf(b, "\r\nCall-ID: %s\r\nCSeq: %d %s\r\nEvent: presence\r\n", r.callID, r.cseq, r.method)
	b = append(b, r.header...)
	if d != nil && r.password != "" {
		b = d.append(b, r)
	}
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	c.mu.Lock()
	c.waiting[branch] = &pending{done, b, time.Now()}
	c.mu.Unlock()
	c.write(b, c.to)
}

func (d *digester) append(b []byte, r request) []byte {
	uri := "sip:" + r.user + "@localhost"
	return fmt.Appendf(b, "%s: Digest username=\"%s\", realm=\"localhost\", nonce=\"%s\", uri=\"%s\", response=\"%s\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001\r\n",
		d.header, r.from, d.nonce, uri, d.response(r.from, r.password, r.method, uri))
}

// response is RFC 7616 §3.4.1 with what append says.
func (d *digester) response(user, password, method, uri string) string {
	h := func(s string) string { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }
	return h(h(user+":localhost:"+password) + ":" + d.nonce + ":00000001:c:auth:" + h(method+":"+uri))
}

// closed runs n jobs in w lanes: lane k does the jobs k, k+w, k+2w... one after
// another, so that jobs which share a user never overlap where w divides the
// number of users. start(i) begins job i and calls done once.
func closed(n, w int, start func(i int, done func())) error {
	errs := make(chan error, w)
	for lane := range w {
		go func() {
			finished := make(chan struct{}, 1)
			done := func() { finished <- struct{}{} }
			for i := lane; i < n; i += w {
				start(i, done)
				if err := oneOf(finished); err != nil {
					errs <- fmt.Errorf("%w: job %d of %d", err, i, n)
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range w {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

func oneOf(c chan struct{}) error {
	select {
	case <-c:
		return nil
	default:
	}
	t := time.NewTimer(20 * time.Second)
	defer t.Stop()
	select {
	case <-c:
		return nil
	case <-t.C:
		return fmt.Errorf("bench: nothing came for 20 s")
	}
}
