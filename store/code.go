package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pharos/presence"
)

// The encoding of saved sources and subscriptions: a version byte, then the
// fields in order, strings and bytes with their length (uvarint), times as
// nanoseconds since 1970 (varint; 0: none). Fields that came later are at the end,
// and those that a record does not have are zero.
const codeVersion = 1

var errCode = errors.New("store: malformed record")

// appendEntityKey begins a record's key, so that all of one presentity share it.
func appendEntityKey(b []byte, e presence.Entity) []byte {
	b = append(append(b, e.Domain...), 0)
	return append(append(b, e.User...), 0)
}

func keyEntity(key []byte) (presence.Entity, error) {
	domain, rest, ok := bytes.Cut(key, []byte{0})
	user, _, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 {
		return presence.Entity{}, errCode
	}
	return presence.Entity{User: string(user), Domain: string(domain)}, nil
}

// saveKind is the kind of a save's record; an error when it is none.
func saveKind(s *presence.Save) (byte, error) {
	kind := byte(kindSource)
	switch s.Kind {
	case presence.SavedSource:
	case presence.SavedSubscription:
		kind = kindSubscription
	default:
		return 0, fmt.Errorf("store: save of unknown kind %d", s.Kind)
	}
	if !s.Delete && ((kind == kindSource) != (s.Source != nil) || (kind == kindSubscription) != (s.Subscription != nil)) {
		return 0, fmt.Errorf("store: save of kind %d without its record", s.Kind)
	}
	return kind, nil
}

// appendSave appends one whole frame.
func appendSave(buf []byte, s *presence.Save, gen uint32) ([]byte, error) {
	kind, err := saveKind(s)
	if err != nil {
		return buf, err
	}
	op := opPut
	if s.Delete {
		op = opDelete
	}
	start := len(buf)
	buf = openFrame(buf, op, kind)
	buf = binary.AppendUvarint(buf, uint64(len(s.Presentity.Domain)+len(s.Presentity.User)+2+len(s.Key)))
	buf = appendEntityKey(buf, s.Presentity)
	buf = append(buf, s.Key...)
	switch {
	case op == opDelete:
	case kind == kindSource:
		buf = encodeSource(buf, s.Source)
	default:
		buf = encodeSubscription(buf, s.Subscription)
	}
	closeFrame(buf, start, gen)
	return buf, nil
}

func encodeSource(b []byte, s *presence.Source) []byte {
	b = append(b, codeVersion, byte(s.ID.Kind))
	b = putString(b, s.ID.Key)
	b = putString(b, s.Tag)
	b = putString(b, s.Native.Type)
	b = putBytes(b, s.Native.Bytes)
	b = putTime(b, s.Expires)
	b = putTime(b, s.Updated)
	b = putString(b, s.From)
	return putString(b, s.Package)
}

func decodeSource(b []byte) (*presence.Source, error) {
	d := decoder{b: b}
	d.version()
	s := &presence.Source{
		ID:      presence.SourceID{Kind: presence.SourceKind(d.byte()), Key: d.string()},
		Tag:     d.string(),
		Native:  presence.Payload{Type: d.string(), Bytes: d.bytes()},
		Expires: d.time(),
		Updated: d.time(),
		From:    d.string(),
	}
	if d.more() {
		s.Package = d.string()
	}
	return s, d.err
}

func encodeSubscription(b []byte, s *presence.Subscription) []byte {
	var flags byte
	if s.Durable {
		flags |= isDurable
	}
	if s.Private {
		flags |= isPrivate
	}
	b = append(b, codeVersion, byte(s.State), flags)
	b = putString(b, s.ID)
	b = putString(b, s.Watcher.User)
	b = putString(b, s.Watcher.Domain)
	b = putString(b, s.Via.Node)
	b = putString(b, s.Via.Edge)
	b = putString(b, s.Via.Handle)
	b = putTime(b, s.Expires)
	b = putTime(b, s.Created)
	b = putBytes(b, s.Opaque)
	b = append(b, byte(s.Event))
	return putString(b, s.Package)
}

// Flags of a subscription.
const (
	isDurable = 1 << iota
	isPrivate
)

func decodeSubscription(b []byte) (*presence.Subscription, error) {
	d := decoder{b: b}
	d.version()
	s := &presence.Subscription{State: presence.State(d.byte())}
	flags := d.byte()
	s.Durable, s.Private = flags&isDurable != 0, flags&isPrivate != 0
	s.ID = d.string()
	s.Watcher = presence.Entity{User: d.string(), Domain: d.string()}
	s.Via = presence.Via{Node: d.string(), Edge: d.string(), Handle: d.string()}
	s.Expires, s.Created = d.time(), d.time()
	s.Opaque = d.bytes()
	if d.more() {
		s.Event = presence.WatcherEvent(d.byte())
		s.Package = d.string()
	}
	return s, d.err
}

func putString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func putBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func putTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, unix(t)) }

// decoder reads fields; after an error it reads zeros.
type decoder struct {
	b   []byte
	err error
}

// more tells whether the record goes on: an older one ends here.
func (d *decoder) more() bool { return len(d.b) > 0 }

func (d *decoder) fail() { d.b, d.err = nil, errCode }

func (d *decoder) version() {
	if v := d.byte(); d.err == nil && v != codeVersion {
		d.fail()
		d.err = fmt.Errorf("%w: version %d", errCode, v)
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

// raw is a field of its length; it points into the input.
func (d *decoder) raw() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	f := d.b[:n]
	d.b = d.b[n:]
	return f
}

func (d *decoder) string() string { return string(d.raw()) }

// bytes is a copy; nil when empty.
func (d *decoder) bytes() []byte { return append([]byte(nil), d.raw()...) }

func (d *decoder) time() time.Time {
	n, w := binary.Varint(d.b)
	if w <= 0 {
		d.fail()
		return time.Time{}
	}
	d.b = d.b[w:]
	return fromUnix(n)
}

// take reads n bytes; it points into the input.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	f := d.b[:n]
	d.b = d.b[n:]
	return f
}
