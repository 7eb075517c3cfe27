package pidf

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// Parse reads a presence document. entity is its entity attribute as written,
// "" when it has none: whether it fits the publisher is for the caller to say.
// The error is an *Error. b may be reused afterwards.
func Parse(b []byte) (doc *presence.Document, entity string, err error) {
	return ParseString(string(b[:min(len(b), MaxBytes+1)]))
}

// ParseString is Parse without a copy: what the document holds are parts of s.
func ParseString(s string) (doc *presence.Document, entity string, err error) {
	tree, err := markup.Borrow(s, markup.Options{
		MaxBytes: MaxBytes, MaxDepth: MaxDepth, MaxAttrs: MaxAttrs, MaxNodes: MaxNodes, Document: true,
	})
	if err != nil {
		return nil, "", refused(err)
	}
	defer tree.Release()
	root := tree.Root()
	if !root.Is(Space, "presence") {
		return nil, "", &Error{Foreign, root.Start, "the root element is not <presence> of " + Space}
	}
	r := reader{doc: new(presence.Document)}
	r.presence(root)
	if r.err != nil {
		return nil, "", r.err
	}
	return r.doc, strings.TrimSpace(root.Attr("entity")), nil
}

// refused turns an error of markup into ours.
func refused(err error) *Error {
	var s *markup.SyntaxError
	if !errors.As(err, &s) {
		return &Error{Malformed, 0, err.Error()}
	}
	switch s.Kind {
	case markup.TooBig:
		return &Error{TooBig, s.Offset, "the document is too big: " + s.Reason}
	case markup.BadEncoding:
		return &Error{Malformed, s.Offset, "the document is not UTF-8"}
	}
	return &Error{Malformed, s.Offset, "the document is not acceptable XML: " + s.Reason}
}

// reader fills doc. The first error stays.
type reader struct {
	doc *presence.Document
	err *Error
}

func (r *reader) fail(k Kind, at *markup.Element, text string) {
	if r.err == nil {
		r.err = &Error{k, at.Start, text}
	}
}

// bound fails when n is beyond max.
func (r *reader) bound(n, max int, what string, at *markup.Element) {
	if n > max {
		r.fail(TooBig, at, "more than "+strconv.Itoa(max)+" "+what)
	}
}

func (r *reader) presence(root *markup.Element) {
	d := r.doc
	for i := range root.Nodes {
		c := root.Nodes[i].Element
		switch {
		case r.err != nil:
			return
		case c == nil:
		case c.Is(Space, "tuple"):
			d.Tuples = append(d.Tuples, presence.Tuple{Priority: -1})
			r.tuple(c, &d.Tuples[len(d.Tuples)-1])
			r.bound(len(d.Tuples), MaxTuples, "tuples", c)
		case c.Local == "note" && (c.Space == Space || isDataModel(c.Space)):
			r.note(c, &d.Notes)
		case c.Local == "person" && isDataModel(c.Space):
			d.Persons = append(d.Persons, presence.Person{})
			last := len(d.Persons) - 1
			if !r.person(c, &d.Persons[last]) {
				d.Persons = d.Persons[:last]
				r.keep(c, &d.Extra)
				break
			}
			r.bound(len(d.Persons), MaxPersons, "persons", c)
		case c.Local == "device" && isDataModel(c.Space):
			d.Devices = append(d.Devices, presence.Device{})
			last := len(d.Devices) - 1
			if !r.device(c, &d.Devices[last]) {
				d.Devices = d.Devices[:last]
				r.keep(c, &d.Extra)
				break
			}
			r.bound(len(d.Devices), MaxDevices, "devices", c)
		default:
			r.keep(c, &d.Extra)
		}
	}
}

func (r *reader) tuple(e *markup.Element, t *presence.Tuple) {
	t.ID = strings.TrimSpace(e.Attr("id"))
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		switch {
		case r.err != nil:
			return
		case c == nil:
		case c.Space == Space && c.Local == "status":
			r.status(c, t)
		case c.Space == Space && c.Local == "contact":
			t.Contact = strings.TrimSpace(c.Text())
			t.Priority = parsePriority(c.Attr("priority"))
		case r.common(c, &t.Notes, &t.Timestamp):
		case c.Local == "deviceID" && isDataModel(c.Space):
			t.DeviceIDs = append(t.DeviceIDs, strings.TrimSpace(c.Text()))
			r.bound(len(t.DeviceIDs), MaxDevices, "device ids", c)
		case r.rich(c, &t.Rich):
		default:
			r.keep(c, &t.Extra)
		}
	}
}

// status reads <status>. Drafts of RPID put their elements in here; they mean
// the same as in the tuple.
func (r *reader) status(e *markup.Element, t *presence.Tuple) {
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		switch {
		case r.err != nil:
			return
		case c == nil:
		case c.Is(Space, "basic"):
			switch text := strings.TrimSpace(c.Text()); {
			case strings.EqualFold(text, "open"):
				t.Basic = presence.Open
			case strings.EqualFold(text, "closed"):
				t.Basic = presence.Closed
			default: // RFC 3863 §4.1.4 knows two values
				r.fail(Invalid, c, "<basic> is neither open nor closed")
			}
		case r.rich(c, &t.Rich):
		default:
			r.keep(c, &t.Status)
		}
	}
}

// person reads a person (RFC 4479 §3.2). False: it holds something that must be
// understood and is not, so it is carried and not read.
func (r *reader) person(e *markup.Element, p *presence.Person) bool {
	p.ID = strings.TrimSpace(e.Attr("id"))
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		switch {
		case r.err != nil:
			return true
		case c == nil:
		case r.common(c, &p.Notes, &p.Timestamp):
		case r.rich(c, &p.Rich):
		case mustUnderstand(c):
			return false
		default:
			r.keep(c, &p.Extra)
		}
	}
	return true
}

// device reads a device (RFC 4479 §3.4), as person does.
func (r *reader) device(e *markup.Element, d *presence.Device) bool {
	d.ID = strings.TrimSpace(e.Attr("id"))
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		switch {
		case r.err != nil:
			return true
		case c == nil:
		case r.common(c, &d.Notes, &d.Timestamp):
		case c.Local == "deviceID" && isDataModel(c.Space):
			d.DeviceID = strings.TrimSpace(c.Text())
		case r.rich(c, &d.Rich):
		case mustUnderstand(c):
			return false
		default:
			r.keep(c, &d.Extra)
		}
	}
	return true
}

// common takes notes and timestamps, which PIDF and the data model both have.
func (r *reader) common(c *markup.Element, notes *[]presence.Note, at *time.Time) bool {
	if c.Local != "note" && c.Local != "timestamp" || c.Space != Space && !isDataModel(c.Space) {
		return false
	}
	if c.Local == "note" {
		r.note(c, notes)
	} else if t, ok := parseTime(c.Text()); ok {
		*at = t
	}
	return true
}

// note takes a note that says something; some clients send empty ones always.
func (r *reader) note(c *markup.Element, to *[]presence.Note) {
	text := c.Text()
	if strings.TrimSpace(text) == "" {
		return
	}
	lang, _ := c.LookupAttr(xmlSpace, "lang")
	*to = append(*to, presence.Note{Lang: lang, Text: text})
	r.bound(len(*to), MaxNotes, "notes", c)
}

// keep carries what is not known.
func (r *reader) keep(c *markup.Element, to *[]presence.Fragment) {
	*to = append(*to, fragment(c))
	r.bound(len(*to), MaxExtra, "extensions", c)
}

// nowhere is the namespace of no element, since XML has no such character: what
// is written under it declares all that it needs, the absence of a namespace included.
const nowhere = "\x00"

func fragment(c *markup.Element) presence.Fragment {
	return presence.Fragment{Space: c.Space, Local: c.Local, XML: string(c.Append(nil, nowhere))}
}

// mustUnderstand is the attribute of RFC 3863 §4.2.5 on an element that we do not
// know: whoever handles the extension around it has to know it, else the whole
// extension is not to be handled. In what we only carry it changes nothing.
func mustUnderstand(c *markup.Element) bool {
	v, _ := c.LookupAttr(Space, "mustUnderstand")
	return v == "1" || v == "true"
}

// parsePriority reads a qvalue into thousandths, -1 for none.
func parsePriority(s string) int {
	s = strings.TrimSpace(s)
	whole, frac, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(frac) > 3 {
		return -1
	}
	n := 0
	for i := range 3 {
		n *= 10
		if i < len(frac) {
			if frac[i] < '0' || frac[i] > '9' {
				return -1
			}
			n += int(frac[i] - '0')
		}
	}
	if whole == "1" {
		if n != 0 {
			return -1
		}
		return 1000
	}
	return n
}

// parseTime reads an xs:dateTime; without a zone it is taken as UTC.
func parseTime(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), true
	}
	t, err := time.Parse("2006-01-02T15:04:05.999999999", s)
	return t, err == nil
}
