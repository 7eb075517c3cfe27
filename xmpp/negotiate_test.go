package xmpp

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/memnet"
)

func TestLogin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, u := testAcceptor()
		a.Features = []string{"<sm xmlns='urn:xmpp:sm:3'/>"}
		c := connect(t, a, Insecure)
		c.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+plainAuth, "< "+success, "> "+hello, "< "+header)
		c.play("< " + strings.Replace(bindFeatures, "</stream:features>", "<sm xmlns='urn:xmpp:sm:3'/></stream:features>", 1))
		c.play("> <iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			"< <iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
			">  \n <r xmlns='urn:xmpp:sm:3'/>", "< <r xmlns='urn:xmpp:sm:3'/>", "> "+closeTag, "< "+closeTag, "EOF")
		if got := strings.Join(u.notes, "; "); got != "plain juliet example.com; succeeded juliet example.com" {
			t.Error(got)
		}
	})
}

// All in one packet, byte by byte, and with a declaration missing: clients do.
func TestLoginInPieces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		c := connect(t, a, Insecure)
		for _, b := range []byte(hello + plainAuth + strings.TrimPrefix(hello, "<?xml version='1.0'?>") + "<presence/>" + closeTag) {
			c.send(string(b))
		}
		c.play("< "+header, "< "+plainFeatures, "< "+success, "< "+header, "< "+bindFeatures, "< <presence/>", "< "+closeTag, "EOF")

		c = connect(t, a, Insecure)
		c.send(hello + plainAuth + hello + "<presence/>" + closeTag)
		c.play("< "+header, "< "+plainFeatures, "< "+success, "< "+header, "< "+bindFeatures, "< <presence/>", "< "+closeTag, "EOF")
	})
}

func TestStreamHeader(t *testing.T) {
	stream := func(attrs string) string {
		return "<stream:stream " + attrs + " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	}
	for _, c := range []struct{ name, in, condition, text string }{
		{"namespace", "<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://wrong.namespace.example.org/'>", "invalid-namespace", ""},
		{"content namespace", "<stream:stream to='example.com' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", "invalid-namespace", "the content namespace of clients is jabber:client"},
		{"no content namespace", "<stream:stream to='example.com' version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>", "invalid-namespace", "the content namespace of clients is jabber:client"},
		{"name", "<stream:steam to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "bad-format", "a stream begins with &lt;stream:stream&gt;"},
		{"no namespace", "<stream>", "invalid-namespace", ""},
		{"prefix", "<stream:stream to='example.com' version='1.0' xmlns='jabber:client'>", "bad-namespace-prefix", "the prefix stream is not bound"},
		{"version 0.9", stream("to='example.com' version='0.9'"), "unsupported-version", ""},
		{"version 2.0", stream("to='example.com' version='2.0'"), "unsupported-version", ""},
		{"version 11.0", stream("to='example.com' version='11.0'"), "unsupported-version", ""},
		{"version x", stream("to='example.com' version='x'"), "unsupported-version", ""},
		{"no version", stream("to='example.com'"), "unsupported-version", ""},
		{"no to", stream("version='1.0'"), "improper-addressing", "the attribute to is missing or malformed"},
		{"bad to", stream("version='1.0' to='a b'"), "improper-addressing", "the attribute to is missing or malformed"},
		{"other host", stream("version='1.0' to='example.org'"), "host-unknown", ""},
		{"syntax", "<stream:stream a a>", "not-well-formed", "an attribute without a value"},
		{"HTTP", "GET / HTTP/1.1\r\n", "not-well-formed", "text before the stream header"},
		{"TLS", "\x16\x03\x01\x00\xa5\x01", "not-well-formed", "text before the stream header"},
		{"DTD", "<!DOCTYPE stream []>", "restricted-xml", "a comment or declaration"},
		{"entity", "<stream:stream to='&x;'>", "restricted-xml", "a reference to an entity that is not predefined"},
		{"encoding", "<?xml version='1.0' encoding='UTF-16'?>" + stream("to='example.com' version='1.0'"), "unsupported-encoding", "an encoding other than UTF-8"},
		{"bytes", "<stream:stream to='\xff'>", "unsupported-encoding", "not UTF-8"},
		{"size", "<stream:stream to='" + strings.Repeat("x", 20000), "policy-violation", "more bytes than allowed"},
		{"message", hello + "<message/>", "not-authorized", ""},
		{"presence", hello + "<presence/>", "not-authorized", ""},
		{"iq-auth", hello + "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>", "not-authorized", ""},
		{"unknown", hello + "<x xmlns='y'/>", "unsupported-stanza-type", ""},
		{"text", hello + "hello", "bad-format", "text between elements"},
		{"comment", hello + "<!-- x -->", "restricted-xml", "a comment or declaration"},
		{"instruction", hello + "<?x y?>", "restricted-xml", "a processing instruction"},
		{"mismatch", hello + "<a><b></a>", "not-well-formed", "end tag does not match its start tag"},
		{"prefix inside", hello + "<x:y/>", "bad-namespace-prefix", "the prefix x is not bound"},
		{"depth", hello + strings.Repeat("<a>", 100), "policy-violation", "elements nested deeper than allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := connect(t, a, StartTLS)
				p.play("> "+c.in, "< "+header)
				if strings.HasPrefix(c.in, hello) {
					p.play("< " + tlsFeatures)
				}
				p.play("< "+streamErrorXML(c.condition, c.text), "> "+closeTag, "EOF")
				p.conn.Close()
			})
		})
	}
}

func TestStreamHeaderVariants(t *testing.T) {
	for name, c := range map[string]struct{ in, header string }{
		"minor version": {strings.Replace(hello, "'1.0' xmlns", "'1.7' xmlns", 1), header},
		"capital host":  {strings.Replace(hello, "example.com", "EXAMPLE.COM.", 1), header},
		"second host":   {strings.Replace(hello, "example.com", "example.net", 1), strings.Replace(header, "example.com", "example.net", 1)},
		"from":          {strings.Replace(hello, "to=", "from='Juliet@example.com/x' to=", 1), strings.Replace(header, " version='1.0' xml", " to='juliet@example.com' version='1.0' xml", 1)},
		"prefix":        {strings.NewReplacer("stream:stream", "s:stream", "xmlns:stream", "xmlns:s").Replace(hello), header},
		"default":       {"<stream to='example.com' version='1.0' xmlns='http://etherx.jabber.org/streams'>", header},
		"blanks":        {" \n" + hello + "\n", header},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := connect(t, a, StartTLS)
				p.play("> "+c.in, "< "+c.header, "< "+tlsFeatures)
				p.conn.Close()
			})
		})
	}
}

func TestSecondStreamHeader(t *testing.T) {
	for name, c := range map[string]struct{ in, condition, text string }{
		"other host":   {strings.Replace(hello, "example.com", "example.net", 1), "not-authorized", "authenticated for another domain"},
		"other user":   {strings.Replace(hello, "to=", "from='romeo@example.com' to=", 1), "invalid-from", ""},
		"no user":      {strings.Replace(hello, "to=", "from='@' to=", 1), "invalid-from", ""},
		"no header":    {"<presence>", "invalid-namespace", ""},
		"unknown host": {strings.Replace(hello, "example.com", "example.org", 1), "host-unknown", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := connect(t, a, Insecure)
				p.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+plainAuth, "< "+success,
					"> "+c.in, "< "+header, "< "+streamErrorXML(c.condition, c.text), "> "+closeTag, "EOF")
			})
		})
	}
}

func TestPeerEnds(t *testing.T) {
	for name, steps := range map[string][]string{
		"closes":       {"> " + hello, "< " + header, "< " + tlsFeatures, "> " + closeTag, "< " + closeTag, "EOF"},
		"empty stream": {"> " + strings.Replace(hello, ">", "/>", 2)[:len(hello)], "< " + header},
		"sends error":  {"> " + hello, "< " + header, "< " + tlsFeatures, "> <stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "< " + closeTag, "> " + closeTag, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := connect(t, a, StartTLS)
				p.play(steps...)
				p.conn.Close()
			})
		})
	}
}

// Who does not authenticate in time is told so, whatever he did before.
func TestAuthTimeout(t *testing.T) {
	for name, steps := range map[string][]string{
		"silent":          {"after 30s", "< " + header},
		"half a header":   {"> <stream:stream", "after 30s", "< " + header},
		"after a header":  {"> " + hello, "< " + header, "< " + plainFeatures, "after 30s"},
		"within SASL":     {"> " + hello, "< " + header, "< " + plainFeatures, "> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "< <challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "after 30s"},
		"blanks":          {"> " + hello, "< " + header, "< " + plainFeatures, "after 29s", "> \n", "after 1s"},
		"after SASL":      {"> " + hello, "< " + header, "< " + plainFeatures, "> " + plainAuth, "< " + success, "after 30s", "< " + header},
		"slowly answered": {"after 29s", "> " + hello, "< " + header, "< " + plainFeatures, "after 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := connect(t, a, Insecure)
				start := time.Now()
				p.play(steps...)
				p.play("< " + streamErrorXML("connection-timeout", ""))
				if d := time.Since(start); d != 30*time.Second {
					t.Errorf("after %v", d)
				}
				p.eof() // however long the peer says nothing
				if d := time.Since(start); d > 40*time.Second {
					t.Errorf("gone after %v", d)
				}
			})
		})
	}
}

func TestStartTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		states := make(chan *tls.ConnectionState, 1)
		a.Serve = serveOnce(func(s *Stream) { states <- s.TLS() })
		p := connect(t, a, StartTLS)
		p.play("> "+hello, "< "+header, "< "+tlsFeatures, "> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n", "< <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		c := tls.Client(p.conn, clientTLS())
		p = newClient(t, c)
		p.play("> "+hello, "< "+header)
		const want = `<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism>` +
			`<mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>` +
			`<mechanism>PLAIN</mechanism></mechanisms><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>` +
			`<channel-binding type='tls-exporter'/><channel-binding type='tls-server-end-point'/></sasl-channel-binding></stream:features>`
		p.play("< "+want, "> "+plainAuth, "< "+success, "> "+hello, "< "+header, "< "+bindFeatures, "< "+closeTag, "> "+closeTag, "EOF")
		if s := <-states; s == nil || s.Version != tls.VersionTLS13 {
			t.Errorf("TLS state %v", s)
		}
	})
}

// What stands behind <starttls/> in the clear is never read as if it had come under TLS.
func TestStartTLSInjection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, u := testAcceptor()
		p := connect(t, a, StartTLS)
		p.play("> "+hello, "< "+header, "< "+tlsFeatures, "> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"+hello+plainAuth,
			"< <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"+closeTag, "> "+closeTag, "EOF")
		if len(u.notes) > 0 {
			t.Error(u.notes)
		}
	})
}

func TestStartTLSRefused(t *testing.T) {
	const startTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	const refusal = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + closeTag
	bubble(t, func(t *testing.T) { // no certificate
		a, _ := testAcceptor()
		a.TLS = nil
		p := connect(t, a, Insecure)
		p.play("> "+hello, "< "+header, "< "+strings.Replace(plainFeatures, startTLS, "", 1), "> "+startTLS, "< "+refusal, "> "+closeTag, "EOF")
	})
	bubble(t, func(t *testing.T) { // twice
		a, _ := testAcceptor()
		server, clientSide := memnet.Pipe(room)
		go a.Handle(t.Context(), server, DirectTLS)
		p := newClient(t, tls.Client(clientSide, clientTLS("xmpp-client")))
		p.play("> "+hello, "< "+header)
		p.until("</stream:features>")
		p.play("> "+startTLS, "< "+refusal, "> "+closeTag, "EOF")
	})
	bubble(t, func(t *testing.T) { // no TLS behind it
		a, _ := testAcceptor()
		p := connect(t, a, StartTLS)
		p.play("> "+hello, "< "+header, "< "+tlsFeatures, "> "+startTLS, "< <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "> "+hello)
		for p.more() == nil {
		}
		synctest.Wait()
		if all, _ := a.Count(); all != 0 {
			t.Error("the connection is still there")
		}
	})
}

func TestDirectTLS(t *testing.T) {
	for name, c := range map[string]struct {
		protocols []string
		ok        bool
	}{
		"ALPN": {[]string{"xmpp-client"}, true}, "none": {nil, true}, "HTTP": {[]string{"h2", "http/1.1"}, false}, "server": {[]string{"xmpp-server"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				server, clientSide := memnet.Pipe(room)
				go a.Handle(t.Context(), server, DirectTLS)
				conn := tls.Client(clientSide, clientTLS(c.protocols...))
				err := conn.Handshake()
				if (err == nil) != c.ok {
					t.Fatalf("handshake: %v", err)
				}
				if err == nil {
					p := newClient(t, conn)
					p.play("> "+hello, "< "+header)
					p.until("<mechanism>PLAIN</mechanism>")
				}
				clientSide.Close()
			})
		})
	}
}

// A configuration that is reloaded counts for the next connection.
func TestTLSReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		current := &tls.Config{Certificates: []tls.Certificate{certificate()}, MaxVersion: tls.VersionTLS12}
		a.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current, nil }}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS12, tls.VersionTLS13} {
			if version == tls.VersionTLS13 {
				cert := certificate()
				current = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
			}
			server, clientSide := memnet.Pipe(room)
			go a.Handle(t.Context(), server, DirectTLS)
			conn := tls.Client(clientSide, clientTLS("xmpp-client"))
			p := newClient(t, conn)
			p.play("> "+hello, "< "+header)
			features := p.until("</stream:features>")
			if v := conn.ConnectionState().Version; v != version {
				t.Errorf("version %x, want %x", v, version)
			}
			if !strings.Contains(features, "'tls-server-end-point'") || strings.Contains(features, "'tls-exporter'") != (version == tls.VersionTLS13) || strings.Contains(features, "'tls-unique'") != (version == tls.VersionTLS12) {
				t.Error(features)
			}
			clientSide.Close()
		}
	})
}
