package cluster

import (
	"encoding/binary"
	"errors"
	"time"

	"pharos/presence"
)

// datagramVersion is the first byte of all that links send. Others are ignored: a node
// of another version can be on the bus during an upgrade.
const datagramVersion = 1

// Flags of a piece.
const (
	pieceMore      = 1 << iota // the frame goes on in the next piece
	pieceBroadcast             // the frame was for everybody
	pieceMissed                // some broadcasts were left out here
	pieceSkip                  // numbers are left out before this one
)

// datagram is what two links say to each other at once. All numbers are uvarints:
//
//	version (one byte), flags (one byte: 1, answer me)
//	epoch    of the sender
//	to       of the receiver, as the sender knows it; 0: not known
//	time     of sending, in microseconds of the sender's clock
//	echo     the newest time that has come from the other side; 0: none
//	held     microseconds since that came
//	ack      all pieces up to this number have come
//	ranges   how many follow, each as left out and come, beyond ack
//	number   of the first piece, if there are any
//	pieces   up to the end: flags, numbers skipped if so flagged, length, bytes
type datagram struct {
	ask       bool
	epoch, to uint64
	time      uint64
	echo      uint64
	held      uint64
	ack       uint64
	ranges    []span
	pieces    []arrived
}

// span is numbers from and including from, up to and excluding to.
type span struct{ from, to uint64 }

type arrived struct {
	number uint64
	flags  byte
	b      []byte // a part of the datagram
}

// maxRanges bounds the ranges in one datagram; what is beyond them is acknowledged later.
const maxRanges = 32

var errDatagram = errors.New("cluster: malformed datagram")

// reader takes a datagram or message apart; after an error all it gives is zero.
type reader struct {
	b   []byte
	err bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.err = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.err, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) text() string { return string(r.bytes(r.number())) }

func (r *reader) entity() presence.Entity {
	return presence.Entity{User: r.text(), Domain: r.text()}
}

// maxNumber keeps sums of what comes from overflowing.
const maxNumber = 1 << 62

// parse fills d from b, whose pieces point into b. The slices of d are used again.
func (d *datagram) parse(b []byte) error {
	r := reader{b: b}
	if r.byte() != datagramVersion {
		return errDatagram
	}
	flags := r.byte()
	*d = datagram{ask: flags&1 != 0, epoch: r.number(), to: r.number(), time: r.number(), echo: r.number(),
		held: r.number(), ack: r.number(), ranges: d.ranges[:0], pieces: d.pieces[:0]}
	n := r.number()
	if r.err || n > maxRanges || d.epoch == 0 || d.ack > maxNumber || flags > 1 {
		return errDatagram
	}
	at := d.ack + 1
	for range n {
		gap, length := r.number(), r.number()
		if gap == 0 || length == 0 || gap > maxNumber || length > maxNumber {
			return errDatagram
		}
		s := span{at + gap, at + gap + length}
		if s.to > maxNumber {
			return errDatagram
		}
		d.ranges = append(d.ranges, s)
		at = s.to
	}
	if r.err {
		return errDatagram
	}
	if len(r.b) == 0 {
		return nil
	}
	number := r.number()
	for !r.err && len(r.b) > 0 {
		p := arrived{flags: r.byte()}
		if p.flags&pieceSkip != 0 {
			skip := r.number()
			if skip > maxNumber {
				return errDatagram
			}
			number += skip
			p.flags &^= pieceSkip
		}
		p.b = r.bytes(r.number())
		p.number = number
		number++
		if p.flags >= pieceSkip || p.number == 0 || p.number > maxNumber {
			return errDatagram
		}
		d.pieces = append(d.pieces, p)
	}
	if r.err || len(d.pieces) == 0 {
		return errDatagram
	}
	return nil
}

// appendHead writes all of d but its pieces.
func (d *datagram) appendHead(b []byte) []byte {
	b = append(b, datagramVersion, 0)
	if d.ask {
		b[len(b)-1] = 1
	}
	for _, v := range [...]uint64{d.epoch, d.to, d.time, d.echo, d.held, d.ack, uint64(len(d.ranges))} {
		b = binary.AppendUvarint(b, v)
	}
	at := d.ack + 1
	for _, s := range d.ranges {
		b = binary.AppendUvarint(b, s.from-at)
		b = binary.AppendUvarint(b, s.to-s.from)
		at = s.to
	}
	return b
}

// appendPiece writes one piece; before is the number of the piece before it, 0 for the
// first of the datagram.
func appendPiece(b []byte, before, number uint64, flags byte, data []byte) []byte {
	switch {
	case before == 0:
		b = binary.AppendUvarint(b, number)
		b = append(b, flags)
	case number != before+1:
		b = append(b, flags|pieceSkip)
		b = binary.AppendUvarint(b, number-before-1)
	default:
		b = append(b, flags)
	}
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func micros(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }
