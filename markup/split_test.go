package markup

import "testing"

func TestFirstElement(t *testing.T) {
	for in, want := range map[string]int{
		"<a/><b/>": 4, " <a/>": 5, "<a><a></a></a>x": 14, "<a": 0, "": 0, "  ": 0, "x": 0, "</a>": 0,
		"<a b='>'/>": 10, "<a><![CDATA[</a>]]></a><b>": 23, presenceStanza + rosterStanza: len(presenceStanza),
	} {
		if got := FirstElement([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestDefaultDeclared(t *testing.T) {
	for _, c := range []struct {
		in   string
		end  int
		want bool
	}{
		{"<a/>", 2, false},
		{"<abc>xmlns='x'</abc>", 4, false},
		{"<a xmlns='u'/>", 2, true},
		{"<a b='1'\n\txmlns = \"u\">", 2, true},
		{"<a b=' xmlns='/>", 2, false},
		{"<a xmlns:p='u' c=''/>", 2, false},
		{"<p:a xmlns:p='u' xmlns=''/>", 4, true},
		{"<a><b xmlns='u'/></a>", 2, false},
		{"<a b='", 2, false},
	} {
		if end, got := DefaultDeclared([]byte(c.in)); end != c.end || got != c.want {
			t.Errorf("%q: %d, %v", c.in, end, got)
		}
	}
}
