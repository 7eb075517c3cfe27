package client

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// MaxSteps is how many a Trace keeps.
const MaxSteps = 16

// Trace is the last steps of one SIP dialog, in order, for whoever looks for the reason of a breach. Its owner's lock guards it; the zero value is empty.
type Trace []step

type step struct {
	at   time.Time
	what string
	peer netip.AddrPort
	n    int
}

// Note keeps a step, and forgets the oldest beyond MaxSteps. n is the CSeq of what came, or the status of what was answered.
func (t *Trace) Note(what string, peer netip.AddrPort, n int) {
	if len(*t) == MaxSteps {
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
