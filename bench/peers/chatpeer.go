package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"pharos/bench"
)

func missing(name string) error { return fmt.Errorf("%w: %s", ErrMissing, name) }

// startTime is how long a server may take to start, on a machine that is busy with other things.
const startTime = 5 * time.Minute

// chatPeer is an XMPP server that others wrote, in a folder of its own, with a certificate
// and one port.
type chatPeer struct {
	*bench.Process
	dir  string
	port int
}

func newChatPeer() (*chatPeer, error) {
	dir, err := os.MkdirTemp("", "pharos-peer-")
	if err != nil {
		return nil, err
	}
	t := &chatPeer{dir: dir}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	t.port = l.Addr().(*net.TCPAddr).Port
	if err := errors.Join(l.Close(), certificate(t.path("cert.pem"))); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	return t, nil
}

func (t *chatPeer) path(name string) string { return filepath.Join(t.dir, name) }

// run starts the program in its folder, and waits for the file ready in it.
func (t *chatPeer) run(ctx context.Context, env []string, name string, args ...string) (*chatPeer, error) {
	p, err := bench.Run(ctx, t.path("output"), env, "/usr/bin/env", append([]string{"-C", t.dir, name}, args...)...)
	if err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	t.Process = p
	if err := t.wait(ctx); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	return t, nil
}

// finish runs the program in its folder until it ends of itself.
func (t *chatPeer) finish(ctx context.Context, env []string, name string, args ...string) error {
	p, err := bench.Run(ctx, t.path("output"), env, "/usr/bin/env", append([]string{"-C", t.dir, name}, args...)...)
	if err != nil {
		return err
	}
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	select {
	case <-p.Ended():
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-limit.C:
		err = fmt.Errorf("peers: it does not end: %s", p.Log())
	}
	return errors.Join(err, p.Stop())
}

func (t *chatPeer) wait(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(startTime)
	defer limit.Stop()
	for {
		if _, err := os.Stat(t.path("ready")); err == nil {
			if c, err := net.Dial("tcp", t.Addr("xmpp")); err == nil {
				return c.Close()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Ended():
			return fmt.Errorf("peers: it has ended: %s", t.Log())
		case <-limit.C:
			return fmt.Errorf("peers: it is not ready: %s", t.Log())
		}
	}
}

// Addr is the one listener, which has STARTTLS and does not insist on it.
func (t *chatPeer) Addr(string) string { return fmt.Sprintf("127.0.0.1:%d", t.port) }

func (t *chatPeer) Stop() error {
	var err error
	if t.Process != nil {
		err = t.Process.Stop()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// certificate writes one for localhost with its key into a file.
func certificate(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0), BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), 0o600)
}
