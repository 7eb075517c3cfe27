package transfer

import (
	"strings"

	"pharos/presence"
)

// AppendSource appends a source; nil is one, too.
func AppendSource(b []byte, s *presence.Source) []byte {
	b, at := open(b)
	if s == nil {
		return b
	}
	b = appendSaying(b, s)
	b = AppendUint(b, s.Mark())
	b = appendAbout(b, s)
	return shut(b, at)
}

// Source is a source, or nil.
func (r *Reader) Source() *presence.Source {
	rest := r.enter()
	defer r.leave(rest)
	if !r.More() {
		return nil
	}
	var s presence.Source
	said, mark := r.String(), r.Uint()
	r.about(&s)
	r.saying(&s, said)
	return s.Marked(mark)
}

// appendSaying appends what a source says: two sources with the same bytes here say the
// same.
func appendSaying(b []byte, s *presence.Source) []byte {
	b, at := open(b)
	b = appendSourceID(b, s.ID)
	b = AppendString(b, s.Package)
	b = AppendString(b, s.Native.Type)
	b = AppendBytes(b, s.Native.Bytes)
	b = AppendBool(b, s.Doc != nil)
	if s.Doc != nil {
		b = appendDocument(b, s.Doc)
	}
	return shut(b, at)
}

// saying reads what a source says. It lives long, and so has its own copy of it.
func (r *Reader) saying(s *presence.Source, said string) {
	in := Reader{s: strings.Clone(said)}
	s.ID = in.sourceID()
	s.Package = in.String()
	s.Native.Type = in.String()
	s.Native.Bytes = in.Bytes()
	if in.Bool() {
		s.Doc = in.document()
	}
	if in.err != nil {
		r.fail(in.err)
	}
}

// appendAbout appends the rest of a source.
func appendAbout(b []byte, s *presence.Source) []byte {
	b, at := open(b)
	b = AppendTime(b, s.Updated)
	b = AppendTime(b, s.Expires)
	b = AppendString(b, s.Tag)
	b = AppendString(b, s.From)
	b = AppendString(b, s.Node)
	return shut(b, at)
}

func (r *Reader) about(s *presence.Source) {
	rest := r.enter()
	s.Updated = r.Time()
	s.Expires = r.Time()
	s.Tag = strings.Clone(r.String())
	s.From = strings.Clone(r.String())
	s.Node = r.name()
	r.leave(rest)
}

func appendSourceID(b []byte, id presence.SourceID) []byte {
	return AppendString(AppendUint(b, uint64(id.Kind)), id.Key)
}

func (r *Reader) sourceID() presence.SourceID {
	return presence.SourceID{Kind: presence.SourceKind(r.byte()), Key: r.String()}
}

func appendPayload(b []byte, p *presence.Payload) []byte {
	return AppendBytes(AppendString(b, p.Type), p.Bytes)
}

func (r *Reader) payload() presence.Payload {
	return presence.Payload{Type: r.String(), Bytes: r.Bytes()}
}

func appendVia(b []byte, v *presence.Via) []byte {
	b, at := open(b)
	b = AppendString(AppendString(AppendString(b, v.Node), v.Edge), v.Handle)
	return shut(b, at)
}

func (r *Reader) via() (v presence.Via) {
	rest := r.enter()
	v.Node, v.Edge, v.Handle = r.String(), r.String(), r.String()
	r.leave(rest)
	return v
}

func appendClass(b []byte, c *presence.Class) []byte {
	return AppendString(AppendUint(b, uint64(c.Handling)), c.Shown)
}

// class reads a class. Its name lives as long as the view.
func (r *Reader) class() presence.Class {
	return presence.Class{Handling: presence.Handling(r.byte()), Shown: r.name()}
}

func appendWatcher(b []byte, w *presence.Watcher) []byte {
	b, at := open(b)
	b = AppendString(b, w.ID)
	b = AppendEntity(b, w.Watcher)
	b = AppendUint(b, uint64(w.State))
	b = AppendBool(b, w.Waiting)
	b = AppendUint(b, uint64(w.Event))
	b = AppendTime(b, w.Since)
	b = AppendTime(b, w.Expires)
	return shut(b, at)
}

func (r *Reader) watcher(w *presence.Watcher) {
	rest := r.enter()
	w.ID = r.String()
	w.Watcher = r.Entity()
	w.State = presence.State(r.byte())
	w.Waiting = r.Bool()
	w.Event = presence.WatcherEvent(r.byte())
	w.Since = r.Time()
	w.Expires = r.Time()
	r.leave(rest)
}

// AppendWatchers appends a list of watchers.
func AppendWatchers(b []byte, ws []presence.Watcher) []byte {
	return appendList(b, ws, appendWatcher)
}

// Watchers is a list of watchers.
func (r *Reader) Watchers() []presence.Watcher { return list(r, (*Reader).watcher) }
