package sip

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	peersip "github.com/emiago/sipgo/sip"
)

// certificate is a self-signed one for 127.0.0.1, and a pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"sip.example.com"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// onLoopback serves all transports on loopback.
func onLoopback(t *testing.T, c Config, server *tls.Config) (s *Stack, addr map[string]netip.AddrPort) {
	t.Helper()
	c.Log = quiet()
	s = NewStack(c)
	addr = make(map[string]netip.AddrPort)
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr["UDP"] = addrPort(pc.LocalAddr())
	go s.ServePacket(pc)
	listen := func(transport string) net.Listener {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr[transport] = addrPort(l.Addr())
		return l
	}
	go s.ServeListener(listen("TCP"), "TCP")
	go s.ServeListener(tls.NewListener(listen("TLS"), server), "TLS")
	web := &http.Server{Handler: s.WebSocket(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go web.Serve(listen("WS"))
	go web.Serve(tls.NewListener(listen("WSS"), server))
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, addr
}

// A stack that others wrote understands ours: requests of its client, by every
// transport, and requests of ours back over the same flow.
func TestPeer(t *testing.T) {
	server, pool := certificate(t)
	taken := make(chan *ServerTx, 1)
	h := HandlerFunc(func(tx *ServerTx, _ *Message) { taken <- tx })
	s, addr := onLoopback(t, Config{Handler: h, TLS: &tls.Config{RootCAs: pool}}, server)

	for _, transport := range []string{"UDP", "TCP", "TLS", "WS", "WSS"} {
		t.Run(transport, func(t *testing.T) {
			ua, err := sipgo.NewUA(sipgo.WithUserAgenTLSConfig(&tls.Config{RootCAs: pool}),
				sipgo.WithUserAgentTransportLayerOptions(peersip.WithTransportLayerLogger(quiet())),
				sipgo.WithUserAgentTransactionLayerOptions(peersip.WithTransactionLayerLogger(quiet())))
			if err != nil {
				t.Fatal(err)
			}
			defer ua.Close()
			notified := make(chan string, 1)
			uas, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet()))
			if err != nil {
				t.Fatal(err)
			}
			defer uas.Close()
			uas.OnNotify(func(req *peersip.Request, tx peersip.ServerTransaction) {
				notified <- string(req.Body())
				tx.Respond(peersip.NewResponseFromRequest(req, 200, "OK", nil))
			})
			uac, err := sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"), sipgo.WithClientLogger(quiet()))
			if err != nil {
				t.Fatal(err)
			}
			defer uac.Close()

			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			var uri peersip.Uri
			if err := peersip.ParseUri("sip:bob@"+addr[transport].String(), &uri); err != nil {
				t.Fatal(err)
			}
			req := peersip.NewRequest(peersip.SUBSCRIBE, uri)
			req.SetTransport(transport)
			req.AppendHeader(peersip.NewHeader("Event", "presence"))
			answered := make(chan error, 1)
			go func() {
				res, err := uac.Do(ctx, req)
				if err == nil && res.StatusCode != 200 {
					err = io.ErrUnexpectedEOF
				}
				answered <- err
			}()
			var tx *ServerTx
			select {
			case tx = <-taken:
			case err := <-answered:
				t.Fatal(err)
			}
			if got := tx.Flow().Transport(); got != transport {
				t.Errorf("flow over %s", got)
			}
			if e, _, _ := tx.Request().Event(); e.Package != "presence" {
				t.Errorf("event %+v", e)
			}
			tx.Respond(Response{Status: 200, Header: []byte("Expires: 600\r\n")})
			if err := <-answered; err != nil {
				t.Fatal(err)
			}

			ended := make(chan outcome, 1)
			s.Request(OutRequest{Method: "NOTIFY", URI: "sip:alice@127.0.0.1", Body: []byte("state"), Flow: tx.Flow(),
				Header: []byte("From: <sip:bob@example.com>;tag=b\r\nTo: <sip:alice@example.com>;tag=a\r\nCall-ID: n@x\r\nCSeq: 1 NOTIFY\r\nEvent: presence\r\nContact: <sip:x@127.0.0.1>\r\n")},
				func(m *Message, err error) {
					o := outcome{err: err}
					if m != nil {
						o.status = m.Status
					}
					ended <- o
				})
			select {
			case o := <-ended:
				if o.status != 200 || o.err != nil {
					t.Fatalf("NOTIFY: %+v", o)
				}
			case <-ctx.Done():
				t.Fatal("NOTIFY was not answered")
			}
			if body := <-notified; body != "state" {
				t.Errorf("body %q", body)
			}
		})
	}
}

// We open TLS connections to names that the certificate has to show, even when
// SRV leads elsewhere (RFC 5922 §4).
func TestTLSTarget(t *testing.T) {
	server, pool := certificate(t)
	_, addr := onLoopback(t, Config{Handler: respond(200)}, server)
	resolve := Override(map[string][]Target{
		"sip.example.com":   {{Transport: "TLS", Addr: addr["TLS"], Host: "sip.example.com"}},
		"other.example.com": {{Transport: "TLS", Addr: addr["TLS"], Host: "other.example.com"}},
		"node.example.com":  {{Transport: "TLS", Addr: addr["TLS"], Host: "node.example.com"}},
	}, nil)
	own := func(to Target) *tls.Config { // one target has a configuration of its own
		if to.Host == "node.example.com" {
			return &tls.Config{RootCAs: pool, ServerName: "sip.example.com"}
		}
		return nil
	}
	s, _ := onLoopback(t, Config{Resolve: resolve, TLS: &tls.Config{RootCAs: pool}, TLSFor: own}, server)
	for next, want := range map[string]string{
		"sips:sip.example.com":   "200",
		"sips:other.example.com": ErrTransport.Error(),
		"sips:node.example.com":  "200",
	} {
		ended := make(chan string, 1)
		s.Request(OutRequest{Method: "OPTIONS", URI: next, NextHop: next,
			Header: []byte("From: <sip:a@example.com>;tag=b\r\nTo: <sip:b@example.com>\r\nCall-ID: n@x\r\nCSeq: 1 OPTIONS\r\n")},
			func(m *Message, err error) {
				if err != nil {
					ended <- err.Error()
					return
				}
				ended <- strings.Fields(string(m.Append(nil)))[1]
			})
		if got := <-ended; got != want {
			t.Errorf("%s: %s, want %s", next, got, want)
		}
	}
}

// RFC 5923 §9: over TLS an alias counts when the client's certificate shows it.
func TestTLSAlias(t *testing.T) {
	server, pool := certificate(t)
	mutual := server.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.VerifyClientCertIfGiven, pool
	s, addr := onLoopback(t, Config{Handler: respond(200)}, mutual)
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		host  string
		want  bool
	}{
		{"without a certificate", nil, "sip.example.com", false},
		{"another's name", server.Certificates, "other.example.com", false},
		{"its own name", server.Certificates, "sip.example.com", true},
	} {
		nc, err := tls.Dial("tcp", addr["TLS"].String(), &tls.Config{RootCAs: pool, Certificates: c.certs})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		p := newStreamPhone(t, nc)
		if _, err := io.WriteString(nc, strings.Replace(request("OPTIONS", "z9hG4bK1"), "UDP 192.0.2.9:5060", "TLS "+c.host+";alias", 1)); err != nil {
			t.Fatal(err)
		}
		p.read()
		s.conns.mu.Lock()
		_, got := s.conns.byKey[connKey{"TLS", netip.MustParseAddrPort("127.0.0.1:5061"), c.host}]
		s.conns.mu.Unlock()
		if got != c.want {
			t.Errorf("%s: alias %t", c.name, got)
		}
	}
}
