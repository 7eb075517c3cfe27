package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// secretOf derives each secret once: that is slow on purpose.
var secretOf = func() func(*testing.T, string) *Secret {
	var mu sync.Mutex
	known := map[string]*Secret{}
	return func(t *testing.T, secret string) *Secret {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if known[secret] == nil {
			s, err := NewSecret(secret)
			if err != nil {
				t.Fatal(err)
			}
			known[secret] = s
		}
		return known[secret]
	}
}()

const (
	ours   = "correct horse battery staple"
	theirs = "correct horse battery stable"
)

func identity(t *testing.T, secret, name string) *Identity {
	t.Helper()
	i, err := secretOf(t, secret).Identity(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestSecret(t *testing.T) {
	if _, err := NewSecret("15 characters ."); err == nil {
		t.Error("a short secret was taken")
	}
	a, err := NewSecret(ours)
	if err != nil {
		t.Fatal(err)
	}
	b, c := secretOf(t, ours), secretOf(t, theirs)
	if !a.ca.Equal(b.ca) || a.ID() != b.ID() || string(a.seal) != string(b.seal) || len(a.ID()) != 16 {
		t.Error("the same secret gives different keys")
	}
	if a.ca.Equal(c.ca) || a.ID() == c.ID() || string(a.seal) == string(c.seal) {
		t.Error("another secret gives the same keys")
	}
	if _, err := a.Identity("no.name"); err == nil {
		t.Error("a bad name was taken")
	}
}

// loopback is net.Pipe with buffers: who refuses the other may be writing while that writes.
func loopback(t *testing.T) (left, right net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if left, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if right, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return left, right
}

// handshake makes a connection between two configurations.
func handshake(left, right net.Conn, client, server *tls.Config) (clientErr, serverErr error) {
	c, s := tls.Client(left, client), tls.Server(right, server)
	var both sync.WaitGroup
	both.Go(func() {
		serverErr = s.Handshake()
		if serverErr == nil {
			_, serverErr = s.Write([]byte("hello"))
		}
		right.Close()
	})
	clientErr = c.Handshake()
	if clientErr == nil {
		b := make([]byte, 5)
		_, clientErr = c.Read(b)
	}
	left.Close()
	both.Wait()
	return clientErr, serverErr
}

func TestTLSBetweenNodes(t *testing.T) {
	a, b, stranger := identity(t, ours, "a"), identity(t, ours, "b"), identity(t, theirs, "b")
	for _, c := range []struct {
		what           string
		client, server *tls.Config
		good           bool
		says           string
	}{
		{"nodes of one cluster", a.TLS(""), b.TLS(""), true, ""},
		{"by name", a.TLS("b"), b.TLS("a"), true, ""},
		{"another server", a.TLS("c"), b.TLS(""), false, "not c.node"},
		{"another client", a.TLS(""), b.TLS("c"), false, "is a and not c"},
		{"a server of another secret", a.TLS(""), stranger.TLS(""), false, "unknown authority"},
		{"a client of another secret", stranger.TLS(""), a.TLS(""), false, "unknown authority"},
		{"a client without certificate", &tls.Config{InsecureSkipVerify: true}, a.TLS(""), false, "certificate"},
		{"a client that verifies nothing, with another's certificate", &tls.Config{InsecureSkipVerify: true,
			GetClientCertificate: stranger.TLS("").GetClientCertificate}, a.TLS(""), false, "unknown authority"},
		{"TLS 1.2", &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, a.TLS(""), false, "version"},
	} {
		left, right := loopback(t)
		clientErr, serverErr := handshake(left, right, c.client, c.server)
		if (clientErr == nil && serverErr == nil) != c.good {
			t.Errorf("%s: %v, %v", c.what, clientErr, serverErr)
			continue
		}
		if err := errors.Join(clientErr, serverErr); !c.good && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, peer := range []string{"", "b"} {
		if hello := (&tls.ClientHelloInfo{ServerName: a.TLS(peer).ServerName}); !IsNode(hello) {
			t.Error("a node is not known by its server name")
		}
	}
	for _, name := range []string{"", "example.org", "xnode.pharos.internal"} {
		if IsNode(&tls.ClientHelloInfo{ServerName: name}) {
			t.Errorf("%q is taken for a node", name)
		}
	}
}

func piped(client, server *tls.Config) (clientErr, serverErr error) {
	left, right := net.Pipe()
	return handshake(left, right, client, server)
}

// A certificate is made anew before it ends, and one that has ended is refused.
func TestCertificatesAreRenewed(t *testing.T) {
	secretOf(t, ours) // its mutex belongs to no bubble
	synctest.Test(t, func(t *testing.T) {
		a, b := identity(t, ours, "a"), identity(t, ours, "b")
		first, err := a.current()
		if err != nil {
			t.Fatal(err)
		}
		old := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return first, nil }}
		time.Sleep(23 * time.Hour)
		if again, err := a.current(); err != nil || again != first {
			t.Errorf("renewed after 23 hours: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if again, err := a.current(); err != nil || again == first {
			t.Errorf("not renewed after 25 hours: %v", err)
		}
		if c, s := piped(old, b.TLS("")); c != nil || s != nil {
			t.Errorf("the old one is refused at once: %v, %v", c, s)
		}
		time.Sleep(48 * time.Hour)
		if _, s := piped(old, b.TLS("")); s == nil || !strings.Contains(s.Error(), "expired") {
			t.Errorf("a certificate that has ended: %v", s)
		}
		if c, s := piped(a.TLS("b"), b.TLS("a")); c != nil || s != nil {
			t.Errorf("after three days: %v, %v", c, s)
		}
	})
}

// A certificate that the authority has signed but names no node is none of a node; nor is one that
// only claims to come from the authority.
func TestPeer(t *testing.T) {
	a := identity(t, ours, "a")
	if _, err := a.Peer(tls.ConnectionState{}); !errors.Is(err, ErrSecret) {
		t.Errorf("no certificate: %v", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.org", "x.y" + nodeDomain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	sign := func(parent *x509.Certificate, by any) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if node, err := a.Peer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{sign(a.ca, a.key)}}); !errors.Is(err, ErrSecret) {
		t.Errorf("taken for %q", node)
	}
	leaf.DNSNames = []string{"b" + nodeDomain}
	if node, err := a.Peer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{sign(a.ca, a.key)}}); err != nil || node != "b" {
		t.Errorf("%q, %v", node, err)
	}
	forged := *a.ca
	forged.PublicKey = key.Public()
	if node, err := a.Peer(tls.ConnectionState{PeerCertificates: []*x509.Certificate{sign(&forged, key)}}); !errors.Is(err, ErrSecret) {
		t.Errorf("taken for %q", node)
	}
}
