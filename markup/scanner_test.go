package markup

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"
)

const clientHeader = `<?xml version='1.0'?><stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`

const (
	presenceStanza = `<presence from='romeo@example.net/orchard' id='p1' xml:lang='en'><show>away</show><status>be right back</status><priority>5</priority>` +
		`<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://code.google.com/p/exodus' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>` +
		`<x xmlns='vcard-temp:x:update'><photo>sha1-hash-of-image-0123456789012345</photo></x></presence>`
	rosterStanza = `<iq to='juliet@example.com/balcony' type='result' id='roster1'><query xmlns='jabber:iq:roster' ver='ver7'>` +
		`<item jid='romeo@example.net' name='Romeo' subscription='both'><group>Friends</group></item>` +
		`<item jid='mercutio@example.org' name='Mercutio' subscription='from'/>` +
		`<item jid='benvolio@example.org' name='Benvolio' subscription='both'><group>Friends</group></item></query></iq>`
)

func TestScanner(t *testing.T) {
	in := clientHeader + "\n <presence/> \r\n\t" + presenceStanza + rosterStanza + `<stream:features/><r xmlns='urn:xmpp:sm:3'/>` + "  </stream:stream >"
	want := []string{"<presence/>", presenceStanza, rosterStanza, "<stream:features/>", `<r xmlns='urn:xmpp:sm:3'/>`}
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)),
		"halves": iotest.HalfReader(strings.NewReader(in)), "data with error": iotest.DataErrReader(strings.NewReader(in)),
	} {
		sc := NewScanner(r, Options{})
		h, err := sc.Header()
		if err != nil || h.Local != "stream" || h.Space != "http://etherx.jabber.org/streams" || h.Attr("to") != "example.com" {
			t.Fatalf("%s: header %v, %v", name, h, err)
		}
		for _, w := range want {
			e, err := sc.Next()
			if err != nil || e.Source() != w {
				t.Fatalf("%s: got %q, %v, want %q", name, e.Source(), err, w)
			}
			if e.Local == "presence" && e.Space != "jabber:client" {
				t.Errorf("%s: %s is in %q", name, e.Local, e.Space)
			}
		}
		for range 2 {
			if e, err := sc.Next(); err != io.EOF {
				t.Fatalf("%s: got %v, %v at the end", name, e, err)
			}
		}
	}
}

func TestScannerErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		kind ErrorKind
	}{
		{"GET / HTTP/1.1\r\n\r\n", NotWellFormed},
		{"\x16\x03\x01\x02", NotWellFormed},
		{"</stream:stream>", NotWellFormed},
		{"<!DOCTYPE stream><stream>", Restricted},
		{"<!-- x --><stream>", Restricted},
		{"<?xml version='1.0'?><?xml version='1.0'?><stream>", Restricted},
		{"<?xml version='1.0' encoding='latin1'?><stream>", BadEncoding},
		{"<?pi x?><stream>", NotWellFormed},
		{"<stream:stream>", BadNamespace},
		{"<a a='1' a='2'>", NotWellFormed},
		{"<a <b", NotWellFormed},
		{"<a>text", Misplaced},
		{"<a><b/>text", Misplaced},
		{"<a><!--", Restricted},
		{"<a><!D", Restricted},
		{"<a><![CDATA[x]]>", Restricted},
		{"<a><?x", Restricted},
		{"<a><b><!--", Restricted},
		{"<a><b><?x", Restricted},
		{"<a></b>", NotWellFormed},
		{"<a><b></a>", NotWellFormed},
		{"<a><b><c></b>", NotWellFormed},
		{"<a><b c='<", NotWellFormed},
		{"<a><b / ", NotWellFormed},
		{"<a>< ", NotWellFormed},
	} {
		// The rest never comes: what is broken must be seen at once.
		client, server := net.Pipe()
		go client.Write([]byte(c.in))
		sc := NewScanner(server, Options{})
		_, err := sc.Header()
		for err == nil {
			_, err = sc.Next()
		}
		var s *SyntaxError
		if !errors.As(err, &s) || s.Kind != c.kind {
			t.Errorf("%q: got %v, want %v", c.in, err, c.kind)
		}
		if _, again := sc.Next(); again != err {
			t.Errorf("%q: the scanner lives on with %v", c.in, again)
		}
		client.Close()
		server.Close()
	}
}

func TestScannerEnds(t *testing.T) {
	for _, in := range []string{"", " ", "<a", "<a>", "<a> ", "<a><b", "<a><b/>", "<a></"} {
		sc := NewScanner(strings.NewReader(in), Options{})
		_, err := sc.Header()
		for err == nil {
			_, err = sc.Next()
		}
		if err != io.ErrUnexpectedEOF {
			t.Errorf("%q: %v", in, err)
		}
	}
	sc := NewScanner(strings.NewReader("<a/><b>"), Options{})
	if _, err := sc.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := sc.Next(); err != io.EOF {
		t.Errorf("after an empty stream: %v", err)
	}
}

func TestScannerRestart(t *testing.T) {
	sc := NewScanner(strings.NewReader(clientHeader+"<auth/>\n"+"<s xmlns='u'><b/></s>"), Options{})
	for range 2 {
		if _, err := sc.Header(); err != nil {
			t.Fatal(err)
		}
		e, err := sc.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Local == "b" && e.Space != "u" {
			t.Errorf("the old scope is still in force: %q", e.Space)
		}
		if e.Local == "auth" && sc.Buffered() == 0 {
			t.Error("nothing is said to be buffered")
		}
		sc.Restart()
	}
}

// A reader's error, such as a deadline, loses nothing.
func TestScannerResumes(t *testing.T) {
	r := &script{steps: []string{"<a", "", "><b>", "", "x</", "", "b>", ""}}
	sc := NewScanner(r, Options{})
	timeouts := 0
	again := func(read func() (*Element, error)) *Element {
		for {
			e, err := read()
			if err == nil {
				return e
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			timeouts++
		}
	}
	again(sc.Header)
	if e := again(sc.Next); e.Text() != "x" || timeouts != 3 {
		t.Errorf("got %q after %d timeouts", e.Text(), timeouts)
	}
}

// script reads as its steps say, "" being a timeout.
type script struct{ steps []string }

func (s *script) Read(b []byte) (int, error) {
	step := s.steps[0]
	s.steps = s.steps[1:]
	if step == "" {
		return 0, os.ErrDeadlineExceeded
	}
	return copy(b, step), nil
}

// Memory stays bounded whatever comes without end, and is given back after.
func TestScannerMemory(t *testing.T) {
	o := Options{MaxBytes: 100000}
	for _, in := range []string{"<a>", "<a b='", "<", "<a ", "<a><![CDATA[", "<a><b></b>", "<a><b/>"} {
		r := &endless{head: "<s>" + in, tail: in[len(in)-1:]}
		if in[len(in)-1] == '>' || in[len(in)-1] == '<' {
			r.tail = "x"
		}
		sc := NewScanner(r, o)
		if _, err := sc.Header(); err != nil {
			t.Fatal(err)
		}
		_, err := sc.Next()
		var s *SyntaxError
		if !errors.As(err, &s) || s.Kind != TooBig {
			t.Errorf("%q: %v", in, err)
		}
		if r.given > 3*o.MaxBytes || len(sc.buf) > 3*o.MaxBytes {
			t.Errorf("%q: read %d bytes into %d", in, r.given, len(sc.buf))
		}
	}
	big := "<m>" + strings.Repeat("x", 50000) + "</m>"
	r := &script{steps: []string{"<s>", big[:1021], big[1021:9000], big[9000:20000], big[20000:], ""}}
	sc := NewScanner(chunks{r}, o)
	if _, err := sc.Header(); err != nil {
		t.Fatal(err)
	}
	if e, err := sc.Next(); err != nil || e.Source() != big {
		t.Fatal("big stanza", err)
	}
	for {
		if _, err := sc.Next(); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(sc.buf) != idleBuffer {
		t.Errorf("idle with a buffer of %d", len(sc.buf))
	}
	if size := unsafe.Sizeof(*sc); size > 1500 {
		t.Errorf("a scanner has %d bytes", size)
	}
}

// endless reads head, then tail for ever.
type endless struct {
	head, tail string
	given      int
}

func (r *endless) Read(b []byte) (int, error) {
	n := copy(b, r.head)
	r.head = r.head[n:]
	for n < len(b) {
		n += copy(b[n:], r.tail)
	}
	r.given += n
	return n, nil
}

// chunks delivers the steps of a script in as many reads as the buffer needs.
type chunks struct{ s *script }

func (c chunks) Read(b []byte) (int, error) {
	step := c.s.steps[0]
	n, err := c.s.Read(b)
	if n < len(step) {
		c.s.steps = append([]string{step[n:]}, c.s.steps...)
	}
	return n, err
}

// A stream cut anywhere gives the same as the stream whole.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(clientHeader+presenceStanza+rosterStanza+"</stream:stream>"), uint8(7))
	for _, p := range probes {
		f.Add([]byte("<s xmlns:p='u'>"+p.in+"</s>"), uint8(1))
	}
	left := 0 // bytes behind the end of the stream
	read := func(r io.Reader) (out []string, end error) {
		sc := NewScanner(r, Options{MaxBytes: 4096, MaxDepth: 8, MaxNodes: 64})
		e, err := sc.Header()
		for err == nil {
			out = append(out, strict(e))
			e, err = sc.Next()
		}
		if l, ok := r.(interface{ Len() int }); ok {
			left = l.Len() + sc.Buffered()
		}
		return out, err
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, err1 := read(strings.NewReader(string(in)))
		cut, err2 := read(&slow{in, int(step%16) + 1})
		if strings.Join(whole, "") != strings.Join(cut, "") || (err1 == io.EOF) != (err2 == io.EOF) {
			t.Fatalf("%q by %d: %v, %v and %v, %v", in, step, whole, err1, cut, err2)
		}
		if err1 == io.EOF { // what we take for a stream is a document
			in = in[:len(in)-left]
			if _, err := stdRender(in); err != nil && (ascii(in) || !stdRefuses(err)) && !lenient(in) {
				t.Fatalf("%q: encoding/xml says %v", in, err)
			}
		}
	})
}

// lenient tells of the one thing in which the Scanner takes more than a
// document, white space before the XML declaration, and of versions 1.x.
func lenient(in []byte) bool {
	s := string(in)
	return s != strings.TrimLeft(s, " \t\r\n") || strings.HasPrefix(s, "<?xml")
}

type slow struct {
	in   []byte
	step int
}

func (s *slow) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.in[:min(s.step, len(s.in))])
	s.in = s.in[n:]
	return n, nil
}

// repeat reads a header, then stanzas for ever.
type repeat struct{ head, body, rest string }

func (r *repeat) Read(b []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.body
	}
	if r.head != "" {
		n := copy(b, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func BenchmarkScanner(b *testing.B) {
	b.Run("element", func(b *testing.B) { scan(b, func(sc *Scanner) error { _, err := sc.Next(); return err }) })
	b.Run("borrowed", func(b *testing.B) {
		scan(b, func(sc *Scanner) error {
			t, err := sc.NextTree()
			t.Release()
			return err
		})
	})
}

func scan(b *testing.B, next func(*Scanner) error) {
	sc := NewScanner(&repeat{head: clientHeader, body: presenceStanza + rosterStanza}, Options{})
	if _, err := sc.Header(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(presenceStanza)+len(rosterStanza)) / 2)
	for b.Loop() {
		if err := next(sc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e, err := ParseIn([]byte(presenceStanza), []Decl{{"", "jabber:client"}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendInner(dst[:0], "jabber:client")
	}
}
