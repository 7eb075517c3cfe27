package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pharos/fields"
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
	b = fields.AppendText(b, s.ID.Key)
	b = fields.AppendText(b, s.Tag)
	b = fields.AppendText(b, s.Native.Type)
	b = fields.AppendBytes(b, s.Native.Bytes)
	b = putTime(b, s.Expires)
	b = putTime(b, s.Updated)
	b = fields.AppendText(b, s.From)
	return fields.AppendText(b, s.Package)
}

func decodeSource(b []byte) (*presence.Source, error) {
	d := newDecoder(b)
	d.version()
	s := &presence.Source{
		ID:      presence.SourceID{Kind: presence.SourceKind(d.Byte()), Key: d.Text()},
		Tag:     d.Text(),
		Native:  presence.Payload{Type: d.Text(), Bytes: d.copied()},
		Expires: d.time(),
		Updated: d.time(),
		From:    d.Text(),
	}
	if d.Len() > 0 {
		s.Package = d.Text()
	}
	return s, d.err()
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
	b = fields.AppendText(b, s.ID)
	b = fields.AppendText(b, s.Watcher.User)
	b = fields.AppendText(b, s.Watcher.Domain)
	b = fields.AppendText(b, s.Via.Node)
	b = fields.AppendText(b, s.Via.Edge)
	b = fields.AppendText(b, s.Via.Handle)
	b = putTime(b, s.Expires)
	b = putTime(b, s.Created)
	b = fields.AppendBytes(b, s.Opaque)
	b = append(b, byte(s.Event))
	return fields.AppendText(b, s.Package)
}

// Flags of a subscription.
const (
	isDurable = 1 << iota
	isPrivate
)

func decodeSubscription(b []byte) (*presence.Subscription, error) {
	d := newDecoder(b)
	d.version()
	s := &presence.Subscription{State: presence.State(d.Byte())}
	flags := d.Byte()
	s.Durable, s.Private = flags&isDurable != 0, flags&isPrivate != 0
	s.ID = d.Text()
	s.Watcher = presence.Entity{User: d.Text(), Domain: d.Text()}
	s.Via = presence.Via{Node: d.Text(), Edge: d.Text(), Handle: d.Text()}
	s.Expires, s.Created = d.time(), d.time()
	s.Opaque = d.copied()
	if d.Len() > 0 {
		s.Event = presence.WatcherEvent(d.Byte())
		s.Package = d.Text()
	}
	return s, d.err()
}

func putTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, unix(t)) }

// decoder reads a record.
type decoder struct {
	fields.Reader
	other error // in place of errCode
}

func newDecoder(b []byte) decoder { return decoder{Reader: fields.Of(b)} }

// err is what is wrong with what was read so far.
func (d *decoder) err() error {
	switch {
	case d.OK():
		return nil
	case d.other != nil:
		return d.other
	}
	return errCode
}

func (d *decoder) version() {
	if v := d.Byte(); d.OK() && v != codeVersion {
		d.Fail()
		d.other = fmt.Errorf("%w: version %d", errCode, v)
	}
}

// copied is Bytes for what outlives the record; nil when empty.
func (d *decoder) copied() []byte { return append([]byte(nil), d.Bytes()...) }

func (d *decoder) time() time.Time {
	n := d.Int()
	if !d.OK() {
		return time.Time{}
	}
	return fromUnix(n)
}
