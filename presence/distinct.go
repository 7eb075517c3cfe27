package presence

import (
	"hash/fnv"
	"strconv"
)

// distinct returns doc with ids that none of the others has. Clients use the
// same ids for all their users and devices, yet ids are xs:ID and must be unique in
// the composed document (RFC 3863 §4.1.2). An id keeps its text unless it is
// taken; then it gets a suffix made of the source's own id, and keeps that
// form as long as the source lives: was is the document that doc replaces, nil
// if that has no such ids. The ids of RPID elements are optional (RFC 4480
// §3.1): a taken one is left out. renamed tells that a tuple or device got a suffix.
func (p *Presentity) distinct(id SourceID, doc, was *Document) (out *Document, renamed bool) {
	var seen, old idSet
	seen.add(PersonID)
	seen.add(OfflineID)
	for _, o := range p.presence.sources {
		if o.cur.ID != id {
			seen.addAll(o.cur.Doc)
		}
	}
	for _, c := range p.others {
		for _, o := range c.sources {
			if o.person != nil {
				seen.addAll(o.person.Doc)
			}
		}
	}
	old.addAll(was)
	n := naming{seen: &seen, old: &old, source: id}
	out = doc
	change := func() {
		if out == doc {
			c := *doc
			c.Tuples = append([]Tuple(nil), doc.Tuples...)
			c.Persons = append([]Person(nil), doc.Persons...)
			c.Devices = append([]Device(nil), doc.Devices...)
			out = &c
		}
	}
	for i := range doc.Tuples {
		t := &doc.Tuples[i]
		if to := n.name(t.ID); to != t.ID {
			change()
			out.Tuples[i].ID = to
		}
		if r := seen.rich(&t.Rich); r != nil {
			change()
			out.Tuples[i].Rich = *r
		}
	}
	for i := range doc.Devices {
		d := &doc.Devices[i]
		if to := n.name(d.ID); to != d.ID {
			change()
			out.Devices[i].ID = to
		}
		if r := seen.rich(&d.Rich); r != nil {
			change()
			out.Devices[i].Rich = *r
		}
	}
	// A person's own id is not carried: the composed person has PersonID.
	for i := range doc.Persons {
		if r := seen.rich(&doc.Persons[i].Rich); r != nil {
			change()
			out.Persons[i].Rich = *r
		}
	}
	return out, n.renamed
}

// naming gives the tuples and devices of one source their ids.
type naming struct {
	seen, old *idSet
	source    SourceID
	suffix    string // "-" and a hash of source; made when first needed
	renamed   bool
}

func (n *naming) name(s string) string {
	if s != "" && !n.seen.has(s) && (n.old.empty() || !n.old.has(s+n.tail())) {
		n.seen.add(s)
		return s
	}
	n.renamed = true
	base := s
	if base == "" {
		base = "t"
	}
	to := base + n.tail()
	for i := 2; n.seen.has(to); i++ {
		to = base + n.tail() + "-" + strconv.Itoa(i)
	}
	n.seen.add(to)
	return to
}

func (n *naming) tail() string {
	if n.suffix == "" {
		h := fnv.New32a()
		h.Write([]byte{byte(n.source.Kind)})
		h.Write([]byte(n.source.Key))
		n.suffix = "-" + strconv.FormatUint(uint64(h.Sum32()), 36)
	}
	return n.suffix
}

// eachID calls fn for all ids that appear in a composed document.
func (d *Document) eachID(fn func(string)) {
	var s idSet
	s.addAll(d)
	for _, id := range s.few[:s.n] {
		fn(id)
	}
	for _, id := range s.more {
		fn(id)
	}
}

// idSet is an array while it is small, as it nearly always is.
type idSet struct {
	few  [12]string
	n    int
	more []string // in order, as few
	set  map[string]struct{}
}

func (s *idSet) empty() bool { return s.n == 0 }

func (s *idSet) has(id string) bool {
	for i := range s.n {
		if s.few[i] == id {
			return true
		}
	}
	_, ok := s.set[id]
	return ok
}

func (s *idSet) add(id string) {
	if s.n < len(s.few) {
		s.few[s.n] = id
		s.n++
		return
	}
	if s.set == nil {
		s.set = make(map[string]struct{})
	}
	s.more = append(s.more, id)
	s.set[id] = struct{}{}
}

func (s *idSet) addAll(d *Document) {
	if d == nil {
		return
	}
	for i := range d.Tuples {
		s.add(d.Tuples[i].ID)
		s.addRich(&d.Tuples[i].Rich)
	}
	for i := range d.Devices {
		s.add(d.Devices[i].ID)
		s.addRich(&d.Devices[i].Rich)
	}
	for i := range d.Persons {
		s.addRich(&d.Persons[i].Rich)
	}
}

func (s *idSet) addRich(r *Rich) {
	for _, v := range r.values() {
		if *v != nil && (*v).ID != "" {
			s.add((*v).ID)
		}
	}
	if r.UserInput.ID != "" {
		s.add(r.UserInput.ID)
	}
}

// rich adds the ids in r; nil if all were free, else a copy without those that were taken.
func (s *idSet) rich(r *Rich) *Rich {
	var out *Rich
	take := func(id string) bool {
		if id == "" {
			return true
		}
		if s.has(id) {
			return false
		}
		s.add(id)
		return true
	}
	for i, v := range r.values() {
		if *v == nil || take((*v).ID) {
			continue
		}
		if out == nil {
			c := *r
			out = &c
		}
		vs := **v
		vs.ID = ""
		*out.values()[i] = &vs
	}
	if !take(r.UserInput.ID) {
		if out == nil {
			c := *r
			out = &c
		}
		out.UserInput.ID = ""
	}
	return out
}
