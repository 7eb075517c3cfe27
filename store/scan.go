package store

import (
	"encoding/binary"
	"errors"
	"io"
)

// Damage is a stretch of the journal that could not be read and was passed over.
type Damage struct{ Offset, Length int64 }

// scanner reads frames from a file through a window that grows to the largest
// frame. The slices of a frame live until the next call.
type scanner struct {
	f      io.ReaderAt
	off    int64 // where the window begins
	end    int64 // what may be read
	gen    uint32
	good   int64 // where the last good frame ended
	win    []byte
	buf    []byte
	damage []Damage
}

// scanWindow is the window at first, in bytes.
const scanWindow = 256 << 10

func newScanner(f io.ReaderAt, gen uint32, off, end int64) *scanner {
	return &scanner{f: f, gen: gen, off: off, good: off, end: end, buf: make([]byte, scanWindow)}
}

// fill reads on behind the window; io.EOF when nothing is left.
func (s *scanner) fill() error {
	have := int64(len(s.win))
	left := s.end - s.off - have
	if left <= 0 {
		return io.EOF
	}
	if int(have) == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	copy(s.buf, s.win)
	n, err := s.f.ReadAt(s.buf[have:min(int64(len(s.buf)), have+left)], s.off+have)
	s.win = s.buf[:have+int64(n)]
	if n > 0 {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.EOF
	}
	return err
}

// seek moves on to off, where a frame is known to begin.
func (s *scanner) seek(off int64) {
	if n := off - s.off; n >= 0 && n <= int64(len(s.win)) {
		s.skip(int(n))
	} else {
		s.win, s.off = nil, off
	}
	s.good = off
}

func (s *scanner) skip(n int) {
	s.win = s.win[n:]
	s.off += int64(n)
}

// next returns the next good frame and its offset. A damaged stretch that a good
// frame follows is noted and passed over. io.EOF at the end: what lies behind
// s.good is then a torn tail, or what an older generation left.
func (s *scanner) next() (frame, int64, error) {
	for {
		f, v := parseFrame(s.win, s.gen)
		if v == short {
			err := s.fill()
			if err == nil {
				continue
			}
			if err != io.EOF || len(s.win) == 0 {
				return frame{}, 0, err
			}
			v = damaged // claims more than there is; good frames may lie in what it claims
		}
		if v == whole {
			at := s.off
			if at > s.good {
				s.damage = append(s.damage, Damage{s.good, at - s.good})
			}
			s.skip(f.size)
			s.good = s.off
			return f, at, nil
		}
		if err := s.resync(); err != nil {
			return frame{}, 0, err
		}
	}
}

// resync moves to where the next frame may begin.
func (s *scanner) resync() error {
	// Where only the body is damaged its length still leads to the next frame.
	if len(s.win) >= frameHead && string(s.win[:4]) == frameMark {
		n := frameHead + int(binary.LittleEndian.Uint32(s.win[4:]))
		if n <= len(s.win)-len(frameMark) && string(s.win[n:n+4]) == frameMark {
			s.skip(n)
			return nil
		}
	}
	if len(s.win) > 0 {
		if n := nextMark(s.win); n > 0 {
			s.skip(n)
			return nil
		}
		// A mark may begin in the last bytes.
		s.skip(max(1, len(s.win)-len(frameMark)+1))
	}
	if err := s.fill(); err != io.EOF {
		return err
	}
	if len(s.win) == 0 {
		return io.EOF
	}
	return nil // next looks at what is left
}
