package sip

import (
	"strings"
	"testing"
)

const briefAnswer = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef;rport=5060\r\n" +
	"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\nCall-ID: c\r\nCSeq: 7 NOTIFY\r\nContent-Length: 0\r\n\r\n"

func TestBriefly(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		ok       bool
	}{
		"plain":              {"", "", true},
		"compact":            {"Via:", "v :", false}, // a blank before the colon is left to Parse
		"compact names":      {"Via:", "V:", true},
		"several Vias":       {"\r\nFrom", "\r\nVia: SIP/2.0/UDP other;branch=z9hG4bKother\r\nFrom", true},
		"no end":             {"0\r\n\r\n", "0\r\n", false},
		"folded":             {"NOTIFY\r\n", "NOTIFY\r\n \r\n", false},
		"folded Via":         {";rport", "\r\n ;rport", false},
		"another class":      {"200 OK", "404 Not Found", false},
		"provisional":        {"200 OK", "180 Ringing", false},
		"no number":          {"CSeq: 7", "CSeq: x", false},
		"too large a number": {"CSeq: 7", "CSeq: 4294967296", false},
		"CR alone":           {"NOTIFY", "NOT\rIFY", false},
		"LF alone":           {"tag=1\r\n", "tag=1\n", false},
		"no Via":             {"Via", "X", false},
		"broken Via":         {"SIP/2.0/UDP", "SIP/2.0", false},
	} {
		text := briefAnswer
		if c.from != "" {
			text = strings.Replace(text, c.from, c.to, 1)
		}
		status, via, method, ok := briefly([]byte(text))
		if ok != c.ok {
			t.Errorf("%s: %v", name, ok)
		}
		if ok && (status != 200 || via.Branch != "z9hG4bK0123456789abcdef" || method != "NOTIFY") {
			t.Errorf("%s: %d, %+v, %s", name, status, via, method)
		}
	}
}

// What is read briefly of a good message is what Parse reads.
func FuzzBriefly(f *testing.F) {
	f.Add([]byte(briefAnswer))
	f.Add([]byte(strings.ToUpper(briefAnswer)))
	f.Add([]byte(strings.Replace(briefAnswer, "Via: ", "v:\t", 1)))
	f.Add([]byte("SIP/2.0 299 \r\nCSeq: 1 A\r\nVia: SIP/2.0/TCP h\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, via, method, ok := briefly(b)
		m, err := Parse(b)
		if !ok || err != nil {
			return
		}
		if m.Status != status || m.Method != method || m.Via() != via {
			t.Errorf("%d %s %+v, Parse: %d %s %+v", status, method, via, m.Status, m.Method, m.Via())
		}
	})
}

// A response that is read briefly ends its request like any other, once, and only its own.
func TestRequestBrief(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{NextHop: toPhone, Brief: true})
		got := p.want("NOTIFY ")
		answer := reply(got, 200)
		for _, forged := range []string{
			strings.Replace(answer, "192.0.2.1:5060;", "192.0.2.2:5060;", 1), // RFC 3261 §18.1.2
			strings.Replace(answer, " NOTIFY\r\n", " OPTIONS\r\n", 1),
			strings.Replace(answer, MagicCookie, MagicCookie+"0", 1),
		} {
			if forged == answer {
				t.Fatal("not forged")
			}
			p.send(forged)
		}
		if len(ended) > 0 {
			t.Fatal("a forged response was taken")
		}
		p.send(answer)
		w.wantOutcome(ended, 200, nil)
		p.send(answer)
		if s := w.stack.Stats(); s.Outstanding != 0 || s.Responses != 1 || len(ended) > 0 {
			t.Errorf("%+v", s)
		}
		refused := w.ask(OutRequest{NextHop: toPhone, Brief: true})
		p.send(reply(p.want("NOTIFY "), 481))
		w.wantOutcome(refused, 481, nil)
	})
}
