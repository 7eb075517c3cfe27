// Package transfer writes the values of package presence as bytes and reads them
// back, for the way from one node to another: inputs, outcomes, notices and whole
// presentities. It is a codec: pure, bounded, versioned.
//
// A notice brings its view whole. The Mirror on the watcher's node makes of it the
// View that the edge compares with what it has told: unchanged sources are the
// same pointers again.
//
// A frame begins with a version. Everything in it that is made of parts is a record: its
// length, then its fields in order. A reader takes fields that are not there for zero, and
// passes over those it does not know, so that nodes of two versions run side by side: new
// fields are added at the end of a record, and the version changes only when that is not
// enough.
package transfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unique"

	"pharos/presence"
)

// Version is the first byte of a frame.
const Version = 1

// Bounds of what is read. Beyond them a frame is malformed.
const (
	// MaxFrame is the size of a frame in bytes: that of a user with so many watchers as
	// one may have.
	MaxFrame = 64 << 20
	// MaxItems is the number of items of one list.
	MaxItems = 1 << 16
)

// ErrVersion: the frame was written by a node of another version. ErrMalformed: it
// cannot be read. ErrKind: this kind of value is not carried, or not known here.
var (
	ErrVersion   = errors.New("transfer: unknown version of frame")
	ErrMalformed = errors.New("transfer: malformed frame")
	ErrKind      = errors.New("transfer: unknown kind of value")
)

// Begin appends the version, with which every frame begins.
func Begin(b []byte) []byte { return append(b, Version) }

// Open checks the version of a frame and returns a Reader of what follows it.
func Open(frame []byte) (*Reader, error) {
	switch {
	case len(frame) == 0 || len(frame) > MaxFrame:
		return nil, ErrMalformed
	case frame[0] != Version:
		return nil, fmt.Errorf("%w: %d, and %d is known here", ErrVersion, frame[0], Version)
	}
	return &Reader{s: string(frame[1:]), size: len(frame)}, nil
}

// Reader takes values from a frame, in the order in which they were appended. After an
// error, see Err, all are zero. Strings are parts of one copy of the frame, and keep it
// in memory.
type Reader struct {
	s    string // what is left of the record
	size int    // of the frame, which strings keep in memory
	err  error
}

// Err is the first thing that went wrong.
func (r *Reader) Err() error { return r.err }

// More tells whether anything is left to read.
func (r *Reader) More() bool { return len(r.s) > 0 }

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.s = ""
}

// AppendUint appends a number.
func AppendUint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// Uint is a number; zero where there is nothing any more, which is so for all others, too.
func (r *Reader) Uint() uint64 {
	if len(r.s) == 0 {
		return 0
	}
	if c := r.s[0]; c < 0x80 {
		r.s = r.s[1:]
		return uint64(c)
	}
	var n uint64
	for i := range len(r.s) {
		c := r.s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return n
		}
	}
	r.fail(ErrMalformed)
	return 0
}

// AppendInt appends a number that may be negative.
func AppendInt(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

// Int is a number that may be negative.
func (r *Reader) Int() int64 {
	u := r.Uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *Reader) byte() byte {
	n := r.Uint()
	if n > 0xff {
		r.fail(ErrMalformed)
		return 0
	}
	return byte(n)
}

func (r *Reader) int() int { return int(r.Int()) }

// AppendBool appends a truth.
func AppendBool(b []byte, t bool) []byte {
	if t {
		return append(b, 1)
	}
	return append(b, 0)
}

// Bool is a truth.
func (r *Reader) Bool() bool { return r.Uint() != 0 }

// AppendString appends a string.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// String is a string, a part of the frame.
func (r *Reader) String() string {
	n := r.Uint()
	if n > uint64(len(r.s)) {
		r.fail(ErrMalformed)
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

// AppendBytes appends bytes.
func AppendBytes(b, x []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(x)))
	return append(b, x...)
}

// Bytes is a copy; nil for none.
func (r *Reader) Bytes() []byte {
	if s := r.String(); s != "" {
		return []byte(s)
	}
	return nil
}

// AppendTime appends an instant.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(t.Nanosecond())+1)
	return binary.AppendVarint(b, t.Unix())
}

// Time is an instant, in UTC.
func (r *Reader) Time() time.Time {
	n := r.Uint()
	if n == 0 {
		return time.Time{}
	}
	if n > 1e9 {
		r.fail(ErrMalformed)
		return time.Time{}
	}
	return time.Unix(r.Int(), int64(n-1)).UTC()
}

// AppendEntity appends an entity.
func AppendEntity(b []byte, e presence.Entity) []byte {
	return AppendString(AppendString(b, e.User), e.Domain)
}

// name is a string of which there are few and many have: one copy serves all.
func (r *Reader) name() string { return unique.Make(r.String()).Value() }

// Entity is an entity.
func (r *Reader) Entity() presence.Entity {
	return presence.Entity{User: r.String(), Domain: r.String()}
}

// open begins a record; shut, with what open returned, ends it.
func open(b []byte) ([]byte, int) { return append(b, 0), len(b) }

func shut(b []byte, at int) []byte {
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	var head [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(head[:], uint64(n))
	b = append(b, head[1:k]...) // for its length
	copy(b[at+k:], b[at+1:at+1+n])
	copy(b[at:], head[:k])
	return b
}

// enter goes into a record; leave, with what enter returned, goes behind it.
func (r *Reader) enter() (rest string) {
	s := r.String()
	rest = r.s
	r.s = s
	return rest
}

// enterOwn is enter for what lives long: its strings have their own copy, and the rest of
// the frame need not stay.
func (r *Reader) enterOwn() (rest string) {
	rest = r.enter()
	r.s = strings.Clone(r.s)
	return rest
}

func (r *Reader) leave(rest string) {
	if r.err == nil {
		r.s = rest
	}
}

// appendList appends the number of items and each item.
func appendList[T any](b []byte, xs []T, item func([]byte, *T) []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(xs)))
	for i := range xs {
		b = item(b, &xs[i])
	}
	return b
}

// count is the number of items of a list, each of which has at least one byte.
func (r *Reader) count() int {
	n := r.Uint()
	if n > uint64(len(r.s)) || n > MaxItems {
		r.fail(ErrMalformed)
		return 0
	}
	return int(n)
}

// list reads what appendList has written; nil for none.
func list[T any](r *Reader, item func(*Reader, *T)) []T {
	n := r.count()
	if n == 0 {
		return nil
	}
	xs := make([]T, n)
	for i := range xs {
		item(r, &xs[i])
	}
	if r.err != nil {
		return nil
	}
	return xs
}

func appendText(b []byte, s *string) []byte { return AppendString(b, *s) }

func (r *Reader) text(s *string) { *s = r.String() }
