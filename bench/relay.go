package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// relay is the bare loop of XMPP: it gives each client what a server would have to
// give, of the same size, over the same sockets, and does nothing else. It parses no XML, checks no
// password, looks at no roster but for who gets the copies, and keeps nothing. One read is one stanza,
// since our generators wait for the answer.
type relay struct {
	contacts [][]int
	here     []atomic.Pointer[net.TCPConn] // by user
}

const (
	relayHeader = "<?xml version='1.0'?><stream:stream from='localhost' id='0123456789abcdef' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	relayFirst  = relayHeader + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" +
		"<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
	relaySuccess = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	relaySecond  = relayHeader + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><ver xmlns='urn:xmpp:features:rosterver'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>"
)

// runRelay serves users whose contacts are the lines of a file.
func runRelay(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := &relay{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var of []int
		for _, s := range strings.Fields(lines.Text()) {
			i, err := strconv.Atoi(s)
			if err != nil {
				return err
			}
			of = append(of, i)
		}
		r.contacts = append(r.contacts, of)
	}
	r.here = make([]atomic.Pointer[net.TCPConn], len(r.contacts))
	return accept(r.serve)
}

func (r *relay) serve(c *net.TCPConn) {
	defer c.Close()
	in, out := make([]byte, 4096), make([]byte, 0, 4096)
	user := 0
	for k := 0; ; k++ {
		n, err := c.Read(in)
		if err != nil {
			r.here[user].CompareAndSwap(c, nil)
			return
		}
		out = out[:0]
		switch k {
		case 0:
			out = append(out, relayFirst...)
		case 1:
			_, b64, _ := bytes.Cut(in[:n], []byte("'PLAIN'>"))
			b64, _, _ = bytes.Cut(b64, []byte("<"))
			plain, err := base64.StdEncoding.DecodeString(string(b64))
			if err != nil {
				return
			}
			name, _, _ := bytes.Cut(plain[2:], []byte{0})
			if user, err = strconv.Atoi(string(name)); err != nil || user >= len(r.here) {
				return
			}
			out = append(out, relaySuccess...)
		case 2:
			out = append(out, relaySecond...)
		case 3:
			out = fmt.Appendf(out, "<iq id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>u%d@localhost/r</jid></bind></iq>", user)
		case 4:
			r.here[user].Store(c)
			r.appear(user, c, out)
			continue
		default:
			r.pass(user, in[:n], out)
			continue
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// appear gives a roster, and presence both ways.
func (r *relay) appear(user int, c *net.TCPConn, out []byte) {
	out = append(out, "<iq id='r' type='result'><query ver='1' xmlns='jabber:iq:roster'>"...)
	for _, j := range r.contacts[user] {
		out = fmt.Appendf(out, "<item jid='u%d@localhost' name='User %d' subscription='both'><group>Team</group></item>", j, j)
	}
	out = append(out, "</query></iq>"...)
	out = stamped(out, []byte("<presence/>"), 9, user, user)
	for _, j := range r.contacts[user] {
		if o := r.here[j].Load(); o != nil {
			out = stamped(out, []byte("<presence/>"), 9, j, user)
			_, _ = o.Write(stamped(nil, []byte("<presence/>"), 9, user, j)) // who has gone reads nothing
		}
	}
	_, _ = c.Write(out)
}

// pass gives a stanza to whom it is addressed to, or to the contacts and back to its sender.
func (r *relay) pass(user int, st, out []byte) {
	name := 9
	if st[1] == 'm' {
		name = 8
	}
	send := func(from, to int, st []byte, name int) {
		if o := r.here[to].Load(); o != nil {
			_, _ = o.Write(stamped(out[:0], st, name, from, to))
		}
	}
	to := bytes.Index(st[:min(len(st), 80)], []byte(" to='u"))
	if to < 0 {
		for _, j := range r.contacts[user] {
			send(user, j, st, name)
		}
		send(user, user, st, name)
		return
	}
	other, digits := 0, st[to+6:]
	for len(digits) > 0 && digits[0] >= '0' && digits[0] <= '9' {
		other, digits = 10*other+int(digits[0]-'0'), digits[1:]
	}
	if other >= len(r.here) {
		return
	}
	if st[1] == 'm' {
		if o := r.here[other].Load(); o != nil {
			out = fmt.Appendf(append(out, st[:name]...), " from='u%d@localhost/r'", user)
			_, _ = o.Write(append(out, st[name:]...))
		}
		return
	}
	push := func(of, contact int, state string) {
		if o := r.here[of].Load(); o != nil {
			_, _ = o.Write(fmt.Appendf(out[:0], "<iq id='push1' to='u%d@localhost/r' type='set'><query ver='1' xmlns='jabber:iq:roster'><item jid='u%d@localhost' subscription=%s/></query></iq>", of, contact, state))
		}
	}
	if bytes.Contains(st, []byte("'subscribe'")) {
		push(user, other, "'none' ask='subscribe'")
		send(user, other, []byte("<presence type='subscribe'/>"), 9)
		return
	}
	push(user, other, "'from'")
	send(user, other, []byte("<presence type='subscribed'/>"), 9)
	push(other, user, "'to'")
	send(user, other, []byte("<presence/>"), 9)
}

// stamped is a stanza with addresses put in after its name.
func stamped(out, st []byte, name, from, to int) []byte {
	out = append(out, st[:name]...)
	out = append(strconv.AppendInt(append(out, " from='u"...), int64(from), 10), "@localhost/r'"...)
	out = append(strconv.AppendInt(append(out, " to='u"...), int64(to), 10), "@localhost/r'"...)
	return append(out, st[name:]...)
}

// relayed is a relay as a Target.
type relayed struct {
	*Process
	dir, addr string
}

func (r *relayed) Addr(string) string { return r.addr }
func (r *relayed) Stop() error {
	_ = r.Process.Stop() // it ends by a signal, and its error says just that
	return os.RemoveAll(r.dir)
}

// Relay launches the bare loop of XMPP: self is a program that calls Echo when it is called with -echo.
func Relay(self string) Launch {
	return func(ctx context.Context, p Population) (Target, error) {
		dir, err := os.MkdirTemp("", "pharos-relay-")
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		for i := range p.Users {
			for _, j := range p.Roster(i) {
				fmt.Fprintf(&b, "%d ", j)
			}
			b.WriteByte('\n')
		}
		file, log := filepath.Join(dir, "contacts"), filepath.Join(dir, "log")
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		proc, err := Run(ctx, log, nil, self, "-echo", "relay:"+file)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		r := &relayed{Process: proc, dir: dir}
		for range 500 {
			if line, _, ok := strings.Cut(string(proc.Log()), "\n"); ok {
				r.addr = line
				return r, nil
			}
			pauseFor(ctx, 10*time.Millisecond)
		}
		return nil, errors.Join(errors.New("bench: the relay is not ready"), r.Stop())
	}
}
