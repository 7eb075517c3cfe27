package sip

import "strings"

// HasPrivacy reports whether the Privacy header asks for a kind of privacy,
// such as "id" (RFC 3323 §4.2, RFC 3325 §9.3). Its values are separated by
// semicolons; commas are taken too.
func (m *Message) HasPrivacy(kind string) bool {
	for line := range m.Lines(HPrivacy) {
		for v := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ';' || r == ',' }) {
			if equalFold(trimBlank(v), kind) {
				return true
			}
		}
	}
	return false
}
