package presence

import "time"

// directed is a watcher to whom one source shows itself (RFC 6121 §4.6).
type directed struct {
	source  *Source
	watcher Entity
	via     Via
}

func (d *directed) is(id SourceID, w Entity, v Via) bool {
	return d.source.ID == id && d.watcher == w && d.via == v
}

func (p *Presentity) checkDirect(in *Direct) error {
	if !in.Available {
		return nil
	}
	n := 0
	for i := range p.directed {
		d := &p.directed[i]
		if d.is(in.Source.ID, in.Watcher, in.Via) {
			return nil
		}
		if d.source.ID == in.Source.ID {
			n++
		}
	}
	if n >= MaxDirected || len(p.directed) >= MaxDirectedAll {
		return ErrTooMany
	}
	return nil
}

func (p *Presentity) direct(now time.Time, in *Direct, out *Outcome) {
	if p.decide(in.Watcher, false, p.at(now)).Class.Handling == Block {
		out.State = Terminated
		return
	}
	out.State = Active
	if in.Again && in.Available {
		p.removeDirected(func(d *directed) bool {
			return d.source.ID == in.Source.ID && d.watcher == in.Watcher && d.via.Edge == in.Via.Edge && d.via.Handle == in.Via.Handle
		})
		p.directed = append(p.directed, directed{in.Source, in.Watcher, in.Via})
		return
	}
	p.removeDirected(func(d *directed) bool { return d.is(in.Source.ID, in.Watcher, in.Via) })
	if in.Available {
		p.directed = append(p.directed, directed{in.Source, in.Watcher, in.Via})
	}
	out.Notices = append(out.Notices, p.directNotice(in))
}

func (p *Presentity) directNotice(in *Direct) *Notice {
	n := &Notice{Presentity: p.entity, Node: in.Via.Node, Edge: in.Via.Edge, State: Active, Direct: in,
		Targets: []Target{{Watcher: in.Watcher, Handle: in.Via.Handle}}}
	if !in.Available {
		n.State = Terminated
	}
	return n
}

func (p *Presentity) removeDirected(which func(*directed) bool) (gone []directed) {
	keep := p.directed[:0]
	for i := range p.directed {
		if which(&p.directed[i]) {
			gone = append(gone, p.directed[i])
		} else {
			keep = append(keep, p.directed[i])
		}
	}
	clear(p.directed[len(keep):])
	p.directed = keep
	return gone
}

// endDirected is for a source that goes; to be called before the views change.
func (p *Presentity) endDirected(id SourceID, words Payload) (ns []*Notice) {
	if len(p.directed) == 0 {
		return nil
	}
	for _, d := range p.removeDirected(func(d *directed) bool { return d.source.ID == id }) {
		if p.covered(&d) {
			continue
		}
		n := p.directNotice(&Direct{Source: d.source, Watcher: d.watcher, Via: d.via})
		if len(words.Bytes) > 0 {
			n.LastWords = []LastWord{{ID: id, Native: words}}
		}
		ns = append(ns, n)
	}
	return ns
}

// covered tells that a subscription shows the watcher this source, and so will
// tell him that it went.
func (p *Presentity) covered(d *directed) bool {
	found := false
	p.subs.eachOf(d.watcher, func(s *sub) bool {
		found = s.Via.Edge == d.via.Edge && (d.via.Handle == "" || s.Via.Handle == d.via.Handle) && s.Shown.shows(d.source.ID)
		return !found
	})
	return found
}

// recheckDirected ends what is blocked now; XEP-0191 §3.3 has the blocked
// contact told that the user is unavailable.
func (p *Presentity) recheckDirected(at Circumstances, out *Outcome) {
	if len(p.directed) == 0 {
		return
	}
	for _, d := range p.removeDirected(func(d *directed) bool {
		return p.decide(d.watcher, false, at).Class.Handling == Block
	}) {
		out.Notices = append(out.Notices, p.directNotice(&Direct{Source: d.source, Watcher: d.watcher, Via: d.via}))
	}
}
