package jabber

import (
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// Doing maps one activity of XEP-0108 §3 to an RPID activity (RFC 4480 §3.2).
// Where RPID has none, or one that says less, the name goes along as <other/>,
// so that it comes back as it was.
type Doing struct{ General, Specific, RPID string }

var doings = []Doing{
	{"doing_chores", "", ""}, {"doing_chores", "buying_groceries", "shopping"}, {"doing_chores", "cleaning", ""},
	{"doing_chores", "cooking", ""}, {"doing_chores", "doing_maintenance", ""}, {"doing_chores", "doing_the_dishes", ""},
	{"doing_chores", "doing_the_laundry", ""}, {"doing_chores", "gardening", ""}, {"doing_chores", "running_an_errand", ""},
	{"doing_chores", "walking_the_dog", ""},
	{"drinking", "", ""}, {"drinking", "having_a_beer", ""}, {"drinking", "having_coffee", ""}, {"drinking", "having_tea", ""},
	{"eating", "", "meal"}, {"eating", "having_a_snack", "meal"}, {"eating", "having_breakfast", "breakfast"},
	{"eating", "having_dinner", "dinner"}, {"eating", "having_lunch", "lunch"},
	{"exercising", "", "playing"}, {"exercising", "cycling", "playing"}, {"exercising", "dancing", "playing"},
	{"exercising", "hiking", "playing"}, {"exercising", "jogging", "playing"}, {"exercising", "playing_sports", "playing"},
	{"exercising", "running", "playing"}, {"exercising", "skiing", "playing"}, {"exercising", "swimming", "playing"},
	{"exercising", "working_out", "playing"},
	{"grooming", "", ""}, {"grooming", "at_the_spa", ""}, {"grooming", "brushing_teeth", ""},
	{"grooming", "getting_a_haircut", ""}, {"grooming", "shaving", ""}, {"grooming", "taking_a_bath", ""},
	{"grooming", "taking_a_shower", ""},
	{"having_appointment", "", "appointment"},
	{"inactive", "", ""}, {"inactive", "day_off", ""}, {"inactive", "hanging_out", ""}, {"inactive", "hiding", ""},
	{"inactive", "on_vacation", "vacation"}, {"inactive", "praying", "worship"}, {"inactive", "scheduled_holiday", "holiday"},
	{"inactive", "sleeping", "sleeping"}, {"inactive", "thinking", ""},
	{"relaxing", "", ""}, {"relaxing", "fishing", ""}, {"relaxing", "gaming", "playing"}, {"relaxing", "going_out", ""},
	{"relaxing", "partying", ""}, {"relaxing", "reading", ""}, {"relaxing", "rehearsing", ""},
	{"relaxing", "shopping", "shopping"}, {"relaxing", "smoking", ""}, {"relaxing", "socializing", ""},
	{"relaxing", "sunbathing", ""}, {"relaxing", "watching_a_movie", "spectator"}, {"relaxing", "watching_tv", "tv"},
	{"talking", "", ""}, {"talking", "in_real_life", ""}, {"talking", "on_the_phone", "on-the-phone"},
	{"talking", "on_video_phone", "on-the-phone"},
	{"traveling", "", "travel"}, {"traveling", "commuting", "in-transit"}, {"traveling", "cycling", "in-transit"},
	{"traveling", "driving", "steering"}, {"traveling", "in_a_car", "in-transit"}, {"traveling", "on_a_bus", "in-transit"},
	{"traveling", "on_a_plane", "in-transit"}, {"traveling", "on_a_train", "in-transit"}, {"traveling", "on_a_trip", "travel"},
	{"traveling", "walking", "in-transit"},
	{"undefined", "", "unknown"},
	{"working", "", "working"}, {"working", "coding", "working"}, {"working", "in_a_meeting", "meeting"},
	{"working", "studying", "working"}, {"working", "writing", "working"},
}

// back maps the activities of RPID to XEP-0108. What <show/> says better (away,
// busy, permanent-absence) and unknown are not here.
var back = map[string]Doing{
	"appointment": {"having_appointment", "", ""}, "breakfast": {"eating", "having_breakfast", ""},
	"dinner": {"eating", "having_dinner", ""}, "holiday": {"inactive", "scheduled_holiday", ""},
	"in-transit": {"traveling", "commuting", ""}, "looking-for-work": {"undefined", "other", ""},
	"lunch": {"eating", "having_lunch", ""}, "meal": {"eating", "", ""}, "meeting": {"working", "in_a_meeting", ""},
	"on-the-phone": {"talking", "on_the_phone", ""}, "performance": {"relaxing", "going_out", ""},
	"playing": {"relaxing", "gaming", ""}, "presentation": {"working", "other", ""}, "shopping": {"relaxing", "shopping", ""},
	"sleeping": {"inactive", "sleeping", ""}, "spectator": {"relaxing", "watching_a_movie", ""},
	"steering": {"traveling", "driving", ""}, "travel": {"traveling", "", ""}, "tv": {"relaxing", "watching_tv", ""},
	"vacation": {"inactive", "on_vacation", ""}, "working": {"working", "", ""}, "worship": {"inactive", "praying", ""},
}

// doingOf finds an activity, also one that stands under another general one than
// is recommended (XEP-0108 §3), and "other" under any.
func doingOf(general, specific string) (d Doing, ok bool) {
	known, rpid := false, ""
	for i := range doings {
		switch r := &doings[i]; {
		case r.General == general && r.Specific == specific:
			return *r, true
		case r.General == general:
			if r.Specific == "" {
				rpid = r.RPID
			}
		case r.Specific == specific && specific != "":
			known = true
		}
	}
	d = Doing{general, specific, rpid}
	return d, isGeneral(general) && (known || specific == "other")
}

func isGeneral(name string) bool {
	for i := range doings {
		if doings[i].General == name {
			return true
		}
	}
	return false
}

// words tell a Doing where its RPID activity does not: "coding", or with the
// general one where it is not the one that the specific is found under first.
func (d Doing) words() string {
	if d.Specific == "" {
		return wordsIn(d.General)
	}
	if first, ok := doingOfWords(wordsIn(d.Specific)); ok && first.General == d.General {
		return wordsIn(d.Specific)
	}
	return wordsIn(d.General) + ", " + wordsIn(d.Specific)
}

// doingOfWords reads them.
func doingOfWords(words string) (Doing, bool) {
	if general, specific, ok := strings.Cut(words, ", "); ok {
		return doingOf(nameIn(general), nameIn(specific))
	}
	name := nameIn(words)
	for i := range doings {
		if d := doings[i]; d.Specific == name || d.Specific == "" && d.General == name {
			return d, true
		}
	}
	return Doing{}, false
}

func readActivity(payload *markup.Element, p *presence.Person) {
	v := &presence.Values{Notes: notesOf(payload)}
	for c := range payload.Children() {
		if c.Space != nodeActivity || !isGeneral(c.Local) {
			continue
		}
		d, _ := doingOf(c.Local, "")
		for s := range c.Children() {
			if s.Space == nodeActivity {
				if more, ok := doingOf(c.Local, s.Local); ok {
					d = more
				}
				break
			}
		}
		if d.RPID != "" {
			v.Names = []string{d.RPID}
		}
		if b, ok := back[d.RPID]; !ok || b.General != d.General || b.Specific != d.Specific {
			v.Other = []string{d.words()}
		}
		break
	}
	if len(v.Names)+len(v.Other)+len(v.Notes) > 0 {
		p.Rich.Activities = v
	}
}

// writeActivity takes the first activity of a document that XEP-0108 can say.
func writeActivity(d *presence.Document) []byte {
	var out []byte
	richOf(d, func(r *presence.Rich) bool {
		if r.Activities == nil {
			return false
		}
		do, notes, ok := xmppActivity(r.Activities)
		if !ok {
			return false
		}
		out = []byte("<activity xmlns='" + nodeActivity + "'>")
		switch {
		case do.Specific != "":
			out = append(out, "<"+do.General+"><"+do.Specific+"/></"+do.General+">"...)
		case do.General != "":
			out = append(out, "<"+do.General+"/>"...)
		}
		out = append(appendTexts(out, notes), "</activity>"...)
		return true
	})
	return out
}

// xmppActivity says RPID activities in XEP-0108's terms: the one that <other/>
// names, else the first that has one. False for those that <show/> says.
func xmppActivity(v *presence.Values) (d Doing, notes []presence.Note, ok bool) {
	notes = v.Notes
	for _, o := range v.Other {
		if d, ok = doingOfWords(o); ok {
			return d, notes, true
		}
	}
	for _, n := range v.Names {
		if d, ok = back[n]; !ok {
			continue
		}
		if a := activityOf(n); (d.Specific == "other" || n == "performance") && a != nil && len(notes) == 0 {
			notes = addStatus(nil, presence.Note{Text: a.Words})
		}
		return Doing{General: d.General, Specific: d.Specific}, notes, true
	}
	switch {
	case len(v.Other) > 0 && !isBlank(v.Other[0]):
		if len(notes) == 0 {
			notes = addStatus(nil, presence.Note{Text: v.Other[0]})
		}
		return Doing{General: "undefined"}, notes, true
	case len(v.Names) == 0 && len(notes) > 0:
		return Doing{}, notes, true
	}
	return Doing{}, nil, false
}
