package summary

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// example is RFC 3842 §5.3 with the headers of single messages behind it.
const example = "Messages-Waiting: yes\r\n" +
	"Message-Account: sip:alice@vmail.example.com\r\n" +
	"Voice-Message: 4/8 (1/2)\r\n" +
	"Fax-Message: 2/4\r\n" +
	"\r\n" +
	"To: <alice@atlanta.example.com>\r\nFrom: <bob@biloxi.example.com>\r\nSubject: carpool tomorrow?\r\n"

func TestExample(t *testing.T) {
	s, err := Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	want := &Summary{Waiting: true, Account: "sip:alice@vmail.example.com"}
	want.Counts[Voice] = Count{New: 4, Old: 8, UrgentNew: 1, UrgentOld: 2, Urgent: true, Told: true}
	want.Counts[Fax] = Count{New: 2, Old: 4, Told: true}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("got %+v", s)
	}
	if got, _, _ := strings.Cut(example, "\r\n\r\n"); string(Append(nil, s)) != got+"\r\n" {
		t.Errorf("written as %q", Append(nil, s))
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no", "Messages-Waiting: no", "Messages-Waiting: no\r\n"},
		{"other case, bare line feeds", "messages-waiting:YES\nvoice-message:1/0\n", "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n"},
		{"unknown line", "Messages-Waiting: no\r\nX-Lamp: red\r\nNone: 1/1\r\n", "Messages-Waiting: no\r\nNone: 1/1\r\n"},
		{"too large a count", "Messages-Waiting: yes\r\nText-Message: 5000000000/0 (0/0)\r\n", "Messages-Waiting: yes\r\nText-Message: 4294967295/0 (0/0)\r\n"},
		{"blanks", "Messages-Waiting : yes \r\nVoice-Message : 1 / 2 ( 0 / 1 )\r\n", "Messages-Waiting: yes\r\nVoice-Message: 1/2 (0/1)\r\n"},
	} {
		s, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := string(Append(nil, s)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const status = "Messages-Waiting: yes\r\n"
	for _, c := range []struct {
		name, text string
		err        error
	}{
		{"empty", "", ErrMalformed},
		{"blank", "\r\n", ErrMalformed},
		{"no status", "Voice-Message: 1/2\r\n", ErrMalformed},
		{"odd status", "Messages-Waiting: perhaps\r\n", ErrMalformed},
		{"no colon", status + "hello\r\n", ErrMalformed},
		{"no slash", status + "Voice-Message: 3\r\n", ErrMalformed},
		{"no number", status + "Voice-Message: a/b\r\n", ErrMalformed},
		{"negative", status + "Voice-Message: 1/-1\r\n", ErrMalformed},
		{"open bracket", status + "Voice-Message: 1/1 (0/0\r\n", ErrMalformed},
		{"control character", status + "Message-Account: sip:a\x01b\r\n", ErrMalformed},
		{"large", status + strings.Repeat("x", MaxBytes), ErrTooBig},
		{"many lines", status + strings.Repeat("A: b\n", MaxLines), ErrTooBig},
	} {
		if _, err := Parse(c.text); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}

func TestMerge(t *testing.T) {
	parse := func(text string) *Summary {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := parse("Messages-Waiting: no\r\nMessage-Account: sip:a@example.com\r\nVoice-Message: 0/4000000000\r\n")
	b := parse("Messages-Waiting: yes\r\nMessage-Account: sip:b@example.com\r\nVoice-Message: 1/4000000000 (1/0)\r\nFax-Message: 0/1\r\n")
	for _, c := range []struct {
		all  []*Summary
		want string
	}{
		{nil, "Messages-Waiting: no\r\n"},
		{[]*Summary{a}, "Messages-Waiting: no\r\nMessage-Account: sip:a@example.com\r\nVoice-Message: 0/4000000000\r\n"},
		{[]*Summary{a, b}, "Messages-Waiting: yes\r\nVoice-Message: 1/4294967295 (1/0)\r\nFax-Message: 0/1\r\n"},
	} {
		if got := string(Append(nil, Merge(c.all))); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("messages-waiting:no\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(string(Append(nil, s)))
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
	})
}
