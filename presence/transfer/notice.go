package transfer

import (
	"strings"

	"pharos/presence"
)

// AppendNotice appends a notice for one node. Of its targets those from one place on are
// taken, so many as fit into so many bytes (one at least); next is the place of the
// first that is left for another frame, or 0 when there is none.
func AppendNotice(b []byte, n *presence.Notice, from, bytes int) (_ []byte, next int) {
	start := len(b)
	b, at := open(b)
	b = AppendEntity(b, n.Presentity)
	b = AppendString(b, n.Node)
	b = AppendString(b, n.Edge)
	b = AppendString(b, n.Package)
	b = AppendUint(b, uint64(n.State))
	b = AppendUint(b, uint64(n.Reason))
	b = AppendBool(b, n.Answer)
	b = appendView(b, n.View)
	b = appendList(b, n.LastWords, appendLastWord)
	b = AppendBool(b, n.Direct != nil)
	if n.Direct != nil {
		var in int
		b, in = open(b)
		b = shut(appendDirect(b, n.Direct), in)
	}
	b, in := open(b)
	var domain string
	for i := from; i < len(n.Targets); i++ {
		if i > from && len(b)-start >= bytes {
			next = i
			break
		}
		b = appendTarget(b, &n.Targets[i], &domain)
	}
	b = shut(b, in)
	return shut(b, at), next
}

func appendLastWord(b []byte, w *presence.LastWord) []byte {
	b, at := open(b)
	b = appendSourceID(b, w.ID)
	b = appendPayload(b, &w.Native)
	return shut(b, at)
}

func (r *Reader) lastWord(w *presence.LastWord) {
	rest := r.enter()
	w.ID = r.sourceID()
	w.ID.Key = strings.Clone(w.ID.Key) // edges hold it back for slow clients
	w.Native = r.payload()
	r.leave(rest)
}

// appendTarget leaves the watcher's domain out where it is that of the one before.
func appendTarget(b []byte, t *presence.Target, domain *string) []byte {
	b, at := open(b)
	b = AppendString(b, t.Sub)
	b = AppendString(b, t.Watcher.User)
	if t.Watcher.Domain == *domain {
		b = append(b, 0)
	} else {
		*domain = t.Watcher.Domain
		b = AppendString(append(b, 1), *domain)
	}
	b = AppendString(b, t.Handle)
	b = AppendTime(b, t.Expires)
	return shut(b, at)
}

func (r *Reader) target(t *presence.Target, domain *string) {
	rest := r.enter()
	t.Sub = r.String()
	t.Watcher.User = r.String()
	if r.Bool() {
		*domain = r.String()
	}
	t.Watcher.Domain = *domain
	t.Handle = r.String()
	t.Expires = r.Time()
	r.leave(rest)
}

// targets reads all targets of the record that begins here.
func (r *Reader) targets() []presence.Target {
	rest := r.enter()
	ts := make([]presence.Target, 0, min(len(r.s)/40+1, MaxItems))
	var domain string
	for r.More() {
		if len(ts) == MaxItems {
			r.fail(ErrMalformed)
			break
		}
		ts = append(ts, presence.Target{})
		r.target(&ts[len(ts)-1], &domain)
	}
	r.leave(rest)
	return ts
}

// appendView appends a view, with all its sources; nil is one, too. What is composed of the
// sources is composed again.
func appendView(b []byte, v *presence.View) []byte {
	b, at := open(b)
	if v == nil {
		return b
	}
	x := v.Parts()
	b = appendViewHead(b, v, &x)
	b = AppendUint(b, uint64(len(v.Sources)))
	for _, s := range v.Sources {
		b = AppendSource(b, s)
	}
	b = AppendUint(b, uint64(len(x.Persons)))
	for _, s := range x.Persons {
		b = AppendSource(b, s)
	}
	return shut(b, at)
}

// appendViewHead appends all of a view but its sources.
func appendViewHead(b []byte, v *presence.View, x *presence.Parts) []byte {
	b, at := open(b)
	b = AppendEntity(b, v.Presentity)
	b = AppendUint(b, v.Version)
	b = AppendString(b, v.Package)
	b = appendClass(b, &x.Class)
	b = AppendUint(b, x.Origin)
	b = AppendUint(b, x.Serial-x.Origin)
	b = AppendUint(b, x.Touched)
	b = AppendWatchers(b, v.Watchers)
	b = AppendWatchers(b, v.Ended)
	return shut(b, at)
}

// viewHead reads it. The view lives long, and holds nothing of the frame.
func (r *Reader) viewHead() (*presence.View, presence.Parts) {
	said := r.String()
	in := Reader{s: said}
	v := &presence.View{}
	var x presence.Parts
	v.Presentity = in.Entity()
	v.Presentity = v.Presentity.Clone()
	v.Version = in.Uint()
	v.Package = in.name()
	x.Class = in.class()
	x.Origin = in.Uint()
	x.Serial = x.Origin + in.Uint()
	x.Touched = in.Uint()
	in.s = strings.Clone(in.s)
	v.Watchers = in.Watchers()
	v.Ended = in.Watchers()
	if in.err != nil {
		r.fail(in.err)
	}
	return v, x
}
