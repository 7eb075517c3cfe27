package pidf

import (
	"slices"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// An enumeration of RPID (RFC 4480 §3): its place in presence.Rich and what its
// schema allows.
type enumeration struct {
	local string
	of    func(*presence.Rich) **presence.Values
	one   bool   // the schema takes a single value
	empty string // element that stands for no value where the schema needs one
	order []string
}

// The enumerations in the order in which they are written.
var enumerations = [...]enumeration{
	{local: "activities", of: func(r *presence.Rich) **presence.Values { return &r.Activities }},
	{local: "mood", of: func(r *presence.Rich) **presence.Values { return &r.Mood }, empty: "unknown"},
	{local: "place-is", of: func(r *presence.Rich) **presence.Values { return &r.PlaceIs }, order: []string{"audio", "video", "text"}},
	{local: "place-type", of: func(r *presence.Rich) **presence.Values { return &r.PlaceType }, empty: "other"},
	{local: "privacy", of: func(r *presence.Rich) **presence.Values { return &r.Privacy }, order: []string{"audio", "text", "video"}},
	{local: "relationship", of: func(r *presence.Rich) **presence.Values { return &r.Relationship }, one: true},
	{local: "service-class", of: func(r *presence.Rich) **presence.Values { return &r.ServiceClass }, one: true, empty: "unknown"},
}

// rich takes an RPID element. False: it is none, it is the second of its name
// (a calendar's other time frames), or it cannot be read here; then it is to be
// kept as it is.
func (r *reader) rich(c *markup.Element, to *presence.Rich) bool {
	if !isRPID(c.Space) {
		return false
	}
	for i := range enumerations {
		if en := &enumerations[i]; c.Local == en.local {
			at := en.of(to)
			if *at == nil {
				*at = r.values(c)
				return *at != nil
			}
			return false
		}
	}
	switch c.Local {
	case "class":
		return setText(c, &to.Class)
	case "sphere":
		return r.sphere(c, to)
	case "status-icon":
		return setText(c, &to.StatusIcon) && r.frame(c, to)
	case "time-offset":
		return setText(c, &to.TimeOffset) && r.frame(c, to)
	case "user-input":
		return r.userInput(c, &to.UserInput)
	}
	return false
}

// setText takes the text of a plain element once.
func setText(c *markup.Element, to *string) bool {
	text := strings.TrimSpace(c.Text())
	if *to != "" || text == "" {
		return false
	}
	*to = text
	return true
}

// frame keeps the attributes of a plain element. It is always true.
func (r *reader) frame(c *markup.Element, to *presence.Rich) bool {
	f := presence.Frame{Element: c.Local, From: c.Attr("from"), Until: c.Attr("until"), ID: c.Attr("id"), Description: c.Attr("description")}
	if f != (presence.Frame{Element: c.Local}) {
		to.Frames = append(to.Frames, f)
	}
	return true
}

// sphere is home, work or unknown as an element, or free text (RFC 4480 §3.11).
func (r *reader) sphere(c *markup.Element, to *presence.Rich) bool {
	if to.Sphere != "" {
		return false
	}
	text := strings.TrimSpace(c.Text())
	for i := range c.Nodes {
		if v := c.Nodes[i].Element; v != nil {
			if !isRPID(v.Space) || text != "" {
				return false
			}
			text = v.Local
		}
	}
	if text == "" {
		return false
	}
	to.Sphere = text
	return r.frame(c, to)
}

func (r *reader) userInput(c *markup.Element, to *presence.UserInput) bool {
	state := strings.TrimSpace(c.Text())
	for i := range c.Nodes {
		if v := c.Nodes[i].Element; v != nil && state == "" {
			state = v.Local // drafts had elements
		}
	}
	if to.State != "" || state != "active" && state != "idle" {
		return false
	}
	*to = presence.UserInput{State: state, LastInput: c.Attr("last-input"), IdleThreshold: c.Attr("idle-threshold"), ID: c.Attr("id")}
	return true
}

// values reads an enumeration; nil when something in it must be understood and
// is not.
func (r *reader) values(e *markup.Element) *presence.Values {
	v := &presence.Values{ID: e.Attr("id"), From: e.Attr("from"), Until: e.Attr("until")}
	for i := range e.Nodes {
		c := e.Nodes[i].Element
		switch {
		case c == nil:
			if e.Nodes[i].Kind == markup.TextNode {
				word(v, e.Nodes[i].Text)
			}
		case isRPID(c.Space) || c.Space == LocationTypes && e.Local == "place-type":
			r.value(e, c, v)
		case mustUnderstand(c):
			return nil
		default:
			r.keep(c, &v.Extra)
		}
		if r.err != nil {
			break
		}
	}
	r.bound(len(v.Names)+len(v.Other), MaxValues, "values of <"+e.Local+">", e)
	return v
}

// value reads one child of enumeration e.
func (r *reader) value(e, c *markup.Element, v *presence.Values) {
	switch c.Local {
	case "note":
		r.note(c, &v.Notes)
	case "other":
		if text := strings.TrimSpace(c.Text()); text != "" {
			v.Other = append(v.Other, text)
		} else {
			v.Names = append(v.Names, "other")
		}
	case "activity": // drafts: <activity>busy</activity>
		word(v, c.Text())
	default:
		if e.Local != "place-is" {
			v.Names = append(v.Names, c.Local)
			return
		}
		for i := range c.Nodes { // <audio><noisy/></audio>
			if q := c.Nodes[i].Element; q != nil {
				v.Names = append(v.Names, c.Local+":"+q.Local)
			}
		}
	}
}

// word takes a value that stands as text, as drafts had it.
func word(v *presence.Values, text string) {
	switch text = strings.TrimSpace(text); {
	case text == "":
	case isName(text):
		v.Names = append(v.Names, text)
	default:
		v.Other = append(v.Other, text)
	}
}

// rich writes the RPID elements in the order of RFC 4480's sections.
func (w *writer) rich(r *presence.Rich) {
	for i := range enumerations {
		en := &enumerations[i]
		if v := *en.of(r); v != nil {
			w.values(en, v)
		}
		if i == 0 && r.Class != "" { // class stands between activities and mood
			w.text("<rpid:class>", r.Class, "</rpid:class>")
		}
	}
	if r.Sphere != "" {
		w.open("sphere", frameOf(r, "sphere"))
		if r.Sphere == "home" || r.Sphere == "work" || r.Sphere == "unknown" {
			w.b = append(append(append(w.b, "<rpid:"...), r.Sphere...), "/>"...)
		} else {
			w.b = markup.AppendText(w.b, r.Sphere)
		}
		w.b = append(w.b, "</rpid:sphere>"...)
	}
	if r.StatusIcon != "" {
		w.open("status-icon", frameOf(r, "status-icon"))
		w.text("", r.StatusIcon, "</rpid:status-icon>")
	}
	if r.TimeOffset != "" {
		w.open("time-offset", frameOf(r, "time-offset"))
		w.text("", r.TimeOffset, "</rpid:time-offset>")
	}
	if u := &r.UserInput; u.State != "" {
		w.b = append(w.b, "<rpid:user-input"...)
		w.optional("idle-threshold", u.IdleThreshold)
		w.optional("last-input", u.LastInput)
		w.id(u.ID)
		w.text(">", u.State, "</rpid:user-input>")
	}
}

func frameOf(r *presence.Rich, element string) presence.Frame {
	for _, f := range r.Frames {
		if f.Element == element {
			return f
		}
	}
	return presence.Frame{}
}

// open writes the start tag of a plain element with its frame.
func (w *writer) open(local string, f presence.Frame) {
	w.b = append(append(w.b, "<rpid:"...), local...)
	w.optional("from", f.From)
	w.optional("until", f.Until)
	w.id(f.ID)
	w.optional("description", f.Description)
	w.b = append(w.b, '>')
}

// values writes an enumeration: notes, then values (RFC 4480 §5.2).
func (w *writer) values(en *enumeration, v *presence.Values) {
	w.b = append(append(w.b, "<rpid:"...), en.local...)
	if !en.one { // relationship and service-class have no attributes
		w.optional("from", v.From)
		w.optional("until", v.Until)
		w.id(v.ID)
	}
	w.b = append(w.b, '>')
	body := len(w.b)
	for _, n := range v.Notes {
		w.note("rpid:note", n)
	}
	values := len(w.b)
	names := v.Names
	if en.order != nil {
		names = inOrder(names, en.order)
	}
	for _, name := range names {
		if name == "unknown" && len(v.Names)+len(v.Other)+len(v.Extra) > 1 {
			continue // the schema has it alone, and beside others it says nothing
		}
		w.value(en, name)
		if en.one {
			break
		}
	}
	if !en.one || len(w.b) == values {
		for _, o := range v.Other {
			w.text("<rpid:other>", o, "</rpid:other>")
			if en.one {
				break
			}
		}
	}
	for i := range v.Extra {
		w.b = append(w.b, v.Extra[i].XML...)
	}
	if len(w.b) == values && en.empty != "" {
		w.value(en, en.empty)
	}
	if len(w.b) == body {
		w.b = append(w.b[:body-1], "/>"...)
		return
	}
	w.b = append(append(append(w.b, "</rpid:"...), en.local...), '>')
}

// value writes one value by its name. What could not be a name is left out.
func (w *writer) value(en *enumeration, name string) {
	outer, inner, nested := strings.Cut(name, ":")
	switch {
	case !isName(outer) || nested && (en.local != "place-is" || !isName(inner)):
	case nested:
		w.b = append(append(append(w.b, "<rpid:"...), outer...), "><rpid:"...)
		w.b = append(append(append(w.b, inner...), "/></rpid:"...), outer...)
		w.b = append(w.b, '>')
	case en.local == "place-type" && name != "other": // RFC 4589 has the names
		w.b = append(append(append(w.b, "<lt:"...), name...), "/>"...)
	default:
		w.b = append(append(append(w.b, "<rpid:"...), name...), "/>"...)
	}
}

// inOrder sorts names by their first part as the schema has them; others last.
func inOrder(names, order []string) []string {
	rank := func(name string) int {
		outer, _, _ := strings.Cut(name, ":")
		if i := slices.Index(order, outer); i >= 0 {
			return i
		}
		return len(order)
	}
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return rank(a) - rank(b) })
	return sorted
}

// isEmpty tells that there is nothing to write.
func isEmpty(r *presence.Rich) bool {
	return r.Activities == nil && r.Mood == nil && r.PlaceIs == nil && r.PlaceType == nil && r.Privacy == nil &&
		r.Relationship == nil && r.ServiceClass == nil && r.Class == "" && r.Sphere == "" &&
		r.StatusIcon == "" && r.TimeOffset == "" && r.UserInput.State == ""
}
