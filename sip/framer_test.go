package sip

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// frames feeds the stream in pieces and notes messages as they are and pings as "ping".
func frames(f *Framer, pieces ...string) (got []string, err error) {
	for _, p := range pieces {
		f.Feed([]byte(p))
		for {
			msg, ping, err := f.Next()
			if err != nil {
				return got, err
			}
			if ping {
				got = append(got, "ping")
			} else if msg != nil {
				got = append(got, string(msg))
			} else {
				break
			}
		}
	}
	return got, nil
}

func TestFramer(t *testing.T) {
	stream := "\r\n\r\n" + subscribe + "\r\n" + publish + "\r\n\r\n\r\n\r\n" + notify + ok200 + "\r\n"
	expect := []string{"ping", subscribe, publish, "ping", "ping", notify, ok200}
	check := func(t testing.TB, got []string, err error) {
		t.Helper()
		if err != nil || strings.Join(got, "|") != strings.Join(expect, "|") {
			t.Fatalf("%v: %q", err, got)
		}
	}
	t.Run("at once", func(t *testing.T) {
		got, err := frames(new(Framer), stream)
		check(t, got, err)
	})
	t.Run("octet by octet", func(t *testing.T) {
		got, err := frames(new(Framer), strings.Split(stream, "")...)
		check(t, got, err)
	})
	t.Run("in any pieces", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			var pieces []string
			for s := stream; s != ""; {
				n := rapid.IntRange(1, len(s)).Draw(t, "n")
				pieces, s = append(pieces, s[:n]), s[n:]
			}
			got, err := frames(new(Framer), pieces...)
			if err != nil || strings.Join(got, "|") != strings.Join(expect, "|") {
				t.Fatalf("%v: %q", err, got)
			}
		})
	})
	t.Run("from a reader", func(t *testing.T) {
		f, r := new(Framer), iotest.HalfReader(strings.NewReader(stream))
		var got []string
		for {
			_, err := f.ReadOnce(r)
			more, ferr := frames(f, "")
			if got = append(got, more...); ferr != nil {
				t.Fatal(ferr)
			}
			if err != nil {
				break
			}
		}
		check(t, got, nil)
		want(t, "rest", f.Buffered(), 2) // half a ping, or a pong
	})
}

func TestFramerLength(t *testing.T) {
	head := "MESSAGE sip:a@h SIP/2.0\r\n"
	for _, c := range []struct {
		name, lines, body string
		status            int
	}{
		{"long form", "Content-Length: 5\r\n", "a\r\n\r\n", 0},
		{"compact form", "l:5\r\n", "a\r\n\r\n", 0},
		{"any case and blanks", "cONTENT-lENGTH \t:  5 \r\n", "12345", 0},
		{"folded", "Content-Length:\r\n 5\r\n", "12345", 0},
		{"one in the body", "Content-Length: 5\r\n", "l:9\r\n", 0},
		{"behind another c", "Contact: <sip:c@h>\r\nl: 5\r\n", "12345", 0},
		{"folded look-alike", "Subject: x\r\n l: 9\r\nl: 5\r\n", "12345", 0},
		{"missing", "Subject: x\r\n", "", 400},
		{"negative", "Content-Length: -1\r\n", "", 400},
		{"text", "Content-Length: five\r\n", "", 400},
		{"empty", "Content-Length:\r\n", "", 400},
		{"two", "Content-Length: 0\r\nl: 5\r\n", "", 400},
		{"two that agree", "Content-Length: 0\r\nl: 0\r\n", "", 400},
		{"too large", "Content-Length: 65535\r\n", "", 513},
		{"huge", "Content-Length: 99999999999999999999\r\n", "", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := new(Framer)
			got, err := frames(f, head+c.lines+"\r\n"+c.body)
			if c.status == 0 {
				if err != nil || len(got) != 1 || got[0] != head+c.lines+"\r\n"+c.body {
					t.Fatalf("%v: %q", err, got)
				}
				return
			}
			var e *ParseError
			if !errors.As(err, &e) || e.Status != c.status {
				t.Fatalf("%v: %q", err, got)
			}
			if _, _, again := f.Next(); again != err {
				t.Errorf("not final: %v", again)
			}
		})
	}
}

// TestFramerAnswerable: what has no length can still be answered before the close.
func TestFramerAnswerable(t *testing.T) {
	_, err := frames(new(Framer), optionsWith())
	var e *ParseError
	if !errors.As(err, &e) || !e.Answerable() || e.Message.CallID() != "x" || e.Status != 400 {
		t.Fatalf("%+v", err)
	}
}

func TestFramerLimits(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		max, status  int
	}{
		{"endless head", "X: " + strings.Repeat("y", MaxHead), 0, 513},
		{"large head", "X: " + strings.Repeat("y", MaxHead) + "\r\n\r\n", 0, 513},
		{"own limit on the head", "X: " + strings.Repeat("y", 1000), 500, 513},
		{"own limit on all", "X: y\r\nl: 490\r\n\r\n", 500, 513},
		{"own limit reached", "X: y\r\nl: 482\r\n\r\n", 500, 0},
	} {
		got, err := frames(&Framer{Max: c.max}, c.stream)
		var e *ParseError
		if errors.As(err, &e) != (c.status != 0) || e != nil && e.Status != c.status || len(got) > 0 {
			t.Errorf("%s: %v %q", c.name, err, got)
		}
	}
}

// TestFramerLetsGo: an idle connection does not hold what a large message took.
func TestFramerLetsGo(t *testing.T) {
	f := new(Framer)
	big := "MESSAGE sip:a@h SIP/2.0\r\nl: 50000\r\n\r\n" + strings.Repeat("x", 50000)
	if got, err := frames(f, big); err != nil || len(got) != 1 {
		t.Fatal(err)
	}
	if _, err := f.ReadOnce(bytes.NewReader([]byte("\r\n"))); err != nil {
		t.Fatal(err)
	}
	want(t, "small", cap(f.buf) < 8192, true)
}

func BenchmarkFramer(b *testing.B) {
	f := new(Framer)
	in := []byte(subscribe)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		f.Feed(in)
		if msg, _, err := f.Next(); err != nil || len(msg) != len(in) {
			b.Fatal(err)
		}
	}
}
