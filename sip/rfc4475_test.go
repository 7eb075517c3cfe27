package sip

import (
	"slices"
	"strings"
	"testing"
)

// TestRFC4475 is the torture set of RFC 4475, whole: what the text of each
// section asks for, and who fulfils it.
func TestRFC4475(t *testing.T) {
	runTorture(t, "rfc4475.txt", []tortureCase{
		// §3.1.1: valid messages.
		{name: "wsinv", section: "3.1.1.1", by: parser_, check: checkWsinv},
		// An unknown method: the user agent answers 501 with Allow.
		{name: "intmeth", section: "3.1.1.2", answer: 501, by: userAgent, check: checkIntmeth},
		{name: "esc01", section: "3.1.1.3", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			u := mustURI(t, m.URI)
			want(t, "user", u.User, "sips:user@example.com")
			want(t, "host", u.Host, "example.net")
			want(t, "to", mustURI(t, m.To().URI).User, "user")
			want(t, "from", mustURI(t, m.From().URI).User, "I have spaces")
			c, _, err := m.Contact()
			cu := mustURI(t, c.URI)
			want(t, "contact", err == nil, true)
			want(t, "contact user", cu.User, "caller")
			// Unescaping is never done twice: name is "value%41", not "valueA".
			same := mustURI(t, "sip:caller@host5.example.net;lr;name=value%2541")
			other := mustURI(t, "sip:caller@host5.example.net;lr;name=valueA")
			want(t, "contact equal", cu.Equal(same), true)
			want(t, "contact equal to other", cu.Equal(other), false)
		}},
		{name: "escnull", section: "3.1.1.4", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "AOR", mustURI(t, m.To().URI).AOR(), "null-\x00-null@example.com")
			cs, star, err := m.Contacts()
			if star || err != nil || len(cs) != 2 {
				t.Fatal(cs, star, err)
			}
			a, b := mustURI(t, cs[0].URI), mustURI(t, cs[1].URI)
			want(t, "first", a.User, "\x00")
			want(t, "second", b.User, "\x00\x00")
			want(t, "equal", a.Equal(b), false)
		}},
		{name: "esc02", section: "3.1.1.5", answer: 501, by: userAgent, check: func(t *testing.T, m *Message) {
			want(t, "method", m.Method, "RE%47IST%45R")
			want(t, "display", m.To().Display, "%Z%45")
			cs, _, err := m.Contacts()
			want(t, "contacts", len(cs), 2)
			want(t, "error", err, nil)
			v, _ := m.GetName("c%6fntact")
			want(t, "unknown header", v, "<sip:alias2@host2.example.com>")
		}},
		{name: "lwsdisp", section: "3.1.1.6", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "display", m.From().Display, "caller")
			want(t, "uri", m.From().URI, "sip:caller@example.com")
			want(t, "tag", m.From().Tag(), "323")
		}},
		{name: "longreq", section: "3.1.1.7", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			want(t, "display", m.To().Display, "I have a user name of "+strings.Repeat("extreme", 10)+" proportion")
			want(t, "tag", m.From().Tag(), "12"+strings.Repeat("982", 50)+"424")
			want(t, "call-id", m.CallID(), "longreq.one"+strings.Repeat("really", 20)+"longcallid")
			vias, ok := m.Vias()
			want(t, "vias", len(vias), 34)
			want(t, "vias ok", ok, true)
			want(t, "first", vias[0].Host, "sip33.example.com")
			want(t, "last", vias[33].Branch, "very"+strings.Repeat("long", 50)+"branchvalue")
			v, _ := m.GetName("unknown-" + strings.Repeat("long", 20) + "-name")
			want(t, "long name", strings.HasPrefix(v, "unknown-longlong"), true)
		}},
		{name: "dblreq", section: "3.1.1.8", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "method", m.Method, "REGISTER")
			want(t, "body", m.Body, "")
		}},
		{name: "semiuri", section: "3.1.1.9", by: parser_, check: func(t *testing.T, m *Message) {
			u := mustURI(t, m.URI)
			want(t, "user", u.User, "user;par=u@example.net")
			want(t, "host", u.Host, "example.com")
			want(t, "accepts", len(m.Values(HAccept)), 6)
		}},
		{name: "transports", section: "3.1.1.10", by: parser_, check: func(t *testing.T, m *Message) {
			vias, ok := m.Vias()
			var ts []string
			for _, v := range vias {
				ts = append(ts, v.Transport)
			}
			want(t, "ok", ok, true)
			want(t, "transports", strings.Join(ts, " "), "UDP SCTP TLS UNKNOWN TCP")
		}},
		{name: "mpart01", section: "3.1.1.11", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			want(t, "NULs", strings.Count(m.Body, "\x00") > 0, true)
			ct, ok, err := m.ContentType()
			want(t, "type", ct.String(), "multipart/mixed")
			want(t, "type ok", ok && err == nil, true)
			b, _ := ct.Params.Get("boundary")
			want(t, "boundary", b, "7a9cbec02ceef655")
			want(t, "rport", m.Via().Params.Has("rport"), true)
			d, ok, err := m.Date()
			want(t, "date", d.Unix(), 1129351496)
			want(t, "date ok", ok && err == nil, true)
		}},
		{name: "unreason", section: "3.1.1.12", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			want(t, "status", m.Status, 200)
			want(t, "reason", m.Reason, "= 2**3 * 5**2 но сто девяносто девять - простое")
		}},
		{name: "noreason", section: "3.1.1.13", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "status", m.Status, 100)
			want(t, "reason", m.Reason, "")
		}},

		// §3.1.2: invalid messages.
		{name: "badinv01", section: "3.1.2.1", parse: 400, answer: 400, by: parser_},
		{name: "clerr", section: "3.1.2.2", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "ncl", section: "3.1.2.3", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "scalar02", section: "3.1.2.4", parse: 400, answer: 400, by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "call-id", m.CallID(), "scalar02.23o0pd9vanlq3wnrlnewofjas9ui32")
		}},
		{name: "scalarlg", section: "3.1.2.5", parse: 400, drop: true, by: parser_},
		{name: "quotbal", section: "3.1.2.6", parse: 400, answer: 400, by: parser_},
		{name: "ltgtruri", section: "3.1.2.7", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "lwsruri", section: "3.1.2.8", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "lwsstart", section: "3.1.2.9", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "trws", section: "3.1.2.10", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "escruri", section: "3.1.2.11", parse: 400, answer: 400, by: parser_, check: readable},
		// Only who needs the Date may refuse it.
		{name: "baddate", section: "3.1.2.12", by: reader, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			_, ok, err := m.Date()
			want(t, "there", ok, true)
			want(t, "error", err, ErrHeader)
		}},
		{name: "regbadct", section: "3.1.2.13", answer: 400, by: registrar, check: func(t *testing.T, m *Message) {
			_, _, err := m.Contacts()
			want(t, "error", err, ErrAddress)
		}},
		{name: "badaspec", section: "3.1.2.14", parse: 400, answer: 400, by: parser_},
		{name: "baddn", section: "3.1.2.15", parse: 400, answer: 400, by: parser_},
		{name: "badvers", section: "3.1.2.16", parse: 505, answer: 505, by: parser_, check: readable},
		{name: "mismatch01", section: "3.1.2.17", parse: 400, answer: 400, by: parser_, check: readable},
		{name: "mismatch02", section: "3.1.2.18", parse: 501, answer: 501, by: parser_, check: readable},
		{name: "bigcode", section: "3.1.2.19", parse: 400, drop: true, by: parser_},

		// §3.2: the magic cookie alone identifies nothing; the transaction
		// layer goes by RFC 2543 rules.
		{name: "badbranch", section: "3.2.1", by: transaction, check: func(t *testing.T, m *Message) {
			want(t, "branch", m.Via().Branch, MagicCookie)
			want(t, "cookie", m.Via().Cookie(), false)
		}},

		// §3.3: semantics.
		{name: "insuf", section: "3.3.1", parse: 400, answer: 400, by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "cseq", m.CSeq(), 193942)
		}},
		{name: "unkscm", section: "3.3.2", answer: 416, by: userAgent, check: func(t *testing.T, m *Message) {
			u := mustURI(t, m.URI)
			want(t, "scheme", u.Scheme, "nobodyknowsthisscheme")
			want(t, "is sip", u.IsSIP(), false)
			want(t, "opaque", u.Opaque, "totallyopaquecontent")
		}},
		{name: "novelsc", section: "3.3.3", answer: 416, by: userAgent, check: func(t *testing.T, m *Message) {
			want(t, "scheme", mustURI(t, m.URI).Scheme, "soap.beep")
		}},
		{name: "unksm2", section: "3.3.4", answer: 400, by: registrar, check: func(t *testing.T, m *Message) {
			want(t, "to", mustURI(t, m.To().URI).IsSIP(), false)
			want(t, "from", mustURI(t, m.From().URI).Scheme, "http")
			c, _, err := m.Contact()
			want(t, "contact", c.URI, "name:John_Smith")
			want(t, "error", err, nil)
		}},
		{name: "bext01", section: "3.3.5", answer: 420, by: userAgent, check: func(t *testing.T, m *Message) {
			un := m.Unsupported(HRequire, "eventlist")
			want(t, "unsupported", slices.Equal(un, []string{"nothingSupportsThis", "nothingSupportsThisEither"}), true)
		}},
		{name: "invut", section: "3.3.6", answer: 415, by: userAgent, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			ct, _, _ := m.ContentType()
			want(t, "type", ct.Is("application/unknownformat"), true)
		}},
		{name: "regaut01", section: "3.3.7", answer: 401, by: registrar, check: func(t *testing.T, m *Message) {
			cs := m.Credentials(HAuthorization)
			want(t, "credentials", len(cs), 1)
			want(t, "scheme", cs[0].Scheme, "NoOneKnowsThisScheme")
			want(t, "digest", cs[0].IsDigest(), false)
		}},
		{name: "multi01", section: "3.3.8", parse: 400, answer: 400, by: parser_},
		{name: "mcl01", section: "3.3.9", parse: 400, answer: 400, by: parser_},
		// Well-formed; who gets a response with several Vias throws it away
		// (RFC 3261 §8.1.3.3).
		{name: "bcast", section: "3.3.10", drop: true, by: transaction, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			vias, _ := m.Vias()
			want(t, "vias", len(vias), 2)
			want(t, "second", vias[1].Host, "255.255.255.255")
		}},
		// An endpoint serves it all the same.
		{name: "zeromf", section: "3.3.11", by: userAgent, check: func(t *testing.T, m *Message) {
			n, ok := m.MaxForwards()
			want(t, "there", ok, true)
			want(t, "max-forwards", n, 0)
		}},
		{name: "cparam01", section: "3.3.12", by: registrar, check: func(t *testing.T, m *Message) {
			c, _, _ := m.Contact()
			want(t, "uri", c.URI, "sip:+19725552222@gw1.example.net")
			want(t, "param", c.Params.Has("unknownparam"), true)
		}},
		{name: "cparam02", section: "3.3.13", by: registrar, check: func(t *testing.T, m *Message) {
			c, _, _ := m.Contact()
			want(t, "param", mustURI(t, c.URI).Params.Has("UnknownParam"), true)
			want(t, "header param", c.Params, "")
		}},
		{name: "regescrt", section: "3.3.14", by: registrar, check: func(t *testing.T, m *Message) {
			c, _, _ := m.Contact()
			want(t, "headers", mustURI(t, c.URI).Headers, "Route=%3Csip:sip.example.com%3E")
		}},
		{name: "sdp01", section: "3.3.15", answer: 406, by: userAgent, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			q, present := m.Acceptable("application/sdp")
			want(t, "q", q, 0)
			want(t, "present", present, true)
		}},

		// §3.4: RFC 2543 syntax.
		{name: "inv2543", section: "3.4.1", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "branch", m.Via().Branch, "")
			want(t, "tag", m.From().Tag(), "")
			_, ok := m.MaxForwards()
			want(t, "max-forwards", ok, false)
			want(t, "body", strings.HasPrefix(m.Body, "v=0\r\n") && strings.HasSuffix(m.Body, "RTP/AVP 0\r\n"), true)
			want(t, "to", m.To().URI, "sip:+16505552222@ss1.example.net")
			want(t, "to param", string(m.To().Params), ";user=phone")
			rr, err := m.Addresses(HRecordRoute)
			want(t, "record-route", len(rr) == 1 && err == nil, true)
		}},
	})
}

// readable checks that a refused request can be answered in full.
func readable(t *testing.T, m *Message) {
	t.Helper()
	if m.Via().Host == "" || m.From().URI == "" || m.To().URI == "" || m.CallID() == "" || m.first(HCSeq) == nil {
		t.Errorf("not to be answered: %+v", m)
	}
}

func checkWsinv(t *testing.T, m *Message) {
	wholeBody(t, m)
	want(t, "uri param", mustURI(t, m.URI).Params.Has("unknownparam"), true)
	want(t, "to", m.To().URI, "sip:vivekg@chair-dnrc.example.com")
	want(t, "to tag", m.To().Tag(), "1918181833n")
	want(t, "from", m.From().Display, `J Rosenberg \"`)
	want(t, "from tag", m.From().Tag(), "98asjd8")
	n, _ := m.MaxForwards()
	want(t, "max-forwards", n, 68)
	want(t, "cseq", m.CSeq(), 9)
	vias, ok := m.Vias()
	want(t, "vias", len(vias), 3)
	want(t, "vias ok", ok, true)
	want(t, "via 0", vias[0].Transport+" "+vias[0].Host+" "+vias[0].Branch, "UDP 192.0.2.2 390skdjuw")
	want(t, "via 1", vias[1].Transport+" "+vias[1].Host+" "+vias[1].Branch, "TCP spindle.example.com z9hG4bK9ikj8")
	want(t, "via 2", vias[2].Transport+" "+vias[2].Host+" "+vias[2].Branch, "UDP 192.168.255.111 z9hG4bK30239")
	s, ok := m.Get(HSubject)
	want(t, "subject", s, "")
	want(t, "subject there", ok, true)
	v, _ := m.GetName("newfangledheader")
	want(t, "folded", v, "newfangled value continued newfangled value")
	v, _ = m.GetName("UnknownHeaderWithUnusualValue")
	want(t, "unusual", v, ";;,,;;,;")
	routes, err := m.Addresses(HRoute)
	want(t, "route", err, nil)
	want(t, "route", routes[0].URI, "sip:services.example.com;lr;unknownwith=value;unknown-no-value")
	c, _, err := m.Contact()
	want(t, "contact", err, nil)
	want(t, "contact display", c.Display, `Quoted string ""`)
	p, _ := c.Params.Get("newparam")
	want(t, "contact param", p, "newvalue")
	want(t, "contact second", c.Params.Has("secondparam"), true)
	want(t, "contact q", c.Q(), 330)
}

func checkIntmeth(t *testing.T, m *Message) {
	want(t, "method", m.Method, "!interesting-Method0123456789_*+`.%indeed'~")
	u := mustURI(t, m.URI)
	want(t, "user", u.User, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
	want(t, "pass", u.Pass, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
	want(t, "host", u.Host, "example.com")
	want(t, "branch", m.Via().Branch, "z9hG4bK-.!%66*_+`'~")
	want(t, "to", m.To().Display, "BEL:\a NUL:\x00 DEL:\x7f")
	want(t, "from", m.From().Display, "token1~` token2'+_ token3*%!.-")
	p, _ := m.From().Params.Get("fromParam''~+*_!.-%")
	want(t, "from param", p, "работающий")
	want(t, "tag", m.From().Tag(), "_token~1'+`*%!-.")
	want(t, "call-id", m.CallID(), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
	want(t, "cseq", m.CSeq(), 139122385)
	n, _ := m.MaxForwards()
	want(t, "max-forwards", n, 255)
	v, _ := m.GetName("extensionHeader-!.%*+_`'~")
	want(t, "extension", v, "\ufeff大停電")
}
