package presence

import "sync/atomic"

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

// RuleDefault, RuleSelf and RuleUnreadable are the rule ids of decisions that no
// rule of the user's made.
const (
	RuleDefault    = "default"
	RuleSelf       = "self"
	RuleUnreadable = "unreadable"
)

// Class is comparable: handling, and what is shown. Equal classes share a View,
// also after the policy was compiled anew.
type Class struct {
	Handling Handling
	Shown    string // name of what is shown, see Policy.Transform; "" is everything
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

// Policy is a compiled privacy policy of one presentity. Immutable, and not to
// be copied.
//
// Watchers and Domains are what XMPP clients write: approvals, blocks, and
// approvals taken back. Rules are those of the pres-rules document. Decide says how
// they go together.
type Policy struct {
	Revision uint64
	Default  Handling // where no rule matches
	Watchers map[Entity]Grant
	Domains  map[string]Grant // whole domains (XEP-0191 blocks domains too)
	Rules    []Rule           // of the pres-rules document (RFC 4745 §7), in document order
	Document string           // that the rules stand in, for people: "pres-rules/index"
	Waiting  []Watcher        // who has asked, is gone, and waits for an answer (RFC 3857 §4.7.1)

	// Unreadable says why the user's rules cannot be read; then everybody else is
	// blocked, since what they forbid is not known. "" where there is nothing wrong.
	Unreadable string

	index atomic.Pointer[ruleIndex] // made at the first decision
	made  transforms
}

// Grant is one watcher's, or one domain's, rule.
type Grant struct {
	Handling Handling
	// Asked is a grant to one who has asked and was not answered yet. It counts
	// only where no rule of the document matches.
	Asked  bool
	Rule   string
	Reason string
}

// Decide says how the presentity handles a watcher. In this order:
//
//   - Everybody may watch himself.
//   - A Grant to exactly this watcher, else one to its domain: a block wins over
//     whatever the document says (XEP-0191), an approval that was taken back has the
//     user asked again, and one that stands is a matching rule which shows everything,
//     so that no other can add to it.
//   - The Rules whose conditions hold (RFC 4745 §10): the greatest handling and
//     the union of the permissions.
//   - Asked, then the default.
//
// Without a policy everybody else waits (confirm).
func Decide(p *Policy, presentity, watcher Entity, at Circumstances) Decision {
	if watcher == presentity {
		return Decision{Class{Handling: Allow}, RuleSelf, "Everybody may watch himself."}
	}
	if p == nil {
		return Decision{Class{Handling: Confirm}, RuleDefault, "No policy is known yet, so the user must be asked."}
	}
	if p.Unreadable != "" {
		return Decision{Class{Handling: Block}, RuleUnreadable, p.Unreadable}
	}
	g, known := p.Watchers[watcher]
	if known && !g.Asked {
		return g.decision(watcherReasons)
	}
	if d, ok := p.Domains[watcher.Domain]; ok && !known {
		return d.decision(domainReasons)
	}
	if len(p.Rules) > 0 {
		if d, ok := p.byRules(watcher, at); ok {
			return d
		}
	}
	if known {
		return g.decision(watcherReasons)
	}
	g = Grant{Handling: p.Default, Rule: RuleDefault}
	return g.decision(defaultReasons)
}

// known is h, and a block for a value from a newer version: what we cannot read
// does not open a door.
func (h Handling) known() Handling {
	if h > Allow {
		return Block
	}
	return h
}

func (g Grant) decision(reasons [4]string) Decision {
	h := g.Handling.known()
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
		"No rule holds for this watcher; such watchers are blocked.",
		"No rule holds for this watcher; the user is asked first.",
		"No rule holds for this watcher; such watchers are shown a closed state.",
		"No rule holds for this watcher; such watchers are allowed.",
	}
)
