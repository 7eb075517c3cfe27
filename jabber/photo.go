package jabber

import (
	"context"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
)

const nsPhoto = "vcard-temp:x:update"

// photo is the hash of the user's picture, "" for none; it is read once per
// login. It may block.
func (s *session) photo(ctx context.Context) string {
	if p := s.user.photo.Load(); p != nil {
		return *p
	}
	// Most users have none. To look further takes a deep stack, which the goroutine of
	// a session would keep.
	if !s.edge.has(ctx, xdm.Name{AUID: pepUsage, User: s.user.entity, Path: nodePath(nodeAvatar)}) {
		return ""
	}
	release := s.edge.pepLock(s.user.entity)
	defer release()
	a, err := s.edge.avatar(ctx, s.user.entity)
	if err != nil {
		s.log().Error("avatar not read", "err", err)
		return ""
	}
	s.user.photo.Store(&a.hash)
	return a.hash
}

// saysNoPhoto tells whether a client says that it has no picture to show (XEP-0153 §4.1).
func saysNoPhoto(el *markup.Element) bool {
	p := el.Child(nsPhoto, "x").Child(nsPhoto, "photo")
	return p != nil && strings.TrimSpace(p.Text()) == ""
}

// withPhoto puts the hash of the user's picture into the content of a presence
// (XEP-0398 §5), in place of what the client said of it; without a hash it says
// that there is none.
func withPhoto(native presence.Payload, hash string) presence.Payload {
	// What a client sent is inside the stanza's limits, and was read once.
	el, err := markup.ParseIn(append(append([]byte("<presence>"), native.Bytes...), "</presence>"...),
		[]markup.Decl{{Space: nsClient}}, storedOptions)
	if err != nil {
		return native
	}
	var b []byte
	for c := range el.Children() {
		if !c.Is(nsPhoto, "x") {
			b = c.Append(b, nsClient)
		}
	}
	b = append(b, "<x xmlns='"+nsPhoto+"'><photo"...)
	if hash == "" {
		b = append(b, "/></x>"...)
	} else {
		b = append(append(append(b, '>'), hash...), "</photo></x>"...)
	}
	return presence.Payload{Type: native.Type, Bytes: b}
}

// photoChanged says the presence of the user's sessions again with the hash of
// another picture. The user's nodes are locked.
func (e *Edge) photoChanged(ctx context.Context, u presence.Entity, hash string) {
	rec := e.reg.user(u)
	if rec == nil {
		return
	}
	was := rec.photo.Swap(&hash)
	if was != nil && *was == hash || was == nil && hash == "" {
		return
	}
	for _, s := range rec.list() {
		if err := s.sayAgain(ctx, hash); err != nil {
			s.log().Error("presence not told again", "err", err)
		}
	}
}

// sayAgain publishes what the session has published last, but for the hash. With
// act held nothing newer can come in between.
func (s *session) sayAgain(ctx context.Context, hash string) error {
	s.act.Lock()
	defer s.act.Unlock()
	if !s.available() || s.noPhoto {
		return nil
	}
	if s.far != nil {
		if s.far.said == nil {
			return nil
		}
		in := *s.far.said
		in.Native = withPhoto(in.Native, hash)
		s.remember(in)
		return s.edge.submit(ctx, s.user.entity, in, nil)
	}
	view, err := s.edge.look(ctx, s.user.entity, s.user.entity)
	if err != nil || view == nil {
		return err
	}
	for _, src := range view.Sources {
		if src.ID != s.source() || src.Native.Type != nsClient {
			continue
		}
		in := presence.Publish{ID: src.ID, Doc: src.Doc, Native: withPhoto(src.Native, hash), From: src.From}
		return s.edge.submit(ctx, s.user.entity, in, nil)
	}
	return nil
}
