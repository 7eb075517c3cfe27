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
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	xdg "github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"pharos/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room is how much the connections of the tests hold.
const room = 1 << 16

// listener is one in memory.
type listener struct {
	*memnet.Listener
	net *memnet.Network
}

func newListener() *listener {
	n := memnet.New()
	return &listener{n.MustListen("192.0.2.100:5222"), n}
}

// dial connects, as coming from remote.
func (l *listener) dial(remote string) *memnet.Conn {
	c, err := l.net.Dial(context.Background(), remote, l.Addr().String())
	if err != nil {
		panic(err)
	}
	return c
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
	c, server := memnet.Pipe(room)
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
