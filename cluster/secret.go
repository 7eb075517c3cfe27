package cluster

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

// MinSecret is how many characters a cluster secret must have.
const MinSecret = 16

// What a certificate of a node lasts. It begins in the past, and is replaced long before its end,
// so that clocks may differ by hours.
const (
	certificateAhead = 72 * time.Hour
	certificateBack  = 24 * time.Hour
	certificateRenew = 48 * time.Hour // when no more than this is left
)

// anyNode is in every node's certificate, and what nodes' names are in, there and in the server
// name of TLS. Nobody resolves it.
const (
	anyNode    = "node.pharos.internal"
	nodeDomain = "." + anyNode
)

// stretching makes guessing a secret that a human has thought up slow; everybody who can reach a
// node's port sees a certificate by which a guess can be checked.
const stretching = 200_000

// Secret is what the nodes of one service share, and all that follows from it: the
// authority that signs their certificates, the name of the cluster on a bus that others
// use as well, and the key that seals what is said there. Whoever has it is a node,
// of whichever name.
type Secret struct {
	id   string
	key  ed25519.PrivateKey
	ca   *x509.Certificate
	pool *x509.CertPool
	seal []byte
}

// lastStretched is the last secret that was stretched: a process has one, which several of its parts ask for.
var lastStretched struct {
	sync.Mutex
	secret string
	key    []byte
}

// stretch is RFC 8018 §5.2; what follows from it RFC 5869 §2.3.
func stretch(secret string) ([]byte, error) {
	l := &lastStretched
	l.Lock()
	defer l.Unlock()
	if l.secret == secret {
		return l.key, nil
	}
	key, err := pbkdf2.Key(sha256.New, secret, []byte("pharos cluster 1"), stretching, sha256.Size)
	if err == nil {
		l.secret, l.key = secret, key
	}
	return key, err
}

// NewSecret derives everything from a secret of MinSecret characters at least. It takes some
// 50 ms, and nothing when the last secret was the same.
func NewSecret(secret string) (*Secret, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("cluster: the secret has %d characters, and must have %d", len(secret), MinSecret)
	}
	stretched, err := stretch(secret)
	if err != nil {
		return nil, err
	}
	derive := func(what string, n int) []byte {
		b, e := hkdf.Expand(sha256.New, stretched, "pharos "+what, n)
		err = errors.Join(err, e)
		return b
	}
	id, seed := derive("id", 8), derive("authority", ed25519.SeedSize)
	s := &Secret{id: hex.EncodeToString(id), seal: derive("seal", 32)}
	if err != nil {
		return nil, err
	}
	s.key = ed25519.NewKeyFromSeed(seed)
	// Everything in it is fixed, so each node makes the same one.
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pharos " + s.id},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, s.key.Public(), s.key)
	if err != nil {
		return nil, err
	}
	if s.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	s.pool = x509.NewCertPool()
	s.pool.AddCert(s.ca)
	return s, nil
}

// ID names the cluster, in 16 hexadecimal digits. It tells nothing of the secret.
func (s *Secret) ID() string { return s.id }

// ErrSecret: the other side has shown no certificate of this cluster.
var ErrSecret = errors.New("cluster: the other side does not know this cluster's secret")

// Identity is one node's part of a Secret: its name, and a certificate for it that is
// made anew each day. Its methods are safe for concurrent use.
type Identity struct {
	*Secret
	name string

	mu          sync.Mutex
	certificate *tls.Certificate
}

// Identity makes the node of that name.
func (s *Secret) Identity(name string) (*Identity, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	i := &Identity{Secret: s, name: name}
	_, err := i.current()
	return i, err
}

// current is the certificate to show now.
func (i *Identity) current() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	if i.certificate != nil && i.certificate.Leaf.NotAfter.Sub(now) > certificateRenew && now.After(i.certificate.Leaf.NotBefore) {
		return i.certificate, nil
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: i.name}, DNSNames: []string{i.name + nodeDomain, anyNode},
		NotBefore: now.Add(-certificateBack), NotAfter: now.Add(certificateAhead),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, i.ca, public, i.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	i.certificate = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: parsed}
	return i.certificate, nil
}

// TLS is how this node speaks with the node peer, or with any node if that is "", as client and as
// server: both show certificates, and the other's must be of this cluster, valid and for
// peer. The server name is the node's, by which IsNode knows at the other end what is
// wanted; names of hosts mean nothing here.
func (i *Identity) TLS(peer string) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.current() },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.current() },
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              i.pool,
		RootCAs:                i.pool,
		ServerName:             anyNode,
		SessionTicketsDisabled: true,
	}
	if peer != "" {
		c.ServerName = peer + nodeDomain
		c.VerifyConnection = func(cs tls.ConnectionState) error { // of a client, too
			node, err := i.Peer(cs)
			if err == nil && node != peer {
				err = fmt.Errorf("cluster: the other side is %s and not %s", node, peer)
			}
			return err
		}
	}
	return c
}

// Peer names the node at the other end of a connection, or says that it is none. It
// can be asked of a connection whose TLS is not Identity's, too, if a client's
// certificate was requested.
func (i *Identity) Peer(cs tls.ConnectionState) (node string, err error) {
	if len(cs.PeerCertificates) == 0 {
		return "", fmt.Errorf("%w: it shows no certificate", ErrSecret)
	}
	leaf := cs.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: i.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return "", fmt.Errorf("%w: %w", ErrSecret, err)
	}
	for _, name := range leaf.DNSNames {
		if node, ok := strings.CutSuffix(name, nodeDomain); ok && CheckName(node) == nil {
			return node, nil
		}
	}
	return "", fmt.Errorf("%w: its certificate names no node", ErrSecret)
}

// IsNode tells whether a client that begins TLS wants to speak as a node to a node: for
// a listener that serves users, too, in tls.Config's GetConfigForClient.
func IsNode(hello *tls.ClientHelloInfo) bool {
	return strings.HasSuffix("."+hello.ServerName, nodeDomain)
}
