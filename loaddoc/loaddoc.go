// Package loaddoc is the codec of the extended presence document of the load
// control: PIDF (RFC 3863) with children of urn:pharos:load-control:1, whole and as
// changes of it. docs/load-control.md describes the format.
package loaddoc

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// Type is the media type, Space the namespace of what PIDF does not have.
const (
	Type  = "application/pidf+xml"
	Space = "urn:pharos:load-control:1"

	pidfSpace = "urn:ietf:params:xml:ns:pidf"
)

// Bounds on a document.
const (
	MaxBytes    = 1 << 20 // octets that are parsed
	MaxServers  = 1024    // servers, and as many that can be added
	MaxUsers    = 20_000  // users in detail
	MaxName     = 512     // octets of an identifier or URI
	MaxPresence = 4096    // octets of a presence-info
)

// Errors. They come wrapped with what is wrong.
var (
	ErrMalformed = errors.New("loaddoc: malformed document")
	ErrForeign   = errors.New("loaddoc: not an extended presence document")
	// ErrGap: a change does not follow what is known; the whole is to be asked for
	// (as RFC 7200 has it).
	ErrGap = errors.New("loaddoc: changes are missing")
)

// Document is what one NOTIFY says, or what is known after it. Documents that were
// handed on are not changed any more.
type Document struct {
	Entity  string // of the presentity, such as pres:service@example.com
	Version uint64 // of a subscription: rises by one with each document
	// Partial: only what has changed since the version before. Servers are those that
	// have changed, their Users those that have changed; counts are those of now.
	Partial bool
	// Basic is the status of the service for readers of plain PIDF: "open" as long as
	// a server is below its maximum, else "closed"; "": there is no tuple.
	Basic string
	Note  string // for people; "": none

	Servers []Server // by ID
	// Addable is the list of servers that can be added, as URIs, in order. In a partial
	// document it counts if Listed.
	Addable []string
	Listed  bool
	Count   int // of running servers
	Users   int // of the whole service
}

// Server is the load of one server, and its users.
type Server struct {
	ID    string
	URI   string // where it is reached; "" when it is not told
	State string // joining, active, draining, ...; "" when it is not told
	Level float64
	Max   float64
	Count int    // of its users
	Users []User // by ID; fewer than Count where they are not told, or not all yet
	Gone  bool   // in a partial document: there is no such server any more
}

// User is one user of a server.
type User struct {
	ID        string // address
	XMPP, SIP bool   // protocols in use
	Resources int    // registered presence resources
	// Presence is the content of presence-info, XML that stands in the namespace of PIDF:
	// "<basic>open</basic>". What is written must be well-formed.
	Presence string
	Gone     bool // in a partial document: not a user of this server any more
}

// Find returns the server of that ID, nil when there is none.
func (d *Document) Find(id string) *Server {
	i, ok := slices.BinarySearchFunc(d.Servers, id, func(s Server, id string) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return nil
	}
	return &d.Servers[i]
}

// Sort brings servers and users in their order.
func (d *Document) Sort() {
	slices.SortFunc(d.Servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	for i := range d.Servers {
		slices.SortFunc(d.Servers[i].Users, func(a, b User) int { return cmp.Compare(a.ID, b.ID) })
	}
}

// Round cuts a level to hundredths: it is compared, and written.
func Round(level float64) float64 { return math.Round(level*100) / 100 }

// same tells whether two servers are equal in all but their users.
func (s *Server) same(o *Server) bool {
	return s.ID == o.ID && s.URI == o.URI && s.State == o.State && s.Level == o.Level && s.Max == o.Max && s.Count == o.Count
}
