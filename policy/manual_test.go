package policy

import (
	"os"
	"strings"
	"testing"

	"pharos/presence"
)

// The worked example of the manual decides as its table says.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```xml\n")
	doc, rest, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no example in docs/rules.md")
	}
	p := CompileRules(1, presence.Confirm, parsed(t, doc, nil), nil)
	rows := 0
	for line := range strings.SplitSeq(rest, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.Contains(cells[1], "@") {
			continue
		}
		rows++
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		user, domain, _ := strings.Cut(cells[1], "@")
		d := presence.Decide(p, alice, entity(user, domain), presence.Circumstances{Sphere: cells[2]})
		if d.Class.Handling.String() != cells[3] || d.Rule != cells[4] || strings.Join(d.Class.Hides(), "; ") != cells[5] {
			t.Errorf("%s\nis %s by %s, not shown: %s", line, d.Class.Handling, d.Rule, strings.Join(d.Class.Hides(), "; "))
		}
	}
	if rows != 6 {
		t.Errorf("%d rows", rows)
	}
	// What XMPP does to it leaves it as it is.
	out := spliced(t, doc, Change{Block: []string{"eve@example.net"}, Approve: []presence.Entity{eve}})
	if back := spliced(t, out, Change{Unblock: []string{"eve@example.net"}, Withdraw: []presence.Entity{eve}}); back != doc {
		t.Errorf("spliced there and back:\n%s", back)
	}
}
