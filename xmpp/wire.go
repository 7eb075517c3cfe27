package xmpp

import "pharos/markup"

// wire is the framing of a stream: that of TCP or that of WebSocket. Reading is for
// one goroutine; the append methods keep nothing.
type wire interface {
	open() (*markup.Element, error) // the peer's stream header
	next() (*markup.Element, error) // io.EOF after the peer closed its stream
	// tree is next for an element whose memory is used again.
	tree() (markup.Tree, error)
	restart(o markup.Options) // a new stream header follows (RFC 6120 §4.3.3)
	rest()                    // nothing will be read for a while
	appendOpen(dst []byte, s *Stream) []byte
	appendElement(dst []byte, el string) []byte // el may use the prefix stream
	appendEnd(dst []byte, e *StreamError) []byte
}

// tcp is the framing of RFC 6120: one document per direction.
type tcp struct{ *markup.Scanner }

func (t tcp) open() (*markup.Element, error) { return t.Header() }
func (t tcp) next() (*markup.Element, error) { return t.Next() }
func (t tcp) tree() (markup.Tree, error)     { return t.NextTree() }

func (t tcp) restart(o markup.Options) {
	t.Restart()
	t.SetOptions(o)
}

func (t tcp) rest() { t.Rest() }

func (t tcp) appendOpen(dst []byte, s *Stream) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"...)
	return append(s.appendOpenAttrs(dst), '>')
}

func (t tcp) appendElement(dst []byte, el string) []byte { return append(dst, el...) }

func (t tcp) appendEnd(dst []byte, e *StreamError) []byte {
	if e != nil && !e.Received {
		dst = e.append(dst, "")
	}
	return append(dst, "</stream:stream>"...)
}

// appendOpenAttrs writes the attributes of our stream header (RFC 6120 §4.7).
func (s *Stream) appendOpenAttrs(dst []byte) []byte {
	dst = markup.AppendAttr(dst, "id", s.id)
	dst = markup.AppendAttr(dst, "from", s.domain)
	if s.from != "" {
		dst = markup.AppendAttr(dst, "to", s.from) // §4.7.2
	}
	return append(dst, " version='1.0' xml:lang='en'"...)
}
