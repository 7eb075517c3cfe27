package simple

import (
	"slices"
	"strings"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// Restore loads registrations and dialogs after a restart, before listeners
// open. subs may hold those of other edges. What cannot be read is left out with
// a warning: one bad record is not to keep a server from starting.
//
// A dialog goes on where it was, with a CSeq above all that have been used. Its
// connection is gone; a UDP flow is found again by its token when it is needed.
func (e *Edge) Restore(subs []*presence.Subscription) error {
	for _, sub := range subs {
		if sub.Via.Edge != Name {
			continue
		}
		d, err := restored(sub)
		if err != nil {
			e.log.Warn("simple: dialog not restored", "sub", sub.ID, "watcher", sub.Watcher.String(), "err", err)
			continue
		}
		e.restored.Store(time.Now().UnixNano())
		e.dialogs.reserve(d.watcher, int(^uint(0)>>1))
		d.era = e.engine.Era()
		if e.bindings.shared {
			d.saved = presence.Sum(sub.Opaque)
		}
		e.dialogs.add(d)
		e.lookLater()
		if d.pkg.begin != nil {
			d.pkg.begin(e, d)
		}
	}
	return e.restoreBindings()
}

// Document makes the document of a stored publication from its payload. It is
// nil where there is nothing to be made: of a mailbox, and of calls that do not go
// on. ok is false when the payload is none that a PUBLISH can have brought; the
// error says what is wrong with it.
func Document(native presence.Payload) (doc *presence.Document, ok bool, err error) {
	for _, p := range packages {
		if p.publish != nil && slices.Contains(p.publish.types, native.Type) {
			doc, err = p.publish.revive(native.Bytes)
			return doc, true, err
		}
	}
	return nil, false, nil
}

func restored(sub *presence.Subscription) (*dialog, error) {
	var s dialogState
	if err := s.decode(sub.Opaque); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(s.part[partEvent], ";")
	pkg := packageOfKey(sub.Package)
	if pkg == nil || !strings.EqualFold(pkg.name, name) {
		return nil, errDialog
	}
	d := &dialog{
		id: sub.ID,
		presentity: presence.Entity{
			User: s.part[partPresentityUser], Domain: s.part[partPresentityDomain],
		},
		watcher: sub.Watcher, pkg: pkg, state: sub.Opaque,
		cseq: s.ceiling, ceiling: s.ceiling,
	}
	if !sub.Expires.IsZero() {
		d.until = sub.Expires.Unix()
	}
	d.remember(&s, pkg.body(s.part[partAccept]), "")
	return d, nil
}

// restoreBindings reads what REGISTER has saved. A binding that ends with its
// connection is gone, since the connection is.
func (e *Edge) restoreBindings() error {
	now := time.Now()
	t := &e.bindings
	err := e.store.Range(registrationKind, func(key string, value []byte) error {
		u, ok := entityOf("sip:" + escapeUser(key))
		if !ok {
			e.log.Warn("simple: bindings of no user", "key", key)
			return nil
		}
		bs, err := decodeBindings(value)
		if err != nil {
			e.log.Warn("simple: bindings not restored", "entity", key, "err", err)
			return nil
		}
		l := &location{waiting: true} // a message may have come while we were away
		for _, b := range bs {
			if !b.expires.After(now) || !strings.HasPrefix(b.token, "u.") && (b.outbound() || b.onlyFlow()) {
				continue
			}
			l.bindings = append(l.bindings, b)
		}
		t.mu.Lock()
		t.users[u] = l
		t.mu.Unlock()
		return nil
	})
	e.sweepLater()
	return err
}

// escapeUser makes "user@domain" fit for a URI again.
func escapeUser(key string) string {
	i := strings.LastIndexByte(key, '@')
	if i < 0 {
		return key
	}
	b := sip.AppendURI(nil, sip.URI{Scheme: "sip", User: key[:i], Host: key[i+1:]})
	return strings.TrimPrefix(string(b), "sip:")
}
