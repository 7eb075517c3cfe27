package presence

import "time"

// Circumstances are what the conditions of a rule look at besides the watcher.
type Circumstances struct {
	Now    time.Time
	Sphere string // of the presentity's composed person (RFC 4480 §3.9); "" when unknown
}

// Rule is one rule of RFC 4745 §7: when all of its conditions hold, it takes
// part in the decision. Of several that match the greatest handling counts, and
// each transformation is the union of theirs (RFC 4745 §10.2).
type Rule struct {
	ID       string
	Line     int        // in the document, from 1; for people
	Identity []Identity // one of them must match; empty: everybody
	Spheres  []string   // one of them must be the presentity's; empty: any
	Validity []Span     // one of them must hold now; empty: always
	Rank     Rank
	Never    bool // has a condition that we do not know, and so never holds (RFC 4745 §7)
	Handling Handling
	Shown    string // name of its Transform in the policy; "" shows everything
}

// Rank is the order in which OMA evaluates rules: where one of a higher rank
// matches, those of lower ranks do not count. Plain RFC 4745 rules are all Named.
type Rank uint8

const (
	Unreferenced Rank = iota // other-identity, and rules without an identity condition
	Listed                   // external-list
	Named
)

// Identity is an identity condition (RFC 4745 §7.1).
type Identity struct {
	One       map[Entity]struct{} // <one>, and members of external lists; nil: Many
	Domain    string              // <many domain>; "": any domain
	Except    []Identity
	Anonymous bool // OMA anonymous-request: watchers without an identity
	Other     bool // OMA other-identity: whom no other rule names
}

// Span is RFC 4745 §7.3's from and until; zero is open.
type Span struct{ From, Until time.Time }

// Transform is the set of permissions of RFC 5025 §3.3 that one class of watchers
// has. The zero value shows nothing but the composed document's basic state.
type Transform struct {
	Devices, Persons, Services Selection
	Attributes                 map[string]bool  // provide-* that are booleans, by the RPID element's local name: "activities", "class", "deviceID", "mood", "place-is", "place-type", "privacy", "relationship", "sphere", "status-icon", "time-offset", "user-input" is not here; "note"
	AllAttributes              bool             // provide-all-attributes (§3.3.3)
	UserInput                  UserInputLevel   // §3.3.2.14
	Unknown                    map[Unknown]bool // provide-unknown-attribute (§3.3.2.16)
}

// Unknown names an element that we do not interpret.
type Unknown struct{ Space, Local string }

// UserInputLevel is provide-user-input (RFC 5025 §3.3.2.14), in its order.
type UserInputLevel uint8

const (
	NoUserInput UserInputLevel = iota
	BareUserInput
	ThresholdUserInput
	FullUserInput
)

// Selection is provide-devices, provide-persons or provide-services (RFC 5025
// §3.3.1): all, or those that one of the values names.
type Selection struct {
	All           bool
	Class         []string
	OccurrenceID  []string // of persons and devices: their id; of services the tuple's id
	DeviceID      []string // devices
	ServiceURI    []string // services: the whole contact
	ServiceScheme []string // services: the contact's scheme
}

// Document returns what of d the watchers of the class may see; d itself where
// that is everything. A nil Transform shows everything.
func (t *Transform) Document(d *Document) *Document { panic("contract") }

// Change is when a validity begins or ends next after now; zero for never.
func (p *Policy) Change(now time.Time) time.Time { panic("contract") }

// UsesSphere tells whether a change of the presentity's sphere may change a decision.
func (p *Policy) UsesSphere() bool { panic("contract") }
