package pidf

import (
	"strconv"

	"pharos/markup"
	"pharos/patch"
)

// TypeDiff is the media type of a document with partial or numbered full state
// (RFC 5262 §5.1), DiffSpace its namespace.
const (
	TypeDiff  = "application/pidf-diff+xml"
	DiffSpace = "urn:ietf:params:xml:ns:pidf-diff"
)

// Full makes <pidf-full> of a PIDF document: the same content under a version
// (RFC 5262 §3.1). doc is only read. The error is a *markup.SyntaxError, which a
// document of Append or Carry never causes.
func Full(doc []byte, version uint32) ([]byte, error) {
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		return nil, err
	}
	prefix := freePrefix(root)
	b := make([]byte, 0, len(doc)+160)
	b = append(b, doc[:root.Start]...)
	b = append(append(b, '<'), prefix+":pidf-full"...)
	b = markup.AppendAttr(b, "xmlns:"+prefix, DiffSpace)
	b = appendAttrs(appendDecls(b, root), root)
	b = markup.AppendAttr(b, "version", strconv.FormatUint(uint64(version), 10))
	b = append(b, '>')
	b = append(b, doc[root.Inner[0]:root.Inner[1]]...)
	b = append(append(append(b, "</"...), prefix...), ":pidf-full>"...)
	return b, nil
}

func freePrefix(root *markup.Element) string {
	p := "p"
	for i := 0; ; i++ {
		taken := root.Prefix == p
		for _, d := range root.Decls {
			taken = taken || d.Prefix == p
		}
		if !taken {
			return p
		}
		p = "p" + strconv.Itoa(i)
	}
}

func appendDecls(b []byte, e *markup.Element) []byte {
	for _, d := range e.Decls {
		name := "xmlns"
		if d.Prefix != "" {
			name += ":" + d.Prefix
		}
		b = markup.AppendAttr(b, name, d.Space)
	}
	return b
}

// appendAttrs copies attributes but the version, which RFC 5262 gives a meaning.
func appendAttrs(b []byte, e *markup.Element) []byte {
	for i := range e.Attrs {
		a := &e.Attrs[i]
		name := a.Local
		if a.Prefix != "" {
			name = a.Prefix + ":" + name
		} else if name == "version" {
			continue
		}
		b = markup.AppendAttr(b, name, a.Value)
	}
	return b
}

// Partial makes <pidf-diff>: what leads from one PIDF document to the next (RFC
// 5262 §3.2). The error is patch.ErrTooFar when Full is no larger, or a
// *markup.SyntaxError.
func Partial(was, now []byte, version uint32) ([]byte, error) {
	ops, err := patch.Diff(was, now)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512)
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?><pidf-diff`...)
	b = markup.AppendAttr(b, "xmlns", DiffSpace)
	if root, err := markup.Parse(now, markup.File); err == nil {
		if entity := root.Attr("entity"); entity != "" {
			b = markup.AppendAttr(b, "entity", entity)
		}
	}
	b = markup.AppendAttr(b, "version", strconv.FormatUint(uint64(version), 10))
	b = patch.Append(append(b, '>'), ops)
	b = append(b, "</pidf-diff>"...)
	if len(b) >= len(now)+len("<p:pidf-full></p:pidf-full>") {
		return nil, patch.ErrTooFar
	}
	return b, nil
}

// Edit applies a published document of type TypeDiff to the PIDF document that it
// is about, and returns the new one (RFC 5264 §4.2): <pidf-full> replaces was, and
// <pidf-diff> changes it. was is nil when there is none yet. The error is an
// *Error, or a *patch.Error when a change has no place in was.
func Edit(was, diff []byte) ([]byte, error) {
	root, err := markup.Parse(diff, markup.File)
	if err != nil {
		return nil, &Error{Kind: Malformed, Text: err.Error()}
	}
	switch {
	case root.Is(DiffSpace, "pidf-full"):
		return plain(root, diff), nil
	case !root.Is(DiffSpace, "pidf-diff"):
		return nil, &Error{Kind: Foreign, Text: "neither pidf-full nor pidf-diff"}
	case was == nil:
		return nil, &Error{Kind: Invalid, Text: "a change of state that was not published"}
	}
	ops, err := patch.Parse(root)
	if err != nil {
		return nil, err
	}
	return patch.Apply(was, ops)
}

// plain makes a PIDF document of <pidf-full>.
func plain(root *markup.Element, doc []byte) []byte {
	name, declared := "presence", false
	for _, d := range root.Decls {
		if declared = d.Space == Space; declared {
			if d.Prefix != "" {
				name = d.Prefix + ":presence"
			}
			break
		}
	}
	b := append([]byte(nil), doc[:root.Start]...)
	if declared {
		b = append(append(b, '<'), name...)
	} else {
		prefix := freePrefix(root)
		name = prefix + ":presence"
		b = append(append(b, '<'), name...)
		b = markup.AppendAttr(b, "xmlns:"+prefix, Space)
	}
	b = appendDecls(b, root)
	b = append(appendAttrs(b, root), '>')
	b = append(b, doc[root.Inner[0]:root.Inner[1]]...)
	return append(append(append(b, "</"...), name...), '>')
}
