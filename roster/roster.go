// Package roster is the subscription state machine of RFC 6121 appendix A as a
// pure table. It knows no stream and no database.
package roster

// State is one of the nine states of RFC 6121 §A.1 plus pre-approval.
type State struct{ To, From, Ask, PendingIn, Approved bool }

// Kind of a subscription stanza.
type Kind uint8

const (
	Subscribe Kind = iota + 1
	Subscribed
	Unsubscribe
	Unsubscribed
)

// Effect of a stanza.
type Effect struct {
	State   State
	Changed bool // the roster item must be saved and pushed
	Route   bool // outbound: send on to the contact
	Deliver bool // inbound: show to the user's interested resources
	Reply   Kind // inbound: answer on the user's behalf (0: none)
}

// Out is a stanza that the user sends (RFC 6121 §A.2).
func Out(s State, k Kind) Effect { panic("contract") }

// In is a stanza that comes for the user (RFC 6121 §A.3).
func In(s State, k Kind) Effect { panic("contract") }
