package cluster

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func encode(d *datagram) []byte {
	b, before := d.appendHead(nil), uint64(0)
	for _, p := range d.pieces {
		b = appendPiece(b, before, p.number, p.flags, p.b)
		before = p.number
	}
	return b
}

func TestDatagramRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Uint64Range(0, 1<<40)
		d := datagram{ask: rapid.Bool().Draw(t, "ask"), epoch: number.Draw(t, "epoch") + 1, to: number.Draw(t, "to"),
			time: number.Draw(t, "time"), echo: number.Draw(t, "echo"), held: number.Draw(t, "held"), ack: number.Draw(t, "ack")}
		at := d.ack + 1
		for range rapid.IntRange(0, maxRanges).Draw(t, "ranges") {
			s := span{from: at + 1 + number.Draw(t, "gap")}
			s.to = s.from + 1 + number.Draw(t, "length")
			d.ranges = append(d.ranges, s)
			at = s.to
		}
		at = 1
		for range rapid.IntRange(0, 5).Draw(t, "pieces") {
			at += rapid.SampledFrom([]uint64{0, 0, 1, 1000}).Draw(t, "skip")
			d.pieces = append(d.pieces, arrived{number: at, flags: rapid.ByteRange(0, pieceSkip-1).Draw(t, "flags"),
				b: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")})
			at++
		}
		var got datagram
		if err := got.parse(encode(&d)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(&got), encode(&d)) || len(d.ranges) > 0 && !reflect.DeepEqual(got.ranges, d.ranges) || len(got.pieces) != len(d.pieces) {
			t.Fatalf("got  %+v\nwant %+v", got, d)
		}
	})
}

func TestDatagramRefused(t *testing.T) {
	good := encode(&datagram{epoch: 1, to: 2, time: 3, ack: 4, ranges: []span{{6, 8}}, pieces: []arrived{{number: 9, b: []byte("abc")}}})
	var d datagram
	if err := d.parse(good); err != nil {
		t.Fatal(err)
	}
	head := len((&datagram{epoch: 1, to: 2, time: 3, ack: 4, ranges: []span{{6, 8}}}).appendHead(nil))
	for n := range good {
		if err := d.parse(good[:n]); err == nil && n != head {
			t.Errorf("taken with %d of %d bytes", n, len(good))
		}
	}
	big := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01} // 2^64-1
	for what, b := range map[string][]byte{
		"another version":        append([]byte{2}, good[1:]...),
		"unknown flags":          {1, 2, 1, 0, 1, 0, 0, 0, 0},
		"no epoch":               {1, 0, 0, 0, 1, 0, 0, 0, 0},
		"too many ranges":        {1, 0, 1, 0, 1, 0, 0, 0, maxRanges + 1},
		"an endless number":      append([]byte{1, 0}, bytes.Repeat([]byte{0x80}, 30)...),
		"ack out of range":       append(append([]byte{1, 0, 1, 0, 1, 0, 0}, big...), 0),
		"a range that overflows": append(append([]byte{1, 0, 1, 0, 1, 0, 0, 0, 1, 1}, big...), 0),
		"a range of nothing":     {1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0},
		"a range without a gap":  {1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1},
		"a hostile length":       append(append([]byte{1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0}, big...), 'x'),
		"a hostile skip":         append(append([]byte{1, 0, 1, 0, 1, 0, 0, 0, 0, 1, pieceSkip}, big...), 0),
		"a piece without number": {1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0},
		"unknown piece flags":    {1, 0, 1, 0, 1, 0, 0, 0, 0, 1, pieceSkip << 1, 0},
		"a number and no piece":  {1, 0, 1, 0, 1, 0, 0, 0, 0, 1},
	} {
		if d.parse(b) == nil {
			t.Errorf("%s: taken as %+v", what, d)
		}
	}
}

// FuzzDatagram: whatever comes, a link neither breaks nor holds more than its bounds.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 1, 0, 1, 0, 0, 0, 0})
	f.Add(encode(&datagram{epoch: 7, to: 3, time: 9, echo: 1, ack: 2, ranges: []span{{4, 5}}, pieces: []arrived{{number: 1, b: []byte("abc")}, {number: 5, flags: pieceMore}}}))
	f.Add(encode(&datagram{epoch: 7, to: 3, time: 9, ack: 1 << 40, pieces: []arrived{{number: 1 << 50, b: make([]byte, 100)}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLink(3, 0)
		now := 10 * time.Millisecond
		l.receive(now, &datagram{epoch: 7, to: 3, time: 1})
		for range 5 {
			l.push(now, 0, []byte("frame"))
		}
		l.output(now)
		for range 3 {
			var d datagram
			if d.parse(b) != nil {
				return
			}
			again := encode(&d)
			now += time.Millisecond
			l.receive(now, &d)
			for l.output(now) != nil {
			}
			now += time.Second
			l.tick(now)
			for l.output(now) != nil {
			}
			if l.flying < 0 || l.lost < 0 || l.bytes < 0 || l.earlyLen < 0 || len(l.early) > MaxFlyingPieces || l.queued() > 10 {
				t.Fatalf("%+v", l)
			}
			var d2 datagram
			if err := d2.parse(again); err != nil || !bytes.Equal(encode(&d2), again) {
				t.Fatal("changed by writing it again", err)
			}
		}
	})
}
