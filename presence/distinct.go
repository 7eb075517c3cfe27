package presence

import (
	"hash/fnv"
	"strconv"
)

// distinct returns doc with ids that none of the others has. Clients use the
// same ids for all their users and devices, yet ids are xs:ID and must be unique in
// the composed document (RFC 3863 §4.1.2). An id keeps its text unless it is
// taken; then it gets a suffix made of the source's own id, and keeps that
// form as long as the source lives (was is the document that doc replaces).
// The ids of RPID elements are optional (RFC 4480 §3.1): a taken one is left out.
func distinct(id SourceID, doc, was *Document, others []*live) *Document {
	seen := idSet{list: make([]string, 0, 8)}
	seen.add(PersonID)
	seen.add(OfflineID)
	for _, o := range others {
		if o.cur.ID != id {
			o.cur.Doc.eachID(func(s string) { seen.add(s) })
		}
	}
	var old idSet
	if was != nil {
		was.eachID(func(s string) { old.add(s) })
	}
	suffix := ""
	fresh := func(s string) string {
		if s != "" && !seen.has(s) {
			if len(old.list) == 0 || !old.has(s+"-"+suffixOf(id, &suffix)) {
				seen.add(s)
				return s
			}
		}
		n := s + "-" + suffixOf(id, &suffix)
		if s == "" {
			n = "t-" + suffix
		}
		for i := 2; seen.has(n); i++ {
			n = s + "-" + suffix + "-" + strconv.Itoa(i)
		}
		seen.add(n)
		return n
	}
	out := doc
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
		if n := fresh(t.ID); n != t.ID {
			change()
			out.Tuples[i].ID = n
		}
		if r := seen.rich(&t.Rich); r != nil {
			change()
			out.Tuples[i].Rich = *r
		}
	}
	for i := range doc.Devices {
		d := &doc.Devices[i]
		if n := fresh(d.ID); n != d.ID {
			change()
			out.Devices[i].ID = n
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
	return out
}

func suffixOf(id SourceID, cache *string) string {
	if *cache == "" {
		h := fnv.New32a()
		h.Write([]byte{byte(id.Kind)})
		h.Write([]byte(id.Key))
		*cache = strconv.FormatUint(uint64(h.Sum32()), 36)
	}
	return *cache
}

// eachID calls fn for all ids that appear in a composed document.
func (d *Document) eachID(fn func(string)) {
	if d == nil {
		return
	}
	for i := range d.Tuples {
		fn(d.Tuples[i].ID)
		d.Tuples[i].Rich.eachID(fn)
	}
	for i := range d.Devices {
		fn(d.Devices[i].ID)
		d.Devices[i].Rich.eachID(fn)
	}
	for i := range d.Persons {
		d.Persons[i].Rich.eachID(fn)
	}
}

func (r *Rich) eachID(fn func(string)) {
	for _, v := range r.values() {
		if *v != nil && (*v).ID != "" {
			fn((*v).ID)
		}
	}
	if r.UserInput.ID != "" {
		fn(r.UserInput.ID)
	}
}

// idSet is a slice while it is short, as it nearly always is.
type idSet struct {
	list []string
	set  map[string]struct{}
}

func (s *idSet) has(id string) bool {
	if s.set != nil {
		_, ok := s.set[id]
		return ok
	}
	for _, o := range s.list {
		if o == id {
			return true
		}
	}
	return false
}

func (s *idSet) add(id string) {
	s.list = append(s.list, id)
	if s.set == nil && len(s.list) > 16 {
		s.set = make(map[string]struct{}, 2*len(s.list))
		for _, o := range s.list {
			s.set[o] = struct{}{}
		}
	} else if s.set != nil {
		s.set[id] = struct{}{}
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
