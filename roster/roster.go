// Package roster is the subscription state machine of RFC 6121 appendix A as a
// pure table. It knows no stream and no database.
package roster

// State is one of the nine states of RFC 6121 §A.1 plus pre-approval. The
// combinations that the RFC does not know are read as: To without Ask, From
// without PendingIn.
type State struct{ To, From, Ask, PendingIn, Approved bool }

// Kind of a subscription stanza.
type Kind uint8

const (
	Subscribe Kind = iota + 1
	Subscribed
	Unsubscribe
	Unsubscribed
)

// String is the stanza's type attribute.
func (k Kind) String() string {
	return [...]string{"", "subscribe", "subscribed", "unsubscribe", "unsubscribed"}[k]
}

// Effect of a stanza.
type Effect struct {
	State   State
	Changed bool // the roster item must be saved
	Push    bool // and pushed, if it is in the roster or comes into it: not for a change of PendingIn alone
	Route   bool // outbound: send on to the contact
	Deliver bool // inbound: show to the user's interested resources
	Reply   Kind // inbound: answer on the user's behalf (0: none)
}

// Subscription is the value of the roster item's attribute (RFC 6121 §2.1.2.5).
func (s State) Subscription() string {
	switch {
	case s.To && s.From:
		return "both"
	case s.To:
		return "to"
	case s.From:
		return "from"
	}
	return "none"
}

// Out is a stanza that the user sends (RFC 6121 §A.2).
func Out(s State, k Kind) Effect {
	c := outbound[k][s.name()]
	e := Effect{Route: c.pass, State: c.next.state(s.Approved)}
	switch k {
	case Subscribed:
		if !c.pass && !e.State.From {
			// RFC 6121 §3.4.2: nobody has asked yet, so it is noted for when
			// they do, and not routed.
			e.State.Approved = true
		}
	case Unsubscribed:
		e.State.Approved = false // RFC 6121 §3.4.2: also cancels a pre-approval
	}
	return e.changed(s)
}

// In is a stanza that comes for the user (RFC 6121 §A.3).
func In(s State, k Kind) Effect {
	c := inbound[k][s.name()]
	e := Effect{Deliver: c.pass, State: c.next.state(s.Approved)}
	if k == Subscribe {
		switch {
		case s.From:
			// RFC 6121 §A.3.1: the contact has it already and seems to have
			// forgotten; the server answers for the user.
			e.Reply = Subscribed
		case s.Approved:
			// RFC 6121 §3.4.2: answered for the user, who is not asked.
			e.State.From, e.State.PendingIn = true, false
			e.Deliver, e.Reply = false, Subscribed
		}
	}
	return e.changed(s)
}

func (e Effect) changed(from State) Effect {
	e.Changed = e.State != from
	a, b := e.State, from
	a.PendingIn, b.PendingIn = false, false
	e.Push = a != b
	return e
}
