package jabber

import (
	"slices"

	"pharos/markup"
	"pharos/presence"
)

// moods of XEP-0107 §3 that RPID (RFC 4480 §3.4) has under the same name, and
// those that it has not: they are told by their name, as <other/>.
var (
	sharedMoods = []string{"afraid", "amazed", "angry", "annoyed", "anxious", "ashamed", "bored", "brave", "calm",
		"cold", "confused", "contented", "cranky", "curious", "depressed", "disappointed", "disgusted", "distracted",
		"embarrassed", "excited", "flirtatious", "frustrated", "grumpy", "guilty", "happy", "hot", "humbled",
		"humiliated", "hungry", "hurt", "impressed", "in_awe", "in_love", "indignant", "interested", "invincible",
		"jealous", "lonely", "mean", "moody", "nervous", "neutral", "offended", "playful", "proud", "relieved",
		"remorseful", "restless", "sad", "sarcastic", "serious", "shocked", "shy", "sick", "sleepy", "stressed",
		"surprised", "thirsty", "worried"}
	otherMoods = []string{"amorous", "aroused", "cautious", "confident", "contemplative", "crazy", "creative",
		"dejected", "dismayed", "envious", "grateful", "grieving", "hopeful", "intoxicated", "lost", "lucky",
		"outraged", "relaxed", "satisfied", "spontaneous", "strong", "thankful", "tired", "weak"}
)

// The moods of the two worlds that say that there is nothing to say.
const (
	moodUndefined = "undefined" // XEP-0107
	moodUnknown   = "unknown"   // RFC 4480
)

func readMood(payload *markup.Element, p *presence.Person) {
	v := &presence.Values{Notes: notesOf(payload)}
	for c := range payload.Children() {
		switch name := c.Local; {
		case c.Space != nodeMood:
		case name == moodUndefined:
			v.Names, v.Other = []string{moodUnknown}, []string{moodUndefined}
		case slices.Contains(sharedMoods, name):
			v.Names = []string{name}
		case slices.Contains(otherMoods, name):
			v.Other = []string{wordsIn(name)}
		default:
			continue
		}
		if len(v.Names)+len(v.Other) > 0 {
			break // XEP-0107 §2: one
		}
	}
	if len(v.Names)+len(v.Other)+len(v.Notes) > 0 {
		p.Rich.Mood = v
	}
}

// writeMood takes the first mood that a document has.
func writeMood(d *presence.Document) []byte {
	var out []byte
	richOf(d, func(r *presence.Rich) bool {
		if r.Mood == nil {
			return false
		}
		name, notes := xmppMood(r.Mood)
		if name == "" && len(notes) == 0 {
			return false
		}
		out = []byte("<mood xmlns='" + nodeMood + "'>")
		if name != "" {
			out = append(out, "<"+name+"/>"...)
		}
		out = append(appendTexts(out, notes), "</mood>"...)
		return true
	})
	return out
}

// xmppMood says an RPID mood in XEP-0107's terms; what that has no name for is
// undefined, with the words as text.
func xmppMood(v *presence.Values) (name string, notes []presence.Note) {
	notes = v.Notes
	words := ""
	for _, o := range v.Other {
		if n := nameIn(o); n == moodUndefined || slices.Contains(otherMoods, n) || slices.Contains(sharedMoods, n) {
			return n, notes
		}
		if words == "" {
			words = o
		}
	}
	for _, n := range v.Names {
		switch {
		case slices.Contains(sharedMoods, n):
			return n, notes
		case n != moodUnknown && n != "other" && words == "":
			words = wordsIn(n)
		}
	}
	if words != "" {
		name = moodUndefined
		if len(notes) == 0 {
			notes = addStatus(nil, presence.Note{Text: words})
		}
	}
	return name, notes
}
