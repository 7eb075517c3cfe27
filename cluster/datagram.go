package cluster

import (
	"encoding/binary"
	"errors"
	"time"

	"pharos/fields"
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

// maxNumber keeps sums of what comes from overflowing.
const maxNumber = 1 << 62

// parse fills d from b, whose pieces point into b. The slices of d are used again.
func (d *datagram) parse(b []byte) error {
	r := fields.Of(b)
	if r.Byte() != datagramVersion {
		return errDatagram
	}
	flags := r.Byte()
	*d = datagram{ask: flags&1 != 0, epoch: r.Uint(), to: r.Uint(), time: r.Uint(), echo: r.Uint(),
		held: r.Uint(), ack: r.Uint(), ranges: d.ranges[:0], pieces: d.pieces[:0]}
	n := r.Uint()
	if !r.OK() || n > maxRanges || d.epoch == 0 || d.ack > maxNumber || flags > 1 {
		return errDatagram
	}
	at := d.ack + 1
	for range n {
		gap, length := r.Uint(), r.Uint()
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
	if !r.OK() {
		return errDatagram
	}
	if r.Len() == 0 {
		return nil
	}
	number := r.Uint()
	for r.Len() > 0 {
		p := arrived{flags: r.Byte()}
		if p.flags&pieceSkip != 0 {
			skip := r.Uint()
			if skip > maxNumber {
				return errDatagram
			}
			number += skip
			p.flags &^= pieceSkip
		}
		p.b = r.Bytes()
		p.number = number
		number++
		if p.flags >= pieceSkip || p.number == 0 || p.number > maxNumber {
			return errDatagram
		}
		d.pieces = append(d.pieces, p)
	}
	if !r.OK() || len(d.pieces) == 0 {
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
