package schema

import (
	"strings"

	"pharos/markup"
)

// Particle is a piece of a content model: one of Element, Any, or Items
// joined by Kind, Min to Max times.
type Particle struct {
	Kind     Kind
	Min, Max int // Max < 0: unbounded
	Element  *Element
	Any      *Any
	Items    []*Particle
}

// Kind tells how Items are joined.
type Kind uint8

// The kinds.
const (
	One      Kind = iota // Element or Any
	Sequence             // Items one after another
	Choice               // one of Items
	All                  // Items in any order, each once at most
)

// Any is a wildcard.
type Any struct {
	Not      string // ##other: any namespace but this one, and not none
	Whatever bool   // ##any
	Process  Process
}

// Process tells how what a wildcard takes is looked at.
type Process uint8

// The ways, as XML Schema names them.
const (
	Lax    Process = iota // by its declaration where there is one
	Skip                  // not at all
	Strict                // it must be declared
)

// takes tells whether a name fits the wildcard.
func (a *Any) takes(space string) bool { return a.Whatever || space != "" && space != a.Not }

// Times returns p with an occurrence.
func (p *Particle) Times(least, most int) *Particle {
	q := *p
	q.Min, q.Max = least, most
	return &q
}

// Unbounded is Max of what may come any number of times.
const Unbounded = -1

// Of is one element, once.
func Of(e *Element) *Particle { return &Particle{Element: e, Min: 1, Max: 1} }

// Seq, OneOf and AllOf join items, once.
func Seq(items ...*Particle) *Particle {
	return &Particle{Kind: Sequence, Items: items, Min: 1, Max: 1}
}

// OneOf is a choice, once.
func OneOf(items ...*Particle) *Particle {
	return &Particle{Kind: Choice, Items: items, Min: 1, Max: 1}
}

// AllOf is all items in any order, once.
func AllOf(items ...*Particle) *Particle { return &Particle{Kind: All, Items: items, Min: 1, Max: 1} }

// Other is <any namespace="##other" processContents="lax"> of a target namespace, any
// number of times.
func Other(target string) *Particle {
	return &Particle{Any: &Any{Not: target}, Max: Unbounded}
}

// OtherAttrs is <anyAttribute namespace="##other" processContents="lax">.
func OtherAttrs(target string) *Any { return &Any{Not: target} }

// starts tells whether a content that fits p can begin with e.
func (p *Particle) starts(e *markup.Element) bool {
	switch p.Kind {
	case One:
		if p.Any != nil {
			return p.Any.takes(e.Space)
		}
		return e.Is(p.Element.Space, p.Element.Local)
	case Sequence:
		for _, i := range p.Items {
			if i.starts(e) {
				return true
			}
			if !i.empty() {
				return false
			}
		}
		return false
	}
	for _, i := range p.Items {
		if i.starts(e) {
			return true
		}
	}
	return false
}

// empty tells whether no element at all fits p.
func (p *Particle) empty() bool {
	if p.Min == 0 {
		return true
	}
	switch p.Kind {
	case One:
		return false
	case Choice:
		for _, i := range p.Items {
			if i.empty() {
				return true
			}
		}
		return len(p.Items) == 0
	}
	for _, i := range p.Items {
		if !i.empty() {
			return false
		}
	}
	return true
}

// matcher reads the children of one element against its content model.
type matcher struct {
	children []*markup.Element
	types    []*Type // what each child was taken for; nil: by a wildcard
	anys     []*Any
	wanted   []string // names that could have stood at the child where it ended
}

// match takes as many children from at as fit p; ok is false when something that
// p needs is not there.
func (m *matcher) match(p *Particle, at int) (next int, ok bool) {
	for n := 0; p.Max < 0 || n < p.Max; n++ {
		if at == len(m.children) || !p.starts(m.children[at]) {
			if n < p.Min && !p.empty() {
				m.want(p)
				return at, false
			}
			m.want(p)
			return at, true
		}
		before := at
		if at, ok = m.once(p, at); !ok {
			return at, false
		}
		if at == before {
			return at, true
		}
	}
	return at, true
}

func (m *matcher) once(p *Particle, at int) (int, bool) {
	switch p.Kind {
	case Sequence:
		for _, i := range p.Items {
			var ok bool
			if at, ok = m.match(i, at); !ok {
				return at, false
			}
		}
		return at, true
	case Choice:
		for _, i := range p.Items {
			if i.starts(m.children[at]) {
				return m.match(i, at)
			}
		}
		return at, true
	case All:
		return m.all(p, at)
	}
	m.wanted = m.wanted[:0]
	if p.Element != nil {
		m.types[at] = p.Element.Type
	} else {
		m.anys[at] = p.Any
	}
	return at + 1, true
}

func (m *matcher) all(p *Particle, at int) (int, bool) {
	used := make([]bool, len(p.Items))
next:
	for at < len(m.children) {
		for k, i := range p.Items {
			if !used[k] && i.starts(m.children[at]) {
				used[k] = true
				at, _ = m.match(i, at)
				continue next
			}
		}
		break
	}
	for k, i := range p.Items {
		if !used[k] {
			m.want(i)
			if !i.empty() {
				return at, false
			}
		}
	}
	return at, true
}

// want notes what p can begin with.
func (m *matcher) want(p *Particle) {
	switch p.Kind {
	case One:
		if p.Any != nil {
			m.wanted = append(m.wanted, "an element of another namespace")
		} else {
			m.wanted = append(m.wanted, "<"+p.Element.Local+">")
		}
	case Sequence:
		for _, i := range p.Items {
			m.want(i)
			if !i.empty() {
				return
			}
		}
	default:
		for _, i := range p.Items {
			m.want(i)
		}
	}
}

// expected says what could have come.
func (m *matcher) expected() string {
	seen := map[string]bool{}
	var names []string
	for _, n := range m.wanted {
		if !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "no element"
	}
	return strings.Join(names, " or ")
}
