package paper

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// chat is an XMPP client. It announces that it follows the redirect IQ, and goes where that says.
type chat struct {
	user  string
	heard func(stanza []byte) // by the reader

	mu   sync.Mutex
	conn net.Conn
	at   string
	gone error // from where it is connected
	// moved counts redirects that were followed, failed the first one that could not be.
	moved  int
	failed error
	ended  bool
}

const (
	feature  = "urn:pharos:redirect:1"
	discoNS  = "http://jabber.org/protocol/disco#info"
	identity = "<identity category='client' type='bot' name='paper'/>"
)

// capsVersion is XEP-0115 §5.1 of what the client is and can do.
var capsVersion = func() string {
	sum := sha1.Sum([]byte("client/bot//paper<" + feature + "<" + discoNS + "<"))
	if feature > discoNS {
		sum = sha1.Sum([]byte("client/bot//paper<" + discoNS + "<" + feature + "<"))
	}
	return base64.StdEncoding.EncodeToString(sum[:])
}()

// available is the client's presence, with some text and more in it.
func available(text, more string) string {
	return "<presence><status>" + text + "</status><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:pharos:paper' ver='" + capsVersion + "'/>" + more + "</presence>"
}

const streamOpen = "<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// connect logs in at a server, and leaves the one that it was connected to.
func (c *chat) connect(at string) error {
	conn, err := net.DialTimeout("tcp", at, 20*time.Second)
	if err != nil {
		return err
	}
	s := &splitter{}
	_ = conn.SetDeadline(time.Now().Add(within))
	for _, step := range [...]struct{ send, want string }{
		{streamOpen, "</stream:features>"},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.StdEncoding.EncodeToString([]byte("\x00"+c.user+"\x00"+password)) + "</auth>", "<success"},
		{streamOpen, "</stream:features>"},
		{"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>client</resource></bind></iq>", "<jid>"},
		{"<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>", "id=\"r\""},
	} {
		if _, err := conn.Write([]byte(step.send)); err != nil {
			return errors.Join(err, conn.Close())
		}
		for {
			e, err := s.next(conn)
			if err == nil && (bytes.Contains(e, []byte("<failure")) || bytes.Contains(e, []byte("<stream:error"))) {
				err = fmt.Errorf("paper: %s: %s", c.user, e)
			}
			if err != nil {
				return errors.Join(err, conn.Close())
			}
			if bytes.Contains(e, []byte(step.want)) || step.want == "id=\"r\"" && bytes.Contains(e, []byte("id='r'")) {
				break
			}
		}
	}
	_ = conn.SetDeadline(time.Time{})
	c.mu.Lock()
	old := c.conn
	c.conn, c.at, c.gone = conn, at, nil
	c.mu.Unlock()
	if old != nil {
		_, _ = old.Write([]byte("</stream:stream>"))
		old.Close()
	}
	go c.read(conn, s)
	return nil
}

func (c *chat) server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *chat) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.conn != nil {
		c.conn.Close()
	}
}

// state is what has gone wrong.
func (c *chat) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.gone, c.failed)
}

func (c *chat) write(text string) error {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	_, err := conn.Write([]byte(text))
	return err
}

func (c *chat) read(conn net.Conn, s *splitter) {
	for {
		e, err := s.next(conn)
		if err != nil {
			c.mu.Lock()
			if c.conn == conn && !c.ended {
				c.gone = fmt.Errorf("paper: %s: %w", c.user, err)
			}
			c.mu.Unlock()
			return
		}
		switch {
		case bytes.HasPrefix(e, []byte("<presence")):
			c.heard(e)
		case bytes.HasPrefix(e, []byte("<iq")):
			c.asked(conn, e)
		}
	}
}

// asked answers what the server wants to know, and follows its redirect (the paper, section 3.1).
func (c *chat) asked(conn net.Conn, e []byte) {
	id, from := attr(e, "id"), attr(e, "from")
	switch {
	case bytes.Contains(e, []byte(discoNS)):
		fmt.Fprintf(conn, "<iq type='result' id='%s' to='%s'><query xmlns='%s' node='urn:pharos:paper#%s'>%s<feature var='%s'/><feature var='%[3]s'/></query></iq>",
			id, from, discoNS, capsVersion, identity, feature)
	case bytes.Contains(e, []byte(feature)):
		_, rest, _ := bytes.Cut(e, []byte(feature))
		_, rest, _ = bytes.Cut(rest, []byte(">"))
		to, _, _ := bytes.Cut(rest, []byte("<"))
		at := string(to)
		fmt.Fprintf(conn, "<iq type='result' id='%s' to='%s'/>", id, from)
		go func() {
			err := c.connect(at)
			if err == nil {
				err = c.write(available("here", ""))
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.moved++
			if err != nil && c.failed == nil && !c.ended {
				c.failed = err
			}
		}()
	}
}

// attr is an attribute's value, in either quote.
func attr(e []byte, name string) string {
	_, rest, ok := bytes.Cut(e, []byte(" "+name+"="))
	if !ok || len(rest) == 0 {
		return ""
	}
	v, _, _ := bytes.Cut(rest[1:], rest[:1])
	return string(v)
}

// splitter cuts a stream into its first-level elements; it looks at each octet once.
type splitter struct {
	buf   []byte
	at    int  // looked at
	depth int  // of elements that are open
	open  int  // where the tag under way begins; -1: none
	quote byte // in a tag
	begun bool
	taken int
}

// next is one; the header of a stream counts as a whole one. It is valid until the next call.
func (s *splitter) next(conn io.Reader) ([]byte, error) {
	if !s.begun {
		s.begun, s.open = true, -1
	}
	s.buf = append(s.buf[:0], s.buf[s.taken:]...)
	s.at -= s.taken
	s.taken = 0
	for {
		if n := s.split(); n > 0 {
			s.taken = n
			return bytes.TrimLeft(s.buf[:n], " \r\n\t"), nil
		}
		if cap(s.buf)-len(s.buf) < 4096 {
			s.buf = append(make([]byte, 0, 2*cap(s.buf)+8192), s.buf...)
		}
		n, err := conn.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err != nil && n == 0 {
			return nil, err
		}
	}
}

// split is the length of the first element, 0 if it is not whole yet.
func (s *splitter) split() int {
	for ; s.at < len(s.buf); s.at++ {
		c := s.buf[s.at]
		switch {
		case s.open < 0:
			// In text only the next tag matters.
			i := bytes.IndexByte(s.buf[s.at:], '<')
			if i < 0 {
				s.at = len(s.buf)
				return 0
			}
			s.at += i
			s.open = s.at
		case s.quote != 0:
			if c == s.quote {
				s.quote = 0
			}
		case c == '\'' || c == '"':
			s.quote = c
		case c == '>':
			tag := s.buf[s.open : s.at+1]
			s.open = -1
			switch {
			case tag[1] == '?':
				continue
			case tag[1] == '/':
				s.depth--
			case tag[len(tag)-2] == '/':
			case strings.HasPrefix(string(tag[:min(len(tag), 14)]), "<stream:stream"):
			default:
				s.depth++
			}
			if s.depth <= 0 {
				s.depth = 0
				s.at++
				return s.at
			}
		}
	}
	return 0
}
