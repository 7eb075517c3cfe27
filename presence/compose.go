package presence

import "time"

// PersonID is the id of the one person in a composed document, and OfflineID
// that of the tuple which stands for "no service at all". Sources cannot take them.
const (
	PersonID  = "person"
	OfflineID = "offline"
)

// Compose is the composition policy (RFC 3856 §6.1, RFC 4479 §3): what all live
// sources of a presentity say together. The rule:
//
//   - Tuples and devices of all sources are kept, each under its own id; ids
//     were made distinct when the source was taken (see distinct), so that no
//     two publications are ever merged because clients reuse ids.
//   - Exactly one person. Sources with an open tuple, or with none, speak for
//     it; sources that are wholly closed only if there is nobody else. Among
//     those the heaviest state wins: an explicit do-not-disturb, call or meeting
//     (3) before an absence (2) before idle or active at a keyboard (1) before
//     nothing (0); of equal ones the most recently changed, then the first in order.
//   - What the winner leaves unsaid (mood, place, card...) is filled in by the
//     others in the same order. Note and user input belong to their state: they
//     are filled in only by a source of the same weight.
//   - Notes are kept per device: the person notes of sources that did not
//     win move to the first tuple of their source.
//   - Notes and extensions of the document itself are all kept.
//   - Where no source brings a tuple there is one closed tuple: watchers are
//     told "closed" and need not guess what an empty document means.
func Compose(sources []*Source) *Document {
	doc := &Document{}
	tuples, persons := 0, 0
	for _, s := range sources {
		if s.Doc != nil {
			tuples += len(s.Doc.Tuples)
			persons += len(s.Doc.Persons)
		}
	}
	if tuples > 0 && (len(sources) > 1 || persons > 1) {
		doc.Tuples = make([]Tuple, 0, tuples)
	}
	for _, s := range sources {
		if s.Doc == nil {
			continue
		}
		if len(sources) == 1 && persons < 2 {
			doc.Tuples = s.Doc.Tuples // nothing will be changed in them
		} else {
			doc.Tuples = append(doc.Tuples, s.Doc.Tuples...)
		}
		doc.Devices = append(doc.Devices, s.Doc.Devices...)
		for _, n := range s.Doc.Notes {
			doc.Notes = addNote(doc.Notes, n)
		}
		doc.Extra = append(doc.Extra, s.Doc.Extra...)
	}
	doc.Persons = composePerson(doc, sources, persons)
	if len(doc.Tuples) == 0 {
		doc.Tuples = offlineTuples
	}
	return doc
}

var offlineTuples = []Tuple{{ID: OfflineID, Basic: Closed, Priority: -1}}

// Weights of a person's state.
const (
	saysNothing = iota
	saysInput
	saysAway
	saysEngaged
)

// activityWeights by RPID name (RFC 4480 §3.2). What is not here has no weight:
// it is shown if nothing weightier is said.
var activityWeights = map[string]int{
	"appointment": saysEngaged, "busy": saysEngaged, "meeting": saysEngaged,
	"on-the-phone": saysEngaged, "performance": saysEngaged, "presentation": saysEngaged,
	"steering": saysEngaged, "worship": saysEngaged,

	"away": saysAway, "breakfast": saysAway, "dinner": saysAway, "holiday": saysAway,
	"in-transit": saysAway, "lunch": saysAway, "meal": saysAway, "permanent-absence": saysAway,
	"playing": saysAway, "shopping": saysAway, "sleeping": saysAway, "spectator": saysAway,
	"travel": saysAway, "tv": saysAway, "vacation": saysAway,
}

func (r *Rich) weight() int {
	w := saysNothing
	if r.UserInput.State != "" {
		w = saysInput
	}
	if r.Activities != nil {
		for _, n := range r.Activities.Names {
			w = max(w, activityWeights[n])
		}
	}
	return w
}

// candidate is one person element, or what a tuple says of the person.
type candidate struct {
	person  *Person
	source  *Source
	weight  int
	closed  bool
	updated time.Time
}

// before is the order of rank in Compose.
func (c *candidate) before(d *candidate) bool {
	if c.closed != d.closed {
		return d.closed
	}
	if c.weight != d.weight {
		return c.weight > d.weight
	}
	return c.updated.After(d.updated)
}

// composePerson makes the one person, and moves the notes of the others in doc.
func composePerson(doc *Document, sources []*Source, persons int) []Person {
	var room [4]candidate
	cs := room[:0]
	if persons > len(room) {
		cs = make([]candidate, 0, persons)
	}
	for _, s := range sources {
		if s.Doc == nil {
			continue
		}
		closed := s.Doc.allClosed()
		if len(s.Doc.Persons) == 0 {
			if p := personOfTuples(s.Doc.Tuples); p != nil {
				cs = insert(cs, candidate{p, s, p.Rich.weight(), closed, s.Updated})
			}
			continue
		}
		for i := range s.Doc.Persons {
			p := &s.Doc.Persons[i]
			cs = insert(cs, candidate{p, s, p.Rich.weight(), closed, s.Updated})
		}
	}
	if len(cs) == 0 {
		return noPerson
	}
	if ps := cs[0].source.Doc.Persons; len(cs) == 1 && len(ps) == 1 && ps[0].ID == PersonID {
		return ps // nothing will be changed in it
	}
	person := *cs[0].person
	person.ID = PersonID
	ownNotes := len(person.Notes) > 0
	for i := range cs[1:] {
		c := &cs[i+1]
		if !c.closed || cs[0].closed {
			person.Rich.fill(&c.person.Rich)
			if person.Rich.UserInput.State == "" && c.weight == cs[0].weight {
				person.Rich.UserInput = c.person.Rich.UserInput
			}
			person.Extra = fillExtra(person.Extra, c.person.Extra)
			if !ownNotes && c.weight == cs[0].weight && len(c.person.Notes) > 0 {
				person.Notes, ownNotes = c.person.Notes, true
				continue
			}
		}
		doc.keepNotes(c)
	}
	return []Person{person}
}

var noPerson = []Person{{ID: PersonID}}

// insert keeps the candidates sorted; equal ones stay in order.
func insert(cs []candidate, c candidate) []candidate {
	cs = append(cs, c)
	for i := len(cs) - 1; i > 0 && cs[i].before(&cs[i-1]); i-- {
		cs[i], cs[i-1] = cs[i-1], cs[i]
	}
	return cs
}

func (d *Document) allClosed() bool {
	for i := range d.Tuples {
		if d.Tuples[i].Basic != Closed {
			return false
		}
	}
	return len(d.Tuples) > 0
}

// personOfTuples reads the state of the person where a client has written it
// into its tuple, as clients older than RFC 4479 do. Nil if there is none.
func personOfTuples(ts []Tuple) *Person {
	best := -1
	for i := range ts {
		r := &ts[i].Rich
		if r.Activities == nil && r.Mood == nil && r.UserInput.State == "" {
			continue
		}
		if best < 0 || r.weight() > ts[best].Rich.weight() {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	t := &ts[best]
	p := &Person{Timestamp: t.Timestamp}
	p.Rich.fill(&t.Rich)
	p.Rich.UserInput = t.Rich.UserInput
	// The tuple keeps its elements, so their ids (xs:ID) stay with it.
	p.Rich.dropIDs()
	return p
}

// fill takes from o what r does not say about a person (RFC 4480 table 1).
func (r *Rich) fill(o *Rich) {
	if r.Activities == nil {
		r.Activities = o.Activities
	}
	if r.Mood == nil {
		r.Mood = o.Mood
	}
	if r.PlaceIs == nil {
		r.PlaceIs = o.PlaceIs
	}
	if r.PlaceType == nil {
		r.PlaceType = o.PlaceType
	}
	if r.Privacy == nil {
		r.Privacy = o.Privacy
	}
	if r.Sphere == "" {
		r.Sphere = o.Sphere
	}
	if r.StatusIcon == "" {
		r.StatusIcon = o.StatusIcon
	}
	if r.TimeOffset == "" {
		r.TimeOffset = o.TimeOffset
	}
}

func (r *Rich) values() [7]**Values {
	return [7]**Values{&r.Activities, &r.Mood, &r.PlaceIs, &r.PlaceType, &r.Privacy, &r.Relationship, &r.ServiceClass}
}

func (r *Rich) dropIDs() {
	r.UserInput.ID = ""
	for _, v := range r.values() {
		if *v != nil && (*v).ID != "" {
			c := **v
			c.ID = ""
			*v = &c
		}
	}
}

func fillExtra(have, more []Fragment) []Fragment {
	n := len(have)
next:
	for _, f := range more {
		for _, h := range have[:n] {
			if h.Space == f.Space && h.Local == f.Local {
				continue next
			}
		}
		have = append(have[:len(have):len(have)], f)
	}
	return have
}

// keepNotes moves the person notes of a candidate that did not win to the
// first tuple of its source, or to the document if the source has no tuple.
func (d *Document) keepNotes(c *candidate) {
	if len(c.person.Notes) == 0 {
		return
	}
	ts := c.source.Doc.Tuples
	if len(ts) == 0 {
		for _, n := range c.person.Notes {
			d.Notes = addNote(d.Notes, n)
		}
		return
	}
	for i := range d.Tuples {
		if d.Tuples[i].ID != ts[0].ID {
			continue
		}
		t := &d.Tuples[i]
		for _, n := range c.person.Notes {
			t.Notes = addNote(t.Notes, n)
		}
		return
	}
}

// addNote appends a note that is not there yet, never in place.
func addNote(ns []Note, n Note) []Note {
	for _, o := range ns {
		if o == n {
			return ns
		}
	}
	return append(ns[:len(ns):len(ns)], n)
}
