package xcap

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"pharos/markup"
	"pharos/schema"
)

// nodeSelector is RFC 4825 §6.3's, decoded and with its names expanded.
type nodeSelector struct {
	steps    []step
	terminal terminal
	attr     name // of an attribute selector
}

// terminal is what a node selector ends with.
type terminal uint8

const (
	element terminal = iota
	attribute
	namespaces
)

// name is an expanded name.
type name struct{ space, local string }

// step chooses one child element.
type step struct {
	any  bool // *
	name name
	pos  int // from 1; 0: not by position. A position of zero is none of the children: -1
	attr *test
	text string // as written, decoded
}

// test is an attribute predicate.
type test struct {
	name  name
	value string
}

const (
	// maxSteps is how many steps a node selector has at most; documents are not nested deeper.
	maxSteps = 64
	// maxPosition is what a larger position counts as: no element has it.
	maxPosition = 1 << 30
)

// parseNode reads a node selector as it comes in a URI, with the query that binds
// prefixes (RFC 4825 §6.4).
func parseNode(s, query, space string) (*nodeSelector, error) {
	decoded, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(decoded) {
		return nil, say(http.StatusBadRequest, "the node selector is not percent-encoded UTF-8")
	}
	binds, err := parseQuery(query)
	if err != nil {
		return nil, err
	}
	p := nodeParser{binds: binds, space: space}
	return p.parse(decoded)
}

type nodeParser struct {
	binds map[string]string
	space string // of names without a prefix
}

// unknown is for what only the grammar's extension-selector describes; this
// server knows no extension (RFC 4825 §8).
func unknown(part string) error {
	return say(http.StatusNotFound, "the node selector has a part %q that this server does not understand", part)
}

func (p *nodeParser) parse(s string) (*nodeSelector, error) {
	parts := splitSteps(strings.TrimPrefix(s, "/"))
	n := &nodeSelector{}
	last := len(parts) - 1
	switch t := parts[last]; {
	case t == "namespace::*":
		n.terminal = namespaces
	case strings.HasPrefix(t, "@"):
		n.terminal = attribute
		var err error
		if n.attr, err = p.qname(t[1:], ""); err != nil {
			return nil, err
		}
	}
	if n.terminal != element {
		parts = parts[:last]
	}
	if len(parts) == 0 || len(parts) == 1 && parts[0] == "" {
		return nil, say(http.StatusBadRequest, "the node selector names no element")
	}
	if len(parts) > maxSteps {
		return nil, say(http.StatusBadRequest, "the node selector has more than %d steps", maxSteps)
	}
	for _, part := range parts {
		st, err := p.step(part)
		if err != nil {
			return nil, err
		}
		n.steps = append(n.steps, st)
	}
	return n, nil
}

// splitSteps splits at slashes that are not in a quoted attribute value.
func splitSteps(s string) []string {
	var parts []string
	start, inside, quote := 0, false, byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case inside && (c == '"' || c == '\''):
			quote = c
		case c == '/':
			parts = append(parts, s[start:i])
			start, inside = i+1, false
		}
	}
	return append(parts, s[start:])
}

// step reads NameorAny and its predicates.
func (p *nodeParser) step(s string) (step, error) {
	st := step{text: s}
	head, preds := s, ""
	if i := strings.IndexByte(s, '['); i >= 0 {
		head, preds = s[:i], s[i:]
	}
	if head == "*" {
		st.any = true
	} else {
		var err error
		if st.name, err = p.qname(head, p.space); err != nil {
			return st, err
		}
	}
	for preds != "" {
		var pred string
		var ok bool
		if pred, preds, ok = cutPredicate(preds); !ok {
			return st, unknown(s)
		}
		switch {
		// By position, then by attribute; no other order and each once.
		case pred != "" && strings.Trim(pred, "0123456789") == "" && st.pos == 0 && st.attr == nil:
			n, err := strconv.Atoi(pred)
			if err != nil || n > maxPosition {
				n = maxPosition // no element has it
			}
			if st.pos = n; n == 0 {
				st.pos = -1
			}
		case strings.HasPrefix(pred, "@") && st.attr == nil:
			t, err := p.test(pred[1:], s)
			if err != nil {
				return st, err
			}
			st.attr = &t
		default:
			return st, unknown(s)
		}
	}
	return st, nil
}

// cutPredicate cuts one [...] off.
func cutPredicate(s string) (pred, rest string, ok bool) {
	if s[0] != '[' {
		return "", "", false
	}
	quote := byte(0)
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ']':
			return s[1:i], s[i+1:], true
		}
	}
	return "", "", false
}

// test reads att-name "=" att-value.
func (p *nodeParser) test(s, whole string) (test, error) {
	q, v, ok := strings.Cut(s, "=")
	if !ok || len(v) < 2 || v[0] != '"' && v[0] != '\'' || v[len(v)-1] != v[0] || strings.IndexByte(v[1:len(v)-1], v[0]) >= 0 {
		return test{}, unknown(whole)
	}
	n, err := p.qname(q, "")
	return test{n, unescape(v[1 : len(v)-1])}, err
}

// unescape resolves the references of an AttValue. A lone ampersand, which clients
// send that build selectors from plain values, stands for itself.
func unescape(v string) string {
	if !strings.ContainsRune(v, '&') {
		return v
	}
	e, err := markup.Parse([]byte(`<a v="`+strings.ReplaceAll(v, `"`, "&quot;")+`"/>`), markup.Options{})
	if err != nil {
		return v
	}
	return e.Attr("v")
}

// qname expands a qualified name; unprefixed ones are in space. An undefined
// prefix is 400 (RFC 4825 §8).
func (p *nodeParser) qname(s, space string) (name, error) {
	prefix, local, ok := strings.Cut(s, ":")
	if !ok {
		if !schema.IsNCName(s) {
			return name{}, unknown(s)
		}
		return name{space, s}, nil
	}
	if !schema.IsNCName(prefix) || !schema.IsNCName(local) {
		return name{}, unknown(s)
	}
	if prefix == "xml" {
		return name{markup.XMLSpace, local}, nil
	}
	bound, ok := p.binds[prefix]
	if !ok {
		return name{}, say(http.StatusBadRequest, "the prefix %q is not bound: the query has to say xmlns(%s=...) (RFC 4825 §6.4)", prefix, prefix)
	}
	return name{bound, local}, nil
}

// parseQuery reads the xmlns() parts of an XPointer expression; other schemes are
// ignored (RFC 4825 §6.4). Parentheses and circumflexes in the data are escaped
// by a circumflex (XPointer Framework §3.1).
func parseQuery(query string) (map[string]string, error) {
	if query == "" {
		return nil, nil
	}
	s, err := url.PathUnescape(query)
	bad := say(http.StatusBadRequest, "the query is not of the form xmlns(prefix=namespace)xmlns(...)")
	if err != nil || !utf8.ValidString(s) {
		return nil, bad
	}
	binds := map[string]string{}
	for {
		if s = strings.TrimLeft(s, " \t\r\n"); s == "" {
			return binds, nil
		}
		scheme, rest, ok := strings.Cut(s, "(")
		if !ok || scheme == "" {
			return nil, bad
		}
		var data string
		if data, s, ok = cutPointer(rest); !ok {
			return nil, bad
		}
		if scheme != "xmlns" {
			continue
		}
		prefix, space, ok := strings.Cut(data, "=")
		prefix, space = strings.TrimSpace(prefix), strings.TrimSpace(space)
		if !ok || !schema.IsNCName(prefix) || space == "" {
			return nil, bad
		}
		// The prefixes xml and xmlns cannot be bound anew (XPointer xmlns() §3).
		if prefix != "xml" && prefix != "xmlns" {
			binds[prefix] = space
		}
	}
}

// cutPointer cuts scheme data off at its closing parenthesis.
func cutPointer(s string) (data, rest string, ok bool) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '^' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			continue
		case c == '(':
			depth++
		case c == ')':
			if depth == 0 {
				return b.String(), s[i+1:], true
			}
			depth--
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
