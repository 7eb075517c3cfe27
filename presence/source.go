package presence

import "time"

// SourceKind tells where a source comes from.
type SourceKind uint8

const (
	Publication SourceKind = iota + 1 // SIP PUBLISH (RFC 3903)
	Session                           // an XMPP session
	Permanent                         // pidf-manipulation (RFC 4827)
	Remote                            // another domain's word
	Extended                          // an XMPP user's own item outside of any session (XEP-0163: mood, activity, tune...); Key is the node
)

// SourceID names one source of a presentity. Key is the resource for a
// session, a stable random key for a publication (not its entity-tag).
type SourceID struct {
	Kind SourceKind
	Key  string
}

// Payload is what a source sent, in its own syntax. Type is "application/pidf+xml"
// (the document) or "jabber:client" (the children of <presence/>, standing alone
// in default namespace jabber:client).
type Payload struct {
	Type  string
	Bytes []byte
}

// durable sources are saved; a session dies with the process that holds its stream.
func (id SourceID) durable() bool { return id.Kind != Session }

// String is kind/key, for logs and people.
func (id SourceID) String() string { return id.Kind.String() + "/" + id.Key }

func (k SourceKind) String() string {
	switch k {
	case Publication:
		return "publication"
	case Session:
		return "session"
	case Permanent:
		return "permanent"
	case Remote:
		return "remote"
	case Extended:
		return "extended"
	}
	return "unknown"
}

// Source is one input to composition. It is a value: a change makes a new one.
// The ones in a View are those that made its content: after a refresh they may show
// an older Tag and Expires.
type Source struct {
	ID      SourceID
	Tag     string // entity-tag; publications only
	Doc     *Document
	Native  Payload
	Expires time.Time // zero: lives as long as its session
	Updated time.Time
	From    string // for people: transport address, User-Agent
	Package string // event package; "": presence
	Node    string // of a session: where its stream is, in Via.Node's words

	mark uint64 // see Mark
}

// Mark tells the sources in the views of one presentity apart, those that a class is
// shown in part and former ones among them: where it is the same, the source is.
// Zero: never in a view.
func (s *Source) Mark() uint64 { return s.mark }

// Marked is a copy with a mark, for package transfer.
func (s *Source) Marked(mark uint64) *Source {
	c := *s
	c.mark = mark
	return &c
}
