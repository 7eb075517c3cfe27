package engine

import (
	"slices"
	"sync"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// ReachTime is how long after a node has gone every node counts as one where a user may
// have sessions, since not all have said again where they are.
const ReachTime = 5 * time.Second

// place is a node and the name of an edge there at which a user has sessions.
type place struct{ node, edge string }

// maxPlaces is how many places of one user are read.
const maxPlaces = 4096

// places is where a user has sessions, this node included. p is nil when nothing of him is in memory.
func (s *shard) places(p *presence.Presentity) (list []place) {
	if s.unsure.After(s.now) {
		for _, node := range append(s.e.peers.Nodes(), s.e.self) {
			for i := range s.e.edges {
				if s.e.edges[i].cluster != nil {
					list = append(list, place{node, s.e.edges[i].name})
				}
			}
		}
		return list
	}
	if p == nil {
		return nil
	}
	for _, v := range p.Reached() {
		if at := (place{v.Node, v.Edge}); !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	return list
}

func appendPlaces(b []byte, list []place) []byte {
	b = transfer.AppendUint(b, uint64(min(len(list), maxPlaces)))
	for _, at := range list[:min(len(list), maxPlaces)] {
		b = transfer.AppendString(transfer.AppendString(b, at.node), at.edge)
	}
	return b
}

func readPlaces(r *transfer.Reader) (list []place) {
	for range min(r.Uint(), maxPlaces) {
		if r.Err() != nil {
			return nil
		}
		list = append(list, place{r.String(), r.String()})
	}
	return list
}

// whereIs asks the owner where a user has sessions on other nodes.
func (e *Engine) whereIs(of presence.Entity, done func([]place, error)) error {
	others := func(list []place) []place {
		return slices.DeleteFunc(list, func(at place) bool { return at.node == e.self })
	}
	s := e.shardOf(of)
	return s.submit(e.asked(of, &question{kind: asksReached},
		func(p *presence.Presentity, _ time.Time, err error) {
			if err != nil {
				done(nil, err)
				return
			}
			done(others(s.places(p)), nil)
		},
		func(r *transfer.Reader) {
			list := readPlaces(r)
			done(others(list), r.Err())
		}))
}

// Reach calls an edge on every other node at which the user has a subscription of
// the private package presence.Reach on that edge; done gets the answers of those who
// answered, or an error when the owner cannot be asked. With no other node it is called with none.
func (e *Engine) Reach(of presence.Entity, edge string, request []byte, done func(answers [][]byte, err error)) error {
	if e.self == "" || len(e.peers.Nodes()) == 0 {
		e.shardOf(of).put(func() { done(nil, nil) }, true)
		return nil
	}
	return e.whereIs(of, func(list []place, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		list = slices.DeleteFunc(list, func(at place) bool { return at.edge != edge })
		e.callAll(list, request, done)
	})
}

// callAll calls an edge on several nodes and gathers the answers.
func (e *Engine) callAll(list []place, request []byte, done func([][]byte, error)) {
	var mu sync.Mutex
	var answers [][]byte
	left := len(list) + 1
	one := func(answer []byte, err error) {
		mu.Lock()
		if err == nil {
			answers = append(answers, answer)
		}
		left--
		last := left == 0
		mu.Unlock()
		if last {
			done(answers, nil)
		}
	}
	for _, at := range list {
		if err := e.CallEdge(at.node, at.edge, request, one); err != nil {
			one(nil, err)
		}
	}
	one(nil, ErrGone) // for this loop
}

// tellDirect takes a notice of directed presence to the watcher's owner, who knows at
// which nodes he has sessions (RFC 6121 §4.6).
func (s *shard) tellDirect(n *presence.Notice) {
	w := n.Direct.Watcher
	owner := s.e.shardOf(w)
	owner.putItem(s.e.asked(w, &question{kind: asksDirect, notice: n},
		func(p *presence.Presentity, _ time.Time, err error) {
			if err != nil {
				s.e.log.Warn("directed presence is lost", "to", w.String(), "err", err)
				return
			}
			owner.handDirect(p, n)
		}, func(*transfer.Reader) {}))
}

// handDirect is the watcher's owner's part.
func (s *shard) handDirect(p *presence.Presentity, n *presence.Notice) {
	here, found := false, false
	for _, at := range s.places(p) {
		switch {
		case at.edge != n.Edge:
		case at.node == s.e.self:
			here, found = true, true
		default:
			s.tell(at.node, 0, n)
			found = true
		}
	}
	if here || !found { // an edge that has no sessions may take it all the same
		s.e.notify(n)
	}
}
