package jabber

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// This file is the one place where XMPP presence and the presence document meet
// (RFC 7247, RFC 8048 §6; RPID by RFC 4480). docs/mapping.md is printed from
// the tables below.

// Activity maps one RPID activity (RFC 4480 §3.2) to <show/>. Words become the
// <status/> when the source has no note of its own and the activity says more
// than the show. Shows rank dnd, xa, away, none: the strongest of several
// activities is shown.
type Activity struct{ Name, Show, Words string }

var activities = []Activity{
	{"appointment", "dnd", "In an appointment"},
	{"away", "away", ""},
	{"breakfast", "away", "At breakfast"},
	{"busy", "dnd", ""},
	{"dinner", "away", "At dinner"},
	{"holiday", "xa", "Public holiday"},
	{"in-transit", "away", "In transit"},
	{"looking-for-work", "", "Looking for work"},
	{"lunch", "away", "At lunch"},
	{"meal", "away", "At a meal"},
	{"meeting", "dnd", "In a meeting"},
	{"on-the-phone", "dnd", "On the phone"},
	{"performance", "dnd", "At a performance"},
	{"permanent-absence", "xa", "Gone for good"},
	{"playing", "away", "Playing"},
	{"presentation", "dnd", "In a presentation"},
	{"shopping", "away", "Shopping"},
	{"sleeping", "xa", "Sleeping"},
	{"spectator", "away", "Watching an event"},
	{"steering", "dnd", "Driving"},
	{"travel", "xa", "Travelling"},
	{"tv", "away", "Watching TV"},
	{"unknown", "", ""},
	{"vacation", "xa", "On vacation"},
	{"working", "", "Working"},
	{"worship", "dnd", "At worship"},
}

// Show maps <show/> (RFC 6121 §4.7.2.1) to the RPID activity that SIP clients
// understand. The show itself goes along in the tuple's <status/>
// (RFC 8048 §6.2, note 6), so that nothing is lost on the way back.
type Show struct {
	Value, Activity string
	rank            int
}

var shows = []Show{
	{"", "", 0},
	{"chat", "", 0},
	{"away", "away", 1},
	{"xa", "away", 2},
	{"dnd", "busy", 3},
}

// Element maps the rest, for the printed table.
type Element struct{ XMPP, Document, Note string }

var elements = []Element{
	{"type absent", "`<basic>open</basic>`", "a source with an open tuple, or with none and anything else, is available"},
	{"type='unavailable'", "the source is gone, or `<basic>closed</basic>`", "a session that ends leaves the document; a closed publication is shown as unavailable"},
	{"resource", "tuple id `ID-` + resource", "bytes other than letters, digits, `-` and `.` as `_` + two hex digits"},
	{"from='user@domain/sip-…'", "a publication (ETag's source)", "one stanza per publication, stable however its tuple ids change"},
	{"`<priority/>` 0..127", "priority of `<contact/>`, 0..1", "p/127 in thousandths; 0 where the contact has none"},
	{"`<priority/>` below 0", "priority 0, and `<priority xmlns='jabber:client'/>` in the tuple", "PIDF has no negative priority"},
	{"`<show/>`", "`<show xmlns='jabber:client'/>` in `<status/>`, and an activity of the person", "see below; back: the show if there is one, else the strongest activity, else idle as away"},
	{"`<status xml:lang=''/>`", "`<note xml:lang=''/>` of the tuple and the person", "back: the first that is there of the open tuple's, the person's, the activity's, the document's notes; else words for the activity"},
	{"`<idle since=''/>` (XEP-0319)", "`<user-input last-input=''>idle</user-input>`", ""},
	{"other children", "-", "carried among XMPP clients as they came"},
}

// stanza is what XMPP can say of one resource.
type stanza struct {
	Available bool
	Show      string
	Status    []presence.Note
	Priority  int
	Since     string // XEP-0319
}

// readStanza reads a <presence/> without type; l is its language.
func readStanza(el *markup.Element, l string) stanza {
	st := stanza{Available: true}
	for c := range el.Children() {
		switch {
		case c.Is(nsClient, "show"):
			st.Show = strings.TrimSpace(c.Text())
		case c.Is(nsClient, "status"):
			n := presence.Note{Lang: lang(c), Text: c.Text()}
			if n.Lang == "" {
				n.Lang = l
			}
			st.Status = addStatus(st.Status, n)
		case c.Is(nsClient, "priority"):
			st.Priority, _ = priorityOf(el)
		case c.Is(nsIdle, "idle"):
			st.Since = c.Attr("since")
		}
	}
	if showOf(st.Show) == nil {
		st.Show = "" // RFC 6121 §4.7.2.1: none but the four
	}
	return st
}

// addStatus keeps one status per language (RFC 6121 §4.7.2.2).
func addStatus(ns []presence.Note, n presence.Note) []presence.Note {
	if n.Text == "" {
		return ns
	}
	for i := range ns {
		if ns[i].Lang == n.Lang {
			return ns
		}
	}
	return append(ns, n)
}

// appendStanza writes the children of a <presence/>.
func appendStanza(b []byte, st stanza) []byte {
	if st.Show != "" && st.Available {
		b = append(b, "<show>"...)
		b = markup.AppendText(b, st.Show)
		b = append(b, "</show>"...)
	}
	for _, n := range st.Status {
		b = append(b, "<status"...)
		b = attr(b, "xml:lang", n.Lang)
		b = append(b, '>')
		b = markup.AppendText(b, n.Text)
		b = append(b, "</status>"...)
	}
	if st.Priority != 0 && st.Available {
		b = append(b, "<priority>"...)
		b = strconv.AppendInt(b, int64(st.Priority), 10)
		b = append(b, "</priority>"...)
	}
	if st.Since != "" && st.Available {
		b = markup.AppendAttr(append(b, "<idle xmlns='"+nsIdle+"'"...), "since", st.Since)
		b = append(b, "/>"...)
	}
	return b
}

func showOf(v string) *Show {
	for i := range shows {
		if shows[i].Value == v {
			return &shows[i]
		}
	}
	return nil
}

// documentOf says in a presence document what a stanza of a resource says.
func documentOf(st stanza, e presence.Entity, resource string, now time.Time) *presence.Document {
	id := "ID-" + escapeID(resource)
	t := presence.Tuple{
		ID: id, Basic: presence.Open, Priority: max(st.Priority, 0) * 1000 / 127,
		Contact: "sip:" + escapeUser(e.User) + "@" + e.Domain,
		Notes:   st.Status, Timestamp: now,
	}
	if st.Priority < 0 {
		t.Extra = []presence.Fragment{{Space: nsClient, Local: "priority",
			XML: "<priority xmlns='" + nsClient + "'>" + strconv.Itoa(st.Priority) + "</priority>"}}
	}
	p := presence.Person{ID: presence.PersonID, Notes: st.Status, Timestamp: now}
	if st.Show != "" {
		t.Status = []presence.Fragment{{Space: nsClient, Local: "show",
			XML: "<show xmlns='" + nsClient + "'>" + st.Show + "</show>"}}
		if s := showOf(st.Show); s != nil && s.Activity != "" {
			p.Rich.Activities = &presence.Values{Names: []string{s.Activity}}
		}
	}
	if st.Since != "" {
		p.Rich.UserInput = presence.UserInput{State: "idle", LastInput: st.Since}
	}
	return &presence.Document{Tuples: []presence.Tuple{t}, Persons: []presence.Person{p}}
}

// readDocument says as one stanza what a source's document says.
func readDocument(d *presence.Document) stanza {
	if d == nil {
		return stanza{}
	}
	t, open := bestTuple(d)
	st := stanza{Available: open}
	var acts *presence.Values
	if t != nil {
		st.Priority = (max(t.Priority, 0)*127 + 500) / 1000
		for _, f := range t.Extra {
			if f.Space == nsClient && f.Local == "priority" {
				if n, err := strconv.ParseInt(fragmentText(f), 10, 8); err == nil {
					st.Priority = int(n)
				}
			}
		}
		for _, n := range t.Notes {
			st.Status = addStatus(st.Status, n)
		}
		st.rich(&t.Rich, &acts)
	}
	for i := range d.Persons {
		p := &d.Persons[i]
		if i == 0 && len(st.Status) == 0 {
			for _, n := range p.Notes {
				st.Status = addStatus(st.Status, n)
			}
		}
		st.rich(&p.Rich, &acts)
	}
	if len(st.Status) == 0 && acts != nil {
		for _, n := range acts.Notes {
			st.Status = addStatus(st.Status, n)
		}
	}
	if len(st.Status) == 0 {
		for _, n := range d.Notes {
			st.Status = addStatus(st.Status, n)
		}
	}
	if len(st.Status) == 0 {
		st.Status = addStatus(nil, presence.Note{Text: wordsOf(acts, st.Show)})
	}
	if t != nil {
		for _, f := range t.Status {
			if f.Space == nsClient && f.Local == "show" {
				if v := fragmentText(f); showOf(v) != nil {
					st.Show = v
				}
			}
		}
	}
	if !st.Available {
		st.Show, st.Priority, st.Since = "", 0, ""
	}
	return st
}

// rich takes over the strongest activity and idleness.
func (st *stanza) rich(r *presence.Rich, acts **presence.Values) {
	if r.Activities != nil {
		if *acts == nil {
			*acts = r.Activities
		}
		for _, n := range r.Activities.Names {
			if a := activityOf(n); a != nil && showOf(a.Show).rank > showOf(st.Show).rank {
				st.Show = a.Show
				*acts = r.Activities
			}
		}
	}
	if r.UserInput.State == "idle" {
		if st.Since == "" {
			st.Since = r.UserInput.LastInput
		}
		if st.Show == "" {
			st.Show = "away"
		}
	}
}

// wordsOf are the words for the activity that gave the show; of several in
// one element the first with that show.
func wordsOf(v *presence.Values, show string) string {
	if v == nil {
		return ""
	}
	for _, n := range v.Names {
		if a := activityOf(n); a != nil && a.Show == show && a.Words != "" {
			return a.Words
		}
	}
	for _, n := range v.Names {
		if a := activityOf(n); a != nil && a.Words != "" {
			return a.Words
		}
	}
	if len(v.Other) > 0 {
		return v.Other[0]
	}
	return ""
}

func activityOf(n string) *Activity {
	for i := range activities {
		if activities[i].Name == n {
			return &activities[i]
		}
	}
	return nil
}

// bestTuple is the tuple that stands for a source: the open one of the
// highest priority; and whether the source is available.
func bestTuple(d *presence.Document) (*presence.Tuple, bool) {
	var best *presence.Tuple
	open, closed := false, false
	for i := range d.Tuples {
		t := &d.Tuples[i]
		switch t.Basic {
		case presence.Open:
			if !open || t.Priority > best.Priority {
				best = t
			}
			open = true
		case presence.Closed:
			closed = true
		}
		if best == nil {
			best = t
		}
	}
	if open || closed {
		return best, open
	}
	return best, len(d.Tuples)+len(d.Persons) > 0
}

// fragmentText is the text of a small fragment.
func fragmentText(f presence.Fragment) string {
	el, err := markup.Parse([]byte(f.XML), markup.Options{})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(el.Text())
}

// escapeID makes an NCName's tail of any text, reversibly.
func escapeID(s string) string {
	return escape(s, '_', func(c byte) bool { return c == '-' || c == '.' })
}

// escapeUser writes a localpart as the user of a SIP URI (RFC 3261 §25.1).
func escapeUser(s string) string {
	return escape(s, '%', func(c byte) bool { return strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0 })
}

func escape(s string, mark byte, plain func(byte) bool) string {
	ok := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || plain(c)
	}
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			b := make([]byte, 0, len(s)+16)
			for j := 0; j < len(s); j++ {
				if ok(s[j]) {
					b = append(b, s[j])
				} else {
					b = hex.AppendEncode(append(b, mark), []byte{s[j]})
				}
			}
			return string(b)
		}
	}
	return s
}
