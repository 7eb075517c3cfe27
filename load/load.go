// Package load is admission: may this piece of work enter now, and if not,
// when to come again. It knows nothing of ours.
package load

import "time"

// Class of work, in the order in which it is shed: the first goes first.
type Class uint8

const (
	Newcomer Class = iota // new subscription, login, registration
	Message
	Publish
	Refresh // never shed before all others
)

// Gate admits work by queue depth and class. Safe for concurrent use.
type Gate struct{}

// NewGate; depth reports the fullness of the inner queues, 0..1.
func NewGate(depth func() float64) *Gate { panic("contract") }

// Enter answers at once. When refused, retry is a jittered wait for Retry-After.
func (g *Gate) Enter(c Class) (ok bool, retry time.Duration) { panic("contract") }
