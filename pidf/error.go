package pidf

import "fmt"

// Kind says what is wrong with a document, and so what its sender is told.
type Kind uint8

const (
	Malformed Kind = iota + 1 // not well-formed XML, or XML that we refuse (DTD): 400
	Foreign                   // XML, but not a presence document: 415
	Invalid                   // a presence document that says something impossible: 400
	TooBig                    // beyond a bound of this package: 413
)

// Error of Parse. Text is fit for a reason phrase or a Warning.
type Error struct {
	Kind   Kind
	Offset int // byte in the document where it was noticed
	Text   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("pidf: %s, at byte %d", e.Text, e.Offset)
}
