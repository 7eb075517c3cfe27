package presence

// Handling is sub-handling of RFC 5025 §3.2.1, in its order of rank.
type Handling uint8

const (
	Block Handling = iota
	Confirm
	PoliteBlock
	Allow
)

// String is the name that RFC 5025 §3.2.1 gives.
func (h Handling) String() string {
	switch h {
	case Block:
		return "block"
	case Confirm:
		return "confirm"
	case PoliteBlock:
		return "polite-block"
	case Allow:
		return "allow"
	}
	return "unknown"
}

// Decision is what a policy says of one watcher. Decisions with equal Class
// share a View.
type Decision struct {
	Class  Class
	Rule   string // id of the deciding rule, or "default", "self"
	Reason string // one sentence for people
}

// RuleDefault and RuleSelf are the rule ids of decisions that no rule of the
// user's made.
const (
	RuleDefault = "default"
	RuleSelf    = "self"
)

// Class is comparable: handling, and what is shown. Equal classes share a View,
// also after the policy was compiled anew.
type Class struct {
	Handling Handling
	Shown    string // name of a Transform in the policy; "" shows everything
}

// sees tells whether watchers of the class are given a View.
func (c Class) sees() bool { return c.Handling == Allow || c.Handling == PoliteBlock }

// state of a subscription with this class.
func (c Class) state() State {
	switch c.Handling {
	case Allow, PoliteBlock:
		// RFC 5025 §3.2.1: polite blocking looks like an active subscription.
		return Active
	case Confirm:
		return Pending
	}
	return Terminated
}

// Policy is a compiled privacy policy of one presentity. Immutable.
//
// Watchers, then Domains, are looked up first: they are the reserved rules that
// XMPP clients write, of which a block wins over whatever other rules say
// (XEP-0191 has it so). A Grant that allows is one more rule among Rules.
type Policy struct {
	Revision   uint64
	Default    Handling // where no rule matches
	Watchers   map[Entity]Grant
	Domains    map[string]Grant // whole domains (XEP-0191 blocks domains too)
	Rules      []Rule           // of the pres-rules document (RFC 4745 §7), in document order
	Transforms map[string]*Transform
	Waiting    []Watcher // who has asked, is gone, and waits for an answer (RFC 3857 §4.7.1)
}

// Grant is one watcher's rule.
type Grant struct {
	Handling Handling
	Rule     string
	Reason   string
}

// Decide says how the presentity handles a watcher: itself is always allowed,
// then the rule for exactly this watcher counts, then the one for its domain,
// then the default. Without a policy everybody else waits (confirm).
func Decide(p *Policy, presentity, watcher Entity, at Circumstances) Decision {
	if watcher == presentity {
		return Decision{Class{Handling: Allow}, RuleSelf, "Everybody may watch himself."}
	}
	if p == nil {
		return Decision{Class{Handling: Confirm}, RuleDefault, "No policy is known yet, so the user must be asked."}
	}
	if g, ok := p.Watchers[watcher]; ok {
		return g.decision(watcherReasons)
	}
	if g, ok := p.Domains[watcher.Domain]; ok {
		return g.decision(domainReasons)
	}
	g := Grant{Handling: p.Default, Rule: RuleDefault}
	return g.decision(defaultReasons)
}

func (g Grant) decision(reasons [4]string) Decision {
	h := g.Handling
	if h > Allow {
		// A value from a newer version: what we cannot read does not open a door.
		h = Block
	}
	d := Decision{Class{Handling: h}, g.Rule, g.Reason}
	if d.Reason == "" {
		d.Reason = reasons[h]
	}
	return d
}

// The sentences for rules that bring none of their own, by Handling.
var (
	watcherReasons = [4]string{
		"A rule for this watcher blocks it.",
		"A rule for this watcher has the user asked first.",
		"A rule for this watcher shows it a closed state.",
		"A rule for this watcher allows it.",
	}
	domainReasons = [4]string{
		"A rule for the watcher's domain blocks it.",
		"A rule for the watcher's domain has the user asked first.",
		"A rule for the watcher's domain shows it a closed state.",
		"A rule for the watcher's domain allows it.",
	}
	defaultReasons = [4]string{
		"No rule speaks of this watcher; such watchers are blocked.",
		"No rule speaks of this watcher; the user is asked first.",
		"No rule speaks of this watcher; such watchers are shown a closed state.",
		"No rule speaks of this watcher; such watchers are allowed.",
	}
)
