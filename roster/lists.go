package roster

import (
	"pharos/markup"
	"pharos/presence"
)

// ListsSpace is the namespace of resource lists (RFC 4826 §3.2).
const ListsSpace = "urn:ietf:params:xml:ns:resource-lists"

// Ungrouped is the name of the list that holds contacts without a group: a
// <resource-lists> has only lists as children. Jitsi uses the same name so.
const Ungrouped = "RootGroup"

// GroupDelimiter joins the names of nested lists to the name of one roster
// group (XEP-0083).
const GroupDelimiter = "::"

// Contact is an entry of the buddy list as a roster shows it.
type Contact struct {
	Entity presence.Entity
	Name   string   // the first display-name that an entry of it has
	Groups []string // in document order; none: only in Ungrouped, or in lists without a name
}

// Contacts reads the buddy list out of a resource-lists document: entries whose
// URI (sip, sips, pres, im, xmpp) is somebody's address, each address once, in document
// order. Other entries, references and external lists are not shown.
func Contacts(lists *markup.Element) []Contact { panic("contract") }

// EntityOf reads the URI of an entry; ok is false for what a roster cannot show
// (tel:, conference URIs with parameters that matter, malformed ones).
func EntityOf(uri string) (e presence.Entity, ok bool) { panic("contract") }

// URIOf is the URI that we write for a contact: sip:user@domain, escaped.
func URIOf(e presence.Entity) string { panic("contract") }

// Generate makes the document for a roster that has none.
func Generate(contacts []Contact) []byte { panic("contract") }

// Splice changes one contact in a document: c.Groups and c.Name are what is to be
// true afterwards. Only the bytes that must change do: foreign elements and
// attributes of an entry go with it to its new list, everything else stays byte for
// byte. A new contact is put into each of its groups, whose lists are made when
// they are missing. doc is not changed.
func Splice(doc []byte, c Contact) ([]byte, error) { panic("contract") }

// Remove takes all entries of a contact out of a document.
func Remove(doc []byte, e presence.Entity) ([]byte, error) { panic("contract") }
