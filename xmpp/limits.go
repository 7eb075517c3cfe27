package xmpp

import (
	"time"

	"pharos/markup"
)

// Limits bound what a stream may cost. A zero field means its default; each
// comment ends with it. What happens beyond a limit is said with it.
type Limits struct {
	MaxStanza int // bytes of a first-level element after authentication; beyond: policy-violation (RFC 6120 §13.12). 262144
	MaxHello  int // the same before it, stream headers included. 16384
	MaxDepth  int // of nested elements; beyond: policy-violation. 64
	MaxAttrs  int // of one element; beyond: policy-violation. 64
	MaxNodes  int // elements and texts of one stanza; beyond: policy-violation. 8192

	MaxQueue     int           // bytes waiting for a slow reader; beyond: the connection is cut. 1048576
	WriteTimeout time.Duration // a write that makes no progress; then the connection is cut. 30s
	AuthTimeout  time.Duration // from the connection to the features after SASL; then connection-timeout. 30s
	CloseTimeout time.Duration // to flush what is queued and to wait for the peer's close tag. 5s
	KeepAlive    time.Duration // TCP probes after this silence, four of them a quarter as long apart; then, or when sent data is unacknowledged for twice as long, the connection is gone. 60s

	MaxAuthTries int // SASL attempts that may fail (RFC 6120 §6.4.5 wants 2 to 5); then policy-violation. 5, which slixmpp needs to work its way down to PLAIN

	MaxConns            int // in all; beyond: resource-constraint. 100000
	MaxConnsPerAddress  int // of one IP address; beyond: policy-violation. 20000
	MaxUnauth           int // connections before authentication, in all; beyond: resource-constraint. 10000
	MaxUnauthPerAddress int // the same of one IP address; beyond: policy-violation. 512
	MaxBytesPerSecond   int // read from one authenticated stream, after a burst of MaxStanza; beyond: it is read more slowly. 0: no limit
}

func (l Limits) withDefaults() Limits {
	n := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	d := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	n(&l.MaxStanza, 1<<18)
	n(&l.MaxHello, 1<<14)
	n(&l.MaxDepth, 64)
	n(&l.MaxAttrs, 64)
	n(&l.MaxNodes, 1<<13)
	n(&l.MaxQueue, 1<<20)
	d(&l.WriteTimeout, 30*time.Second)
	d(&l.AuthTimeout, 30*time.Second)
	d(&l.CloseTimeout, 5*time.Second)
	d(&l.KeepAlive, time.Minute)
	n(&l.MaxAuthTries, 5)
	n(&l.MaxConns, 100000)
	n(&l.MaxConnsPerAddress, 20000)
	n(&l.MaxUnauth, 10000)
	n(&l.MaxUnauthPerAddress, 512)
	return l
}

// markup is what the limits mean to the XML reader.
func (l *Limits) markup(authenticated bool) markup.Options {
	o := markup.Options{MaxBytes: l.MaxHello, MaxDepth: l.MaxDepth, MaxAttrs: l.MaxAttrs, MaxNodes: l.MaxNodes}
	if authenticated {
		o.MaxBytes = l.MaxStanza
	}
	return o
}
