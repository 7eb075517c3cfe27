package simple

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pharos/engine"
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
	callFind     = 'f' // the subscription with this dialog, to the owner of the presentity
	callDrop     = 'g' // the dialog has gone to the asking node
)

// nodeCall is a decoded request.
type nodeCall struct {
	op           byte
	user         presence.Entity
	change       change
	binding      *binding // of callClosed and callSend
	header, body []byte
	sub          string // of callFind and callDrop
	ceiling      uint32 // of callDrop: what is below it is let go
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

func appendFind(b []byte, presentity presence.Entity, sub string) []byte {
	return appendText(appendCall(b, callFind, presentity), sub)
}

func appendDrop(b []byte, sub string, ceiling uint32) []byte {
	return binary.AppendUvarint(appendText(appendCall(b, callDrop, presence.Entity{}), sub), uint64(ceiling))
}

// appendFound writes what of a subscription makes a dialog again; nil: there is none.
func appendFound(b []byte, sub *presence.Subscription) []byte {
	b = append(b, callVersion)
	if sub == nil {
		return b
	}
	for _, s := range []string{sub.ID, sub.Watcher.User, sub.Watcher.Domain, sub.Via.Node, sub.Via.Edge, sub.Package, string(sub.Opaque)} {
		b = appendText(b, s)
	}
	return b
}

// decodeFound reads what appendFound wrote; nil: there is no such subscription.
func decodeFound(b []byte) (*presence.Subscription, error) {
	p := &parts{b: b, ok: true}
	if p.byte() != callVersion {
		return nil, errCall
	}
	if len(p.b) == 0 {
		return nil, nil
	}
	s := &presence.Subscription{ID: p.text(), Watcher: p.entity(), Via: presence.Via{Node: p.text(), Edge: p.text()}, Package: p.text(), Opaque: p.bytes()}
	if !p.ok {
		return nil, errCall
	}
	return s, nil
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
	case callFind:
		c.sub = p.text()
	case callDrop:
		c.sub, c.ceiling = p.text(), uint32(p.number())
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
	b = appendText(b, string(appendBindings(nil, g.bindings)))
	return append(b, kindOf(g.err))
}

// What an error of another node means to the one that has asked, behind the rest, since
// earlier versions did not say so.
const (
	errorLasts    = iota // or there is none
	errorPasses          // engine.ErrTransient
	errorNotOwner        // errNotOwner
)

func kindOf(err error) byte {
	switch {
	case errors.Is(err, errNotOwner):
		return errorNotOwner
	case err != nil && passes(err):
		return errorPasses
	}
	return errorLasts
}

// foreign makes an error of what another node has said of it.
func foreign(text string, kind byte) error {
	switch kind {
	case errorNotOwner:
		return errNotOwner
	case errorPasses:
		return fmt.Errorf("%w: %s", engine.ErrTransient, text)
	}
	return errors.New(text)
}

func decodeRegistration(b []byte) (g registration) {
	p := &parts{b: b, ok: true}
	if p.byte() != callVersion {
		return registration{err: errCall}
	}
	failed := p.text()
	g.status, g.reason = int(p.number()), p.text()
	g.bindings = p.bindings()
	kind := byte(errorLasts)
	if len(p.b) > 0 {
		kind = p.byte()
	}
	switch {
	case !p.ok:
		return registration{err: errCall}
	case failed != "":
		return registration{err: foreign(failed, kind)}
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

// Called takes what other nodes ask of this edge (engine.ClusterEdge).
func (e *Edge) Called(_ string, request []byte, answer func([]byte)) {
	c, err := decodeCall(request)
	if err != nil {
		e.log.Error("simple: a call of another node is not understood", "err", err)
		answer(nil)
		return
	}
	switch c.op {
	case callFind:
		e.found(c.user, c.sub, answer)
	case callDrop:
		e.dropped(c.sub, c.ceiling, answer)
	case callSend:
		e.sendHere(c.binding, c.header, c.body, func(status int, err error) { answer(appendStatus(nil, status, err)) })
	default:
		e.atHome(c.user, func(ok bool) {
			if !ok {
				answer(appendRegistration(nil, registration{err: errNotOwner}))
				return
			}
			switch c.op {
			case callRegister:
				e.entitled(c.user, &c.change, time.Now(), func(g registration) { answer(appendRegistration(nil, g)) })
			case callClosed:
				e.closed(c.user, c.binding)
				answer(nil)
			case callRemoved:
				e.removed(c.user)
				answer(nil)
			}
		})
	}
}
