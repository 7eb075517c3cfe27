package sip

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const subscribe = "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.17:5060;rport;branch=z9hG4bKPj3e2f2b0c9a7d4a5f8f5d;alias\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Alice\" <sip:alice@example.com>;tag=8d6a1f2f7c5b4f0a\r\n" +
	"To: <sip:bob@example.com>\r\n" +
	"Contact: <sip:alice@192.0.2.17:5060;ob>\r\n" +
	"Call-ID: 5e3f0c4fa9b14d0e8a1f7e0c1ad9f2b3\r\n" +
	"CSeq: 21764 SUBSCRIBE\r\n" +
	"Event: presence\r\n" +
	"Expires: 600\r\n" +
	"Supported: replaces, 100rel, timer, norefersub, trickle-ice\r\n" +
	"Accept: application/pidf+xml, application/xpidf+xml\r\n" +
	"Allow-Events: presence, dialog, message-summary, refer\r\n" +
	"User-Agent: PJSUA/v2.17-dev Linux\r\n" +
	"Content-Length:  0\r\n\r\n"

const pidf = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
	`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:alice@example.com">` +
	`<tuple id="t4109"><status><basic>open</basic></status><contact priority="0.8">sip:alice@example.com</contact>` +
	`<note>on the phone</note></tuple><dm:person id="p4159"><rpid:activities><rpid:on-the-phone/></rpid:activities>` +
	`</dm:person></presence>` + "\n"

var publish = "PUBLISH sip:alice@example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/TCP 192.0.2.17:41022;branch=z9hG4bK.fS1DhEn7t;rport\r\n" +
	"From: <sip:alice@example.com>;tag=tz0CcRy3\r\n" +
	"To: sip:alice@example.com\r\n" +
	"CSeq: 20 PUBLISH\r\n" +
	"Call-ID: NkbPqiWKcQ\r\n" +
	"Max-Forwards: 70\r\n" +
	"Event: presence\r\n" +
	"Expires: 3600\r\n" +
	"SIP-If-Match: 6a1f8e7c\r\n" +
	"User-Agent: Linphone/5.1.65\r\n" +
	"Content-Type: application/pidf+xml\r\n" +
	fmt.Sprintf("Content-Length: %d\r\n\r\n", len(pidf)) + pidf

var notify = "NOTIFY sip:alice@192.0.2.17:5060;ob SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1f0c4a9b14d0e8a1\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: <sip:bob@example.com>;tag=a1f7e0c1ad\r\n" +
	"To: \"Alice\" <sip:alice@example.com>;tag=8d6a1f2f7c5b4f0a\r\n" +
	"Contact: <sip:192.0.2.1:5060>\r\n" +
	"Call-ID: 5e3f0c4fa9b14d0e8a1f7e0c1ad9f2b3\r\n" +
	"CSeq: 7 NOTIFY\r\n" +
	"Event: presence\r\n" +
	"Subscription-State: active;expires=599\r\n" +
	"Content-Type: application/pidf+xml\r\n" +
	fmt.Sprintf("Content-Length: %d\r\n\r\n", len(pidf)) + pidf

const ok200 = "SIP/2.0 200 OK\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1f0c4a9b14d0e8a1;received=192.0.2.1\r\n" +
	"From: <sip:bob@example.com>;tag=a1f7e0c1ad\r\n" +
	"To: \"Alice\" <sip:alice@example.com>;tag=8d6a1f2f7c5b4f0a\r\n" +
	"Call-ID: 5e3f0c4fa9b14d0e8a1f7e0c1ad9f2b3\r\n" +
	"CSeq: 7 NOTIFY\r\n" +
	"Content-Length: 0\r\n\r\n"

func TestParse(t *testing.T) {
	for _, s := range []string{subscribe, publish, notify, ok200} {
		m, err := Parse([]byte(s))
		if err != nil {
			t.Fatalf("%v: %s", err, s)
		}
		rebuilt(t, m)
	}
	m, _ := Parse([]byte(subscribe))
	want(t, "request", m.IsRequest(), true)
	want(t, "method", m.Method, "SUBSCRIBE")
	want(t, "cseq", m.CSeq(), 21764)
	want(t, "from", m.From(), Address{"Alice", "sip:alice@example.com", ";tag=8d6a1f2f7c5b4f0a"})
	want(t, "via", m.Via(), Via{"UDP", "192.0.2.17", 5060, "z9hG4bKPj3e2f2b0c9a7d4a5f8f5d",
		";rport;branch=z9hG4bKPj3e2f2b0c9a7d4a5f8f5d;alias"})
	sec, ok, err := m.Seconds(HExpires)
	want(t, "expires", sec, 600)
	want(t, "expires ok", ok && err == nil, true)
	want(t, "supported", strings.Join(m.Values(HSupported), "|"), "replaces|100rel|timer|norefersub|trickle-ice")
	m, _ = Parse([]byte(ok200))
	want(t, "request", m.IsRequest(), false)
	want(t, "status", m.Status, 200)
	want(t, "reason", m.Reason, "OK")
	want(t, "method", m.Method, "NOTIFY")
}

// optionsWith builds an OPTIONS with lines in place of, or besides, the usual ones.
func optionsWith(lines ...string) string {
	usual := []string{
		"Via: SIP/2.0/UDP h.example.com;branch=z9hG4bK1", "From: <sip:a@example.com>;tag=1",
		"To: <sip:b@example.com>", "Call-ID: x", "CSeq: 1 OPTIONS",
	}
	s := "OPTIONS sip:b@example.com SIP/2.0\r\n"
next:
	for _, u := range usual {
		name, _, _ := strings.Cut(u, ":")
		for _, l := range lines {
			if n, _, _ := strings.Cut(l, ":"); strings.EqualFold(n, name) {
				continue next
			}
		}
		s += u + "\r\n"
	}
	for _, l := range lines {
		if l != "" {
			s += l + "\r\n"
		}
	}
	return s + "\r\n"
}

func TestParseRefuses(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name       string
		msg        string
		status     int
		answerable bool
	}{
		{"empty", "", 400, false},
		{"blank lines only", "\r\n\r\n\r\n", 400, false},
		{"no header end", strings.TrimSuffix(optionsWith(), "\r\n"), 400, true},
		{"http", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, false},
		{"bare line feeds", strings.ReplaceAll(optionsWith(), "\r\n", "\n"), 400, false},
		{"one bare line feed", optionsWith("Subject: a\nX: b"), 400, true},
		{"bare carriage return", optionsWith("Subject: a\rb"), 400, true},
		{"NUL", optionsWith("Subject: a\x00b"), 400, true},
		{"DEL", optionsWith("Subject: a\x7fb"), 400, true},
		{"unquoted NUL behind two backslashes", optionsWith(`Subject: a\\` + "\x00b"), 400, true},
		{"no colon", optionsWith("Subject"), 400, true},
		{"no name", optionsWith(": x"), 400, true},
		{"blank in name", optionsWith("Sub ject: x"), 400, true},
		{"version 1.0", strings.Replace(optionsWith(), "SIP/2.0\r\n", "SIP/1.0\r\n", 1), 505, true},
		{"version 3", strings.Replace(optionsWith(), "SIP/2.0\r\n", "SIP/3\r\n", 1), 400, true},
		{"no version", strings.Replace(optionsWith(), " SIP/2.0\r\n", "\r\n", 1), 400, true},
		{"bad method", strings.Replace(optionsWith(), "OPTIONS ", "OPT@IONS ", 1), 400, true},
		{"bad uri", strings.Replace(optionsWith(), "sip:b@", "sip:b b@", 1), 400, true},
		{"ACK is never answered", strings.ReplaceAll(optionsWith("Subject"), "OPTIONS", "ACK"), 400, false},
		{"unreadable method, CSeq ACK", strings.Replace(optionsWith("CSeq: 1 ACK"), "OPTIONS ", "", 1), 400, false},
		{"no Via", strings.Replace(optionsWith(), "Via:", "X-Via:", 1), 400, false},
		{"Via without host", optionsWith("Via: SIP/2.0/UDP ;branch=z9hG4bK1"), 400, false},
		{"Via port", optionsWith("Via: SIP/2.0/UDP h:70000;branch=z9hG4bK1"), 400, false},
		{"Via protocol", optionsWith("Via: SIP/2.0 h;branch=z9hG4bK1"), 400, false},
		{"no From", strings.Replace(optionsWith(), "From:", "X-From:", 1), 400, true},
		{"no To", strings.Replace(optionsWith(), "To:", "X-To:", 1), 400, true},
		{"no Call-ID", strings.Replace(optionsWith(), "Call-ID:", "X-Call-ID:", 1), 400, true},
		{"no CSeq", strings.Replace(optionsWith(), "CSeq:", "X-CSeq:", 1), 400, true},
		{"empty From", optionsWith("From:"), 400, true},
		{"From is a list", optionsWith("From: <sip:a@example.com>;tag=1, <sip:c@example.com>"), 400, true},
		{"From without URI", optionsWith("From: Alice"), 400, true},
		{"From star", optionsWith("From: *"), 400, true},
		{"From bracket", optionsWith("From: <sip:a@example.com;tag=1"), 400, true},
		{"From trailing", optionsWith("From: <sip:a@example.com> x"), 400, true},
		{"To parameter", optionsWith("To: <sip:a@example.com>;;tag=1"), 400, true},
		{"empty Call-ID", optionsWith("Call-ID:"), 400, true},
		{"two words Call-ID", optionsWith("Call-ID: a b"), 400, true},
		{"CSeq without method", optionsWith("CSeq: 1"), 400, true},
		{"CSeq negative", optionsWith("CSeq: -1 OPTIONS"), 400, true},
		{"CSeq 2^32", optionsWith("CSeq: 4294967296 OPTIONS"), 400, true},
		{"CSeq method case", optionsWith("CSeq: 1 options"), 400, true},
		{"Max-Forwards text", optionsWith("Max-Forwards: many"), 400, true},
		{"Max-Forwards 256", optionsWith("Max-Forwards: 256"), 400, true},
		{"two From, long and compact", optionsWith("From: <sip:a@example.com>;tag=1", "f: <sip:a@example.com>;tag=1"), 400, true},
		{"two Events", optionsWith("Event: presence", "o: presence"), 400, true},
		{"two Expires", optionsWith("Expires: 1", "Expires: 1"), 400, true},
		{"Content-Length text", optionsWith("Content-Length: five"), 400, true},
		{"Content-Length plus", optionsWith("Content-Length: +0"), 400, true},
		{"Content-Length empty", optionsWith("Content-Length:"), 400, true},
		{"Content-Length too large", optionsWith("Content-Length: 1"), 400, true},
		{"Content-Length huge", optionsWith("Content-Length: 99999999999999999999999"), 400, true},
		{"too many lines", optionsWith(strings.Repeat("X: y\r\n", MaxHeaders) + "X: y"), 400, true},
		{"long line", optionsWith("X: " + strings.Repeat("y", MaxLine)), 400, true},
		{"long head", optionsWith(strings.Repeat("X: "+long+"\r\n", MaxHead/2000+1) + "X: y"), 513, true},
		{"status 99", strings.Replace(ok200, "200", "99", 1), 400, false},
		{"status 0200", strings.Replace(ok200, "200", "0200", 1), 400, false},
		{"status 700", strings.Replace(ok200, "200", "700", 1), 400, false},
		{"response version", strings.Replace(ok200, "SIP/2.0", "SIP/2.1", 1), 505, false},
		{"response without Via", strings.Replace(ok200, "Via:", "X-Via:", 1), 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.msg))
			var e *ParseError
			if !errors.As(err, &e) {
				t.Fatalf("accepted: %.200q", m.raw)
			}
			if e.Status != c.status || e.Answerable() != c.answerable {
				t.Errorf("%d %q, answerable %v; want %d, %v", e.Status, e.Reason, e.Answerable(), c.status, c.answerable)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, c := range []struct{ name, msg string }{
		{"plain", optionsWith()},
		{"leading line ends", "\r\n\r\n" + optionsWith()},
		{"lower case version", strings.Replace(optionsWith(), "SIP/2.0\r\n", "sip/2.0\r\n", 1)},
		{"blanks before the colon", optionsWith("Content-Length \t :  \t0")},
		{"no Content-Length", optionsWith("")},
		{"UTF-8", optionsWith("Subject: été", `From: "Ünal" <sip:a@example.com>;tag=1`)},
		{"unquoted display name with more than tokens", optionsWith("From: J. O'Neil (work) / é <sip:a@example.com>;tag=1")},
		{"tab", optionsWith("Subject: a\tb")},
		{"as many lines as may be", optionsWith(strings.Repeat("X: y\r\n", MaxHeaders-7) + "X: y")},
		{"no Max-Forwards", optionsWith("")},
		{"no reason and no blank", strings.Replace(ok200, " OK", "", 1)},
		{"malformed header nobody needs", optionsWith("Contact: <<<", "Date: never", "Retry-After: soon")},
		{"several Contacts", optionsWith("Contact: <sip:a@h>", "m: <sip:b@h>")},
		{"several Authorizations", optionsWith(`Authorization: Digest realm="a"`, `Authorization: Digest realm="b"`)},
		{"tel From", optionsWith("From: <tel:+1-201-555-0123>;tag=1")},
		{"CSeq at its largest", optionsWith("CSeq: 4294967295 OPTIONS")},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.msg))
			if err != nil {
				t.Fatal(err)
			}
			rebuilt(t, m)
		})
	}
}

func TestParseBody(t *testing.T) {
	body := "a\x00b\r\n\r\nc\xff"
	head := strings.TrimSuffix(optionsWith("Content-Type: x/y"), "\r\n")
	for _, c := range []struct{ length, rest, want string }{
		{"Content-Length: 9\r\n", body, body},
		{"l:9\r\n", body + "noise", body},
		{"", body, body},
		{"Content-Length: 0\r\n", body, ""},
	} {
		m, err := Parse([]byte(head + c.length + "\r\n" + c.rest))
		if err != nil {
			t.Fatal(err)
		}
		want(t, c.length, m.Body, c.want)
	}
}

func TestParseFolded(t *testing.T) {
	m, err := Parse([]byte(optionsWith("Subject: one\r\n\t two  \r\n  \"three  four\"\r\n \r\n ", "X:\r\n y")))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := m.Get(HSubject)
	want(t, "subject", v, `one two "three  four"`)
	v, _ = m.GetName("x")
	want(t, "x", v, "y")
	want(t, "call-id", m.CallID(), "x")
	// A folded body is no fold.
	m, err = Parse([]byte(optionsWith("X: a\r\n b") + "line\r\n other"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "body", m.Body, "line\r\n other")
}

func TestParseCopies(t *testing.T) {
	b := []byte(subscribe)
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	want(t, "call-id", m.CallID(), "5e3f0c4fa9b14d0e8a1f7e0c1ad9f2b3")
	want(t, "method", m.Method, "SUBSCRIBE")
}

func TestParseTooLarge(t *testing.T) {
	b := []byte(optionsWith("Content-Type: x/y") + strings.Repeat("x", MaxMessage))
	_, err := Parse(b)
	var e *ParseError
	if !errors.As(err, &e) || e.Status != 513 || !e.Answerable() || e.Message.CallID() != "x" {
		t.Fatalf("%+v", err)
	}
}

func benchmarkParse(b *testing.B, s string) {
	msg := []byte(s)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseSubscribe(b *testing.B) { benchmarkParse(b, subscribe) }
func BenchmarkParsePublish(b *testing.B)   { benchmarkParse(b, publish) }
func BenchmarkParseNotify(b *testing.B)    { benchmarkParse(b, notify) }
func BenchmarkParse200(b *testing.B)       { benchmarkParse(b, ok200) }
