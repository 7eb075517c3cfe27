package jabber

import (
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// Nodes whose items say something that the presence document can say too.
const (
	nodeMood       = "http://jabber.org/protocol/mood"     // XEP-0107
	nodeActivity   = "http://jabber.org/protocol/activity" // XEP-0108
	nodeGeoloc     = "http://jabber.org/protocol/geoloc"   // XEP-0080
	nodeTune       = "http://jabber.org/protocol/tune"     // XEP-0118
	nodeNick       = "http://jabber.org/protocol/nick"     // XEP-0172
	nodeAvatar     = "urn:xmpp:avatar:metadata"            // XEP-0084
	nodeAvatarData = "urn:xmpp:avatar:data"
)

// cipid is the namespace of RFC 4482.
const cipid = "urn:ietf:params:xml:ns:pidf:cipid"

// extension maps the items of one node to the person of a presence document and
// back. Read leaves the person as it is when the item says nothing ("stop");
// write returns nil when the document says nothing of the kind.
type extension struct {
	node, local string // of the node and its payload's namespace; its element
	read        func(payload *markup.Element, p *presence.Person)
	write       func(d *presence.Document) []byte
	document    string // for the printed table
	note        string
}

var extensions = []extension{
	{nodeMood, "mood", readMood, writeMood, "`<rpid:mood>`", "see below; `<text/>` is its note"},
	{nodeActivity, "activity", readActivity, writeActivity, "`<rpid:activities>`", "see below; `<text/>` is its note; away and busy are `<show/>`'s"},
	{nodeGeoloc, "geoloc", readGeoloc, writeGeoloc, "`<gp:geopriv>` of the person, `<rpid:place-type>`",
		"see below; other elements stay with XMPP; back also from tuples and devices, a place type as `<description/>`"},
	{nodeTune, "tune", readAsIs, func(d *presence.Document) []byte { return writeAsIs(d, nodeTune, "tune") },
		"`<tune xmlns='" + nodeTune + "'>` of the person", "RPID has no such thing; carried as an extension"},
	{nodeNick, "nick", readNick, writeNick, "`<ci:display-name>` (RFC 4482)", ""},
	{nodeAvatar, "metadata", readAsIs, func(d *presence.Document) []byte { return writeAsIs(d, nodeAvatar, "metadata") },
		"`<ci:icon>` (RFC 4482), `<rpid:status-icon>`, and the metadata as an extension",
		"the icon's URI is that of the user's pres-content document, or of the `<info url=''/>`; back: by that document alone, since XEP-0084 wants the hash of what a URI only points to"},
}

func extensionOf(node string) *extension {
	for i := range extensions {
		if extensions[i].node == node {
			return &extensions[i]
		}
	}
	return nil
}

// isExtension tells whether the items of a node mean something to SIP.
func isExtension(node string) bool { return extensionOf(node) != nil }

// item is what a document says in terms of the node; nil for nothing.
func (x *extension) item(d *presence.Document) []byte {
	if d == nil {
		return nil
	}
	return x.write(d)
}

// extendedDoc says in a presence document what an item of a node says. That of a
// node without a meaning here is empty.
func extendedDoc(node string, payload *markup.Element) *presence.Document {
	x := extensionOf(node)
	if x == nil || !payload.Is(node, x.local) {
		return &presence.Document{}
	}
	var p presence.Person
	x.read(payload, &p)
	if p.Rich.Mood == nil && p.Rich.Activities == nil && p.Rich.PlaceType == nil && len(p.Extra) == 0 {
		return &presence.Document{}
	}
	p.ID = "P-" + x.local
	return &presence.Document{Persons: []presence.Person{p}}
}

// readAsIs keeps a payload as it came.
func readAsIs(payload *markup.Element, p *presence.Person) {
	for range payload.Children() {
		p.Extra = append(p.Extra, presence.Fragment{Space: payload.Space, Local: payload.Local, XML: string(payload.Append(nil, ""))})
		return
	}
}

func writeAsIs(d *presence.Document, space, local string) []byte {
	f := fragmentOf(d, space, local)
	if f == nil {
		return nil
	}
	return []byte(f.XML)
}

// fragmentOf finds what a document says of its person in an element that we do not
// interpret: older clients write it into the tuple.
func fragmentOf(d *presence.Document, space, local string) *presence.Fragment {
	in := func(fs []presence.Fragment) *presence.Fragment {
		for i := range fs {
			if fs[i].Local == local && fs[i].Space == space {
				return &fs[i]
			}
		}
		return nil
	}
	for i := range d.Persons {
		if f := in(d.Persons[i].Extra); f != nil {
			return f
		}
	}
	for i := range d.Tuples {
		if f := in(d.Tuples[i].Extra); f != nil {
			return f
		}
		if f := in(d.Tuples[i].Status); f != nil { // RFC 4119 §2.2.1 has locations there
			return f
		}
	}
	for i := range d.Devices {
		if f := in(d.Devices[i].Extra); f != nil {
			return f
		}
	}
	return nil
}

// richOf calls fn for what a document says of its person until it returns true.
func richOf(d *presence.Document, fn func(*presence.Rich) bool) {
	for i := range d.Persons {
		if fn(&d.Persons[i].Rich) {
			return
		}
	}
	for i := range d.Tuples {
		if fn(&d.Tuples[i].Rich) {
			return
		}
	}
}

func readNick(payload *markup.Element, p *presence.Person) {
	if text := strings.TrimSpace(payload.Text()); text != "" {
		p.Extra = append(p.Extra, contactInfo("display-name", text))
	}
}

func writeNick(d *presence.Document) []byte {
	f := fragmentOf(d, cipid, "display-name")
	if f == nil {
		return nil
	}
	text := fragmentText(*f)
	if text == "" {
		return nil
	}
	return append(markup.AppendText([]byte("<nick xmlns='"+nodeNick+"'>"), text), "</nick>"...)
}

// contactInfo is one element of RFC 4482 §3.
func contactInfo(local, text string) presence.Fragment {
	b := append([]byte("<ci:"), local...)
	b = markup.AppendText(append(b, " xmlns:ci='"+cipid+"'>"...), text)
	return presence.Fragment{Space: cipid, Local: local, XML: string(append(b, "</ci:"+local+">"...))}
}

// addIcon tells SIP watchers where the picture is that metadata of an avatar speak
// of: where they say themselves, or under uri.
func addIcon(d *presence.Document, metadata *markup.Element, uri string) {
	info := metadata.Child(nodeAvatar, "info") // all are of the same picture (XEP-0084 §4.2.1)
	if url := info.Attr("url"); url != "" {
		uri = url
	}
	if info != nil && len(d.Persons) == 1 && uri != "" {
		p := &d.Persons[0]
		p.Extra = append(p.Extra, contactInfo("icon", uri))
		p.Rich.StatusIcon = uri
	}
}

// notesOf reads the <text/> elements of a payload, one per language.
func notesOf(payload *markup.Element) []presence.Note {
	var ns []presence.Note
	for c := range payload.Children() {
		if c.Is(payload.Space, "text") {
			ns = addStatus(ns, presence.Note{Lang: lang(c), Text: c.Text()})
		}
	}
	return ns
}

func appendTexts(b []byte, ns []presence.Note) []byte {
	for _, n := range ns {
		b = append(attr(append(b, "<text"...), "xml:lang", n.Lang), '>')
		b = append(markup.AppendText(b, n.Text), "</text>"...)
	}
	return b
}

// wordsIn and nameIn change between the names of XMPP's moods and activities and
// the words that people who do not have them are shown.
func wordsIn(name string) string { return strings.ReplaceAll(name, "_", " ") }
func nameIn(words string) string { return strings.ReplaceAll(strings.TrimSpace(words), " ", "_") }
func isBlank(s string) bool      { return strings.TrimSpace(s) == "" }
