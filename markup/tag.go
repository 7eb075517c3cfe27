package markup

import "strings"

// startTag reads the start tag or empty-element tag at pos and opens the element.
func (p *parser) startTag() *Element {
	start := p.pos
	prefix, local, i := p.qname(start + 1)
	if p.err != nil {
		return nil
	}
	qname := p.s[start+1 : i]
	i, empty := p.attributes(i)
	if p.err != nil {
		return nil
	}
	if p.count++; p.count > p.o.MaxNodes {
		p.fail(TooBig, start, "more nodes than allowed")
		return nil
	}
	e := &take(&p.elementSlab, 1)[0]
	e.Local, e.Prefix, e.src = local, prefix, p.src
	e.Start, e.Inner = start, [2]int{i, i}
	if len(p.frames) > 0 {
		p.nodes = append(p.nodes, Node{Element: e, Start: start, Kind: ElementNode})
	}
	binds := len(p.binds)
	p.push(e, qname, binds)
	if p.err != nil {
		return nil
	}
	p.declare(e)
	p.resolve(e, start)
	p.pos = i
	if empty && p.err == nil {
		p.close(i, i)
	}
	return e
}

// openTag reads a start tag whose element is not closed here: the header of a
// stream. The element has no content; its declarations are its Decls.
func (p *parser) openTag() *Element {
	e := p.startTag()
	if p.err != nil {
		return nil
	}
	if len(p.frames) > 0 {
		p.pop(p.pos, p.pos)
	}
	return e
}

// close ends the innermost element and completes its node in the parent.
func (p *parser) close(inner, end int) {
	first := p.frames[len(p.frames)-1].nodes
	p.pop(inner, end)
	if len(p.frames) > 0 {
		p.nodes[first-1].End = end
	}
}

// endTag reads the end tag at pos, which must match.
func (p *parser) endTag() {
	start := p.pos
	f := &p.frames[len(p.frames)-1]
	i := start + 2
	if !strings.HasPrefix(p.s[i:], f.qname) {
		p.fail(NotWellFormed, start, "end tag does not match <"+f.qname+">")
		return
	}
	i = skipBlanks(p.s, i+len(f.qname))
	if i == len(p.s) || p.s[i] != '>' {
		p.fail(NotWellFormed, start, "end tag does not match <"+f.qname+">")
		return
	}
	p.pos = i + 1
	p.close(start, i+1)
}

// qname reads the qualified name at i (Namespaces in XML §4).
func (p *parser) qname(i int) (prefix, local string, end int) {
	start := i
	end = ncName(p.s, i)
	if end > start && end < len(p.s) && p.s[end] == ':' {
		prefix = p.s[start:end]
		i = end + 1
		end = ncName(p.s, i)
	}
	switch {
	case end < 0:
		p.fail(BadEncoding, i, "not UTF-8")
	case end == i:
		p.fail(NotWellFormed, i, "a name is expected")
	case end < len(p.s) && p.s[end] == ':':
		p.fail(BadNamespace, end, "two colons in a name")
	default:
		local = p.s[i:end]
	}
	return prefix, local, end
}

// attributes reads what follows the name in a start tag into p.attrs.
func (p *parser) attributes(i int) (end int, empty bool) {
	clear(p.attrs)
	p.attrs = p.attrs[:0]
	for {
		gap := i
		i = skipBlanks(p.s, i)
		if i == len(p.s) {
			p.fail(NotWellFormed, i, "end of input inside a tag")
			return i, false
		}
		switch p.s[i] {
		case '>':
			return i + 1, false
		case '/':
			if i+1 == len(p.s) || p.s[i+1] != '>' {
				p.fail(NotWellFormed, i, "a slash inside a tag")
			}
			return i + 2, true
		}
		if gap == i {
			p.fail(NotWellFormed, i, "white space is expected before an attribute")
			return i, false
		}
		if len(p.attrs) >= p.o.MaxAttrs {
			p.fail(TooBig, i, "more attributes than allowed")
			return i, false
		}
		a := rawAttr{at: i}
		a.prefix, a.local, i = p.qname(i)
		if p.err != nil {
			return i, false
		}
		i = skipBlanks(p.s, i)
		if i == len(p.s) || p.s[i] != '=' {
			p.fail(NotWellFormed, i, "an attribute without a value")
			return i, false
		}
		i = skipBlanks(p.s, i+1)
		if i == len(p.s) || p.s[i] != '"' && p.s[i] != '\'' {
			p.fail(NotWellFormed, i, "an attribute value without quotes")
			return i, false
		}
		if a.value, i = p.attrValue(i); p.err != nil {
			return i, false
		}
		p.attrs = append(p.attrs, a)
	}
}

// declare puts the namespace declarations among p.attrs in force for e, and
// takes them out of p.attrs (Namespaces in XML §3).
func (p *parser) declare(e *Element) {
	n := 0
	for i := range p.attrs {
		if a := &p.attrs[i]; a.prefix == "xmlns" || a.prefix == "" && a.local == "xmlns" {
			n++
		}
	}
	if n == 0 {
		return
	}
	e.Decls = take(&p.declSlab, n)[:0]
	kept := p.attrs[:0]
	for _, a := range p.attrs {
		var d Decl
		switch {
		case a.prefix == "xmlns":
			d = Decl{a.local, a.value}
		case a.prefix == "" && a.local == "xmlns":
			d = Decl{"", a.value}
			e.flags |= ownDefault
		default:
			kept = append(kept, a)
			continue
		}
		if reason := reserved(d); reason != "" {
			p.fail(BadNamespace, a.at, reason)
			return
		}
		for _, other := range e.Decls {
			if other.Prefix == d.Prefix {
				p.fail(NotWellFormed, a.at, "a namespace declared twice")
				return
			}
		}
		e.Decls = append(e.Decls, d)
		p.binds = append(p.binds, binding{d.Prefix, d.Space, len(p.frames)})
	}
	clear(p.attrs[len(kept):])
	p.attrs = kept
}

// reserved tells why a declaration is not allowed, "" if it is.
func reserved(d Decl) string {
	switch {
	case d.Prefix == "xmlns":
		return "the prefix xmlns cannot be declared"
	case d.Prefix == "xml" && d.Space != XMLSpace:
		return "the prefix xml cannot be bound anew"
	case d.Prefix != "xml" && d.Space == XMLSpace, d.Space == XMLNSSpace:
		return "a reserved namespace cannot be bound"
	case d.Prefix != "" && d.Space == "":
		return "a prefix cannot be undeclared"
	}
	return ""
}

// resolve finds the namespaces of e's own name and of its attributes, and
// refuses attributes of the same expanded name (Namespaces in XML §6.3).
func (p *parser) resolve(e *Element, start int) {
	f := &p.frames[len(p.frames)-1]
	var depth int
	if e.Prefix == "" {
		e.Space, depth, _ = p.lookup("")
		f.lowDefault = min(f.lowDefault, depth)
	} else {
		e.Space = p.prefixed(e.Prefix, start+1, f)
	}
	if len(p.attrs) == 0 || p.err != nil {
		return
	}
	e.Attrs = take(&p.attrSlab, len(p.attrs))
	for i := range p.attrs {
		raw := &p.attrs[i]
		a := Attr{Local: raw.local, Prefix: raw.prefix, Value: raw.value}
		if a.Prefix != "" {
			if a.Space = p.prefixed(a.Prefix, raw.at, f); p.err != nil {
				return
			}
		}
		for j := range e.Attrs[:i] {
			if b := &e.Attrs[j]; b.Local == a.Local && b.Space == a.Space {
				p.fail(NotWellFormed, raw.at, "an attribute given twice")
				return
			}
		}
		e.Attrs[i] = a
	}
}

// prefixed resolves a prefix and notes in f how far out its declaration is.
func (p *parser) prefixed(prefix string, at int, f *frame) string {
	switch prefix {
	case "xml":
		return XMLSpace
	case "xmlns":
		p.fail(BadNamespace, at, "the prefix xmlns on an element")
		return ""
	}
	space, depth, ok := p.lookup(prefix)
	if !ok {
		p.fail(BadNamespace, at, "the prefix "+prefix+" is not bound")
		return ""
	}
	f.low = min(f.low, depth)
	return space
}

// lookup finds the innermost declaration of a prefix. Without one the default
// namespace is none, as if the surroundings had said so.
func (p *parser) lookup(prefix string) (space string, depth int, ok bool) {
	for i := len(p.binds) - 1; i >= 0; i-- {
		if b := &p.binds[i]; b.prefix == prefix {
			return b.space, b.depth, true
		}
	}
	return "", 0, prefix == ""
}
