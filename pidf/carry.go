package pidf

import "bytes"

// Carry returns a document that Parse accepted, as its publisher wrote it, with
// only the entity attribute of the root set to entity: clients publish under
// "pres:", with a port, or with what their account dialog happened to hold, and
// watchers compare it with what they subscribed to. native itself is returned
// when nothing has to change; it is never written to. ok is false where the root
// is not found, so that the caller writes the document anew.
func Carry(native []byte, entity string) (out []byte, ok bool) {
	at := rootTag(native)
	if at < 0 {
		return nil, false
	}
	// The element's name, then attributes up to '>' or '/>'.
	i := at + 1
	for i < len(native) && !isBlank(native[i]) && native[i] != '>' && native[i] != '/' {
		i++
	}
	insert := i // after the name
	for {
		for i < len(native) && isBlank(native[i]) {
			i++
		}
		if i >= len(native) {
			return nil, false
		}
		if native[i] == '>' || native[i] == '/' {
			return splice(native, insert, insert, entity, true), true
		}
		name := i
		for i < len(native) && native[i] != '=' && !isBlank(native[i]) {
			i++
		}
		nameEnd := i
		for i < len(native) && (native[i] == '=' || isBlank(native[i])) {
			i++
		}
		if i >= len(native) || native[i] != '"' && native[i] != '\'' {
			return nil, false
		}
		n := bytes.IndexByte(native[i+1:], native[i])
		if n < 0 {
			return nil, false
		}
		if string(native[name:nameEnd]) == "entity" {
			return splice(native, i+1, i+1+n, entity, false), true
		}
		i += n + 2
	}
}

// rootTag finds the '<' of the root, behind declaration, comments and
// instructions; -1 for none. A DTD cannot be there: Parse refuses it.
func rootTag(b []byte) int {
	i := 0
	for {
		n := bytes.IndexByte(b[i:], '<')
		if n < 0 || i+n+1 >= len(b) {
			return -1
		}
		i += n
		var end []byte
		switch {
		case b[i+1] == '?':
			end = []byte("?>")
		case bytes.HasPrefix(b[i:], []byte("<!--")):
			end = []byte("-->")
		case b[i+1] == '!':
			return -1
		default:
			return i
		}
		n = bytes.Index(b[i:], end)
		if n < 0 {
			return -1
		}
		i += n + len(end)
	}
}

// splice replaces b[from:to] by the escaped entity, as a whole attribute if asked.
func splice(b []byte, from, to int, entity string, whole bool) []byte {
	if !whole && string(b[from:to]) == entity {
		return b
	}
	out := make([]byte, 0, len(b)+len(entity)+len(` entity=""`)+16)
	out = append(out, b[:from]...)
	if whole {
		out = append(out, ` entity="`...)
	}
	out = appendEscaped(out, entity)
	if whole {
		out = append(out, '"')
	}
	return append(out, b[to:]...)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
