// Package pidf reads and writes presence documents: PIDF (RFC 3863), the data
// model (RFC 4479) and RPID (RFC 4480) to and from presence.Document. CIPID
// (RFC 4482), capabilities (RFC 5196), timed status (RFC 4481) and all that we
// do not know stay XML, as fragments, with accessors for the named ones.
//
// Reading is strict in XML and lenient in PIDF, as real publishers are: a person
// before its tuple, missing or repeated ids, RPID in any place and in the
// namespaces of old drafts. Writing is strict: the order of the schemas, prefixes
// declared once on the root, ids unique. Same document in, same bytes out.
package pidf

import "strings"

// Media types. XPIDF is announced by some watchers beside PIDF; none of those
// known needs it sent.
const (
	Type = "application/pidf+xml"
)

// Namespaces of the standards.
const (
	Space         = "urn:ietf:params:xml:ns:pidf"
	DataModel     = "urn:ietf:params:xml:ns:pidf:data-model"
	RPID          = "urn:ietf:params:xml:ns:pidf:rpid"
	CIPID         = "urn:ietf:params:xml:ns:pidf:cipid"
	Caps          = "urn:ietf:params:xml:ns:pidf:caps"
	Timed         = "urn:ietf:params:xml:ns:pidf:timed-status"
	LocationTypes = "urn:ietf:params:xml:ns:location-type" // RFC 4589, in <place-type>
	xmlSpace      = "http://www.w3.org/XML/1998/namespace"
)

// Bounds of a document that Parse accepts. Beyond them the error is TooBig.
const (
	MaxBytes    = 64 << 10 // of the whole document
	MaxDepth    = 24       // nested elements
	MaxNodes    = 4096     // elements and texts
	MaxAttrs    = 32       // of one element
	MaxTuples   = 64
	MaxPersons  = 16
	MaxDevices  = 64
	MaxNotes    = 32 // of one element
	MaxExtra    = 64 // fragments of one element
	MaxValues   = 64 // of one RPID element
	maxElements = MaxTuples + MaxPersons + MaxDevices
)

// isRPID recognises RPID as published and the namespaces of its drafts, which
// long-lived softphones still send (…:pidf:rpid:status:rpid-status,
// …:pidf:status:rpid, …:pidf:rpid-tuple and others).
func isRPID(space string) bool {
	if space == RPID {
		return true
	}
	rest, ok := strings.CutPrefix(space, Space+":")
	return ok && strings.Contains(rest, "rpid")
}

// isDataModel recognises RFC 4479 and its drafts.
func isDataModel(space string) bool {
	switch space {
	case DataModel, Space + ":person", Space + ":device", Space + ":rpid:rpid-person", Space + ":rpid-person":
		return true
	}
	return false
}
