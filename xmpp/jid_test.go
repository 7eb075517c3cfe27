package xmpp

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

func TestParseJID(t *testing.T) {
	long := strings.Repeat("x", 1023)
	for _, c := range []struct{ in, want string }{ // want "" means refused
		{"juliet@example.com", "juliet@example.com"},
		{"juliet@example.com/foo", "juliet@example.com/foo"},
		{"juliet@example.com/foo bar", "juliet@example.com/foo bar"},
		{"juliet@example.com/foo@bar", "juliet@example.com/foo@bar"},
		{"foo\\20bar@example.com", "foo\\20bar@example.com"},
		{"fussball@example.com", "fussball@example.com"},
		{"fu\U000000DFball@example.com", "fußball@example.com"},
		{"\U000003C0@example.com", "π@example.com"},
		{"\U000003A3@example.com/foo", "σ@example.com/foo"},
		{"\U000003C3@example.com/foo", "σ@example.com/foo"},
		{"\U000003C2@example.com/foo", "ς@example.com/foo"},
		{"king@example.com/\U0000265A", "king@example.com/♚"},
		{"example.com", "example.com"},
		{"example.com/foobar", "example.com/foobar"},
		{"a.example.com/b@example.net", "a.example.com/b@example.net"},

		{"JULIET@Example.COM/Foo", "juliet@example.com/Foo"},
		{"juliet@example.com.", "juliet@example.com"},
		{"juliet@xn--mnchen-3ya.example", "juliet@münchen.example"},
		{"juliet@MÜNCHEN.example", "juliet@münchen.example"},
		{"juliet@192.0.2.1", "juliet@192.0.2.1"},
		{"juliet@[2001:DB8:0::1]/x", "juliet@[2001:db8::1]/x"},
		{"ｊｕｌｉｅｔ@example.com", "juliet@example.com"},
		{"a@example.com/x\u00A0y", "a@example.com/x y"},
		{"a@example.com/e\u0301", "a@example.com/é"},
		{"a@b/c/d", "a@b/c/d"},
		{"localhost", "localhost"},
		{long + "@example.com", long + "@example.com"},
		{"a@example.com/" + long, "a@example.com/" + long},

		{"\"juliet\"@example.com", ""},
		{"foo bar@example.com", ""},
		{"juliet@example.com/", ""},
		{"@example.com/", ""},
		{"@example.com", ""},
		{"henry\U00002163@example.com", ""},
		{"\U0000265A@example.com", ""},
		{"juliet@", ""},
		{"/foobar", ""},
		{"", ""},
		{"@", ""},
		{"a@b@c", ""},
		{"a&b@c", ""}, {"a'b@c", ""}, {"a:b@c", ""}, {"a<b@c", ""}, {"a>b@c", ""},
		{"a＠b@c", ""}, // becomes @ by width mapping
		{"a\x00b@c", ""}, {"a@c/\x01", ""}, {"a@c/\x7f", ""}, {"\xff@c", ""}, {"a@c/\xff", ""}, {"a@\xff", ""},
		{"a@b..c", ""}, {"a@.c", ""}, {"a@-c", ""}, {"a@c-", ""}, {"a@c-.d", ""}, {"a@b_c", ""}, {"a@b c", ""}, {"a@.", ""}, {"a@b..", ""},
		{"a@xn--zz--zz--", ""}, {"a@ab--cd", ""},
		{"a@[::1", ""}, {"a@[1.2.3.4]", ""}, {"a@[fe80::1%eth0]", ""}, {"a@::1", ""},
		{"a@" + strings.Repeat("x", 64) + ".com", ""},
		{"a@" + strings.Repeat("x.", 600) + "com", ""},
		{long + "x@example.com", ""},
		{"a@example.com/" + long + "x", ""},
	} {
		j, err := ParseJID(c.in)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%.50q: accepted as %q", c.in, j)
		case c.want == "" && !errors.Is(err, ErrMalformedJID):
			t.Errorf("%.50q: %v", c.in, err)
		case c.want != "" && err != nil:
			t.Errorf("%.50q: %v", c.in, err)
		case c.want != "" && j.String() != c.want:
			t.Errorf("%.50q: got %q, want %q", c.in, j, c.want)
		}
	}
}

func TestJIDParts(t *testing.T) {
	j, err := ParseJID("a@b.c/d")
	if err != nil {
		t.Fatal(err)
	}
	if (j != JID{"a", "b.c", "d"}) || j.Bare() != (JID{Local: "a", Domain: "b.c"}) || j.Clone() != j || j.IsZero() || !(JID{}).IsZero() {
		t.Errorf("%#v", j)
	}
	for _, p := range []func(string) (string, error){PrepLocal, PrepResource, PrepDomain} {
		if _, err := p(""); !errors.Is(err, ErrMalformedJID) {
			t.Errorf("an empty part: %v", err)
		}
	}
}

// The fast paths decide as the tables of PRECIS and IDNA do.
func TestJIDFastPaths(t *testing.T) {
	for c := byte(0); c < 0x80; c++ {
		s := "x" + string(rune(c)) + "y"
		if localBytes[c] {
			if p, err := prepare(precis.UsernameCaseMapped, s); err != nil || p != s {
				t.Errorf("local %q: %q, %v", s, p, err)
			}
		}
		if resourceBytes[c] {
			if p, err := prepare(precis.OpaqueString, s); err != nil || p != s {
				t.Errorf("resource %q: %q, %v", s, p, err)
			}
		}
	}
	for _, s := range []string{"a", "a.b", "1.2.3.4", "a-b.c", "abc-d", "a-b1-3.x", strings.Repeat("x", 63) + ".y"} {
		a, err := domains.ToASCII(s)
		if !plainDomain(s) || err != nil || a != s {
			t.Errorf("domain %q: %q, %v", s, a, err)
		}
	}
}

func FuzzJID(f *testing.F) {
	for _, s := range []string{"a@b/c", "Σ@MÜNCHEN.example./ x", "[::1]", "a@[::1]/b", "xn--mnchen-3ya", "ｊ@ｂ。c", "\u0345@x", "a@b/\u1fb3\u0345"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := ParseJID(s)
		if err != nil {
			return
		}
		again, err := ParseJID(j.String())
		if err != nil || again != j {
			t.Fatalf("%q: %#v became %#v, %v", s, j, again, err)
		}
		for _, p := range []string{j.Local, j.Domain, j.Resource} {
			if len(p) > maxPart || !utf8.ValidString(p) {
				t.Fatalf("%q: a bad part %q", s, p)
			}
		}
		if j.Domain == "" || strings.ContainsAny(j.Local, "\"&'/:<>@ ") {
			t.Fatalf("%q: %#v", s, j)
		}
	})
}

func BenchmarkParseJID(b *testing.B) {
	for _, s := range []string{"juliet@example.com/balcony", "Jülia@münchen.example/Bälkon"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseJID(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
