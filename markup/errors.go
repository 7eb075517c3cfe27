package markup

import "strconv"

// ErrorKind sorts the reasons for refusing input, so that each protocol can
// answer with the error its standard names.
type ErrorKind uint8

// The kinds of errors.
const (
	NotWellFormed ErrorKind = iota // XML 1.0 is broken
	BadNamespace                   // Namespaces in XML is broken: an unbound prefix, a reserved name
	Restricted                     // well-formed perhaps, but refused: DTD, entity, comment, instruction
	TooBig                         // beyond a limit of Options
	BadEncoding                    // not UTF-8
	Misplaced                      // well-formed, but text where a stream has only elements
)

var kindNames = [...]string{"not well-formed", "bad namespace", "restricted XML", "too big", "not UTF-8", "misplaced text"}

func (k ErrorKind) String() string { return kindNames[k] }

// SyntaxError says why and where input was refused. Offset counts bytes from
// the start of the source, on streams from the start of the stanza.
type SyntaxError struct {
	Kind   ErrorKind
	Offset int
	Reason string
}

func (e *SyntaxError) Error() string {
	return "markup: " + e.Kind.String() + " at byte " + strconv.Itoa(e.Offset) + ": " + e.Reason
}
