package xmpp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	xdg "github.com/xdg-go/scram"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// half is one direction of a connection in memory, with a bounded buffer as the
// kernel has one.
type half struct {
	mu     sync.Mutex
	cond   sync.Cond
	buf    []byte
	room   int
	ended  bool // the writer closed it
	gone   bool // the reader closed it
	rd, wd deadline
}

// deadline is one that has passed or will.
type deadline struct {
	timer  *time.Timer
	passed bool
}

func newHalf(room int) *half {
	h := &half{room: room}
	h.cond.L = &h.mu
	return h
}

func (h *half) set(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if d.timer == timer {
				d.passed = true
				h.cond.Broadcast()
			}
		})
		d.timer = timer
	} else {
		d.passed = true
		h.cond.Broadcast()
	}
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.rd.passed:
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return n, net.ErrClosed
		case h.gone:
			return n, io.ErrClosedPipe
		case h.wd.passed:
			return n, os.ErrDeadlineExceeded
		case len(b) == 0:
			return n, nil
		}
		if k := min(len(b), h.room-len(h.buf)); k > 0 {
			h.buf = append(h.buf, b[:k]...)
			b, n = b[k:], n+k
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

func (h *half) close(which *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = true
	h.cond.Broadcast()
}

// memConn is one end of a connection in memory.
type memConn struct {
	in, out *half
	remote  net.Addr
}

func memPipe(room int) (a, b *memConn) {
	x, y := newHalf(room), newHalf(room)
	return &memConn{in: x, out: y}, &memConn{in: y, out: x}
}

func (c *memConn) Read(b []byte) (int, error)         { return c.in.read(b) }
func (c *memConn) Write(b []byte) (int, error)        { return c.out.write(b) }
func (c *memConn) SetReadDeadline(t time.Time) error  { c.in.set(&c.in.rd, t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.out.set(&c.out.wd, t); return nil }
func (c *memConn) CloseWrite() error                  { c.out.close(&c.out.ended); return nil }
func (c *memConn) LocalAddr() net.Addr                { return &net.UnixAddr{Name: "mem"} }

func (c *memConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memConn) Close() error {
	_ = c.SetDeadline(time.Time{}) // stops the timers
	c.in.close(&c.in.gone)
	c.out.close(&c.out.ended)
	return nil
}

func (c *memConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return &net.UnixAddr{Name: "mem"}
}

// memListener hands out connections in memory.
type memListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newMemListener() *memListener {
	return &memListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *memListener) Addr() net.Addr { return &net.UnixAddr{Name: "mem"} }

// dial connects, as coming from remote.
func (l *memListener) dial(remote string) *memConn {
	client, server := memPipe(1 << 16)
	if remote != "" {
		server.remote = net.TCPAddrFromAddrPort(mustAddrPort(remote))
	}
	l.conns <- server
	return client
}

// users is an Authenticator with juliet and her secret, and notes on what it was asked.
type users struct {
	mu    sync.Mutex
	notes []string
	err   error // to be returned instead
}

const secret = "r0m30myr0m30"

func (u *users) note(s ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.notes = append(u.notes, strings.Join(s, " "))
}

func (u *users) Plain(_ context.Context, _ net.Addr, local, domain, password string) error {
	u.note("plain", local, domain)
	if u.err != nil {
		return u.err
	}
	if local != "juliet" || domain != "example.com" || password != secret {
		return ErrNotAuthorized
	}
	return nil
}

var scramKeys = sync.OnceValue(func() map[string]ScramKeys {
	keys := make(map[string]ScramKeys)
	for name, hash := range map[string]xdg.HashGeneratorFcn{"SCRAM-SHA-1": xdg.SHA1, "SCRAM-SHA-256": xdg.SHA256} {
		c, err := hash.NewClientUnprepped("juliet", secret, "")
		if err != nil {
			panic(err)
		}
		stored, err := c.GetStoredCredentialsWithError(xdg.KeyFactors{Salt: "salt of " + name, Iters: 4096})
		if err != nil {
			panic(err)
		}
		keys[name] = ScramKeys{Salt: []byte("salt of " + name), Iterations: 4096, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}
	}
	return keys
})

func (u *users) Scram(_ context.Context, _ net.Addr, local, domain, mechanism string) (ScramKeys, error) {
	u.note("scram", local, domain, mechanism)
	keys := scramKeys()[mechanism]
	if local != "juliet" || domain != "example.com" {
		keys.StoredKey = make([]byte, len(keys.StoredKey))
	}
	return keys, u.err
}

func (u *users) Failed(_ net.Addr, local, domain string)    { u.note("failed", local, domain) }
func (u *users) Succeeded(_ net.Addr, local, domain string) { u.note("succeeded", local, domain) }

// certificate is self-signed for example.com.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.com"}, DNSNames: []string{"example.com"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<36, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func clientTLS(protocols ...string) *tls.Config {
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificate().Certificate[0])
	if err != nil {
		panic(err)
	}
	roots.AddCert(leaf)
	return &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: protocols}
}

// testAcceptor serves example.com; its streams echo what they get and end with the peer's.
func testAcceptor() (*Acceptor, *users) {
	u := &users{}
	return &Acceptor{
		Domains: []string{"example.com", "example.net"},
		TLS:     &tls.Config{Certificates: []tls.Certificate{certificate()}},
		Auth:    u,
		Serve:   echo,
	}, u
}

func echo(_ context.Context, s *Stream) {
	for {
		el, err := s.Next()
		if err != nil {
			return
		}
		s.Send(el.Append(nil, NSClient))
	}
}

// bubble runs f in virtual time, with its scripts as clients of a.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// client is a scripted peer.
type client struct {
	t    *testing.T
	conn net.Conn
	got  []byte
}

// connect starts a stream with a over a connection in memory.
func connect(t *testing.T, a *Acceptor, m Mode) *client {
	c, server := memPipe(1 << 16)
	go a.Handle(t.Context(), server, m)
	return newClient(t, c)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn}
}

var streamID = regexp.MustCompile(`id='[A-Z2-7]{26}'`)

// play runs a script: "> x" sends x, "< x" wants exactly x next (stream ids
// written as ID), "EOF" wants the end, "after 5s" lets time pass.
func (c *client) play(steps ...string) {
	c.t.Helper()
	for _, step := range steps {
		verb, arg, _ := strings.Cut(step, " ")
		switch verb {
		case ">":
			c.send(arg)
		case "<":
			c.want(arg)
		case "EOF":
			c.eof()
		case "after":
			d, err := time.ParseDuration(arg)
			if err != nil {
				c.t.Fatal(err)
			}
			time.Sleep(d)
		default:
			c.t.Fatalf("unknown step %q", step)
		}
	}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatalf("sending %q: %v", s, err)
	}
}

// more reads on, for ten minutes at most.
func (c *client) more() error {
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	var b [4096]byte
	n, err := c.conn.Read(b[:])
	c.got = streamID.ReplaceAll(append(c.got, b[:n]...), []byte("id='ID'"))
	if n > 0 {
		return nil
	}
	return err
}

func (c *client) want(s string) {
	c.t.Helper()
	for !bytes.HasPrefix(c.got, []byte(s)) {
		if len(c.got) >= len(s)+len("id='ABCDEFGHIJKLMNOPQRSTUVWXYZ'") {
			c.t.Fatalf("got  %q\nwant %q", c.got, s)
		}
		if err := c.more(); err != nil {
			c.t.Fatalf("got  %q, %v\nwant %q", c.got, err, s)
		}
	}
	c.got = c.got[len(s):]
}

func (c *client) eof() {
	c.t.Helper()
	for {
		if err := c.more(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			c.t.Fatalf("at the end: %v", err)
		}
	}
	if len(c.got) > 0 {
		c.t.Fatalf("left at the end: %q", c.got)
	}
}

// until reads up to s and returns what came before and it.
func (c *client) until(s string) string {
	c.t.Helper()
	for {
		if i := bytes.Index(c.got, []byte(s)); i >= 0 {
			out := string(c.got[:i+len(s)])
			c.got = c.got[i+len(s):]
			return out
		}
		if err := c.more(); err != nil {
			c.t.Fatalf("got %q, %v, want %q", c.got, err, s)
		}
	}
}

const (
	hello  = `<?xml version='1.0'?><stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='ID' from='example.com' version='1.0' xml:lang='en'>`

	tlsFeatures   = `<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>`
	plainFeatures = `<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>` +
		`<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
	bindFeatures = `<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>` +
		`<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></stream:features>`

	// NUL juliet NUL secret
	plainAuth = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>`
	success   = `<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`
	closeTag  = `</stream:stream>`
)

func streamErrorXML(condition, text string) string {
	s := "<stream:error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
	if text != "" {
		s += "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>" + text + "</text>"
	}
	return s + "</stream:error>" + closeTag
}

func failure(condition string) string {
	return "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><" + condition + "/></failure>"
}

// login brings a client in an insecure stream to bind.
func (c *client) login() {
	c.t.Helper()
	c.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+plainAuth, "< "+success, "> "+hello, "< "+header, "< "+bindFeatures)
}

// serveOnce runs f and returns, which ends the stream.
func serveOnce(f func(s *Stream)) func(context.Context, *Stream) {
	return func(_ context.Context, s *Stream) { f(s) }
}
