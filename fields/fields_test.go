package fields

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"pharos/presence"
)

var alice = presence.Entity{User: "alice", Domain: "example.com"}

func record() []byte {
	b := AppendBool([]byte{7}, true)
	b = binary.AppendUvarint(b, 1<<63)
	b = binary.AppendVarint(b, -3)
	b = AppendText(b, strings.Repeat("ü", 100))
	b = AppendBytes(b, []byte("bytes"))
	b = AppendEntity(AppendBytes(b, nil), alice)
	return append(b, "raw"...)
}

// read tells whether all fields of record were there, and right.
func read(r *Reader) bool {
	one := r.Byte() == 7
	two := r.Bool() && r.Uint() == 1<<63 && r.Int() == -3 && r.Text() == strings.Repeat("ü", 100)
	three := string(r.Bytes()) == "bytes" && r.Bytes() == nil && r.Entity() == alice
	return one && two && three && string(r.Take(3)) == "raw"
}

// What was written is read, and of what is cut off anywhere the rest is zero.
func TestRecord(t *testing.T) {
	b := record()
	r := Of(b)
	if !read(&r) || !r.OK() || !r.Done() || r.Len() != 0 {
		t.Errorf("read %t, ok %t, %d left", read(&r), r.OK(), r.Len())
	}
	for n := range b {
		r := Of(b[:n])
		if read(&r) || r.Take(1) != nil && r.OK() {
			t.Errorf("%d bytes of %d were enough", n, len(b))
		}
	}
	r = Of(append(b, 1))
	if !read(&r) || r.Done() || !r.OK() || r.Len() != 1 {
		t.Error("nothing is left over")
	}
}

func TestFailed(t *testing.T) {
	for what, f := range map[string]func(r *Reader) bool{
		"a truth of 2":        func(r *Reader) bool { return r.Bool() },
		"a text beyond":       func(r *Reader) bool { return r.Byte() != 2 || r.Text() != "" },
		"bytes beyond":        func(r *Reader) bool { return r.Byte() != 2 || r.Bytes() != nil },
		"a count beyond":      func(r *Reader) bool { return r.Byte() != 2 || r.Count() != 0 },
		"more than there are": func(r *Reader) bool { return r.Take(9) != nil },
	} {
		r := Of([]byte{2, 9, 'x'})
		if f(&r) || r.OK() || r.Done() || r.Len() != 0 {
			t.Errorf("%s: ok %t, %d left", what, r.OK(), r.Len())
		}
		if r.Byte() != 0 || r.Uint() != 0 || r.Int() != 0 || r.Bool() || r.Text() != "" || r.Entity() != (presence.Entity{}) {
			t.Errorf("%s: read on", what)
		}
	}
	for _, b := range [][]byte{{0x80}, bytes.Repeat([]byte{0xff}, 11)} {
		r, s := Of(b), Of(b)
		if r.Uint() != 0 || r.OK() || s.Int() != 0 || s.OK() {
			t.Errorf("%x was a number", b)
		}
	}
}

// What is given is of a bounded part of the record: who appends to it writes over nothing.
func TestPartsAreApart(t *testing.T) {
	b := append(AppendBytes(nil, []byte("one")), "two"...)
	r := Of(b)
	_ = append(r.Bytes(), '!')
	if got := string(r.Take(3)); got != "two" {
		t.Errorf("%q", got)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(record(), []byte("bBuitxcea3"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte("xuci"))
	f.Fuzz(func(t *testing.T, b, script []byte) {
		r := Of(b)
		for _, c := range script {
			left, ok := r.Len(), r.OK()
			var got int
			switch c {
			case 'b':
				r.Byte()
			case 'B':
				r.Bool()
			case 'u':
				r.Uint()
			case 'i':
				r.Int()
			case 't':
				got = len(r.Text())
			case 'x':
				got = len(r.Bytes())
			case 'c':
				if r.Count() > r.Len() {
					t.Fatal("more things than bytes")
				}
			case 'e':
				e := r.Entity()
				got = len(e.User) + len(e.Domain)
			default:
				got = len(r.Take(int(c)))
			}
			if got > left || r.Len() > left || r.OK() && !ok || !r.OK() && r.Len() > 0 {
				t.Fatalf("%c: %d bytes of %d, %d left, ok %t", c, got, left, r.Len(), r.OK())
			}
		}
	})
}
