package sip

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tortureMessages reads a file of testdata in the conventions of RFC 4475 §2.
func tortureMessages(t testing.TB, file string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[string][]byte)
	parts := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n==== ")
	for _, part := range parts[1:] { // the first is the introduction
		name, body, _ := strings.Cut(part, "\n")
		messages[name] = expandTorture(t, body+"\n")
	}
	return messages
}

var (
	oneLine = regexp.MustCompile(`(?s)<allOneLine>\n(.*?)\n</allOneLine>`)
	repeat  = regexp.MustCompile(`<repeat count=(\d+)>([^<]*)</repeat>`)
	octets  = regexp.MustCompile(`(?s)<hex>(.*?)</hex>`)
)

func expandTorture(t testing.TB, s string) []byte {
	// The octets are put in last, behind the line ends, as they may be any.
	s = octets.ReplaceAllStringFunc(s, func(m string) string {
		return "<hex>" + strings.Join(strings.Fields(octets.FindStringSubmatch(m)[1]), "") + "</hex>"
	})
	s = oneLine.ReplaceAllStringFunc(s, func(m string) string {
		return strings.ReplaceAll(oneLine.FindStringSubmatch(m)[1], "\n", "")
	})
	s = repeat.ReplaceAllStringFunc(s, func(m string) string {
		g := repeat.FindStringSubmatch(m)
		n, _ := strconv.Atoi(g[1])
		return strings.Repeat(g[2], n)
	})
	s = strings.ReplaceAll(s, "\n", "\r\n")
	s = octets.ReplaceAllStringFunc(s, func(m string) string {
		b, err := hex.DecodeString(octets.FindStringSubmatch(m)[1])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	})
	return []byte(s)
}

// Who decides a torture message. The parser accepts what is decided above it,
// and gives that layer what it needs, which the check proves.
type layer string

const (
	parser_     layer = "parser"
	reader      layer = "header reader" // whoever reads that header field
	transaction layer = "transaction"
	userAgent   layer = "user agent"
	registrar   layer = "registrar"
)

type tortureCase struct {
	name    string
	section string
	parse   int   // status of the ParseError; 0 when the parser accepts
	drop    bool  // a response that is thrown away, or an answer that cannot be given
	answer  int   // what is answered in the end, when an error; 0 otherwise
	by      layer // who answers
	check   func(t *testing.T, m *Message)
}

func runTorture(t *testing.T, file string, cases []tortureCase) {
	messages := tortureMessages(t, file)
	if len(messages) != len(cases) {
		t.Errorf("%d messages in %s, %d cases", len(messages), file, len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, ok := messages[c.name]
			if !ok {
				t.Fatal("no such message")
			}
			m, err := Parse(b)
			if c.parse == 0 {
				if err != nil {
					t.Fatalf("§%s: refused: %v", c.section, err)
				}
				rebuilt(t, m)
			} else {
				var e *ParseError
				if !errors.As(err, &e) {
					t.Fatalf("§%s: accepted, want %d", c.section, c.parse)
				}
				if e.Status != c.parse || e.Answerable() == c.drop {
					t.Fatalf("§%s: %d %s, answerable %v; want %d, dropped %v",
						c.section, e.Status, e.Reason, e.Answerable(), c.parse, c.drop)
				}
				if c.by != parser_ || c.answer != c.parse && !c.drop {
					t.Fatalf("§%s: the table contradicts itself", c.section)
				}
				m = e.Message
			}
			if c.check != nil {
				c.check(t, m)
			} else if c.by != parser_ {
				t.Fatalf("§%s: nothing shown for the layer above", c.section)
			}
		})
	}
}

// rebuilt checks that a message written again says the same.
func rebuilt(t testing.TB, m *Message) {
	t.Helper()
	again, err := Parse(m.Append(nil))
	if err != nil {
		t.Fatalf("rebuilt message refused: %v", err)
	}
	if again.Method != m.Method || again.URI != m.URI || again.Status != m.Status || again.Reason != m.Reason ||
		again.Body != m.Body || again.From() != m.From() || again.To() != m.To() ||
		again.CallID() != m.CallID() || again.CSeq() != m.CSeq() || again.Via() != m.Via() {
		t.Fatalf("rebuilt message differs:\n%q\n%q", m.raw, again.raw)
	}
	type line struct {
		h    Header
		name string
		v    string
	}
	lines := func(m *Message) (ls []line) {
		for n, v := range m.Headers() {
			if h := LookupHeader(n); h == Other {
				ls = append(ls, line{h, n, v})
			} else if h != HContentLength {
				ls = append(ls, line{h, "", v})
			}
		}
		return ls
	}
	a, b := lines(m), lines(again)
	if len(a) != len(b) {
		t.Fatalf("rebuilt message has %d lines, had %d", len(b), len(a))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("rebuilt line %v, had %v", b[i], a[i])
		}
	}
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func mustURI(t testing.TB, s string) URI {
	t.Helper()
	u, err := ParseURI(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return u
}

// wholeBody checks that Content-Length is the body's length.
func wholeBody(t *testing.T, m *Message) {
	t.Helper()
	n, ok, err := m.Seconds(HContentLength)
	if !ok || err != nil || int(n) != len(m.Body) {
		t.Errorf("Content-Length %d, body %d", n, len(m.Body))
	}
}
