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

// The conditions of RFC 5261 §5.1 that we have a use for.
const (
	InvalidAttributeValue  = "invalid-attribute-value" // of sel, pos, type or ws
	InvalidDiffFormat      = "invalid-diff-format"
	InvalidNamespacePrefix = "invalid-namespace-prefix"
	InvalidNamespaceURI    = "invalid-namespace-uri"
	InvalidNodeTypes       = "invalid-node-types"
	InvalidPatchDirective  = "invalid-patch-directive"
	InvalidRootElement     = "invalid-root-element-operation"
	InvalidWhitespace      = "invalid-whitespace-directive"
	UnlocatedNode          = "unlocated-node"
)

// MaxOps of one patch: the document is read anew for each.
const MaxOps = 256

// ErrTooFar: the documents differ in so much that a patch is no help.
var ErrTooFar = errors.New("patch: the documents differ too much")
