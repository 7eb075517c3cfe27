package simple

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pharos/engine"
	"pharos/fields"
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

func appendCall(b []byte, op byte, u presence.Entity) []byte {
	return fields.AppendEntity(append(b, callVersion, op), u)
}

func appendRegister(b []byte, u presence.Entity, c *change) []byte {
	b = appendCall(b, callRegister, u)
	b = fields.AppendBool(b, c.all)
	b = fields.AppendText(b, c.callID)
	b = binary.AppendUvarint(b, uint64(c.cseq))
	b = fields.AppendBytes(b, appendBindings(nil, c.add))
	return fields.AppendBytes(b, appendBindings(nil, c.remove))
}

func appendClosed(b []byte, u presence.Entity, x *binding) []byte {
	return fields.AppendBytes(appendCall(b, callClosed, u), appendBindings(nil, []*binding{x}))
}

func appendRemoved(b []byte, u presence.Entity) []byte { return appendCall(b, callRemoved, u) }

func appendSend(b []byte, x *binding, header, body []byte) []byte {
	b = appendCall(b, callSend, presence.Entity{})
	b = fields.AppendBytes(b, appendBindings(nil, []*binding{x}))
	b = fields.AppendBytes(b, header)
	return fields.AppendBytes(b, body)
}

func appendFind(b []byte, presentity presence.Entity, sub string) []byte {
	return fields.AppendText(appendCall(b, callFind, presentity), sub)
}

func appendDrop(b []byte, sub string, ceiling uint32) []byte {
	return binary.AppendUvarint(fields.AppendText(appendCall(b, callDrop, presence.Entity{}), sub), uint64(ceiling))
}

// appendFound writes what of a subscription makes a dialog again; nil: there is none.
func appendFound(b []byte, sub *presence.Subscription) []byte {
	b = append(b, callVersion)
	if sub == nil {
		return b
	}
	for _, s := range []string{sub.ID, sub.Watcher.User, sub.Watcher.Domain, sub.Via.Node, sub.Via.Edge, sub.Package, string(sub.Opaque)} {
		b = fields.AppendText(b, s)
	}
	until := uint64(0)
	if !sub.Expires.IsZero() {
		until = uint64(sub.Expires.Unix())
	}
	return binary.AppendUvarint(b, until) // earlier versions did not say so
}

// decodeFound reads what appendFound wrote; nil: there is no such subscription.
func decodeFound(b []byte) (*presence.Subscription, error) {
	p := partsOf(b)
	if p.Byte() != callVersion {
		return nil, errCall
	}
	if p.Len() == 0 {
		return nil, nil
	}
	s := &presence.Subscription{ID: p.Text(), Watcher: p.Entity(), Via: presence.Via{Node: p.Text(), Edge: p.Text()}, Package: p.Text(), Opaque: p.Bytes()}
	if p.Len() > 0 {
		if until := p.Uint(); until > 0 {
			s.Expires = time.Unix(int64(until), 0)
		}
	}
	if !p.OK() {
		return nil, errCall
	}
	return s, nil
}

// parts reads what was appended.
type parts struct{ fields.Reader }

func partsOf(b []byte) *parts { return &parts{fields.Of(b)} }

func (p *parts) bindings() []*binding {
	bs, err := decodeBindings(p.Bytes())
	if err != nil {
		p.Fail()
	}
	return bs
}

func decodeCall(b []byte) (*nodeCall, error) {
	p := partsOf(b)
	if p.Byte() != callVersion {
		return nil, errCall
	}
	c := &nodeCall{op: p.Byte(), user: p.Entity()}
	switch c.op {
	case callRegister:
		c.change.all = p.Byte() != 0
		c.change.callID = p.Text()
		c.change.cseq = uint32(p.Uint())
		c.change.add, c.change.remove = p.bindings(), p.bindings()
	case callClosed, callSend:
		if bs := p.bindings(); len(bs) == 1 {
			c.binding = bs[0]
		} else {
			p.Fail()
		}
		if c.op == callSend {
			c.header, c.body = p.Bytes(), p.Bytes()
		}
	case callRemoved:
	case callFind:
		c.sub = p.Text()
	case callDrop:
		c.sub, c.ceiling = p.Text(), uint32(p.Uint())
	default:
		p.Fail()
	}
	if !p.Done() {
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
	b = fields.AppendText(b, failed)
	b = binary.AppendUvarint(b, uint64(g.status))
	b = fields.AppendText(b, g.reason)
	b = fields.AppendBytes(b, appendBindings(nil, g.bindings))
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
	p := partsOf(b)
	if p.Byte() != callVersion {
		return registration{err: errCall}
	}
	failed := p.Text()
	g.status, g.reason = int(p.Uint()), p.Text()
	g.bindings = p.bindings()
	kind := byte(errorLasts)
	if p.Len() > 0 {
		kind = p.Byte()
	}
	switch {
	case !p.OK():
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
	return binary.AppendUvarint(fields.AppendText(append(b, callVersion), failed), uint64(status))
}

func decodeStatus(b []byte) (int, error) {
	p := partsOf(b)
	if p.Byte() != callVersion {
		return 0, errCall
	}
	failed := p.Text()
	status := int(p.Uint())
	switch {
	case !p.OK():
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
