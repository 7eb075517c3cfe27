package markup

// Written is an attribute or namespace declaration as it stands in a start tag.
// The spans are positions in the source.
type Written struct {
	Name  string // "a", "p:a", "xmlns", "xmlns:p"
	Start int    // of the white space before it
	Value [2]int // without the quotes
	End   int    // behind the closing quote
}

// Written returns what the element's start tag says, in order: attributes and
// declarations. An element made by hand has nothing.
func (e *Element) Written() []Written {
	if e.src == nil || len(e.Attrs)+len(e.Decls) == 0 {
		return nil
	}
	s := *e.src
	ws := make([]Written, 0, len(e.Attrs)+len(e.Decls))
	// The tag was parsed once: what follows cannot fail.
	for i := e.Start + len("<") + len(e.qname()); ; {
		w := Written{Start: i}
		i = skipBlanks(s, i)
		if s[i] == '>' || s[i] == '/' {
			return ws
		}
		name := i
		for s[i] != '=' && classes[s[i]]&blank == 0 {
			i++
		}
		w.Name = s[name:i]
		i = skipBlanks(s, skipBlanks(s, i)+len("="))
		quote := s[i]
		i++
		w.Value[0] = i
		for s[i] != quote {
			i++
		}
		w.Value[1], i = i, i+1
		w.End = i
		ws = append(ws, w)
	}
}
