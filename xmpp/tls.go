package xmpp

import (
	"crypto"
	_ "crypto/sha256" // hashes of certificates
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
)

// tlsLayer is a TLS configuration that also notes which certificate each
// connection was shown, which crypto/tls does not tell and which the channel
// binding tls-server-end-point needs.
type tlsLayer struct {
	protocols []string
	config    *tls.Config

	mu            sync.Mutex
	inner, outer  *tls.Config // what GetConfigForClient gave last, and that wrapped
	certificate   *tls.Certificate
	certificateID []byte // its endpoint hash
}

func newTLSLayer(base *tls.Config, protocols ...string) *tlsLayer {
	l := &tlsLayer{protocols: protocols}
	l.config = l.wrap(base)
	if base.GetConfigForClient != nil {
		l.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			inner, err := base.GetConfigForClient(hello)
			if err != nil || inner == nil {
				return nil, err
			}
			return l.wrapped(inner), nil
		}
	}
	return l
}

// wrapped wraps a configuration, once for many handshakes.
func (l *tlsLayer) wrapped(inner *tls.Config) *tls.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner != inner {
		l.inner, l.outer = inner, l.wrap(inner)
	}
	return l.outer
}

// wrap copies base with our ALPN and with a GetCertificate that takes notes.
func (l *tlsLayer) wrap(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.NextProtos = l.protocols
	c.GetConfigForClient = nil
	c.Certificates = nil
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(base, hello)
		if n, ok := hello.Conn.(*noted); ok && cert != nil {
			n.endPoint = l.endPoint(cert)
		}
		return cert, err
	}
	return c
}

// noted is a connection under TLS with a place for what was noted. During
// the handshake it is owned by who runs that.
type noted struct {
	net.Conn
	endPoint []byte
}

// choose picks the certificate as crypto/tls does.
func choose(c *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil && (len(c.Certificates) == 0 || hello.ServerName != "") {
		if cert, err := c.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, errors.New("xmpp: no certificate")
	}
	for i := range c.Certificates {
		if hello.SupportsCertificate(&c.Certificates[i]) == nil {
			return &c.Certificates[i], nil
		}
	}
	return &c.Certificates[0], nil
}

// endPoint is the hash of RFC 5929 §4.1, nil where that leaves it undefined.
func (l *tlsLayer) endPoint(cert *tls.Certificate) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.certificate == cert {
		return l.certificateID
	}
	id := endPointHash(cert)
	l.certificate, l.certificateID = cert, id
	return id
}

func endPointHash(cert *tls.Certificate) []byte {
	leaf := cert.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil
		}
	}
	var h crypto.Hash
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		h = crypto.SHA256 // also in place of MD5 and SHA-1
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil // Ed25519 has no hash of its own
	}
	d := h.New()
	d.Write(leaf.Raw)
	return d.Sum(nil)
}

// handshake puts TLS under the stream, within the deadline that is set.
func (s *Stream) handshake(l *tlsLayer) error {
	if l == nil {
		return &StreamError{Condition: "internal-server-error", Text: "no certificate is configured"}
	}
	under := &noted{Conn: s.raw}
	c := tls.Server(under, l.config)
	if err := c.Handshake(); err != nil {
		s.broken = true // no common language to say anything in
		return err
	}
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	if t, ok := s.wire.(tcp); ok {
		t.SetReader(c)
	}
	return nil
}

// bindings are the channel bindings that the connection has, best first, and
// their data (RFC 9266, RFC 5929). There are none over WebSocket: no browser shows
// its TLS to a page, and stanza.js takes a -PLUS mechanism that it sees, cannot
// do it, and gives up.
func (s *Stream) bindings() (types []string, data map[string][]byte) {
	c, ok := s.conn.(*tls.Conn)
	if !ok || s.ws != nil {
		return nil, nil
	}
	data = make(map[string][]byte, 2)
	state := c.ConnectionState()
	// Below TLS 1.3 an absent and an empty context give different keys, and
	// implementations differ in which one they use.
	if state.Version >= tls.VersionTLS13 {
		if key, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			types = append(types, "tls-exporter")
			data["tls-exporter"] = key
		}
	} else if state.TLSUnique != nil {
		// What clients take there that do not know XEP-0440 (RFC 5929 §3).
		types = append(types, "tls-unique")
		data["tls-unique"] = state.TLSUnique
	}
	if n, ok := c.NetConn().(*noted); ok && n.endPoint != nil {
		types = append(types, "tls-server-end-point")
		data["tls-server-end-point"] = n.endPoint
	}
	return types, data
}
