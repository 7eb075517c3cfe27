package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// The journal's file is a header and then frames, each
//
//	mark   4 bytes  frameMark, to find the next frame behind a damaged one
//	length 4 bytes  of the body, little endian
//	sum    4 bytes  CRC-32C of length and body, xor the file's generation
//	body            op, kind, length of the key (uvarint), key, value
//
// A file may be an older one written over: beyond its end then lie frames of
// another generation, which have wrong sums here.
const (
	softMagic = "pharos soft 1\r\n\x00"
	softHead  = len(softMagic) + 8 // magic, generation, CRC-32C of both
	frameMark = "\xf5PF\xa9"       // 0xf5 is in no UTF-8 text
	frameHead = 12

	// MaxRecord bounds one soft-state record (key and value), in bytes.
	MaxRecord = 1 << 20
)

const (
	opPut    byte = 1
	opDelete byte = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one record as it lies in the file; its slices point into what was read.
type frame struct {
	op, kind   byte
	key, value []byte
	raw        []byte // all of it
	size       int    // of raw
}

// openFrame begins a frame in buf; the caller appends the value and calls closeFrame.
func openFrame(buf []byte, op, kind byte) []byte {
	buf = append(buf, frameMark...)
	buf = append(buf, 0, 0, 0, 0, 0, 0, 0, 0)
	return append(buf, op, kind)
}

// closeFrame completes the frame that began at start, for a file of generation gen.
func closeFrame(buf []byte, start int, gen uint32) {
	f := buf[start:]
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHead))
	binary.LittleEndian.PutUint32(f[8:], frameSum(f)^gen)
}

// restamp takes a whole frame from one generation to another.
func restamp(raw []byte, from, to uint32) {
	binary.LittleEndian.PutUint32(raw[8:], binary.LittleEndian.Uint32(raw[8:])^from^to)
}

func appendHead(buf []byte, gen uint32) []byte {
	start := len(buf)
	buf = append(buf, softMagic...)
	buf = binary.LittleEndian.AppendUint32(buf, gen)
	return binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

func parseFileHead(b []byte) (gen uint32, ok bool) {
	n := len(softMagic)
	if len(b) < softHead || string(b[:n]) != softMagic ||
		crc32.Checksum(b[:n+4], castagnoli) != binary.LittleEndian.Uint32(b[n+4:]) {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b[n:]), true
}

func frameSum(f []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, f[4:8]), castagnoli, f[frameHead:])
}

func appendFrame(buf []byte, r Record, gen uint32) []byte {
	start, op := len(buf), opPut
	if r.Value == nil {
		op = opDelete
	}
	buf = openFrame(buf, op, r.Kind)
	buf = binary.AppendUvarint(buf, uint64(len(r.Key)))
	buf = append(buf, r.Key...)
	buf = append(buf, r.Value...)
	closeFrame(buf, start, gen)
	return buf
}

// verdict on the bytes at some place of the file.
type verdict uint8

const (
	whole   verdict = iota // a good frame
	short                  // the bytes end within what may be a frame
	damaged                // no frame begins here
)

// parseFrame reads the frame at the beginning of b.
func parseFrame(b []byte, gen uint32) (frame, verdict) {
	n := min(len(b), len(frameMark))
	if string(b[:n]) != frameMark[:n] {
		return frame{}, damaged
	}
	if len(b) < frameHead {
		return frame{}, short
	}
	size := int(binary.LittleEndian.Uint32(b[4:]))
	if size < 3 || size > MaxRecord+16 {
		return frame{}, damaged
	}
	if len(b) < frameHead+size {
		return frame{}, short
	}
	b = b[:frameHead+size]
	if frameSum(b)^gen != binary.LittleEndian.Uint32(b[8:]) {
		return frame{}, damaged
	}
	f, ok := parseBody(b[frameHead:])
	f.raw, f.size = b, len(b)
	if !ok { // cannot come from us, sum or not
		return frame{}, damaged
	}
	return f, whole
}

// parseHead reads a frame that we made ourselves, without its sum.
func parseHead(b []byte) (frame, bool) {
	n := frameHead + int(binary.LittleEndian.Uint32(b[4:]))
	f, ok := parseBody(b[frameHead:n])
	f.raw, f.size = b[:n], n
	return f, ok
}

func parseBody(b []byte) (frame, bool) {
	f := frame{op: b[0], kind: b[1]}
	n, w := binary.Uvarint(b[2:])
	if w <= 0 || n > uint64(len(b)-2-w) || f.op != opPut && f.op != opDelete {
		return frame{}, false
	}
	b = b[2+w:]
	f.key, f.value = b[:n], b[n:]
	return f, true
}

// nextMark finds where the next frame may begin, at least one byte on; -1: nowhere in b.
func nextMark(b []byte) int {
	i := bytes.Index(b[1:], []byte(frameMark))
	if i < 0 {
		return -1
	}
	return i + 1
}
