package simple

import (
	"net/netip"
	"testing"
	"time"

	"pharos/pidf"
	"pharos/sip"
)

func publishOut(user string) out {
	return out{method: "PUBLISH", to: user, lines: "Event: presence\r\n", body: doc(user, "open", "x"), ctype: pidf.Type}
}

// RFC 7616 and RFC 8760: every algorithm, with and without qop.
func TestDigest(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		for i, alg := range []string{"MD5", "SHA-256", "SHA-512-256", "-"} {
			for j, noQOP := range []bool{false, true} {
				p := w.phone("alice", netip.AddrPortFrom(netip.MustParseAddr("192.0.2.20"), uint16(5000+10*i+j)).String())
				p.algorithm, p.noQOP = alg, noQOP
				p.want(200, publishOut("alice"))
			}
		}
	})
}

// MD5 first, all with one nonce: what JsSIP, SIP.js and libpurple need.
func TestChallenge(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		o := publishOut("alice")
		o.noAuth = true
		m := p.want(401, o)
		cs := m.Challenges(sip.HWWWAuthenticate)
		if len(cs) != 3 || cs[0].Algorithm != "MD5" || cs[1].Algorithm != "SHA-256" || cs[2].Algorithm != "SHA-512-256" {
			t.Fatalf("challenges %+v", cs)
		}
		for _, c := range cs {
			if c.Realm != domain || c.Nonce != cs[0].Nonce || c.QOP != "auth" || c.Stale {
				t.Errorf("challenge %+v", c)
			}
		}
		p.agent = "baresip v1.0.0 (x86_64/linux)"
		o = publishOut("alice")
		o.noAuth = true
		if cs = p.want(401, o).Challenges(sip.HWWWAuthenticate); len(cs) != 1 || cs[0].Algorithm != "MD5" {
			t.Errorf("baresip got %+v", cs)
		}
	})
}

// Nobody acts as another.
func TestIdentity(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		// bob's presence, under alice's name and under his.
		p.want(403, publishOut("bob"))
		o := publishOut("bob")
		o.from = "sip:bob@example.com"
		p.want(403, o)
		o = publishOut("alice")
		o.from = "sip:bob@example.com"
		p.want(403, o)
		o.from = "sip:anonymous@anonymous.invalid"
		p.want(403, o)
		o.from = "tel:+4912345"
		p.want(403, o)
		o.from = "sip:Alice@Example.com"
		p.want(200, o)
		p.want(403, out{method: "REGISTER", to: "bob", lines: "Contact: <sip:alice@192.0.2.10>\r\n"})
		p.want(403, out{method: "REGISTER", to: "bob", from: "sip:bob@example.com", lines: "Contact: <sip:alice@192.0.2.10>\r\n"})
		p.want(403, out{method: "MESSAGE", to: "bob", from: "sip:carol@example.com"})

		p.password = "wrong"
		if m := p.want(401, publishOut("alice")); m.Challenges(sip.HWWWAuthenticate)[0].Stale {
			t.Error("a wrong password is not a stale nonce")
		}
		stranger := w.phone("nobody", "192.0.2.13:5060")
		stranger.want(401, publishOut("nobody"))
	})
}

// A right password with a nonce that is too old, and with one for something else.
func TestStaleNonce(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.want(200, publishOut("alice"))
		o := publishOut("alice")
		p.defaults(&o)
		// One nonce serves several requests and methods (Linphone, libpurple).
		if m := p.send(o, p.credentials(domain, p.nonce, "MD5", o.method, o.uri)); m.Status != 200 {
			t.Errorf("nonce used again: %d", m.Status)
		}
		// A digest made for another URI (RFC 7616 §3.4.6).
		o = publishOut("alice")
		p.defaults(&o)
		if m := p.send(o, p.credentials(domain, p.nonce, "MD5", o.method, "sip:bob@example.com")); m.Status != 400 {
			t.Errorf("digest for another URI: %d", m.Status)
		}
		// sipp's: for the address that it was pointed at.
		for _, uri := range []string{"sip:192.0.2.1:5060", "sip:[2001:db8::1]:5060", "sip:2001:db8::1:5060"} {
			if m := p.send(o, p.credentials(domain, p.nonce, "MD5", o.method, uri)); m.Status != 200 {
				t.Errorf("digest for the server's address, %s: %d", uri, m.Status)
			}
		}
		time.Sleep(48 * time.Hour)
		o = publishOut("alice")
		p.defaults(&o)
		m := p.send(o, p.credentials(domain, p.nonce, "MD5", o.method, o.uri))
		if m.Status != 401 || !m.Challenges(sip.HWWWAuthenticate)[0].Stale {
			t.Errorf("old nonce: %s", m.Append(nil))
		}
	})
}

// Who guesses has to wait.
func TestThrottle(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.password = "guess"
		for range 200 {
			m := p.do(publishOut("alice"))
			if m.Status == 503 {
				if get(m, sip.HRetryAfter) == "" {
					t.Error("no Retry-After")
				}
				return
			}
			if m.Status != 401 {
				t.Fatalf("got %d", m.Status)
			}
		}
		t.Error("200 guesses and no end")
	})
}

// RFC 3325: a trusted proxy's word, and only a trusted one's.
func TestTrusted(t *testing.T) {
	c := Config{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.99/32")}}
	inWorld(t, c, func(w *world) {
		pbx, other := w.phone("alice", "192.0.2.99:5060"), w.phone("alice", "192.0.2.98:5060")
		o := publishOut("alice")
		o.noAuth = true
		pbx.want(200, o)
		other.want(401, o)
		o = publishOut("alice")
		o.noAuth = true
		o.lines += "P-Asserted-Identity: <tel:+4912345>, \"Alice\" <sip:alice@example.com>\r\n"
		pbx.want(200, o)
		o = publishOut("alice")
		o.noAuth = true
		o.lines += "P-Asserted-Identity: <sip:bob@example.com>\r\n"
		pbx.want(403, o)
		// What does not exist, does not for a proxy either.
		o = publishOut("nobody")
		o.from, o.noAuth = "sip:nobody@example.com", true
		pbx.want(404, o)
		// A watcher of another domain, as a PBX's own.
		pbx.want(200, out{method: "SUBSCRIBE", to: "alice", from: "sip:100@pbx.example.org", noAuth: true,
			lines: "Event: presence\r\nContact: <sip:100@192.0.2.99>\r\n"})
		if n := pbx.got(); len(n) != 1 || n[0].To().URI != "sip:100@pbx.example.org" {
			t.Errorf("got %v", texts(n))
		}
		o = out{method: "REGISTER", noAuth: true, lines: "Contact: <sip:alice@192.0.2.99>\r\n"}
		pbx.want(200, o)
	})
}

// Proxy-Authorization answers as well.
func TestProxyAuthorization(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.want(200, publishOut("alice"))
		o := publishOut("alice")
		p.defaults(&o)
		auth := p.credentials("other.example.org", p.nonce, "MD5", o.method, o.uri) + "Proxy-" + p.credentials(domain, p.nonce, "MD5", o.method, o.uri)
		if m := p.send(o, auth); m.Status != 200 {
			t.Errorf("got %d", m.Status)
		}
	})
}
