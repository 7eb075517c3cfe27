// Package fields reads and writes the fields of a record, one after the other: bytes, numbers as uvarints, texts behind their
// length. Which fields there are, and of which version, is their users' matter.
//
// What nodes of several versions exchange about presentities is written by package transfer, which takes what is not there for
// zero; here that is an error.
package fields

import (
	"encoding/binary"

	"pharos/presence"
)

// Reader takes the fields of a record in their order. From the first that is not there all are zero, and OK is false. What
// it gives as bytes are parts of the record, of which nothing is copied.
type Reader struct {
	b      []byte
	failed bool
}

// Of is a Reader of b.
func Of(b []byte) Reader { return Reader{b: b} }

// OK tells whether all that was asked for was there.
func (r *Reader) OK() bool { return !r.failed }

// Done tells whether, beside, nothing is left.
func (r *Reader) Done() bool { return !r.failed && len(r.b) == 0 }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// Fail is for a field that is there and cannot be.
func (r *Reader) Fail() { r.b, r.failed = nil, true }

// Byte is a byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Bool is a byte that is 0 or 1.
func (r *Reader) Bool() bool {
	c := r.Byte()
	if c > 1 {
		r.Fail()
		return false
	}
	return c == 1
}

// Uint is a uvarint.
func (r *Reader) Uint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.pass(size)
	return n
}

// Int is a varint.
func (r *Reader) Int() int64 {
	n, size := binary.Varint(r.b)
	r.pass(size)
	return n
}

// pass leaves a number behind of the size that encoding/binary has found: 0 or less, and the number 0, for none.
func (r *Reader) pass(size int) {
	if size <= 0 {
		r.Fail()
		return
	}
	r.b = r.b[size:]
}

// Count is a number of things that each take a byte at least, so that it is at most Len.
func (r *Reader) Count() int {
	n := r.Uint()
	if n > uint64(len(r.b)) {
		r.Fail()
		return 0
	}
	return int(n)
}

// Take is n bytes, which no length precedes.
func (r *Reader) Take(n int) []byte {
	if n > len(r.b) {
		r.Fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Bytes is as many bytes as their length says; nil for none.
func (r *Reader) Bytes() []byte {
	n := r.Count()
	if n == 0 {
		return nil
	}
	return r.Take(n)
}

// Text is Bytes as a text.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Entity is the user and the domain of an entity.
func (r *Reader) Entity() presence.Entity {
	return presence.Entity{User: r.Text(), Domain: r.Text()}
}

// AppendText appends a text.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBytes appends bytes with their length.
func AppendBytes(b, x []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(x))), x...)
}

// AppendBool appends a truth.
func AppendBool(b []byte, t bool) []byte {
	if t {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendEntity appends an entity.
func AppendEntity(b []byte, e presence.Entity) []byte {
	return AppendText(AppendText(b, e.User), e.Domain)
}
