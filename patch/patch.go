// Package patch is RFC 5261: changes of an XML document as a list of add, replace
// and remove operations with XPath selectors; made from two documents, and applied to one.
package patch

import (
	"errors"

	"pharos/markup"
)

// Op is one operation.
type Op struct {
	Kind    Kind
	Sel     string        // as written
	Pos     string        // add: "", "before", "after", "prepend"
	Type    string        // add: "@name" or "namespace::prefix"; else ""
	WS      string        // remove: "", "before", "after", "both"
	Content string        // of add and replace, as written, standing alone where scope's declarations hold
	Scope   []markup.Decl // namespaces in force at the operation, for Sel and Content
}

// Kind of an operation.
type Kind uint8

const (
	Add Kind = iota + 1
	Replace
	Remove
)

// Error is one of RFC 5261 §5's conditions.
type Error struct {
	Condition string // "unlocated-node", "invalid-patch-directive", ...
	Text      string
}

func (e *Error) Error() string { return "patch: " + e.Condition + ": " + e.Text }

// ErrTooFar: the documents differ in so much that a patch is no help.
var ErrTooFar = errors.New("patch: the documents differ too much")

// Apply makes all of ops in order, and returns the new document; doc is not
// changed. What no operation names stays byte for byte. The error is an *Error or a *markup.SyntaxError.
func Apply(doc []byte, ops []Op) ([]byte, error) { panic("contract") }

// Diff returns operations that make now of was: equal after Apply but for white
// space between elements, comments, and the order of attributes.
func Diff(was, now []byte) ([]Op, error) { panic("contract") }

// Parse reads the operations that are children of root (RFC 5261 §4); elements
// named add, replace and remove whatever their namespace.
func Parse(root *markup.Element) ([]Op, error) { panic("contract") }

// Append writes ops as elements in the default namespace in force.
func Append(b []byte, ops []Op) []byte { panic("contract") }
