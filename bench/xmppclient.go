package bench

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"time"
)

// xmppClient is a session on a plain connection. A reader goroutine hands each
// stanza to on; login runs before it starts.
type xmppClient struct {
	conn net.Conn
	user string // local part
	buf  []byte // not yet a whole element
	on   func(stanza []byte)
}

func (c *xmppClient) write(format string, args ...any) error {
	_, err := c.conn.Write(fmt.Appendf(nil, format, args...))
	return err
}

// splitOne returns the length of the first whole element in b, or 0. open
// stream headers count as whole.
func splitOne(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		if b[i] != '<' {
			continue
		}
		end := tagEnd(b[i:])
		if end == 0 {
			return 0
		}
		tag := b[i : i+end]
		i += end - 1
		switch {
		case tag[1] == '?':
			continue
		case tag[1] == '/':
			depth--
		case tag[len(tag)-2] == '/':
		case bytes.HasPrefix(tag, []byte("<stream:stream")):
			return i + 1
		default:
			depth++
		}
		if depth <= 0 {
			return i + 1
		}
	}
	return 0
}

// tagEnd is the length of the tag at b[0], quotes respected.
func tagEnd(b []byte) int {
	var quote byte
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return 0
}

// next reads one element; only before run.
func (c *xmppClient) next() ([]byte, error) {
	room := make([]byte, 4096)
	for {
		if n := splitOne(c.buf); n > 0 {
			e := append([]byte(nil), c.buf[:n]...)
			c.buf = append(c.buf[:0], c.buf[n:]...)
			return e, nil
		}
		c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.conn.Read(room)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w (after %q)", c.user, err, c.buf)
		}
		c.buf = append(c.buf, room[:n]...)
	}
}

// expect reads until an element contains s.
func (c *xmppClient) expect(s string) error {
	for {
		e, err := c.next()
		if err != nil {
			return err
		}
		if bytes.Contains(e, []byte(s)) {
			return nil
		}
		if bytes.Contains(e, []byte("<failure")) || bytes.Contains(e, []byte("<stream:error")) || bytes.Equal(attr(e, "type="), []byte("error")) {
			return fmt.Errorf("bench: %s: %s", c.user, e)
		}
	}
}

const streamOpen = "<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// dialXMPP connects, authenticates and binds; secure wraps the connection
// after STARTTLS.
func dialXMPP(addr, user, password string, secure func(net.Conn) net.Conn) (*xmppClient, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &xmppClient{conn: conn, user: user}
	if err := c.login(password, secure); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *xmppClient) login(password string, secure func(net.Conn) net.Conn) error {
	steps := []struct{ send, want string }{
		{streamOpen, "</stream:features>"},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
			base64.StdEncoding.EncodeToString([]byte("\x00"+c.user+"\x00"+password)) + "</auth>", "<success"},
		{streamOpen, "</stream:features>"},
		{"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>", "<jid>"},
	}
	if secure != nil {
		if err := c.write("%s", streamOpen); err != nil {
			return err
		}
		if err := c.expect("</stream:features>"); err != nil {
			return err
		}
		if err := c.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); err != nil {
			return err
		}
		if err := c.expect("<proceed"); err != nil {
			return err
		}
		c.conn = secure(c.conn)
	}
	for _, s := range steps {
		if err := c.write("%s", s.send); err != nil {
			return err
		}
		if err := c.expect(s.want); err != nil {
			return err
		}
	}
	return nil
}

// run starts the reader.
func (c *xmppClient) run(on func(stanza []byte)) {
	c.on = on
	c.conn.SetReadDeadline(time.Time{})
	go func() {
		room := make([]byte, 2048)
		for {
			for n := splitOne(c.buf); n > 0; n = splitOne(c.buf) {
				c.on(c.buf[:n])
				c.buf = append(c.buf[:0], c.buf[n:]...)
			}
			n, err := c.conn.Read(room)
			if err != nil {
				return
			}
			c.buf = append(c.buf, room[:n]...)
		}
	}()
}

func (c *xmppClient) close() { c.conn.Close() }
