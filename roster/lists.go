package roster

import (
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// ListsSpace is the namespace of resource lists (RFC 4826 §3.2).
const ListsSpace = "urn:ietf:params:xml:ns:resource-lists"

// Ungrouped is the name of the list that holds contacts without a group: a
// <resource-lists> has only lists as children. Jitsi uses the same name so.
const Ungrouped = "RootGroup"

// aside are lists that OMA's and RCS's clients keep for their rules (OMA Presence
// SIMPLE XDM §5.1.2): who is in them may look, or may not. They are no buddies, whom
// to show and to ask for presence, and taking somebody off the roster must not
// unblock.
var aside = map[string]bool{
	"oma_grantedcontacts": true, "oma_blockedcontacts": true, "rcs_blockedcontacts": true, "rcs_revokedcontacts": true,
}

// isList tells whether an element is a list of buddies.
func isList(e *markup.Element) bool {
	return e.Is(ListsSpace, "list") && !aside[e.Attr("name")]
}

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
// order. Other entries, references, external lists and lists that are there for
// rules are not shown. The strings
// are parts of the document.
func Contacts(lists *markup.Element) []Contact {
	var cs []Contact
	at := map[presence.Entity]int{}
	groups := map[grouping]bool{}
	walk(lists, "", func(_ *markup.Element, group string, entry *markup.Element) {
		e, ok := EntityOf(entry.Attr("uri"))
		if !ok {
			return
		}
		i, known := at[e]
		if !known {
			i = len(cs)
			at[e] = i
			cs = append(cs, Contact{Entity: e})
		}
		if cs[i].Name == "" {
			cs[i].Name = displayName(entry)
		}
		if k := (grouping{e, group}); group != "" && !groups[k] {
			groups[k] = true
			cs[i].Groups = append(cs[i].Groups, group)
		}
	})
	return cs
}

type grouping struct {
	e     presence.Entity
	group string
}

// walk visits the entries in the lists below parent, whose group is up, in
// document order.
func walk(parent *markup.Element, up string, visit func(list *markup.Element, group string, entry *markup.Element)) {
	for c := range parent.Children() {
		switch {
		case isList(c):
			walk(c, join(up, listName(c)), visit)
		case c.Is(ListsSpace, "entry"):
			visit(parent, up, c)
		}
	}
}

// listName is the name that a list has for people, "" for none.
func listName(list *markup.Element) string {
	if list.Attr("name") == Ungrouped {
		return ""
	}
	if n := displayName(list); n != "" {
		return n
	}
	return tidy(list.Attr("name"))
}

func join(up, name string) string {
	switch {
	case up == "":
		return name
	case name == "":
		return up
	}
	return up + GroupDelimiter + name
}

func displayName(e *markup.Element) string {
	return tidy(e.Child(ListsSpace, "display-name").Text())
}

// tidy takes line breaks out of a name, which are there for the document's looks.
// White space alone is no name.
func tidy(s string) string {
	if strings.ContainsAny(s, "\n\r\t") || strings.Trim(s, " ") == "" {
		return strings.Join(strings.Fields(s), " ")
	}
	return s
}
