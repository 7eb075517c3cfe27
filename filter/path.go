package filter

import (
	"errors"
	"strconv"
	"strings"

	"pharos/markup"
)

// path is an expression of RFC 4661 §5: steps from the document down, and at
// last perhaps an attribute.
//
// A name without prefix stands for that name in any namespace: by XPath it would
// be one without a namespace, but the documents have none of those, and the RFC's
// own examples (§5) leave prefixes out.
type path struct {
	steps []step
	attr  *name
}

type name struct {
	space, local string
	anySpace     bool
}

type step struct {
	deep bool // "//": at any depth
	any  bool // "*"
	name name
	cond cond
}

// cond is a predicate: comparisons joined by and, those joined by or. Nil holds.
type cond [][]comparison

type comparison struct {
	self, parent bool // "." and ".."
	steps        []step
	attr         *name
	op           byte
	value        string
}

func (n *name) matches(space, local string) bool {
	return n.local == local && (n.anySpace || n.space == space)
}

// parser reads an expression.
type parser struct {
	s        string
	names    map[string]string
	compared int
}

var errSyntax = errors.New("has an expression that is not of the syntax of RFC 4661")

func parsePath(s string, names map[string]string) (*path, error) {
	p := parser{s: s, names: names}
	out := new(path)
	if !strings.HasPrefix(p.s, "/") {
		return nil, errSyntax
	}
	for p.s != "" {
		if !p.take("/") {
			return nil, errSyntax
		}
		deep := p.take("/")
		p.space() // long expressions are broken into lines
		if p.take("@") {
			n, err := p.name()
			if err != nil {
				return nil, err
			}
			if deep { // "//@a" is "//*/@a"
				out.steps = append(out.steps, step{deep: true, any: true})
			}
			if p.s != "" || len(out.steps) == 0 {
				return nil, errSyntax
			}
			out.attr = &n
			return out, nil
		}
		st, err := p.step()
		if err != nil {
			return nil, err
		}
		st.deep = deep
		if st.cond, err = p.predicate(); err != nil {
			return nil, err
		}
		if len(out.steps) == MaxSteps {
			return nil, errors.New("has an expression of more than " + strconv.Itoa(MaxSteps) + " steps")
		}
		out.steps = append(out.steps, st)
		p.space()
	}
	return out, nil
}

// parts is what an expression costs of Filter's bound.
func (p *path) parts() int {
	n := len(p.steps)
	for i := range p.steps {
		for _, all := range p.steps[i].cond {
			for k := range all {
				n += 1 + len(all[k].steps)
			}
		}
	}
	return n
}

func (p *parser) space() { p.s = strings.TrimLeft(p.s, " \t\r\n") }

func (p *parser) take(t string) bool {
	if strings.HasPrefix(p.s, t) {
		p.s = p.s[len(t):]
		return true
	}
	return false
}

func (p *parser) step() (step, error) {
	if p.take("*") {
		return step{any: true}, nil
	}
	n, err := p.name()
	return step{name: n}, err
}

func (p *parser) name() (name, error) {
	end := strings.IndexAny(p.s, "/@[]=<>\"' \t\r\n*")
	if end < 0 {
		end = len(p.s)
	}
	text := p.s[:end]
	p.s = p.s[end:]
	prefix, local, ok := strings.Cut(text, ":")
	if !ok {
		prefix, local = "", text
	}
	if local == "" || strings.Contains(local, ":") || ok && prefix == "" {
		return name{}, errSyntax
	}
	if !ok {
		return name{local: local, anySpace: true}, nil
	}
	space, known := p.names[prefix]
	if !known {
		return name{}, errors.New("uses the prefix " + strconv.Quote(prefix) + ", which ns-bindings do not have")
	}
	return name{space: space, local: local}, nil
}

// predicate reads "[...]", where there is one.
func (p *parser) predicate() (cond, error) {
	if !p.take("[") {
		return nil, nil
	}
	var all cond
	var one []comparison
	for {
		p.space()
		c, err := p.comparison()
		if err != nil {
			return nil, err
		}
		if p.compared++; p.compared > MaxCompared {
			return nil, errors.New("has an expression of more than " + strconv.Itoa(MaxCompared) + " comparisons")
		}
		one = append(one, c)
		p.space()
		switch {
		case p.take("]"):
			return append(all, one), nil
		case p.take("and"):
		case p.take("or"):
			all, one = append(all, one), nil
		default:
			return nil, errSyntax
		}
	}
}

func (p *parser) comparison() (comparison, error) {
	var c comparison
	switch {
	case p.take(".."):
		c.parent = true
	case p.take("."):
		c.self = true
	default:
		for c.attr == nil {
			if p.take("@") {
				n, err := p.name()
				if err != nil {
					return c, err
				}
				c.attr = &n
				break
			}
			st, err := p.step()
			if err != nil {
				return c, err
			}
			if c.steps = append(c.steps, st); len(c.steps) > MaxSteps {
				return c, errSyntax
			}
			if !p.take("/") {
				break
			}
		}
	}
	p.space()
	if p.s == "" || !strings.Contains("=<>", p.s[:1]) {
		return c, errSyntax
	}
	c.op = p.s[0]
	p.s = p.s[1:]
	p.space()
	var err error
	c.value, err = p.value()
	return c, err
}

// value is a literal in quotes, or a number (RFC 4661 §5 has it bare).
func (p *parser) value() (string, error) {
	if p.s == "" {
		return "", errSyntax
	}
	if q := p.s[:1]; q == `"` || q == "'" {
		text, rest, ok := strings.Cut(p.s[1:], q)
		if !ok {
			return "", errSyntax
		}
		p.s = rest
		return text, nil
	}
	end := strings.IndexAny(p.s, " \t\r\n]")
	if end <= 0 {
		return "", errSyntax
	}
	text := p.s[:end]
	p.s = p.s[end:]
	return text, nil
}

// tree is a document that expressions look at. Its elements are made instances
// once, however many expressions there are: those are the watcher's, and the document
// is somebody else's.
type tree struct {
	root *instance
	turn int // of the step that is being made
}

func treeOf(root *markup.Element) *tree {
	return &tree{root: &instance{e: root, place: root.Space + " " + root.Local}}
}

// instance is an element of a document, with its way up.
type instance struct {
	e      *markup.Element
	parent *instance
	place  string // among its siblings: name, and id or number

	read bool        // below is made
	down []*instance // child elements
	turn int         // of the step that has seen it
	way  string      // see key
}

// key is the place in the document, the same in a later document for the same thing.
func (i *instance) key() string {
	if i == nil {
		return ""
	}
	if i.way == "" {
		i.way = i.parent.key() + "/" + i.place
	}
	return i.way
}

// children lists the child elements. Things are known again by id, uri or entity
// where they have one (tuples, watchers, resources), else by their number.
func (i *instance) children() []*instance {
	if i.read {
		return i.down
	}
	i.read = true
	count := make(map[string]int)
	for c := range i.e.Children() {
		place := c.Space + " " + c.Local
		if id := identity(c); id != "" {
			place += " #" + id
		}
		count[place]++
		if n := count[place]; n > 1 {
			place += " " + strconv.Itoa(n)
		}
		i.down = append(i.down, &instance{e: c, parent: i, place: place})
	}
	return i.down
}

func identity(e *markup.Element) string {
	for _, a := range [...]string{"id", "uri", "entity"} {
		if v := e.Attr(a); v != "" {
			return v
		}
	}
	return ""
}

// elements are those that the steps lead to, each once, in document order per step.
func (p *path) elements(t *tree) []*instance {
	var at []*instance // nil: the document itself
	for n := range p.steps {
		st := &p.steps[n]
		t.turn++
		var next []*instance
		var visit func(is []*instance)
		visit = func(is []*instance) {
			for _, i := range is {
				if i.turn == t.turn {
					continue
				}
				i.turn = t.turn
				if st.takes(i) {
					next = append(next, i)
				}
				if st.deep {
					visit(i.children())
				}
			}
		}
		if n == 0 {
			visit([]*instance{t.root})
		}
		for _, i := range at {
			visit(i.children())
		}
		at = next
	}
	return at
}

func (st *step) takes(i *instance) bool {
	return (st.any || st.name.matches(i.e.Space, i.e.Local)) && st.cond.holds(i)
}

func (c cond) holds(i *instance) bool {
	if c == nil {
		return true
	}
	for _, all := range c {
		ok := true
		for n := range all {
			if !all[n].holds(i) {
				ok = false
				break
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// holds is true when one of the values that are meant compares (XPath §3.4).
func (c *comparison) holds(i *instance) bool {
	switch {
	case c.self:
		return c.compare(i.e.Text())
	case c.parent:
		return i.parent != nil && c.compare(i.parent.e.Text())
	}
	at := []*markup.Element{i.e}
	for n := range c.steps {
		var next []*markup.Element
		for _, e := range at {
			for k := range e.Children() {
				if c.steps[n].any || c.steps[n].name.matches(k.Space, k.Local) {
					next = append(next, k)
				}
			}
		}
		at = next
	}
	for _, e := range at {
		if c.attr == nil {
			if c.compare(e.Text()) {
				return true
			}
			continue
		}
		for n := range e.Attrs {
			if a := &e.Attrs[n]; c.attr.matches(a.Space, a.Local) && c.compare(a.Value) {
				return true
			}
		}
	}
	return false
}

func (c *comparison) compare(have string) bool {
	have = strings.TrimSpace(have)
	if c.op == '=' {
		return have == strings.TrimSpace(c.value)
	}
	a, errA := strconv.ParseFloat(have, 64)
	b, errB := strconv.ParseFloat(strings.TrimSpace(c.value), 64)
	if errA != nil || errB != nil {
		return false // XPath §3.4: not a number compares with nothing
	}
	if c.op == '<' {
		return a < b
	}
	return a > b
}
