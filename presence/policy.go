package presence

// Handling is sub-handling of RFC 5025 §3.2.1, in its order of rank.
type Handling uint8

const (
	Block Handling = iota
	Confirm
	PoliteBlock
	Allow
)

// Decision is what a policy says of one watcher. Decisions with equal Class
// share a View.
type Decision struct {
	Class  Class
	Rule   string // id of the deciding rule, or "default", "self"
	Reason string // one sentence for people
}

// Class is comparable: handling and, later, the set of transformations.
type Class struct{ Handling Handling }

// Policy is a compiled privacy policy of one presentity. Immutable.
type Policy struct {
	Revision uint64
	Default  Handling
	Watchers map[Entity]Grant
	Domains  map[string]Grant // whole domains (XEP-0191 blocks domains too)
}

// Grant is one watcher's rule.
type Grant struct {
	Handling Handling
	Rule     string
	Reason   string
}
