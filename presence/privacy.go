package presence

import (
	"slices"
	"strings"
)

// Document returns what of d the watchers of the class may see (RFC 5025 §3.3); d
// itself where that is everything. d is not changed, and what is shown of it is
// shared. A nil Transform shows everything.
//
// What a service, person or device always shows is RFC 5025 §3.3.2's: ids,
// contact, basic status, service class, device id, timestamp. What a tuple says of
// the person (activities, mood, place, sphere, time offset; clients older than RFC
// 4479 have it so) and notes of the document itself are shown where all persons
// are. Unknown children of the document are shown only to whom everything is:
// there may be a whole person in them that we could not read.
func (t *Transform) Document(d *Document) *Document {
	if t == nil || d == nil {
		return d
	}
	f := privacyFilter{t: t}
	out := Document{
		Tuples: each(&f, d.Tuples, f.tuple), Persons: each(&f, d.Persons, f.person), Devices: each(&f, d.Devices, f.device),
		Notes: f.notes(d.Notes, t.Persons.All), Extra: drop(&f, d.Extra),
	}
	if !f.changed {
		return d
	}
	return &out
}

// privacyFilter applies a Transform; changed tells that something was taken away.
type privacyFilter struct {
	t       *Transform
	changed bool
}

// each keeps the elements that show lets through, as show leaves them.
func each[T any](f *privacyFilter, in []T, show func(*T) bool) []T {
	var out []T // nil as long as all is as it was
	for i := range in {
		before := f.changed
		f.changed = false
		v := in[i]
		keep := show(&v)
		same := keep && !f.changed
		f.changed = f.changed || before || !keep
		if out == nil && !same {
			out = append(make([]T, 0, len(in)), in[:i]...)
		}
		if out != nil && keep {
			out = append(out, v)
		}
	}
	switch {
	case out == nil:
		return in
	case len(out) == 0:
		return nil // looks like what never was
	}
	return out
}

// drop takes all of in away.
func drop[T any](f *privacyFilter, in []T) []T {
	f.changed = f.changed || len(in) > 0
	return nil
}

func (f *privacyFilter) allows(attribute string) bool {
	return f.t.AllAttributes || f.t.Attributes[attribute]
}

func (f *privacyFilter) tuple(u *Tuple) bool {
	if !f.t.Services.service(u) {
		return false
	}
	if !f.allows("deviceID") {
		u.DeviceIDs = drop(f, u.DeviceIDs)
	}
	f.rich(&u.Rich, f.t.Persons.All)
	u.Notes = f.notes(u.Notes, true)
	u.Status = f.extra(u.Status, f.t.Persons.All)
	u.Extra = f.extra(u.Extra, f.t.Persons.All)
	return true
}

func (f *privacyFilter) person(p *Person) bool {
	s := &f.t.Persons
	if !s.All && !slices.Contains(s.OccurrenceID, p.ID) && (p.Rich.Class == "" || !slices.Contains(s.Class, p.Rich.Class)) {
		return false
	}
	f.rich(&p.Rich, true)
	p.Notes = f.notes(p.Notes, true)
	p.Extra = f.extra(p.Extra, true)
	return true
}

func (f *privacyFilter) device(d *Device) bool {
	s := &f.t.Devices
	if !s.All && !slices.Contains(s.OccurrenceID, d.ID) && (d.Rich.Class == "" || !slices.Contains(s.Class, d.Rich.Class)) &&
		!slices.ContainsFunc(s.DeviceID, func(uri string) bool { return sameURI(uri, d.DeviceID) }) {
		return false
	}
	f.rich(&d.Rich, f.t.Persons.All)
	d.Notes = f.notes(d.Notes, true)
	d.Extra = f.extra(d.Extra, f.t.Persons.All)
	return true
}

// service tells whether a tuple is selected (RFC 5025 §3.3.1.3).
func (s *Selection) service(u *Tuple) bool {
	switch {
	case s.All || slices.Contains(s.OccurrenceID, u.ID) || u.Rich.Class != "" && slices.Contains(s.Class, u.Rich.Class):
		return true
	case len(s.ServiceID) > 0 && slices.Contains(s.ServiceID, u.serviceID()):
		return true
	case u.Contact == "":
		return false
	case slices.ContainsFunc(s.ServiceURI, func(uri string) bool { return sameURI(uri, u.Contact) }):
		return true
	}
	scheme, _, _ := strings.Cut(u.Contact, ":")
	// Case counts (RFC 5025 §3.3.1.3), in the scheme's normal form (RFC 3986 §3.1).
	return slices.Contains(s.ServiceScheme, strings.ToLower(scheme))
}

// OMASpace is the namespace of OMA's presence elements (OMA-TS-Presence_SIMPLE).
const OMASpace = "urn:oma:xml:prs:pidf:oma-pres"

// serviceID is what OMA's <service-description> calls the service; "" for none.
func (u *Tuple) serviceID() string {
	for i := range u.Extra {
		x := &u.Extra[i]
		if x.Space != OMASpace || x.Local != "service-description" {
			continue
		}
		// The fragment is well-formed, and there is only one such element in it.
		_, rest, _ := strings.Cut(x.XML, "service-id")
		_, rest, _ = strings.Cut(rest, ">")
		id, _, _ := strings.Cut(rest, "<")
		return strings.TrimSpace(id)
	}
	return ""
}

func (f *privacyFilter) notes(ns []Note, here bool) []Note {
	if here && f.allows("note") {
		return ns
	}
	return drop(f, ns)
}

// ofPerson are the elements that say something of the person, wherever they stand
// (RFC 4480 §3, table 1).
var ofPerson = [...]string{"activities", "mood", "place-is", "place-type", "sphere", "time-offset"}

// rich filters the RPID elements. What is of the person is shown only if persons is set.
func (f *privacyFilter) rich(r *Rich, persons bool) {
	may := func(attribute string) bool {
		return f.allows(attribute) && (persons || !slices.Contains(ofPerson[:], attribute))
	}
	values := func(at **Values, attribute string) {
		if *at != nil && !may(attribute) {
			*at, f.changed = nil, true
		}
	}
	text := func(at *string, attribute string) {
		if *at != "" && !may(attribute) {
			*at, f.changed = "", true
		}
	}
	values(&r.Activities, "activities")
	values(&r.Mood, "mood")
	values(&r.PlaceIs, "place-is")
	values(&r.PlaceType, "place-type")
	values(&r.Privacy, "privacy")
	values(&r.Relationship, "relationship")
	text(&r.Class, "class")
	text(&r.Sphere, "sphere")
	text(&r.StatusIcon, "status-icon")
	text(&r.TimeOffset, "time-offset")
	r.Frames = each(f, r.Frames, func(x *Frame) bool { return may(x.Element) })
	r.UserInput = f.userInput(r.UserInput)
}

// userInput is RFC 5025 §3.3.2.12. Its "since" is RPID's last-input, as RPID had it
// in its drafts.
func (f *privacyFilter) userInput(u UserInput) UserInput {
	was := u
	switch {
	case f.t.AllAttributes || f.t.UserInput >= FullUserInput:
		return u
	case f.t.UserInput == ThresholdUserInput: // no other attribute is retained
		u.LastInput, u.ID = "", ""
	case f.t.UserInput == BareUserInput:
		u.LastInput, u.IdleThreshold = "", ""
	default:
		u = UserInput{}
	}
	f.changed = f.changed || u != was
	return u
}

// extra filters what we do not interpret (RFC 5025 §3.3.2.14). RPID elements among
// it, which are there because one could not be read or came twice, have their own
// permissions.
func (f *privacyFilter) extra(xs []Fragment, persons bool) []Fragment {
	return each(f, xs, func(x *Fragment) bool {
		if !isRPID(x.Space) {
			return f.t.AllAttributes || f.t.Unknown[Unknown{x.Space, x.Local}]
		}
		switch {
		case !persons && slices.Contains(ofPerson[:], x.Local):
			return false
		case x.Local == "service-class":
			return true
		case x.Local == "user-input":
			return f.t.AllAttributes || f.t.UserInput >= FullUserInput
		}
		return f.allows(x.Local)
	})
}

// isRPID recognises RPID (RFC 4480) and the namespaces of its drafts.
func isRPID(space string) bool {
	rest, ok := strings.CutPrefix(space, "urn:ietf:params:xml:ns:pidf:")
	return ok && strings.Contains(rest, "rpid")
}

// sameURI compares as far as all schemes agree: scheme and host without regard to
// case (RFC 3986 §6.2.2.1), a UUID too (RFC 4122 §3), the rest byte by byte.
func sameURI(a, b string) bool {
	if a == b {
		return a != ""
	}
	as, ar, aok := strings.Cut(a, ":")
	bs, br, bok := strings.Cut(b, ":")
	if !aok || !bok || !strings.EqualFold(as, bs) || len(ar) != len(br) {
		return false
	}
	if strings.EqualFold(as, "urn") {
		if len(ar) > 5 && strings.EqualFold(ar[:5], "uuid:") {
			return strings.EqualFold(ar, br)
		}
		an, av, _ := strings.Cut(ar, ":")
		bn, bv, _ := strings.Cut(br, ":")
		return strings.EqualFold(an, bn) && av == bv
	}
	from, to := host(ar)
	return ar[:from] == br[:from] && strings.EqualFold(ar[from:to], br[from:to]) && ar[to:] == br[to:]
}

// host finds the host in what follows a URI's scheme.
func host(s string) (from, to int) {
	if strings.HasPrefix(s, "//") {
		from = 2
	}
	to = len(s)
	if i := strings.IndexAny(s[from:], "/?#;"); i >= 0 {
		to = from + i
	}
	if i := strings.LastIndexByte(s[from:to], '@'); i >= 0 {
		from += i + 1
	} else if from == 0 && !strings.HasPrefix(s, "//") && !strings.Contains(s[:to], ".") {
		from = to // an opaque URI without a host
	}
	return from, to
}
