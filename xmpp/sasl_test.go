package xmpp

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"pharos/memnet"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestSASLErrors: each fault, the failure that names it, and that another try is allowed.
func TestSASLErrors(t *testing.T) {
	auth := func(mechanism, data string) string {
		return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + data + "</auth>"
	}
	response := func(data string) string {
		return "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + data + "</response>"
	}
	const empty = "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	const first = "n,,n=juliet,r=abc"
	// final answers the server's challenge with a proof that cannot be right.
	final := func(change func(nonce string) string) func(string) string {
		return func(challenge string) string {
			_, data, _ := strings.Cut(challenge, ">")
			data, _, _ = strings.Cut(data, "<")
			b, err := base64.StdEncoding.DecodeString(data)
			if err != nil {
				t.Fatal(err)
			}
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(b), "r="), ",")
			return response(b64(change(nonce)))
		}
	}
	proof := strings.Repeat("A", 27) + "="
	for _, c := range []struct {
		name, in  string
		challenge string // wanted in between, "*" for any
		answer    func(challenge string) string
		want      saslError
	}{
		{name: "no mechanism", in: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", want: invalidMechanism},
		{name: "unknown mechanism", in: auth("DIGEST-MD5", ""), want: invalidMechanism},
		{name: "plus without TLS", in: auth("SCRAM-SHA-1-PLUS", b64(first)), want: invalidMechanism},
		{name: "encoding", in: auth("PLAIN", "AGp1bGll*"), want: incorrectEncoding},
		{name: "line end in base64", in: auth("PLAIN", "AGp1bGlldA\nByMG0zMG15cjBtMzA="), want: incorrectEncoding},
		{name: "padding", in: auth("PLAIN", "AGp1bGlldAByMG0zMG15cjBtMzA"), want: incorrectEncoding},
		{name: "password", in: auth("PLAIN", b64("\x00juliet\x00wrong")), want: notAuthorized},
		{name: "user", in: auth("PLAIN", b64("\x00romeo\x00wrong")), want: notAuthorized},
		{name: "impossible user", in: auth("PLAIN", b64("\x00ro meo\x00wrong")), want: notAuthorized},
		{name: "user elsewhere", in: auth("PLAIN", b64("\x00juliet@example.net\x00wrong")), want: notAuthorized},
		{name: "authzid", in: auth("PLAIN", b64("romeo@example.com\x00juliet\x00"+secret)), want: invalidAuthzid},
		{name: "authzid with resource", in: auth("PLAIN", b64("juliet@example.com/x\x00juliet\x00"+secret)), want: invalidAuthzid},
		{name: "bad authzid", in: auth("PLAIN", b64("@\x00juliet\x00"+secret)), want: invalidAuthzid},
		{name: "plain with two parts", in: auth("PLAIN", b64("juliet\x00"+secret)), want: malformedRequest},
		{name: "plain with four parts", in: auth("PLAIN", b64("\x00juliet\x00a\x00b")), want: malformedRequest},
		{name: "plain without password", in: auth("PLAIN", b64("\x00juliet\x00")), want: malformedRequest},
		{name: "plain without user", in: auth("PLAIN", b64("\x00\x00x")), want: malformedRequest},
		{name: "plain not UTF-8", in: auth("PLAIN", b64("\x00juliet\x00\xff")), want: malformedRequest},
		{name: "plain empty", in: auth("PLAIN", "="), want: malformedRequest},
		{name: "abort", in: auth("PLAIN", ""), challenge: empty, answer: func(string) string { return "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" }, want: aborted},
		{name: "auth within", in: auth("PLAIN", ""), challenge: empty, answer: func(string) string { return auth("PLAIN", "") }, want: malformedRequest},
		{name: "response encoding", in: auth("PLAIN", ""), challenge: empty, answer: func(string) string { return response("*") }, want: incorrectEncoding},
		{name: "response empty", in: auth("PLAIN", ""), challenge: empty, answer: func(string) string { return response("") }, want: malformedRequest},
		{name: "stray response", in: response(""), want: malformedRequest},
		{name: "stray abort", in: "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", want: malformedRequest},

		{name: "scram garbage", in: auth("SCRAM-SHA-1", b64("hello")), want: malformedRequest},
		{name: "scram empty", in: auth("SCRAM-SHA-1", "="), want: malformedRequest},
		{name: "scram flag", in: auth("SCRAM-SHA-1", b64("x,,n=juliet,r=abc")), want: malformedRequest},
		{name: "scram binding without plus", in: auth("SCRAM-SHA-1", b64("p=tls-unique,,n=juliet,r=abc")), want: malformedRequest},
		{name: "scram without user", in: auth("SCRAM-SHA-1", b64("n,,r=abc")), want: malformedRequest},
		{name: "scram empty user", in: auth("SCRAM-SHA-1", b64("n,,n=,r=abc")), want: malformedRequest},
		{name: "scram bad escape", in: auth("SCRAM-SHA-1", b64("n,,n=a=b,r=abc")), want: malformedRequest},
		{name: "scram without nonce", in: auth("SCRAM-SHA-1", b64("n,,n=juliet")), want: malformedRequest},
		{name: "scram empty nonce", in: auth("SCRAM-SHA-1", b64("n,,n=juliet,r=")), want: malformedRequest},
		{name: "scram bad nonce", in: auth("SCRAM-SHA-1", b64("n,,n=juliet,r=a b")), want: malformedRequest},
		{name: "scram mandatory extension", in: auth("SCRAM-SHA-1", b64("n,,m=x,n=juliet,r=abc")), want: malformedRequest},
		{name: "scram authzid", in: auth("SCRAM-SHA-1", b64("n,a=romeo@example.com,n=juliet,r=abc")), want: invalidAuthzid},
		{name: "scram bad gs2", in: auth("SCRAM-SHA-1", b64("n,x=romeo,n=juliet,r=abc")), want: malformedRequest},
		{name: "scram not UTF-8", in: auth("SCRAM-SHA-1", b64("n,,n=\xff,r=abc")), want: malformedRequest},
		{name: "scram impossible user", in: auth("SCRAM-SHA-1", b64("n,,n=a b,r=abc")), want: notAuthorized},
		{name: "scram abort", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: func(string) string { return "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" }, want: aborted},
		{name: "scram no proof", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "c=biws,r=" + n }), want: malformedRequest},
		{name: "scram no binding", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "r=" + n + ",p=" + proof }), want: malformedRequest},
		{name: "scram bad binding", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "c=*,r=" + n + ",p=" + proof }), want: malformedRequest},
		{name: "scram short proof", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "c=biws,r=" + n + ",p=AAAA" }), want: malformedRequest},
		{name: "scram wrong proof", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "c=biws,r=" + n + ",p=" + proof }), want: notAuthorized},
		{name: "scram unknown user", in: auth("SCRAM-SHA-1", b64("n,,n=romeo,r=abc")), challenge: "*", answer: final(func(n string) string { return "c=biws,r=" + n + ",p=" + proof }), want: notAuthorized},
		{name: "scram wrong nonce", in: auth("SCRAM-SHA-1", b64(first)), challenge: "*", answer: final(func(n string) string { return "c=biws,r=" + n + "x,p=" + proof }), want: notAuthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, u := testAcceptor()
				p := connect(t, a, Insecure)
				p.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+c.in)
				switch c.challenge {
				case "":
				case "*":
					p.send(c.answer(p.until("</challenge>")))
				default:
					p.play("< "+c.challenge, "> "+c.answer(c.challenge))
				}
				p.play("< " + failure(string(c.want)))
				failed := strings.Contains(strings.Join(u.notes, "; "), "failed")
				if failed != (c.want == notAuthorized) {
					t.Errorf("%s was noted as %q", c.want, u.notes)
				}
				p.play("> "+plainAuth, "< "+success, "> "+hello, "< "+header, "< "+bindFeatures, "> "+closeTag, "< "+closeTag, "EOF")
			})
		})
	}
}

// Without TLS, where it is required, no mechanism works.
func TestSASLNeedsTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, u := testAcceptor()
		p := connect(t, a, StartTLS)
		p.play("> "+hello, "< "+header, "< "+tlsFeatures)
		for range 5 {
			p.play("> "+plainAuth, "< "+failure("encryption-required"))
		}
		p.play("< "+streamErrorXML("policy-violation", "too many failed attempts to authenticate"), "> "+closeTag, "EOF")
		if len(u.notes) > 0 {
			t.Error(u.notes)
		}
	})
}

func TestSASLRetries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, u := testAcceptor()
		a.Limits.MaxAuthTries = 3
		p := connect(t, a, Insecure)
		p.play("> "+hello, "< "+header, "< "+plainFeatures)
		wrong := strings.Replace(plainAuth, "AGp1", "AGp2", 1)
		for range 3 {
			p.play("> "+wrong, "< "+failure("not-authorized"))
		}
		p.play("< "+streamErrorXML("policy-violation", "too many failed attempts to authenticate"), "> "+closeTag, "EOF")
		if n := strings.Count(strings.Join(u.notes, ";"), "failed jvliet example.com"); n != 3 {
			t.Errorf("%d failures noted: %q", n, u.notes)
		}
	})
}

// What an Authenticator returns is told by its name.
func TestSASLAuthenticatorErrors(t *testing.T) {
	for err, want := range map[error]saslError{
		ErrNotAuthorized: notAuthorized, fmt.Errorf("wrapped: %w", ErrNotAuthorized): notAuthorized, ErrAccountDisabled: accountDisabled,
		ErrCredentialsExpired: credentialsExpired, ErrMechanismTooWeak: mechanismTooWeak, errors.New("no database"): temporaryAuthFailure,
	} {
		bubble(t, func(t *testing.T) {
			a, u := testAcceptor()
			u.err = err
			p := connect(t, a, Insecure)
			p.play("> "+hello, "< "+header, "< "+plainFeatures, "> "+plainAuth, "< "+failure(string(want)),
				"> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"+b64("n,,n=juliet,r=abc")+"</auth>", "< "+failure(string(want)))
			p.conn.Close()
		})
	}
}

// login by SCRAM with an implementation that is not ours.
func (c *client) scram(mechanism string, conv *xdg.ClientConversation) error {
	c.t.Helper()
	first, err := conv.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + b64(first) + "</auth>")
	for {
		answer := c.until(">")
		if strings.HasPrefix(answer, "<failure") {
			return errors.New(c.until("</failure>"))
		}
		end := strings.Replace(strings.Fields(answer)[0], "<", "</", 1) + ">"
		data, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(c.until(end), end))
		if err != nil {
			c.t.Fatal(err)
		}
		out, err := conv.Step(string(data))
		if err != nil {
			return err
		}
		if end == "</success>" {
			if !conv.Done() || !conv.Valid() {
				c.t.Error("the server's signature is missing or wrong")
			}
			return nil
		}
		c.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(out) + "</response>")
	}
}

var hashes = map[string]xdg.HashGeneratorFcn{"SCRAM-SHA-1": xdg.SHA1, "SCRAM-SHA-256": xdg.SHA256}

func xdgClient(t *testing.T, mechanism, user, password, authzid string) *xdg.Client {
	t.Helper()
	c, err := hashes[strings.TrimSuffix(mechanism, "-PLUS")].NewClientUnprepped(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScram(t *testing.T) {
	for _, mechanism := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		for _, c := range []struct {
			user, password, authzid string
			ok                      bool
		}{
			{"juliet", secret, "", true},
			{"Juliet", secret, "", true},
			{"juliet@example.com", secret, "", true},
			{"juliet", secret, "juliet@example.com", true},
			{"juliet", "wrong", "", false},
			{"romeo", secret, "", false},
			{"ju,li=et", secret, "", false},
		} {
			t.Run(fmt.Sprint(mechanism, c), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					a, u := testAcceptor()
					used := make(chan string, 1)
					a.Serve = serveOnce(func(s *Stream) { used <- s.Mechanism() + " " + s.User().String() })
					p := connect(t, a, Insecure)
					p.play("> "+hello, "< "+header, "< "+plainFeatures)
					err := p.scram(mechanism, xdgClient(t, mechanism, c.user, c.password, c.authzid).NewConversation())
					if (err == nil) != c.ok {
						t.Fatalf("%v; %q", err, u.notes)
					}
					if c.ok {
						p.play("> "+hello, "< "+header, "< "+bindFeatures)
						if got := <-used; got != mechanism+" juliet@example.com" {
							t.Error(got)
						}
					} else if !strings.Contains(err.Error(), "<not-authorized/>") {
						t.Error(err)
					}
					p.conn.Close()
				})
			})
		}
	}
}

func TestScramPlus(t *testing.T) {
	endPoint := func(s *tls.ConnectionState) (xdg.ChannelBinding, error) { return xdg.NewTLSServerEndpointBinding(s) }
	exporter := func(s *tls.ConnectionState) (xdg.ChannelBinding, error) { return xdg.NewTLSExporterBinding(s) }
	unique := func(s *tls.ConnectionState) (xdg.ChannelBinding, error) {
		return xdg.NewTLSUniqueBinding(s.TLSUnique), nil
	}
	wrong := func(*tls.ConnectionState) (xdg.ChannelBinding, error) {
		return xdg.ChannelBinding{Type: xdg.ChannelBindingTLSExporter, Data: make([]byte, 32)}, nil
	}
	unknown := func(*tls.ConnectionState) (xdg.ChannelBinding, error) {
		return xdg.ChannelBinding{Type: xdg.ChannelBindingTLSUnique, Data: make([]byte, 32)}, nil
	}
	for _, mechanism := range []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"} {
		for _, c := range []struct {
			name    string
			version uint16
			binding func(*tls.ConnectionState) (xdg.ChannelBinding, error)
			want    string
		}{
			{"exporter", tls.VersionTLS13, exporter, ""},
			{"end point", tls.VersionTLS13, endPoint, ""},
			{"end point 1.2", tls.VersionTLS12, endPoint, ""},
			{"unique 1.2", tls.VersionTLS12, unique, ""},
			{"other channel", tls.VersionTLS13, wrong, "not-authorized"},
			{"other type", tls.VersionTLS13, unknown, "not-authorized"},
			{"no exporter in 1.2", tls.VersionTLS12, wrong, "not-authorized"},
		} {
			t.Run(mechanism+" "+c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					a, _ := testAcceptor()
					server, clientSide := memnet.Pipe(room)
					go a.Handle(t.Context(), server, DirectTLS)
					config := clientTLS("xmpp-client")
					config.MaxVersion = c.version
					conn := tls.Client(clientSide, config)
					p := newClient(t, conn)
					p.play("> "+hello, "< "+header)
					if f := p.until("</stream:features>"); !strings.Contains(f, "<mechanism>"+mechanism+"</mechanism>") {
						t.Fatal(f)
					}
					state := conn.ConnectionState()
					binding, err := c.binding(&state)
					if err != nil {
						t.Fatal(err)
					}
					err = p.scram(mechanism, xdgClient(t, mechanism, "juliet", secret, "").NewConversationWithChannelBinding(binding))
					switch {
					case c.want == "" && err != nil:
						t.Error(err)
					case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
						t.Errorf("got %v, want %s", err, c.want)
					}
					if err == nil {
						p.play("> "+hello, "< "+header, "< "+bindFeatures)
					}
					clientSide.Close()
				})
			})
		}
	}
}

// A client that knows channel binding and was not shown our offer has been
// lied to by somebody in the middle (RFC 5802 §6).
func TestScramDowngrade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, u := testAcceptor()
		server, clientSide := memnet.Pipe(room)
		go a.Handle(t.Context(), server, DirectTLS)
		p := newClient(t, tls.Client(clientSide, clientTLS("xmpp-client")))
		p.play("> "+hello, "< "+header)
		p.until("</stream:features>")
		// slixmpp 1.8 binds by tls-unique whatever TLS it speaks, then asks
		// for SCRAM without as if it had not been offered, then for PLAIN.
		for _, mechanism := range []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"} {
			conv := xdgClient(t, mechanism, "juliet", secret, "").NewConversationWithChannelBinding(xdg.NewTLSUniqueBinding(make([]byte, 32)))
			if err := p.scram(mechanism, conv); err == nil || !strings.Contains(err.Error(), "not-authorized") {
				t.Errorf("got %v", err)
			}
		}
		conv := xdgClient(t, "SCRAM-SHA-256", "juliet", secret, "").NewConversationAdvertisingChannelBinding()
		if err := p.scram("SCRAM-SHA-256", conv); err == nil || !strings.Contains(err.Error(), "not-authorized") {
			t.Errorf("got %v", err)
		}
		if len(u.notes) > 0 {
			t.Errorf("counted as wrong passwords: %q", u.notes)
		}
		conv = xdgClient(t, "SCRAM-SHA-256", "juliet", secret, "").NewConversation() // one that knows nothing of it
		if err := p.scram("SCRAM-SHA-256", conv); err != nil {
			t.Error(err)
		}
		clientSide.Close()
	})
	bubble(t, func(t *testing.T) { // without TLS there was nothing to show
		a, _ := testAcceptor()
		p := connect(t, a, Insecure)
		p.play("> "+hello, "< "+header, "< "+plainFeatures)
		conv := xdgClient(t, "SCRAM-SHA-1", "juliet", secret, "").NewConversationAdvertisingChannelBinding()
		if err := p.scram("SCRAM-SHA-1", conv); err != nil {
			t.Error(err)
		}
		p.conn.Close()
	})
}
