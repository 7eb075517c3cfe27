package pidf

import (
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// Find returns the first fragment of that name, or nil.
func Find(in []presence.Fragment, space, local string) *presence.Fragment {
	for i := range in {
		if in[i].Local == local && in[i].Space == space {
			return &in[i]
		}
	}
	return nil
}

// Contact information of RFC 4482 §3, of a person or tuple (its Extra).
type ContactInfo struct {
	Card, DisplayName, Homepage, Icon, Map, Sound string // URIs but for DisplayName; "" for none
}

// Contacts reads CIPID.
func Contacts(extra []presence.Fragment) ContactInfo {
	text := func(local string) string {
		f := Find(extra, CIPID, local)
		if f == nil {
			return ""
		}
		e, err := markup.Parse([]byte(f.XML), markup.Options{})
		if err != nil {
			return ""
		}
		return strings.TrimSpace(e.Text())
	}
	return ContactInfo{
		Card: text("card"), DisplayName: text("display-name"), Homepage: text("homepage"),
		Icon: text("icon"), Map: text("map"), Sound: text("sound"),
	}
}

// Fragments writes CIPID, for Extra of a person or tuple.
func (c ContactInfo) Fragments() []presence.Fragment {
	var out []presence.Fragment
	for _, v := range [...]struct{ local, text string }{
		{"card", c.Card}, {"display-name", c.DisplayName}, {"homepage", c.Homepage},
		{"icon", c.Icon}, {"map", c.Map}, {"sound", c.Sound},
	} {
		if v.text == "" {
			continue
		}
		b := append([]byte("<ci:"), v.local...)
		b = markup.AppendText(append(b, ` xmlns:ci="`+CIPID+`">`...), v.text)
		b = append(append(append(b, "</ci:"...), v.local...), '>')
		out = append(out, presence.Fragment{Space: CIPID, Local: v.local, XML: string(b)})
	}
	return out
}

// Capabilities of a service or device (RFC 5196 §3): what the element holds by
// its name, "true", "false" or text; of lists the supported values. Nil for none.
type Capabilities map[string][]string

// ServiceCaps reads <servcaps> from a tuple's Extra, DeviceCaps reads <devcaps>
// from a device's.
func ServiceCaps(extra []presence.Fragment) Capabilities { return caps(extra, "servcaps") }

// DeviceCaps reads <devcaps>.
func DeviceCaps(extra []presence.Fragment) Capabilities { return caps(extra, "devcaps") }

func caps(extra []presence.Fragment, local string) Capabilities {
	f := Find(extra, Caps, local)
	if f == nil {
		return nil
	}
	root, err := markup.Parse([]byte(f.XML), markup.Options{})
	if err != nil {
		return nil
	}
	out := Capabilities{}
	for c := range root.Children() {
		if c.Space != Caps {
			continue
		}
		if supported := c.Child(Caps, "supported"); supported != nil {
			for v := range supported.Children() {
				name := v.Local // an element per value, but for schemes and languages
				if text := strings.TrimSpace(v.Text()); text != "" {
					name = text
				}
				out[c.Local] = append(out[c.Local], name)
			}
		} else if text := strings.TrimSpace(c.Text()); text != "" {
			out[c.Local] = append(out[c.Local], text)
		}
	}
	return out
}

// Supports tells whether value is among those of a capability.
func (c Capabilities) Supports(capability, value string) bool {
	for _, v := range c[capability] {
		if v == value {
			return true
		}
	}
	return false
}

// TimedStatus is a status of the past or future (RFC 4481 §3).
type TimedStatus struct {
	Basic       presence.Basic
	From, Until time.Time // zero for none
	Notes       []presence.Note
	Rich        presence.Rich
	Extra       []presence.Fragment
}

// TimedStatuses reads all <timed-status> of a tuple's Extra. One without a
// start, which the standard requires, or that cannot be read is left out.
func TimedStatuses(extra []presence.Fragment) []TimedStatus {
	var out []TimedStatus
	for i := range extra {
		if extra[i].Local != "timed-status" || extra[i].Space != Timed {
			continue
		}
		if s, ok := timedStatus(extra[i].XML); ok {
			out = append(out, s)
		}
	}
	return out
}

func timedStatus(xml string) (s TimedStatus, ok bool) {
	e, err := markup.Parse([]byte(xml), markup.Options{MaxBytes: MaxBytes})
	if err != nil {
		return s, false
	}
	if s.From, ok = parseTime(e.Attr("from")); !ok {
		return s, false
	}
	s.Until, _ = parseTime(e.Attr("until"))
	var r reader
	for c := range e.Children() {
		switch {
		case c.Local == "basic":
			switch strings.TrimSpace(c.Text()) {
			case "open":
				s.Basic = presence.Open
			case "closed":
				s.Basic = presence.Closed
			}
		case c.Local == "note":
			r.note(c, &s.Notes)
		case r.rich(c, &s.Rich):
		default:
			r.keep(c, &s.Extra)
		}
	}
	return s, r.err == nil
}
