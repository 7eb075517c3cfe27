package pidf

import (
	"time"

	"pharos/markup"
	"pharos/presence"
)

// Append writes d as a PIDF document about entity, a URI. Open tuples come first,
// since some watchers (baresip, libpurple) look at one tuple only. Ids that are
// missing, not XML names or used twice are replaced. d is only read.
//
// Prefixes are rpid: and dm: with PIDF as the default namespace: some watchers
// compare text.
func Append(dst []byte, entity string, d *presence.Document) []byte {
	w := writer{b: dst}
	w.head(entity, d)
	body := len(w.b)
	for _, open := range [...]bool{true, false} {
		for i := range d.Tuples {
			if t := &d.Tuples[i]; (t.Basic == presence.Open) == open {
				w.tuple(t)
			}
		}
	}
	for _, n := range d.Notes {
		w.note("note", n)
	}
	for i := range d.Persons {
		w.person(&d.Persons[i])
	}
	for i := range d.Devices {
		w.device(&d.Devices[i])
	}
	w.fragments(d.Extra)
	if len(w.b) == body {
		return append(w.b[:body-1], "/>"...)
	}
	return append(w.b, "</presence>"...)
}

// Closed writes the document of somebody who is offline: watchers that get no
// body, or none with a basic status, go on showing what they had.
func Closed(dst []byte, entity string) []byte {
	return Append(dst, entity, &presence.Document{Tuples: []presence.Tuple{{ID: "offline", Basic: presence.Closed, Priority: -1}}})
}

// Neutral writes the document that says nothing, for a watcher whose
// subscription is pending (RFC 3856 §6.6.2).
func Neutral(dst []byte, entity string) []byte {
	return Append(dst, entity, &presence.Document{})
}

// writer appends to b; used are the ids written so far.
type writer struct {
	b    []byte
	used []string
	room [16]string
}

// head writes up to and with the root's start tag, declaring what is used.
func (w *writer) head(entity string, d *presence.Document) {
	model := len(d.Persons)+len(d.Devices) > 0
	rpid, places := false, false
	use := func(r *presence.Rich) {
		rpid = rpid || !isEmpty(r)
		places = places || r.PlaceType != nil
	}
	for i := range d.Tuples {
		model = model || len(d.Tuples[i].DeviceIDs) > 0
		use(&d.Tuples[i].Rich)
	}
	for i := range d.Persons {
		use(&d.Persons[i].Rich)
	}
	for i := range d.Devices {
		use(&d.Devices[i].Rich)
	}
	w.used = w.room[:0]
	w.b = append(w.b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<presence xmlns="`+Space+`"`...)
	if model {
		w.b = append(w.b, ` xmlns:dm="`+DataModel+`"`...)
	}
	if rpid {
		w.b = append(w.b, ` xmlns:rpid="`+RPID+`"`...)
	}
	if places {
		w.b = append(w.b, ` xmlns:lt="`+LocationTypes+`"`...)
	}
	w.attr("entity", entity)
	w.b = append(w.b, '>')
}

// tuple writes in the order of RFC 3863 §4.4: status, extensions, contact,
// notes, timestamp.
func (w *writer) tuple(t *presence.Tuple) {
	w.b = append(w.b, "<tuple"...)
	w.attr("id", w.unique(t.ID, "t"))
	w.b = append(w.b, "><status>"...)
	switch t.Basic {
	case presence.Open:
		w.b = append(w.b, "<basic>open</basic>"...)
	case presence.Closed:
		w.b = append(w.b, "<basic>closed</basic>"...)
	}
	w.fragments(t.Status)
	w.b = append(w.b, "</status>"...)
	for _, id := range t.DeviceIDs {
		w.text("<dm:deviceID>", id, "</dm:deviceID>")
	}
	w.rich(&t.Rich)
	w.fragments(t.Extra)
	if t.Contact != "" {
		w.b = append(w.b, "<contact"...)
		if t.Priority >= 0 {
			w.b = append(w.b, ` priority="`...)
			w.b = append(appendPriority(w.b, t.Priority), '"')
		}
		w.text(">", t.Contact, "</contact>")
	}
	for _, n := range t.Notes {
		w.note("note", n)
	}
	w.time("timestamp", t.Timestamp)
	w.b = append(w.b, "</tuple>"...)
}

// person writes in the order of RFC 4479 §6.
func (w *writer) person(p *presence.Person) {
	w.b = append(w.b, "<dm:person"...)
	w.attr("id", w.unique(p.ID, "p"))
	w.b = append(w.b, '>')
	w.rich(&p.Rich)
	w.fragments(p.Extra)
	for _, n := range p.Notes {
		w.note("dm:note", n)
	}
	w.time("dm:timestamp", p.Timestamp)
	w.b = append(w.b, "</dm:person>"...)
}

func (w *writer) device(d *presence.Device) {
	w.b = append(w.b, "<dm:device"...)
	w.attr("id", w.unique(d.ID, "d"))
	w.b = append(w.b, '>')
	w.rich(&d.Rich)
	w.fragments(d.Extra)
	w.text("<dm:deviceID>", d.DeviceID, "</dm:deviceID>")
	for _, n := range d.Notes {
		w.note("dm:note", n)
	}
	w.time("dm:timestamp", d.Timestamp)
	w.b = append(w.b, "</dm:device>"...)
}

func (w *writer) fragments(fs []presence.Fragment) {
	for i := range fs {
		w.b = append(w.b, fs[i].XML...)
	}
}

func (w *writer) note(element string, n presence.Note) {
	w.b = append(append(w.b, '<'), element...)
	w.optional("xml:lang", n.Lang)
	w.b = append(w.b, '>')
	w.b = markup.AppendText(w.b, n.Text)
	w.b = append(append(append(w.b, "</"...), element...), '>')
}

// text writes s, escaped, between two pieces of markup.
func (w *writer) text(before, s, after string) {
	w.b = markup.AppendText(append(w.b, before...), s)
	w.b = append(w.b, after...)
}

func (w *writer) time(element string, t time.Time) {
	if t.IsZero() {
		return
	}
	w.b = append(append(append(w.b, '<'), element...), '>')
	w.b = t.UTC().AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(append(append(w.b, "</"...), element...), '>')
}

func (w *writer) attr(name, value string) {
	w.b = append(append(append(w.b, ' '), name...), '=', '"')
	w.b = append(appendEscaped(w.b, value), '"')
}

// optional leaves an empty attribute out.
func (w *writer) optional(name, value string) {
	if value != "" {
		w.attr(name, value)
	}
}

// id writes the optional id of an RPID element, unless it would make the
// document invalid: composing two devices may bring the same one twice.
func (w *writer) id(id string) {
	if id != "" && isName(id) && !w.has(id) {
		w.used = append(w.used, id)
		w.attr("id", id)
	}
}

func (w *writer) has(id string) bool {
	for _, u := range w.used {
		if u == id {
			return true
		}
	}
	return false
}

// unique returns an id that is an XML name and not used yet (xs:ID), as near to
// the wanted one as can be.
func (w *writer) unique(id, fallback string) string {
	if id == "" {
		id = fallback
	} else if !isName(id) {
		id = toName(id)
	}
	if w.has(id) {
		base := id
		for n := 2; w.has(id); n++ {
			id = string(appendInt(append([]byte(base), '.'), n))
		}
	}
	w.used = append(w.used, id)
	return id
}

// isName tells whether s can stand as an XML id. Above ASCII all is let through.
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !nameByte(c) || i == 0 && (c == '-' || c == '.' || '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c >= 0x80
}

// toName makes an XML name of s by replacing what does not fit.
func toName(s string) string {
	b := []byte(s)
	for i := range b {
		if !nameByte(b[i]) || b[i] >= 0x80 {
			b[i] = '_'
		}
	}
	if !isName(string(b)) {
		b = append([]byte{'_'}, b...)
	}
	return string(b)
}

// appendPriority writes thousandths as a qvalue (RFC 3863 §4.1.5).
func appendPriority(dst []byte, p int) []byte {
	if p >= 1000 {
		return append(dst, '1')
	}
	dst = append(dst, '0', '.', byte('0'+p/100))
	if p%100 != 0 {
		dst = append(dst, byte('0'+p/10%10))
	}
	if p%10 != 0 {
		dst = append(dst, byte('0'+p%10))
	}
	return dst
}

func appendInt(dst []byte, n int) []byte {
	if n >= 10 {
		dst = appendInt(dst, n/10)
	}
	return append(dst, byte('0'+n%10))
}

// appendEscaped escapes an attribute value, the same in either kind of quotes.
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '"' || c == '<' || c == '&' || c < 0x20 || c >= 0x80 {
			const head = ` a='` // markup writes a whole attribute; its value is wanted
			at := len(dst)
			dst = markup.AppendAttr(dst, "a", s)
			return dst[:at+copy(dst[at:], dst[at+len(head):len(dst)-1])]
		}
	}
	return append(dst, s...)
}
