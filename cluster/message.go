package cluster

import (
	"encoding/binary"
	"math"

	"pharos/fields"
	"pharos/presence"
)

// message is what nodes say to each other about themselves, beside what their engines
// say. Fields that a kind does not use are zero.
type message struct {
	kind   messageKind
	name   string  // of a node or a state
	number uint64  // an epoch, a group, or how many
	term   uint64  // of the leader; of a stage: how many bytes have gone before
	value  float64 // a level
	flag   bool
	bytes  []byte
	of     []presence.Entity
	epochs []uint64 // of the homes of these, or none
}

type messageKind byte

const (
	sayEnded     messageKind = iota + 1 // incarnations of node name before epoch number are over
	sayInherited                        // homes of the dead were given away
	sayState                            // take state name
	sayMax                              // take value as the maximum level
	sayOrder                            // move number users to node name, says the leader of term
	sayStage                            // bytes of group number, after term others; flag: the last
	sayStaged                           // group number is here (flag), or cannot be taken
	sayTake                             // of group number, those of are at your place now, with epochs; the rest stays
	sayFound                            // homes are at node name now, in its epoch number; each with its epoch
	sayLost                             // the owner of these has lost what is not durable
	lastKind     = sayLost
)

const (
	messageVersion = 1
	// maxListed bounds the entities in one message.
	maxListed = 10_000
)

// append writes a message: a version, the kind, and the fields in their order.
func (m *message) append(b []byte) []byte {
	b = append(b, messageVersion, byte(m.kind))
	b = fields.AppendText(b, m.name)
	b = binary.AppendUvarint(b, m.number)
	b = binary.AppendUvarint(b, m.term)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(m.value))
	b = fields.AppendBool(b, m.flag)
	b = fields.AppendBytes(b, m.bytes)
	b = binary.AppendUvarint(b, uint64(len(m.of)))
	for i, e := range m.of {
		b = fields.AppendEntity(b, e)
		epoch := uint64(0)
		if m.epochs != nil {
			epoch = m.epochs[i]
		}
		b = binary.AppendUvarint(b, epoch)
	}
	return b
}

// parseMessage reads what append has written; ok is false for anything else.
func parseMessage(b []byte) (m message, ok bool) {
	r := fields.Of(b)
	if r.Byte() != messageVersion {
		return m, false
	}
	m.kind = messageKind(r.Byte())
	m.name = r.Text()
	m.number, m.term = r.Uint(), r.Uint()
	if v := r.Take(8); v != nil {
		m.value = math.Float64frombits(binary.BigEndian.Uint64(v))
	}
	m.flag = r.Byte() == 1
	m.bytes = r.Bytes()
	count := r.Uint()
	if !r.OK() || count > maxListed || m.kind == 0 || m.kind > lastKind {
		return m, false
	}
	for range count {
		m.of = append(m.of, r.Entity())
		m.epochs = append(m.epochs, r.Uint())
	}
	return m, r.Done()
}

// say sends a message to a node.
func (n *Node) say(node string, m message) error {
	return n.links.Send(node, append(m.append(nil), letterNode))
}

// sayAll sends a message to each peer. Who cannot take it now, since his queue is full, is forgotten
// about: each of these messages only brings forward what is seen in the table, or corrected by an
// answer.
func (n *Node) sayAll(m message) {
	b := append(m.append(nil), letterNode)
	for _, p := range n.living() {
		if err := n.links.Send(p.name, append([]byte(nil), b...)); err != nil {
			n.count.unsaid.Add(1)
			n.log.Warn("a node cannot be told", "node", p.name, "err", err)
		}
	}
}

// told takes a message of another node.
func (n *Node) told(from string, b []byte) {
	m, ok := parseMessage(b)
	if !ok {
		n.log.Warn("a message of another node is not understood", "node", from)
		return
	}
	switch m.kind {
	case sayEnded:
		if m.name != n.c.Name {
			n.links.Fence(m.name, m.number)
		}
		poke(n.wakeKeep)
	case sayInherited:
		poke(n.wakeHeir)
		n.locator.again()
	case sayState:
		n.setState(m.name)
	case sayMax:
		n.setMax(m.value)
	case sayOrder:
		n.take(Order{From: n.c.Name, To: m.name, Users: int(min(m.number, math.MaxInt32))}, m.term)
	case sayStage:
		n.staged(from, m)
	case sayStaged:
		n.moves.answer(from, m.number, m.flag)
	case sayTake:
		n.taken(from, m)
	case sayFound:
		n.found(m)
	case sayLost:
		n.lost(m.of)
	}
}
