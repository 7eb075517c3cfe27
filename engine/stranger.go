package engine

import (
	"slices"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// StrangeTime is how long what lives at a node of which this one knows nothing stays with a presentity that has been moved
// here: the node that it comes from may have heard sooner of one that has come. Longer than it takes to hear of a node that there is.
const StrangeTime = 3 * time.Second

// maxStrangers bounds those that a shard waits for; beyond it they go at once.
const maxStrangers = 1 << 16

// stranger is a node at which something of a presentity lives, and of which this node knows nothing.
type stranger struct {
	of   presence.Entity
	node string
	due  time.Time
}

// strange has it looked again later whether a node is there. False: too many wait.
func (s *shard) strange(of presence.Entity, node string) bool {
	if len(s.strangers) >= maxStrangers {
		return false
	}
	x := stranger{of, node, s.now.Add(StrangeTime)}
	s.strangers = append(s.strangers, x)
	s.lookAt(x.due)
	return true
}

// meet looks for the nodes that were strange. One that is there by now is asked to say again what it
// has said meanwhile, since what it was told then may have got lost; of one that is not, what lived there goes.
func (s *shard) meet() {
	left := s.strangers[:0]
	for _, x := range s.strangers {
		r := s.residents[x.of]
		switch {
		case x.due.After(s.now):
			left = append(left, x)
			s.lookAt(x.due)
		case r == nil || r.absent || r.moving != nil && r.moving.exported != nil:
			// Whoever has it next looks by himself.
		case r.moving != nil:
			x.due = s.now.Add(time.Second)
			left = append(left, x)
			s.lookAt(x.due)
		case slices.Contains(s.e.peers.Nodes(), x.node):
			s.send(x.node, transfer.AppendEntity(message(saysLost), x.of))
		default:
			s.depart(r, x.node)
		}
	}
	clear(s.strangers[len(left):])
	s.strangers = left
}
