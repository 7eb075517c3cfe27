package peers

import "encoding/binary"

// Terms in Erlang's external format, as far as records of users need them. What is
// appended is a term without the leading version octet.

func etfAtom(b []byte, s string) []byte { return append(append(b, 119, byte(len(s))), s...) }

func etfBinary(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 109), uint32(len(s)))
	return append(b, s...)
}

// etfTuple begins a tuple: n terms follow.
func etfTuple(b []byte, n int) []byte { return append(b, 104, byte(n)) }

// etfList begins a list: n terms follow, then nil.
func etfList(b []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, 108), uint32(n))
}

func etfNil(b []byte) []byte { return append(b, 106) }

func etfInt(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(append(b, 98), uint32(n)) }
