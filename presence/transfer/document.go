package transfer

import (
	"time"

	"pharos/presence"
)

// appendStamp appends a time as it stands in a document, with its offset from UTC.
func appendStamp(b []byte, t time.Time) []byte {
	b = AppendTime(b, t)
	if t.IsZero() {
		return b
	}
	_, offset := t.Zone()
	return AppendInt(b, int64(offset))
}

func (r *Reader) stamp() time.Time {
	t := r.Time()
	if t.IsZero() {
		return t
	}
	if offset := r.Int(); offset != 0 && offset > -24*3600 && offset < 24*3600 {
		return t.In(time.FixedZone("", int(offset)))
	}
	return t
}

func appendDocument(b []byte, d *presence.Document) []byte {
	b, at := open(b)
	b = appendList(b, d.Tuples, appendTuple)
	b = appendList(b, d.Persons, appendPerson)
	b = appendList(b, d.Devices, appendDevice)
	b = appendList(b, d.Notes, appendNote)
	b = appendList(b, d.Extra, appendFragment)
	return shut(b, at)
}

func (r *Reader) document() *presence.Document {
	d := &presence.Document{}
	rest := r.enter()
	d.Tuples = list(r, (*Reader).tuple)
	d.Persons = list(r, (*Reader).person)
	d.Devices = list(r, (*Reader).device)
	d.Notes = list(r, (*Reader).note)
	d.Extra = list(r, (*Reader).fragment)
	r.leave(rest)
	return d
}

func appendTuple(b []byte, t *presence.Tuple) []byte {
	b, at := open(b)
	b = AppendString(b, t.ID)
	b = AppendUint(b, uint64(t.Basic))
	b = AppendString(b, t.Contact)
	b = AppendInt(b, int64(t.Priority))
	b = appendList(b, t.DeviceIDs, appendText)
	b = appendRich(b, &t.Rich)
	b = appendList(b, t.Notes, appendNote)
	b = appendStamp(b, t.Timestamp)
	b = appendList(b, t.Status, appendFragment)
	b = appendList(b, t.Extra, appendFragment)
	return shut(b, at)
}

func (r *Reader) tuple(t *presence.Tuple) {
	rest := r.enter()
	t.ID = r.String()
	t.Basic = presence.Basic(r.byte())
	t.Contact = r.String()
	t.Priority = r.int()
	t.DeviceIDs = list(r, (*Reader).text)
	r.rich(&t.Rich)
	t.Notes = list(r, (*Reader).note)
	t.Timestamp = r.stamp()
	t.Status = list(r, (*Reader).fragment)
	t.Extra = list(r, (*Reader).fragment)
	r.leave(rest)
}

func appendPerson(b []byte, p *presence.Person) []byte {
	b, at := open(b)
	b = AppendString(b, p.ID)
	b = appendRich(b, &p.Rich)
	b = appendList(b, p.Notes, appendNote)
	b = appendStamp(b, p.Timestamp)
	b = appendList(b, p.Extra, appendFragment)
	return shut(b, at)
}

func (r *Reader) person(p *presence.Person) {
	rest := r.enter()
	p.ID = r.String()
	r.rich(&p.Rich)
	p.Notes = list(r, (*Reader).note)
	p.Timestamp = r.stamp()
	p.Extra = list(r, (*Reader).fragment)
	r.leave(rest)
}

func appendDevice(b []byte, d *presence.Device) []byte {
	b, at := open(b)
	b = AppendString(b, d.ID)
	b = AppendString(b, d.DeviceID)
	b = appendRich(b, &d.Rich)
	b = appendList(b, d.Notes, appendNote)
	b = appendStamp(b, d.Timestamp)
	b = appendList(b, d.Extra, appendFragment)
	return shut(b, at)
}

func (r *Reader) device(d *presence.Device) {
	rest := r.enter()
	d.ID = r.String()
	d.DeviceID = r.String()
	r.rich(&d.Rich)
	d.Notes = list(r, (*Reader).note)
	d.Timestamp = r.stamp()
	d.Extra = list(r, (*Reader).fragment)
	r.leave(rest)
}

func appendNote(b []byte, n *presence.Note) []byte {
	b, at := open(b)
	b = AppendString(AppendString(b, n.Lang), n.Text)
	return shut(b, at)
}

func (r *Reader) note(n *presence.Note) {
	rest := r.enter()
	n.Lang, n.Text = r.String(), r.String()
	r.leave(rest)
}

func appendFragment(b []byte, f *presence.Fragment) []byte {
	b, at := open(b)
	b = AppendString(AppendString(AppendString(b, f.Space), f.Local), f.XML)
	return shut(b, at)
}

func (r *Reader) fragment(f *presence.Fragment) {
	rest := r.enter()
	f.Space, f.Local, f.XML = r.String(), r.String(), r.String()
	r.leave(rest)
}

// appendRich appends an empty record where there are no RPID elements.
func appendRich(b []byte, x *presence.Rich) []byte {
	b, at := open(b)
	if x.Activities == nil && x.Mood == nil && x.PlaceIs == nil && x.PlaceType == nil && x.Privacy == nil && x.Relationship == nil &&
		x.ServiceClass == nil && x.UserInput == (presence.UserInput{}) && len(x.Class)+len(x.Sphere)+len(x.StatusIcon)+len(x.TimeOffset)+len(x.Frames) == 0 {
		return b
	}
	b = appendValues(b, x.Activities)
	b = appendValues(b, x.Mood)
	b = appendValues(b, x.PlaceIs)
	b = appendValues(b, x.PlaceType)
	b = appendValues(b, x.Privacy)
	b = appendValues(b, x.Relationship)
	b = appendValues(b, x.ServiceClass)
	b = AppendString(b, x.Class)
	b = AppendString(b, x.Sphere)
	b = AppendString(b, x.StatusIcon)
	b = AppendString(b, x.TimeOffset)
	b = appendUserInput(b, &x.UserInput)
	b = appendList(b, x.Frames, appendFrame)
	return shut(b, at)
}

func (r *Reader) rich(x *presence.Rich) {
	rest := r.enter()
	if len(r.s) > 0 {
		x.Activities = r.values()
		x.Mood = r.values()
		x.PlaceIs = r.values()
		x.PlaceType = r.values()
		x.Privacy = r.values()
		x.Relationship = r.values()
		x.ServiceClass = r.values()
		x.Class = r.String()
		x.Sphere = r.String()
		x.StatusIcon = r.String()
		x.TimeOffset = r.String()
		r.userInput(&x.UserInput)
		x.Frames = list(r, (*Reader).frame)
	}
	r.leave(rest)
}

// appendValues appends whether the element is there, and the element.
func appendValues(b []byte, v *presence.Values) []byte {
	if v == nil {
		return append(b, 0)
	}
	b, at := open(append(b, 1))
	b = appendList(b, v.Names, appendText)
	b = appendList(b, v.Other, appendText)
	b = appendList(b, v.Notes, appendNote)
	b = AppendString(b, v.ID)
	b = AppendString(b, v.From)
	b = AppendString(b, v.Until)
	b = appendList(b, v.Extra, appendFragment)
	return shut(b, at)
}

func (r *Reader) values() *presence.Values {
	if !r.Bool() {
		return nil
	}
	v := &presence.Values{}
	rest := r.enter()
	v.Names = list(r, (*Reader).text)
	v.Other = list(r, (*Reader).text)
	v.Notes = list(r, (*Reader).note)
	v.ID = r.String()
	v.From = r.String()
	v.Until = r.String()
	v.Extra = list(r, (*Reader).fragment)
	r.leave(rest)
	return v
}

func appendUserInput(b []byte, u *presence.UserInput) []byte {
	b, at := open(b)
	if *u == (presence.UserInput{}) {
		return b
	}
	b = AppendString(AppendString(b, u.State), u.LastInput)
	b = AppendString(AppendString(b, u.IdleThreshold), u.ID)
	return shut(b, at)
}

func (r *Reader) userInput(u *presence.UserInput) {
	rest := r.enter()
	u.State, u.LastInput = r.String(), r.String()
	u.IdleThreshold, u.ID = r.String(), r.String()
	r.leave(rest)
}

func appendFrame(b []byte, f *presence.Frame) []byte {
	b, at := open(b)
	b = AppendString(b, f.Element)
	b = AppendString(b, f.From)
	b = AppendString(b, f.Until)
	b = AppendString(b, f.ID)
	b = AppendString(b, f.Description)
	return shut(b, at)
}

func (r *Reader) frame(f *presence.Frame) {
	rest := r.enter()
	f.Element = r.String()
	f.From = r.String()
	f.Until = r.String()
	f.ID = r.String()
	f.Description = r.String()
	r.leave(rest)
}
