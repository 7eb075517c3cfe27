package simple

import (
	"strings"
	"testing"

	"pharos/pidf"
)

// What RFC 3261 §8.2.3 and RFC 5621 ask of bodies.
func TestBodies(t *testing.T) {
	const event, register = "Event: presence\r\n", "Contact: <sip:alice@192.0.2.10>\r\n"
	const contact = event + register
	body := doc("alice", "open", "x")
	part := func(ctype, extra, body string) string {
		return "--b\r\nContent-Type: " + ctype + "\r\n" + extra + "\r\n" + body + "\r\n"
	}
	const optional = "Content-Disposition: render;handling=optional\r\n"
	for _, c := range []struct {
		name   string
		o      out
		status int
		want   string
	}{
		{"a wish nobody understands", out{method: "SUBSCRIBE", lines: contact, body: "<x/>", ctype: "application/x-wish+xml"}, 415, "Accept: application/simple-filter+xml"},
		{"a filter that is none", out{method: "SUBSCRIBE", lines: contact, body: "<filter-set/>", ctype: "application/simple-filter+xml"}, 400, "not filter-set"},
		{"a wish that may be ignored", out{method: "SUBSCRIBE", lines: contact + optional, body: "<x/>", ctype: "application/x-wish+xml"}, 200, "Allow-Events: presence"},
		{"REGISTER with a body", out{method: "REGISTER", lines: register, body: "x", ctype: "application/x-thing"}, 415, "Accept: \r\n"},
		{"REGISTER with one that may be ignored", out{method: "REGISTER", lines: register + optional, body: "x", ctype: "application/x-thing"}, 200, ""},
		{"OPTIONS with a body", out{method: "OPTIONS", body: "v=0\r\n", ctype: "application/sdp"}, 200, "Accept-Language: en"},
		{"identity", out{lines: event + "Content-Encoding: Identity\r\n", body: body, ctype: pidf.Type}, 200, ""},
		{"disposition", out{lines: event + "Content-Disposition: render;handling=required\r\n", body: body, ctype: pidf.Type}, 200, ""},
		{"unknown disposition", out{lines: event + "Content-Disposition: icon\r\n", body: body, ctype: pidf.Type}, 415, "Accept: application/pidf+xml"},
		{"document that may be ignored", out{lines: event + "Content-Disposition: icon;handling=optional\r\n", body: body, ctype: pidf.Type}, 400, ""},
		{"mixed", out{lines: event, body: part(pidf.Type, "", body) + part("image/png", optional, "x") + "--b--\r\n", ctype: "multipart/mixed;boundary=b"}, 200, ""},
		{"mixed with what is not understood", out{lines: event, body: part(pidf.Type, "", body) + part("image/png", "", "x") + "--b--\r\n", ctype: "multipart/mixed;boundary=b"}, 415, "multipart/mixed"},
		{"two documents", out{lines: event, body: part(pidf.Type, "", body) + part(pidf.Type, "", body) + "--b--\r\n", ctype: "multipart/mixed;boundary=b"}, 400, ""},
		{"alternative", out{lines: event, body: part("text/plain", "", "here") + part(pidf.Type, "", body) + part("image/png", "", "x") + "--b--\r\n", ctype: "multipart/alternative;boundary=\"b\""}, 200, ""},
		{"two alternatives", out{lines: event, body: part(pidf.Type, "", doc("alice", "closed", "old")) + part(pidf.Type, "", body) + "--b--\r\n", ctype: "multipart/alternative;boundary=\"b\""}, 200, ""},
		{"alternative of nothing", out{lines: event, body: part("text/plain", "", "here") + part("image/png", "", "x") + "--b--\r\n", ctype: "multipart/alternative;boundary=b"}, 415, "Accept: application/pidf+xml"},
		{"multipart without end", out{lines: event, body: part(pidf.Type, "", body), ctype: "multipart/mixed;boundary=b"}, 400, "Malformed Multipart Body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
				bob.subscribe("alice", 600)
				bob.got()
				if c.o.method == "" {
					c.o.method = "PUBLISH"
				}
				m := alice.want(c.status, c.o)
				if !strings.Contains(string(m.Append(nil)), c.want) {
					t.Errorf("no %q in\n%s", c.want, m.Append(nil))
				}
				if c.o.method != "PUBLISH" {
					return
				}
				told := bob.got()
				if c.status != 200 && len(told) != 0 || c.status == 200 && (len(told) != 1 || !strings.Contains(told[0].Body, "<note>x</note>")) {
					t.Errorf("told %v", texts(told))
				}
			})
		})
	}
}

// A Contact may bring header fields, a request-URI has none (RFC 3261 §19.1.1).
func TestRequestURI(t *testing.T) {
	for contact, want := range map[string]string{
		"sip:a@b":                    "sip:a@b",
		"sip:a@b;x=y?Subject=z":      "sip:a@b;x=y",
		"sip:a?b@c:5070;transport=t": "sip:a?b@c:5070;transport=t",
		"sip:%61?b@c?d=e":            "sip:%61?b@c",
		"sip:%3b@c?d=e":              "sip:%3b@c",
	} {
		if got := requestURI(contact); got != want {
			t.Errorf("%s: %s, want %s", contact, got, want)
		}
	}
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.register(t, "Contact: <"+bob.contact+"?Route=%3Csip:192.0.2.66%3E>\r\n")
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "x", ctype: "text/plain"})
		if m := bob.one(); m.URI != bob.contact {
			t.Errorf("MESSAGE %s", m.URI)
		}
		target := bob.contact
		bob.contact += "?Subject=x"
		bob.subscribe("alice", 600)
		if m := bob.one(); m.URI != target {
			t.Errorf("NOTIFY %s", m.URI)
		}
	})
}
