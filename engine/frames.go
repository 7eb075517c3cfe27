package engine

import (
	"encoding/binary"
	"fmt"

	"pharos/presence"
	"pharos/presence/transfer"
)

// A frame between engines is a sequence of messages, each behind its length. A
// message is a frame of package transfer: its kind, then what the kind says. All that
// one round of a shard has for a node goes as one frame.

// maxFrame is the size at which a frame is sent without waiting for the end of the round.
const maxFrame = 64 << 10

// Kinds of messages. Numbers are never used again.
const (
	saysRequest   = iota + 1 // entity, number, list of inputs and questions: for a presentity
	saysReply                // number, place in the list or everything from there on, error, bytes
	saysNotice               // entity, term, notice
	saysCall                 // number, edge, request
	saysCallOwner            // number, entity, edge, request
	saysAnswer               // number, error, bytes
	saysMessage              // number, message: to the recipient's owner
	saysDeliver              // number, handed, edge, message: to a node with his sessions
	saysBack                 // number, handed: it could not be delivered there
	saysLost                 // entity: the edges are to say again what they had said to its owner; none: to all whose owner says so
)

// wireErrors are the errors that the other side finds with errors.Is.
var wireErrors = transfer.Errors{
	16: ErrOverload, 17: ErrStopped, 18: ErrGone, 19: ErrMailboxFull, 20: ErrUndeliverable,
	21: errElsewhere, 22: errDropped, 23: errUnknown, 24: ErrTransient,
}

// message begins a message of a kind.
func message(kind uint64) []byte {
	return transfer.AppendUint(transfer.Begin(make([]byte, 0, 256)), kind)
}

// appendMessage puts a finished message into a frame.
func appendMessage(frame, m []byte) []byte {
	return append(binary.AppendUvarint(frame, uint64(len(m))), m...)
}

// frameOf is a frame of one message.
func frameOf(m []byte) []byte { return appendMessage(make([]byte, 0, len(m)+4), m) }

// Receive takes a frame that another node has sent. It does not block.
func (e *Engine) Receive(node string, frame []byte) {
	for len(frame) > 0 {
		n, k := binary.Uvarint(frame)
		if k <= 0 || n > uint64(len(frame)-k) {
			e.log.Error("a frame is malformed", "node", node)
			return
		}
		m := frame[k : k+int(n)]
		frame = frame[k+int(n):]
		r, err := transfer.Open(m)
		if err == nil {
			err = e.receive(node, r)
		}
		if err != nil {
			e.log.Error("a message of another node cannot be read", "node", node, "err", err)
		}
	}
}

// receive takes one message.
func (e *Engine) receive(node string, r *transfer.Reader) error {
	switch kind := r.Uint(); kind {
	case saysRequest:
		to, number := r.Entity(), r.Uint()
		if r.Err() == nil {
			e.shardOf(to).requested(node, to, number, r)
		}
	case saysReply:
		number := r.Uint()
		if r.Err() == nil {
			e.shardOfNumber(number).replied(number, r)
			return nil // the rest is read there
		}
	case saysNotice:
		of, term := r.Entity(), r.Uint()
		if r.Err() == nil {
			e.shardOf(of).hear(node, of, term, r)
			return nil
		}
	case saysCall:
		number, edge, request := r.Uint(), r.String(), r.Bytes()
		if r.Err() == nil {
			e.called(node, number, edge, request)
		}
	case saysCallOwner:
		number, of, edge, request := r.Uint(), r.Entity(), r.String(), r.Bytes()
		if r.Err() == nil {
			e.calledAsOwner(node, number, of, edge, request)
		}
	case saysAnswer:
		number, err, answer := r.Uint(), wireErrors.Read(r), r.Bytes()
		if r.Err() == nil {
			e.callAnswered(number, answer, err)
		}
	case saysMessage:
		number, m := r.Uint(), readMessage(r)
		if r.Err() == nil {
			e.takeMessage(node, number, m)
		}
	case saysDeliver:
		number, handed, edge, m := r.Uint(), r.Uint(), r.String(), readMessage(r)
		if r.Err() == nil {
			e.deliver(node, number, handed, edge, m)
		}
	case saysBack:
		number, handed := r.Uint(), r.Uint()
		if r.Err() == nil {
			e.cameBack(node, number, handed)
		}
	case saysLost:
		if of := r.Entity(); r.Err() == nil {
			e.Lost(func(x presence.Entity) bool {
				if of == (presence.Entity{}) {
					owner, ok := e.peers.Owner(x)
					return ok && owner == node
				}
				return x == of
			})
		}
	default:
		if r.Err() == nil {
			return transfer.ErrKind
		}
	}
	return r.Err()
}

// abroad is an error as another node is to know it.
func (e *Engine) abroad(err error) error {
	if err != nil && e.passes != nil && e.passes(err) {
		return fmt.Errorf("%w: %w", ErrTransient, err)
	}
	return err
}

// answer sends the answer to a call.
func (e *Engine) answer(node string, number uint64, body []byte, err error) {
	m := transfer.AppendUint(message(saysAnswer), number)
	m = wireErrors.Append(m, e.abroad(err))
	_ = e.post(node, frameOf(transfer.AppendBytes(m, body))) // who cannot be told hears of our end
}

// placed fills in the node of whoever has submitted an input.
func placed(in presence.Input, node string) presence.Input {
	switch in := in.(type) {
	case presence.Publish:
		in.Node = node
		return in
	case presence.Watch:
		in.Via.Node = node
		return in
	case presence.Keep:
		in.Node = node
		return in
	case presence.Direct:
		// Where the watcher is, nobody knows yet: see tellDirect.
		if in.Source != nil {
			src := *in.Source
			src.Node = node
			in.Source = &src
		}
		return in
	}
	return in
}
