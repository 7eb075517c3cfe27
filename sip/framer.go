package sip

import (
	"bytes"
	"io"
)

// MaxMessage is the largest message that Parse and a Framer take, in octets,
// and the default of Framer.Max. The RFC asks for 65,535 at least on datagrams
// (RFC 3261 §18.1.1), and offsets within a message are kept in 16 bits.
const MaxMessage = 65535

// MaxHead bounds the part of a message before its body, in octets. A Framer
// gives up on a stream that shows no end of the head by then.
const MaxHead = 32768

// Framer cuts a byte stream into messages (RFC 3261 §18.3) and keep-alives
// (RFC 5626 §4.4.1). The zero value is ready; a Framer is used by one
// goroutine. It holds at most Max octets, plus what was fed at once.
//
//	for {
//		if _, err := f.ReadOnce(conn); err != nil { ... }
//		for {
//			msg, ping, err := f.Next()
//			...
//		}
//	}
type Framer struct {
	// Max is the largest message in octets, head and body; 0 means MaxMessage.
	Max int

	buf     []byte // buf[start:] is not yet taken
	start   int
	scanned int // octets after start that hold no end of the head
	head    int // length of the head once found, its blank line included
	length  int // the Content-Length of that head
	err     error
}

// Feed appends octets received from the stream; they are copied.
func (f *Framer) Feed(b []byte) {
	f.compact()
	f.buf = append(f.buf, b...)
}

// ReadOnce does one Read from r into the framer's own buffer.
func (f *Framer) ReadOnce(r io.Reader) (int, error) {
	f.compact()
	const room = 2048
	if cap(f.buf)-len(f.buf) < room {
		f.buf = append(f.buf, make([]byte, room)...)[:len(f.buf)]
	}
	n, err := r.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	return n, err
}

// Buffered is the number of octets received and not yet taken. A message has
// begun when it is not 0: reads then deserve a deadline.
func (f *Framer) Buffered() int { return len(f.buf) - f.start }

// Next returns the next whole message, which is valid until the next Feed or
// ReadOnce. Nil without an error means: feed more. ping means that the peer
// sent a double CRLF and is to be answered a single one (RFC 5626 §4.4.1);
// msg is nil then, and Next is to be called again.
//
// An error is final, since the stream's next boundary is unknown. It is a
// *ParseError: answer it where it can be answered, then close (RFC 3261 §18.3:
// Content-Length must be there; 513 when the message is too large).
func (f *Framer) Next() (msg []byte, ping bool, err error) {
	if f.err != nil {
		return nil, false, f.err
	}
	if f.head == 0 {
		ping = f.skipCRLF()
		if ping {
			return nil, true, nil
		}
		if err := f.findHead(); err != nil || f.head == 0 {
			f.err = err
			return nil, false, err
		}
	}
	b := f.buf[f.start:]
	n := f.head + f.length
	if len(b) < n {
		return nil, false, nil
	}
	f.start += n
	f.head, f.length, f.scanned = 0, 0, 0
	return b[:n:n], false, nil
}

// skipCRLF passes over empty lines before a start-line (RFC 3261 §7.5) and
// reports a ping. A lone CRLF is a pong, or half a ping: it waits for what
// follows.
func (f *Framer) skipCRLF() (ping bool) {
	b := f.buf[f.start:]
	for len(b) >= 3 && b[0] == '\r' && b[1] == '\n' {
		if b[2] == '\r' {
			if len(b) < 4 {
				return false
			}
			if b[3] == '\n' {
				f.start += 4
				return true
			}
		}
		f.start += 2
		b = b[2:]
	}
	return false
}

// findHead looks for the end of the head and reads its Content-Length.
func (f *Framer) findHead() error {
	max := f.Max
	if max <= 0 || max > MaxMessage {
		max = MaxMessage
	}
	b := f.buf[f.start:]
	if len(b) < 3 && bytes.HasPrefix([]byte("\r\n\r"), b) {
		return nil // nothing, a pong, or the beginning of a ping
	}
	from := f.scanned - 3
	if from < 0 {
		from = 0
	}
	i := bytes.Index(b[from:], crlfcrlf)
	if i < 0 {
		f.scanned = len(b)
		if len(b) > MaxHead || len(b) > max {
			return frameError(b, 513, "Message head too large")
		}
		return nil
	}
	head := from + i + 4
	if head > MaxHead || head > max {
		return frameError(b[:head], 513, "Message head too large")
	}
	n, reason := contentLength(b[:head])
	if reason != "" {
		return frameError(b[:head], 400, reason)
	}
	if n > max-head {
		return frameError(b[:head], 513, "Message too large")
	}
	f.head, f.length = head, n
	return nil
}

var crlfcrlf = []byte("\r\n\r\n")

// contentLength finds the Content-Length of a whole head; reason tells why
// there is none to go by.
func contentLength(head []byte) (n int, reason string) {
	n = -1
	for line := head; ; {
		i := bytes.IndexByte(line, '\n')
		if i < 0 {
			break
		}
		line = line[i+1:]
		if len(line) == 0 || line[0]|0x20 != 'c' && line[0]|0x20 != 'l' {
			continue
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || LookupHeader(trimBlank(string(line[:min(colon, 32)]))) != HContentLength {
			continue
		}
		v := line[colon+1:]
		end := len(v)
		for j := 0; j < len(v); j++ { // folded lines belong to the value
			if v[j] == '\n' && (j+1 == len(v) || !isBlank(v[j+1])) {
				end = j
				break
			}
		}
		u, ok := parseUint(string(bytes.TrimSpace(v[:end])), MaxMessage*16)
		if !ok {
			return 0, "Bad Content-Length"
		}
		if n >= 0 { // RFC 4475 §3.3.9: two of them, and no way to tell which
			return 0, "Several Content-Length header fields"
		}
		n = int(u)
	}
	if n < 0 {
		return 0, "Missing Content-Length" // RFC 3261 §18.3
	}
	return n, ""
}

// compact moves what is left to the front, and lets go of a large buffer once
// it is empty, so that an idle connection holds little.
func (f *Framer) compact() {
	if f.start == 0 {
		return
	}
	n := copy(f.buf, f.buf[f.start:])
	f.buf, f.start = f.buf[:n], 0
	if n == 0 && cap(f.buf) > 8192 {
		f.buf = nil
	}
}
