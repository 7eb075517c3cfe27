package markup

import (
	"io"
	"strings"
	"sync"
)

// Scanner reads one XMPP stream: the open tag of its header, then complete
// first-level elements, each as soon as its last byte has arrived, then the
// close tag. Restricted XML (RFC 6120 §11.1) is refused. Limits are checked while
// bytes arrive, before they are collected. An idle Scanner holds a buffer of
// one kilobyte, and none after Rest. It is for one goroutine.
type Scanner struct {
	r io.Reader
	o Options

	buf   []byte
	start int // of the element being read, in buf
	end   int // of what was read
	err   error

	header string // qualified name of the stream header, "" before it
	scope  []Decl // declarations of the stream header
	closed bool   // the header had no content, or the close tag came

	find finder
	idle *[idleBuffer]byte
}

const (
	idleBuffer = 1 << 10 // kept by every Scanner
	readBuffer = 8 << 10 // while more is arriving
)

var (
	readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}
	idleBuffers = sync.Pool{New: func() any { return new([idleBuffer]byte) }}
)

// NewScanner reads from r. Options.Document is ignored.
func NewScanner(r io.Reader, o Options) *Scanner {
	sc := &Scanner{r: r}
	sc.SetOptions(o)
	return sc
}

// SetOptions changes the limits from the next element on.
func (sc *Scanner) SetOptions(o Options) {
	sc.o = o.withDefaults()
	sc.o.Document = false
}

// SetReader changes what is read from, for TLS. Bytes that were read before
// stay: see Buffered.
func (sc *Scanner) SetReader(r io.Reader) { sc.r = r }

// Buffered is how many bytes were read and not yet handed out, without white
// space before them.
func (sc *Scanner) Buffered() int {
	sc.skip()
	return sc.end - sc.start
}

// skip drops white space between elements.
func (sc *Scanner) skip() {
	for sc.find.pos == 0 && sc.start < sc.end && classes[sc.buf[sc.start]]&blank != 0 {
		sc.start++
	}
}

// Restart makes the Scanner expect a stream header (RFC 6120 §4.3.3). Bytes that
// were read already belong to the new stream.
func (sc *Scanner) Restart() {
	sc.header, sc.scope, sc.closed = "", nil, false
	sc.find.reset()
}

// Header returns the open tag of the stream header as an element without
// content. Its declarations are the scope of everything that follows. An XML
// declaration before it is checked and skipped. Errors are those of Next.
func (sc *Scanner) Header() (*Element, error) {
	sc.find.header = true
	src, err := sc.next()
	if err != nil {
		return nil, err
	}
	p := newParser(src, nil, sc.o)
	defer p.free()
	if strings.HasPrefix(src, "<?xml") {
		p.pos = skipBlanks(src, p.declaration(0))
	}
	p.reserve(1, 0, 8)
	var e *Element
	if p.err == nil {
		e = p.openTag()
	}
	if p.err != nil {
		return nil, sc.fail(p.err)
	}
	sc.header = e.Local
	if e.Prefix != "" {
		sc.header = e.Prefix + ":" + e.Local
	}
	sc.scope = e.Decls
	sc.closed = strings.HasSuffix(src, "/>")
	return e, nil
}

// Next returns the next first-level element, in the namespace scope of the
// stream header. White space between elements is skipped. The error is io.EOF
// after the close tag of the stream, io.ErrUnexpectedEOF when the input ends
// before it, a *SyntaxError, or what the reader returned; after a *SyntaxError
// the Scanner is dead, after an error of the reader it may be called again.
func (sc *Scanner) Next() (*Element, error) {
	src, err := sc.item()
	if err != nil {
		return nil, err
	}
	p := newParser(src, sc.scope, sc.o)
	defer p.free()
	p.reserve(sc.find.elements, sc.find.nodes, sc.find.attrs)
	e := p.element()
	if p.err != nil {
		return nil, sc.fail(p.err)
	}
	return e, nil
}

// NextTree is Next for an element whose memory is used again. Nothing of the
// tree may be used after its Release but strings.
func (sc *Scanner) NextTree() (Tree, error) {
	src, err := sc.item()
	if err != nil {
		return Tree{}, err
	}
	p := borrow(src, sc.o)
	p.surround(sc.scope)
	t := Tree{p.element(), p}
	if err := p.err; err != nil {
		t.Release()
		return Tree{}, sc.fail(err)
	}
	return t, nil
}

// item is the text of the next element; io.EOF at the end of the stream.
func (sc *Scanner) item() (string, error) {
	if sc.closed {
		return "", io.EOF
	}
	src, err := sc.next()
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(src, "</") { // the finder has compared it with the header
		sc.closed = true
		return "", io.EOF
	}
	return src, nil
}

func (sc *Scanner) fail(err error) error {
	sc.err = err
	return err
}

// next returns the bytes of the next complete item.
func (sc *Scanner) next() (string, error) {
	for {
		if sc.err != nil {
			return "", sc.err
		}
		sc.skip()
		if sc.start < sc.end {
			n, err := sc.find.scan(sc.buf[sc.start:sc.end], sc.header, &sc.o)
			if err != nil {
				return "", sc.fail(err)
			}
			if n > 0 {
				src := string(sc.buf[sc.start : sc.start+n])
				sc.start += n
				sc.find.reset()
				return src, nil
			}
		}
		if err := sc.read(); err != nil {
			return "", err
		}
	}
}

// read makes room and reads once. What is pending is at most one incomplete
// element, which the finder has found to be within the limits.
func (sc *Scanner) read() error {
	full := len(sc.buf) > 0 && sc.end == len(sc.buf)
	pending := sc.end - sc.start
	switch {
	case pending == 0 && !full:
		sc.use(sc.small())
	case len(sc.buf) < readBuffer && full:
		sc.use(readBuffers.Get().(*[readBuffer]byte)[:])
	case pending > len(sc.buf)/2 && full:
		sc.use(make([]byte, 2*len(sc.buf)))
	case full:
		sc.use(sc.buf)
	}
	for range 100 {
		n, err := sc.r.Read(sc.buf[sc.end:])
		if n > 0 {
			sc.end += n
			return nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			sc.release()
			return err
		}
	}
	return io.ErrNoProgress
}

// use moves what is pending to the start of b and reads there from now on.
func (sc *Scanner) use(b []byte) {
	old := sc.buf
	sc.end = copy(b, old[sc.start:sc.end])
	sc.start = 0
	sc.buf = b
	if len(old) == readBuffer && &old[0] != &b[0] {
		readBuffers.Put((*[readBuffer]byte)(old))
	}
}

// release gives a pooled buffer back when nothing is pending.
func (sc *Scanner) release() {
	if sc.start == sc.end {
		sc.use(sc.small())
	}
}

// small is the buffer of a Scanner that waits.
func (sc *Scanner) small() []byte {
	if sc.idle == nil {
		sc.idle = idleBuffers.Get().(*[idleBuffer]byte)
	}
	return sc.idle[:]
}

// Rest gives back all buffers, unless part of an element is in them: nothing will be read for a while.
func (sc *Scanner) Rest() {
	sc.skip()
	if sc.start != sc.end {
		return
	}
	sc.use(nil)
	sc.find.open = nil
	if sc.idle != nil {
		idleBuffers.Put(sc.idle)
		sc.idle = nil
	}
}
