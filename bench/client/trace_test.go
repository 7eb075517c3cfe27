package client

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	var tr Trace
	if tr.String() != "" {
		t.Errorf("%q", tr)
	}
	for i := range MaxSteps + 3 {
		tr.Note("NOTIFY", netip.MustParseAddrPort("192.0.2.1:5060"), i)
	}
	s := tr.String()
	if len(tr) != MaxSteps || strings.Count(s, ";") != MaxSteps {
		t.Errorf("%d steps: %s", len(tr), s)
	}
	if first, last := strings.Index(s, " NOTIFY 192.0.2.1 3;"), strings.Index(s, fmt.Sprintf(" NOTIFY 192.0.2.1 %d;", MaxSteps+2)); first < 0 || last < first || strings.Contains(s, " 2;") {
		t.Errorf("not the last in order: %s", s)
	}
}
