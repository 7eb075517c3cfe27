package pidf

import (
	"strings"
	"testing"
)

func TestCarry(t *testing.T) {
	const to = "sip:alice@example.com"
	for _, c := range []struct{ name, in, want string }{
		{"double quotes", `<presence xmlns="urn:x" entity="pres:a@b"><x/></presence>`, `<presence xmlns="urn:x" entity="sip:alice@example.com"><x/></presence>`},
		{"single quotes and blanks", "<?xml version='1.0'?>\n<!-- <presence entity='no'> -->\n<p:presence\n entity = 'pres:a@b'\txmlns:p='urn:x'/>",
			"<?xml version='1.0'?>\n<!-- <presence entity='no'> -->\n<p:presence\n entity = 'sip:alice@example.com'\txmlns:p='urn:x'/>"},
		{"none", `<presence xmlns="urn:x"/>`, `<presence entity="sip:alice@example.com" xmlns="urn:x"/>`},
		{"none at all", `<presence/>`, `<presence entity="sip:alice@example.com"/>`},
		{"a > in a value", `<presence a="x>entity='y'" entity="z">`, `<presence a="x>entity='y'" entity="sip:alice@example.com">`},
		{"a prefixed entity", `<presence x:entity="a" entity="z">`, `<presence x:entity="a" entity="sip:alice@example.com">`},
	} {
		got, ok := Carry([]byte(c.in), to)
		if !ok || string(got) != c.want {
			t.Errorf("%s: %v %s", c.name, ok, got)
		}
	}
	same := []byte(`<presence entity="sip:alice@example.com"/>`)
	if got, ok := Carry(same, to); !ok || &got[0] != &same[0] {
		t.Error("copied without need")
	}
	if got, _ := Carry(same, `sip:"a"&b@c`); !strings.Contains(string(got), `entity="sip:&quot;a&quot;&amp;b@c"`) {
		t.Errorf("not escaped: %s", got)
	}
	for _, in := range []string{"", "x", "<", "<presence", "<presence a=b>", "<presence entity='x", "<!DOCTYPE x><presence/>", "<!-- <presence/>"} {
		if out, ok := Carry([]byte(in), to); ok {
			t.Errorf("%q carried as %q", in, out)
		}
	}
}
