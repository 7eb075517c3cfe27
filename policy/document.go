package policy

import (
	"fmt"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// Namespaces of rule documents.
const (
	CommonPolicySpace    = "urn:ietf:params:xml:ns:common-policy"
	PresRulesSpace       = "urn:ietf:params:xml:ns:pres-rules"
	OMACommonPolicySpace = "urn:oma:xml:xdm:common-policy"
	OMAPresRulesSpace    = "urn:oma:xml:prs:pres-rules"
)

// Bounds of one rule document. Beyond them the document is refused.
const (
	MaxRules      = 1000     // rules
	MaxIdentities = 10_000   // one, many, except and external lists, of all rules
	MaxSpans      = 1000     // from and until pairs of all validities
	MaxSpheres    = 100      // tokens of one sphere condition
	MaxSelected   = 16 << 10 // bytes of all values in transformations: classes, ids, URIs, names
)

// The reserved rules of a pres-rules document, which XMPP clients write. All
// others are those of XCAP clients, and are never touched. What XMPP says with them:
const (
	// Approved allows the contacts to whom the user has said yes (RFC 6121
	// §3.1, §3.4). One rule more by RFC 4745.
	Approved = "xmpp-approved"
	// Blocked blocks addresses and domains (XEP-0191). It wins over all other rules.
	Blocked = "xmpp-blocked"
	// Cancelled has the user asked again about contacts from whom the user has
	// taken the approval back (RFC 6121 §3.2) and whom other rules still allow. It
	// wins over all but Blocked.
	Cancelled = "xmpp-cancelled"
)

// Document is where the rules of a user stand, as people are told.
const Document = "pres-rules/index"

// Rules is a parsed pres-rules document.
type Rules struct {
	Rules     []presence.Rule // but the reserved ones
	Approved  []presence.Entity
	Blocked   []string // addresses as in the block list: user@domain or domain
	Cancelled []presence.Entity

	// External are the URIs of external lists that the rules name, whose members
	// come in by Parse's lookup. The documents that hold these lists are part of
	// the policy: when one changes, the policy has changed.
	External []string

	places [len(kinds)]place // of the reserved rules, the first of each kind
}

// place is where a reserved rule stands.
type place struct {
	id   string
	line int
}

// Error says what is wrong with a rule document, and where.
type Error struct {
	Offset int // in the source
	Line   int // from 1
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("policy: line %d: %s", e.Line, e.Text) }

// Parse reads a pres-rules document (RFC 5025, RFC 4745, OMA's extensions).
// members gives the members of an external list by its URI (an XCAP URI or path
// within this server); nil: none. The error is an *Error.
//
// What a later version of the standards may have put in does no harm: a rule with a
// condition that is not known never holds, an identity that is not known is
// nobody, an action or transformation that is not known permits nothing (RFC 4745
// §7, §7.1.1). What is known and malformed is an error.
func Parse(doc *markup.Element, source []byte, members func(uri string) []presence.Entity) (*Rules, error) {
	r, err := parse(doc, source, members)
	if err != nil {
		return nil, err
	}
	return r.out, nil
}

func parse(doc *markup.Element, source []byte, members func(uri string) []presence.Entity) (*reader, error) {
	r := &reader{source: source, line: 1, members: members, ids: map[string]bool{}, taken: map[member]bool{}, out: &Rules{}}
	if !doc.Is(CommonPolicySpace, "ruleset") {
		r.fail(doc, "the document is not a <ruleset> of %s", CommonPolicySpace)
	}
	for e := range doc.Children() {
		if e.Is(CommonPolicySpace, "rule") {
			r.rule(e)
		}
		if r.err != nil {
			break
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if !r.oma { // RFC 4745 alone knows no order among rules
		for i := range r.out.Rules {
			r.out.Rules[i].Rank = presence.Named
		}
	}
	return r, nil
}

// reader reads a document once, from its beginning to its end. The first error stays.
type reader struct {
	source   []byte
	at, line int // how far lines are counted
	members  func(uri string) []presence.Entity
	ids      map[string]bool
	taken    map[member]bool // what the reserved rules say
	oma      bool            // one of OMA's conditions is used
	have     [len(kinds)][]reservedRule
	out      *Rules
	err      error

	identities, spans, selected int
}

func (r *reader) fail(e *markup.Element, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{e.Start, r.lineOf(e), fmt.Sprintf(format, args...)}
	}
}

// bound counts what a document may have many of.
func (r *reader) bound(e *markup.Element, n *int, more, most int, what string) {
	if *n += more; *n > most {
		r.fail(e, "more than %d %s", most, what)
	}
}

// lineOf counts on from the last element that was asked for.
func (r *reader) lineOf(e *markup.Element) int {
	if e.Start < r.at {
		r.at, r.line = 0, 1
	}
	to := min(e.Start, len(r.source))
	for _, c := range r.source[min(r.at, to):to] {
		if c == '\n' {
			r.line++
		}
	}
	r.at = to
	return r.line
}

func (r *reader) rule(e *markup.Element) {
	id := strings.TrimSpace(e.Attr("id"))
	line := r.lineOf(e)
	switch {
	case id == "":
		r.fail(e, "a rule without id")
	case r.ids[id]: // RFC 4745 §6.1
		r.fail(e, "two rules have the id %q", id)
	}
	r.ids[id] = true
	if len(r.ids) > MaxRules {
		r.fail(e, "more than %d rules", MaxRules)
	}
	rule := presence.Rule{ID: id, Line: line, Shows: &presence.Transform{}}
	seen := map[string]bool{}
	for c := range e.Children() {
		// A rule whose conditions went unseen under a wrong name would hold for
		// everybody, so that names have to be right here.
		if c.Space != CommonPolicySpace || seen[c.Local] {
			r.fail(c, "<%s> is not expected here", c.Local)
			return
		}
		seen[c.Local] = true
		switch c.Local {
		case "conditions":
			r.conditions(c, &rule)
		case "actions":
			r.actions(c, &rule)
		case "transformations":
			r.transformations(c, rule.Shows)
		default:
			r.fail(c, "<%s> is not expected here", c.Local)
		}
		if r.err != nil {
			return
		}
	}
	if rule.Shows.Name() == "" {
		rule.Shows = nil
	}
	if !r.reserved(e, &rule) {
		r.out.Rules = append(r.out.Rules, rule)
	}
}

// trimmed is an element's text without the white space around it.
func trimmed(e *markup.Element) string { return strings.TrimSpace(e.Text()) }
