package simple

import (
	"encoding/binary"
	"errors"

	"pharos/presence"
)

// What the edges of several nodes ask one another: a version, what it is, and its
// parts, each text after its length.

const callVersion = 1

const (
	callRegister = 'r' // a change of a user's bindings, to the user's owner
	callClosed   = 'x' // the flow of a binding has ended, to the user's owner
	callRemoved  = 'd' // the user's account is gone, to the user's owner
	callSend     = 'm' // a MESSAGE to be sent over a flow of the node
)

// nodeCall is a decoded request.
type nodeCall struct {
	op           byte
	user         presence.Entity
	change       change
	binding      *binding // of callClosed and callSend
	header, body []byte
}

var errCall = errors.New("simple: call of another node cannot be read")

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendCall(b []byte, op byte, u presence.Entity) []byte {
	return appendText(appendText(append(b, callVersion, op), u.User), u.Domain)
}

func appendRegister(b []byte, u presence.Entity, c *change) []byte {
	b = appendCall(b, callRegister, u)
	all := byte(0)
	if c.all {
		all = 1
	}
	b = append(b, all)
	b = appendText(b, c.callID)
	b = binary.AppendUvarint(b, uint64(c.cseq))
	b = appendText(b, string(appendBindings(nil, c.add)))
	return appendText(b, string(appendBindings(nil, c.remove)))
}

func appendClosed(b []byte, u presence.Entity, x *binding) []byte {
	return appendText(appendCall(b, callClosed, u), string(appendBindings(nil, []*binding{x})))
}

func appendRemoved(b []byte, u presence.Entity) []byte { return appendCall(b, callRemoved, u) }

func appendSend(b []byte, x *binding, header, body []byte) []byte {
	b = appendCall(b, callSend, presence.Entity{})
	b = appendText(b, string(appendBindings(nil, []*binding{x})))
	b = appendText(b, string(header))
	return appendText(b, string(body))
}

// parts reads what was appended; ok turns false at the first thing that is not there.
type parts struct {
	b  []byte
	ok bool
}

func (p *parts) byte() byte {
	if len(p.b) == 0 {
		p.ok = false
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *parts) number() uint64 {
	n, used := binary.Uvarint(p.b)
	if used <= 0 {
		p.ok, p.b = false, nil
		return 0
	}
	p.b = p.b[used:]
	return n
}

func (p *parts) bytes() []byte {
	n := p.number()
	if n > uint64(len(p.b)) {
		p.ok, p.b = false, nil
		return nil
	}
	s := p.b[:n:n]
	p.b = p.b[n:]
	return s
}

func (p *parts) text() string { return string(p.bytes()) }

func (p *parts) bindings() []*binding {
	bs, err := decodeBindings(p.bytes())
	if err != nil {
		p.ok = false
	}
	return bs
}

func (p *parts) entity() presence.Entity {
	return presence.Entity{User: p.text(), Domain: p.text()}
}

func decodeCall(b []byte) (*nodeCall, error) {
	p := &parts{b: b, ok: true}
	if p.byte() != callVersion {
		return nil, errCall
	}
	c := &nodeCall{op: p.byte(), user: p.entity()}
	switch c.op {
	case callRegister:
		c.change.all = p.byte() != 0
		c.change.callID = p.text()
		c.change.cseq = uint32(p.number())
		c.change.add, c.change.remove = p.bindings(), p.bindings()
	case callClosed, callSend:
		if bs := p.bindings(); len(bs) == 1 {
			c.binding = bs[0]
		} else {
			p.ok = false
		}
		if c.op == callSend {
			c.header, c.body = p.bytes(), p.bytes()
		}
	case callRemoved:
	default:
		p.ok = false
	}
	if !p.ok || len(p.b) != 0 {
		return nil, errCall
	}
	return c, nil
}

func appendRegistration(b []byte, g registration) []byte {
	failed := ""
	if g.err != nil {
		failed = g.err.Error()
	}
	b = append(b, callVersion)
	b = appendText(b, failed)
	b = binary.AppendUvarint(b, uint64(g.status))
	b = appendText(b, g.reason)
	return appendText(b, string(appendBindings(nil, g.bindings)))
}

func decodeRegistration(b []byte) (g registration) {
	p := &parts{b: b, ok: true}
	if p.byte() != callVersion {
		return registration{err: errCall}
	}
	failed := p.text()
	g.status, g.reason = int(p.number()), p.text()
	g.bindings = p.bindings()
	switch {
	case !p.ok:
		return registration{err: errCall}
	case failed != "":
		return registration{err: errors.New(failed)}
	}
	return g
}

// appendStatus writes the outcome of callSend.
func appendStatus(b []byte, status int, err error) []byte {
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	return binary.AppendUvarint(appendText(append(b, callVersion), failed), uint64(status))
}

func decodeStatus(b []byte) (int, error) {
	p := &parts{b: b, ok: true}
	if p.byte() != callVersion {
		return 0, errCall
	}
	failed := p.text()
	status := int(p.number())
	switch {
	case !p.ok:
		return 0, errCall
	case failed != "":
		return 0, errors.New(failed)
	}
	return status, nil
}
