package markup

import "bytes"

// FirstElement returns the length of the element at the start of b, white
// space before it included, 0 when b holds no whole element. It looks for the
// end only and checks little: it is for what we wrote ourselves.
func FirstElement(b []byte) int {
	o := Options{MaxBytes: len(b) + 1, MaxDepth: len(b) + 1, MaxNodes: len(b) + 1}
	blanks := 0
	for blanks < len(b) && classes[b[blanks]]&blank != 0 {
		blanks++
	}
	var f finder
	n, err := f.scan(b[blanks:], "", &o)
	if err != nil || n == 0 {
		return 0
	}
	return blanks + n
}

// DefaultDeclared looks into the start tag at the start of b. It returns where
// the tag's name ends, which is where an attribute can be put in, and whether the tag
// declares the default namespace.
func DefaultDeclared(b []byte) (nameEnd int, declared bool) {
	i := bytes.IndexByte(b, '<') + 1
	for i < len(b) && !nameStop[b[i]] {
		i++
	}
	nameEnd = i
	for i < len(b) && b[i] != '>' {
		switch c := b[i]; {
		case c == '"' || c == '\'':
			n := bytes.IndexByte(b[i+1:], c)
			if n < 0 {
				return nameEnd, false
			}
			i += n + 2
		case classes[c]&blank != 0 && bytes.HasPrefix(b[i+1:], []byte("xmlns")):
			i += 1 + len("xmlns")
			if j := skipBlankBytes(b, i); j < len(b) && b[j] == '=' {
				return nameEnd, true
			}
		default:
			i++
		}
	}
	return nameEnd, false
}

func skipBlankBytes(b []byte, i int) int {
	for i < len(b) && classes[b[i]]&blank != 0 {
		i++
	}
	return i
}
