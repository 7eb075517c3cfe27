package paper

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// within bounds the wait for any answer.
const within = 60 * time.Second

// errSilent: nothing came in that time.
var errSilent = fmt.Errorf("paper: no answer within %v", within)

// nonce is what all phones of a service authenticate with: its servers know one another's.
type nonce struct {
	mu sync.Mutex
	of string
}

func (n *nonce) get() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of
}

func (n *nonce) set(v string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of = v
}

// phone is a SIP user agent on one TCP connection, so that nothing is sent twice and 50 kB have
// room. It follows 302: from then on it is connected there.
type phone struct {
	user  string
	nonce *nonce
	told  func(m []byte) // a NOTIFY, by the reader

	mu      sync.Mutex
	conn    net.Conn
	at      string // host:port
	seq     int
	waiting map[string]chan []byte // by branch
	err     error
}

func newPhone(user string, n *nonce, told func([]byte)) *phone {
	return &phone{user: user, nonce: n, told: told, waiting: map[string]chan []byte{}}
}

// connect leaves the server that it was connected to.
func (p *phone) connect(at string) error {
	c, err := net.DialTimeout("tcp", at, 20*time.Second)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.conn
	p.conn, p.at, p.err = c, at, nil
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
	go p.read(c)
	return nil
}

func (p *phone) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

func (p *phone) server() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *phone) read(c net.Conn) {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		m, err := readMessage(r)
		if err != nil {
			p.mu.Lock()
			if p.conn == c {
				p.err = err
				for _, w := range p.waiting {
					close(w)
				}
				clear(p.waiting)
			}
			p.mu.Unlock()
			return
		}
		if bytes.HasPrefix(m, []byte("SIP/2.0 ")) {
			if m[8] == '1' {
				continue
			}
			branch := string(param(line(m, "Via"), "branch="))
			p.mu.Lock()
			w := p.waiting[branch]
			delete(p.waiting, branch)
			p.mu.Unlock()
			if w != nil {
				w <- m
			}
			continue
		}
		if _, err := c.Write(answer(m)); err != nil {
			continue // the next read tells
		}
		if bytes.HasPrefix(m, []byte("NOTIFY ")) && p.told != nil {
			p.told(m)
		}
	}
}

// readMessage is one message of a stream (RFC 3261 §18.3).
func readMessage(r *bufio.Reader) ([]byte, error) {
	var m []byte
	for {
		l, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(m) == 0 && len(l) <= 2 {
			continue // keep-alive
		}
		m = append(m, l...)
		if len(l) <= 2 {
			break
		}
	}
	n, err := strconv.Atoi(string(line(m, "Content-Length")))
	if err != nil {
		return nil, fmt.Errorf("paper: a message without length: %q", m)
	}
	head := len(m)
	m = append(m, make([]byte, n)...)
	_, err = io.ReadFull(r, m[head:])
	return m, err
}

func answer(m []byte) []byte {
	b := []byte("SIP/2.0 200 OK\r\n")
	for _, h := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		b = fmt.Appendf(b, "%s: %s\r\n", h, line(m, h))
	}
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// line is the value of the first header of that name.
func line(m []byte, name string) []byte {
	_, rest, ok := bytes.Cut(m, []byte("\r\n"+name+": "))
	if !ok {
		return nil
	}
	v, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return v
}

func param(v []byte, name string) []byte {
	_, rest, ok := bytes.Cut(v, []byte(name))
	if !ok {
		return nil
	}
	if e := bytes.IndexAny(rest, ";, >\r\n"); e >= 0 {
		rest = rest[:e]
	}
	return rest
}

// call is a dialog, or the requests for one publication.
type call struct {
	id, uri, tag string // Call-ID, Request-URI, tag of To
	cseq         int
}

func (p *phone) newCall(id string) *call {
	return &call{id: id + "@" + p.user, uri: "sip:" + p.user + "@localhost"}
}

// request sends one and waits for the answer; it authenticates, and follows 302.
func (p *phone) request(c *call, method, header, body string) ([]byte, error) {
	uri := c.uri
	for until := time.Now().Add(within); time.Now().Before(until); {
		m, err := p.ask(c, method, uri, header, body)
		if err != nil {
			return nil, err
		}
		switch status := string(m[8:11]); status {
		case "401":
			fresh := challenge(m)
			if fresh == "" {
				return nil, fmt.Errorf("paper: %s: no challenge in %q", p.user, m)
			}
			p.nonce.set(fresh)
		case "302":
			uri = contact(m)
			_, at, _ := strings.Cut(uri, "@")
			at, _, _ = strings.Cut(at, ";")
			if err := p.connect(at); err != nil {
				return nil, err
			}
		case "503": // newcomers wait while a server is being added (RFC 3261 §21.5.4)
			after, _ := strconv.Atoi(string(param(line(m, "Retry-After"), "")))
			time.Sleep(time.Duration(max(1, min(after, 5))) * time.Second)
		default:
			if status[0] != '2' {
				return m, fmt.Errorf("paper: %s: %s: %s", p.user, method, m[:bytes.IndexByte(m, '\r')])
			}
			return m, nil
		}
	}
	return nil, fmt.Errorf("paper: %s: %s is not served within %v", p.user, method, within)
}

// contact is the URI in the Contact.
func contact(m []byte) string {
	_, rest, _ := bytes.Cut(line(m, "Contact"), []byte("<"))
	uri, _, _ := bytes.Cut(rest, []byte(">"))
	return string(uri)
}

// challenge is the nonce of MD5's.
func challenge(m []byte) string {
	for l := range bytes.Lines(m) {
		if bytes.HasPrefix(l, []byte("WWW-Authenticate: ")) && bytes.Contains(l, []byte("MD5")) {
			return strings.Trim(string(param(l, "nonce=")), `"`)
		}
	}
	return ""
}

func (p *phone) ask(c *call, method, uri, header, body string) ([]byte, error) {
	p.mu.Lock()
	if p.err != nil {
		p.mu.Unlock()
		return nil, p.err
	}
	p.seq++
	c.cseq++
	branch := fmt.Sprintf("z9hG4bK%s-%d", p.user, p.seq)
	w := make(chan []byte, 1)
	p.waiting[branch] = w
	conn := p.conn
	p.mu.Unlock()
	to := ""
	if c.tag != "" {
		to = ";tag=" + c.tag
	}
	b := make([]byte, 0, 1024+len(body))
	b = fmt.Appendf(b, "%s %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@localhost>;tag=f%s\r\nTo: <sip:%[5]s@localhost>%[7]s\r\nCall-ID: %s\r\nCSeq: %d %[1]s\r\nUser-Agent: %[10]s\r\n",
		method, uri, conn.LocalAddr(), branch, p.user, c.id, to, c.id, c.cseq, agent)
	b = fmt.Appendf(b, "Contact: <sip:%s@%s;transport=tcp>\r\n%s", p.user, conn.LocalAddr(), header)
	if n := p.nonce.get(); n != "" {
		// RFC 7616 §3.4.1.
		digest := hash(hash(p.user+":localhost:"+password) + ":" + n + ":00000001:c:auth:" + hash(method+":"+uri))
		b = fmt.Appendf(b, "Authorization: Digest username=\"%s\", realm=\"localhost\", nonce=\"%s\", uri=\"%s\", response=\"%s\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001\r\n", p.user, n, uri, digest)
	}
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case m, ok := <-w:
		if !ok {
			return nil, fmt.Errorf("paper: %s: the connection to %s has ended", p.user, conn.RemoteAddr())
		}
		return m, nil
	case <-t.C:
		return nil, fmt.Errorf("%w: %s of %s to %s", errSilent, method, p.user, conn.RemoteAddr())
	}
}

func hash(s string) string {
	h := md5.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}
