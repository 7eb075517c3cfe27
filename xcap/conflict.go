package xcap

import (
	"fmt"
	"net/http"
	"time"

	"pharos/markup"
)

// failure is an answer other than success.
type failure struct {
	status   int
	text     string
	allow    string        // Allow of 405
	accept   string        // Accept of 415
	retry    time.Duration // Retry-After
	conflict *conflict     // body of 409
}

func (f *failure) Error() string { return "xcap: " + f.text }

func say(status int, format string, args ...any) *failure {
	return &failure{status: status, text: fmt.Sprintf(format, args...)}
}

func notAllowed(allow, text string) *failure {
	return &failure{status: http.StatusMethodNotAllowed, allow: allow, text: text}
}

// ErrorSpace is the namespace of detailed conflict reports (RFC 4825 §11).
const ErrorSpace = "urn:ietf:params:xml:ns:xcap-error"

// conflict is a detailed conflict report (RFC 4825 §11.1).
type conflict struct {
	condition string // name of its element
	phrase    string // for people
	ancestor  string // no-parent: URI of the closest parent that is there
	exists    []exists
}

// exists is one value that is not unique.
type exists struct {
	field string // selector of it within the document, percent-encoded
	alt   []string
}

// The conditions of RFC 4825 §11.1. Its <extension> is for extensions to XCAP,
// of which this server has none.
const (
	notWellFormed     = "not-well-formed"
	notXMLFrag        = "not-xml-frag"
	noParent          = "no-parent"
	schemaError       = "schema-validation-error"
	notAttValue       = "not-xml-att-value"
	cannotInsert      = "cannot-insert"
	cannotDelete      = "cannot-delete"
	uniquenessFailure = "uniqueness-failure"
	constraintFailure = "constraint-failure"
	notUTF8           = "not-utf-8"
)

func conflictf(condition, format string, args ...any) *failure {
	return reported(&conflict{condition: condition, phrase: fmt.Sprintf(format, args...)})
}

func reported(c *conflict) *failure {
	return &failure{status: http.StatusConflict, text: c.condition + ": " + c.phrase, conflict: c}
}

// append writes the report.
func (c *conflict) append(b []byte) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<xcap-error xmlns=\""+ErrorSpace+"\">\n  <"...)
	b = append(b, c.condition...)
	if c.phrase != "" {
		b = markup.AppendAttr(b, "phrase", c.phrase)
	}
	if c.ancestor == "" && len(c.exists) == 0 {
		return append(b, "/>\n</xcap-error>\n"...)
	}
	b = append(b, '>')
	if c.ancestor != "" {
		b = append(b, "\n    <ancestor>"...)
		b = markup.AppendText(b, c.ancestor)
		b = append(b, "</ancestor>"...)
	}
	for _, x := range c.exists {
		b = append(b, "\n    <exists"...)
		b = markup.AppendAttr(b, "field", x.field)
		if len(x.alt) == 0 {
			b = append(b, "/>"...)
			continue
		}
		b = append(b, '>')
		for _, v := range x.alt {
			b = append(b, "\n      <alt-value>"...)
			b = markup.AppendText(b, v)
			b = append(b, "</alt-value>"...)
		}
		b = append(b, "\n    </exists>"...)
	}
	b = append(b, "\n  </"...)
	b = append(b, c.condition...)
	return append(b, ">\n</xcap-error>\n"...)
}
