// Package dialog keeps what happened last in a SIP dialog, for whoever looks for the reason of a breach.
package dialog

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Most is how many steps a Trace keeps.
const Most = 16

// Trace is the last steps of one dialog, in order. Its owner's lock guards it; the zero value is empty.
type Trace []step

type step struct {
	at   time.Time
	what string
	peer netip.AddrPort
	n    int
}

// Note keeps a step, and forgets the oldest beyond Most. n is the CSeq of what came, or the status of what was answered.
func (t *Trace) Note(what string, peer netip.AddrPort, n int) {
	if len(*t) == Most {
		*t = append((*t)[:0], (*t)[1:]...)
	}
	*t = append(*t, step{time.Now(), what, peer, n})
}

// String has each step with its second, a blank before it and a semicolon after it.
func (t Trace) String() string {
	var b strings.Builder
	for _, x := range t {
		fmt.Fprintf(&b, " %s %s %v %d;", x.at.UTC().Format("05.000"), x.what, x.peer.Addr(), x.n)
	}
	return b.String()
}
