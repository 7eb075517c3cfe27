package transfer

import "pharos/presence"

// AppendExplanation appends an explanation, with what Near says.
func AppendExplanation(b []byte, x *presence.Explanation) []byte {
	b, at := open(b)
	b = AppendEntity(b, x.Watcher)
	b = AppendEntity(b, x.Presentity)
	b = AppendString(b, x.Package)
	b = appendClass(b, &x.Decision.Class)
	b = AppendString(b, x.Decision.Rule)
	b = AppendString(b, x.Decision.Reason)
	b = AppendString(b, x.Handling)
	b = appendList(b, x.Matching, appendText)
	b = AppendInt(b, int64(x.Line))
	b = AppendString(b, x.Sphere)
	b = AppendUint(b, uint64(x.State))
	b = AppendUint(b, x.Revision)
	b = AppendUint(b, x.Version)
	b = AppendUint(b, uint64(len(x.Sources)))
	for _, s := range x.Sources {
		b = AppendSource(b, s)
	}
	b = appendView(b, x.View)
	b = appendList(b, x.Subscriptions, func(b []byte, s *presence.Subscription) []byte {
		b, at := open(b)
		b = appendSubscription(b, s)
		b = AppendBool(b, s.Shown == x.View)
		if s.Shown != x.View {
			b = appendView(b, s.Shown)
		}
		return shut(b, at)
	})
	near := x.Near()
	b = appendNear(b, &near)
	return shut(b, at)
}

// Explanation is an explanation.
func (r *Reader) Explanation() (x presence.Explanation) {
	rest := r.enter()
	x.Watcher = r.Entity()
	x.Presentity = r.Entity()
	x.Package = r.String()
	x.Decision.Class = r.class()
	x.Decision.Rule = r.String()
	x.Decision.Reason = r.String()
	x.Handling = r.String()
	x.Matching = list(r, (*Reader).text)
	x.Line = r.int()
	x.Sphere = r.String()
	x.State = presence.State(r.byte())
	x.Revision = r.Uint()
	x.Version = r.Uint()
	for range r.count() {
		x.Sources = append(x.Sources, r.Source())
	}
	x.View = r.view()
	x.Subscriptions = list(r, func(r *Reader, s *presence.Subscription) {
		rest := r.enter()
		r.subscription(s)
		if r.Bool() {
			s.Shown = x.View
		} else {
			s.Shown = r.view()
		}
		r.leave(rest)
	})
	x.SetNear(r.near())
	r.leave(rest)
	return x
}

// view reads a view on its own; nil for none.
func (r *Reader) view() *presence.View {
	rest := r.enter()
	defer r.leave(rest)
	if !r.More() {
		return nil
	}
	t := (*image)(nil).view(r)
	if t == nil {
		return nil
	}
	return t.view
}

func appendSubscription(b []byte, s *presence.Subscription) []byte {
	b, at := open(b)
	b = AppendString(b, s.ID)
	b = AppendEntity(b, s.Watcher)
	b = appendVia(b, &s.Via)
	b = AppendUint(b, uint64(s.State))
	b = AppendUint(b, uint64(s.Event))
	b = AppendBool(b, s.Durable)
	b = AppendBool(b, s.Private)
	b = AppendTime(b, s.Expires)
	b = AppendTime(b, s.Created)
	b = AppendString(b, s.Package)
	return AppendBytes(shut(b, at), s.Opaque)
}

// subscription reads all but Shown.
func (r *Reader) subscription(s *presence.Subscription) {
	rest := r.enterOwn()
	s.ID = r.String()
	s.Watcher = r.Entity()
	s.Via = r.via()
	s.State = presence.State(r.byte())
	s.Event = presence.WatcherEvent(r.byte())
	s.Durable = r.Bool()
	s.Private = r.Bool()
	s.Expires = r.Time()
	s.Created = r.Time()
	s.Package = r.String()
	r.leave(rest)
	s.Opaque = r.Bytes()
}

func appendNear(b []byte, n *presence.Near) []byte {
	b, at := open(b)
	b = appendList(b, n.Rules, appendMiss)
	b = AppendInt(b, int64(n.More))
	b = AppendInt(b, int64(n.Others))
	return shut(b, at)
}

func (r *Reader) near() (n presence.Near) {
	rest := r.enter()
	n.Rules = list(r, (*Reader).miss)
	n.More = r.int()
	n.Others = r.int()
	r.leave(rest)
	return n
}

func appendMiss(b []byte, m *presence.Miss) []byte {
	b, at := open(b)
	b = AppendString(b, m.Rule)
	b = AppendInt(b, int64(m.Line))
	b = AppendUint(b, uint64(m.Handling))
	b = AppendUint(b, uint64(m.Fails))
	b = AppendString(b, m.Text)
	return shut(b, at)
}

func (r *Reader) miss(m *presence.Miss) {
	rest := r.enter()
	m.Rule = r.String()
	m.Line = r.int()
	m.Handling = presence.Handling(r.byte())
	m.Fails = presence.Failure(r.byte())
	m.Text = r.String()
	r.leave(rest)
}
