package story

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"pharos/sip"
)

// A phone that was not answered in time sends its SUBSCRIBE to the other servers too, and all of them take the dialog over at
// the same time, from the one that has it: each number is sent once, and none after a higher one.
func TestTakenTwice(t *testing.T) {
	inWorld(t, "taken", `# taken: two servers take a dialog over from a third
servers 3
actors alice sip   bob sip
alice publishes open
`, 3, func(t *testing.T, w *world) {
		act := func(text string) string {
			t.Helper()
			w.do(text)
			var got []string
			for _, e := range w.drain("bob") {
				got = append(got, e.String())
				if m, err := sip.Parse([]byte(e.raw)); err == nil && m.Method == "NOTIFY" {
					got[len(got)-1] += fmt.Sprintf(" CSeq %d", m.CSeq())
				}
			}
			return strings.Join(got, "\n")
		}
		for _, l := range []string{"alice and bob are friends", "alice lives at server 1", "bob goes to server 2", "alice publishes open", "bob subscribes alice"} {
			act(l)
		}
		p := w.phones["bob"]
		sub, err := p.dialog(w.address("alice"), "")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			var wg sync.WaitGroup
			for k := range 3 {
				at := w.nodes[(i+k)%3].at(sipPort)
				wg.Go(func() {
					if err := p.resubscribeAt(sub, "3600", net.UDPAddrFromAddrPort(at).String()); err != nil {
						t.Error(err)
					}
				})
			}
			got := act(fmt.Sprintf("alice modifies open note=while%d", i)) + "\n"
			wg.Wait()
			settle(between)
			got += act(fmt.Sprintf("alice modifies open note=after%d", i))
			if strings.Contains(got, "cseq-") || strings.Contains(got, "stray") || !strings.Contains(got, fmt.Sprintf("note=after%d", i)) {
				t.Errorf("%d: bob got\n%s", i, got)
			}
		}
	})
}
