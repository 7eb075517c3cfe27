package xcap

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"pharos/markup"
	"pharos/schema"
	"pharos/xdm"
)

// options bound the parsing of documents. Bodies are bounded before; what is
// stored may have grown by its other face.
func (e *Edge) options() markup.Options { return markup.File }

// put answers PUT (RFC 4825 §8.2).
func (r *request) put() error {
	if err := r.placed(); err != nil {
		return err
	}
	if err := r.contentType(); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, int64(r.edge.Limits.Body)))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return err
		}
		return say(http.StatusBadRequest, "the body did not arrive whole")
	}
	created := false
	_, after, err := r.update(func(old *xdm.Document) ([]byte, error) {
		if old == nil && r.sel.node != nil {
			return nil, r.noDocument()
		}
		if err := r.conditions(old); err != nil {
			return nil, err
		}
		var c change
		var err error
		if r.sel.node == nil {
			c, err = r.wholeDocument(body, old == nil)
		} else {
			c, err = r.putNode(old, body)
		}
		if err != nil {
			return nil, err
		}
		created = c.created
		return r.checked(old, c)
	})
	if err != nil {
		return err
	}
	r.describe(after)
	h := r.w.Header()
	if created {
		h.Set("Location", strings.TrimSuffix(r.root(), r.edge.Root)+r.RequestURI)
		h.Set("Content-Length", "0")
		r.w.WriteHeader(http.StatusCreated)
		return nil
	}
	h.Set("Content-Length", "0") // RFC 4825 §8.2.7: no content
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// delete answers DELETE (RFC 4825 §8.4).
func (r *request) delete() error {
	_, after, err := r.update(func(old *xdm.Document) ([]byte, error) {
		if old == nil {
			return nil, xdm.ErrNotFound
		}
		if err := r.conditions(old); err != nil {
			return nil, err
		}
		if r.sel.node == nil {
			return nil, nil
		}
		c, err := r.deleteNode(old)
		if err != nil {
			return nil, err
		}
		return r.checked(old, c)
	})
	if err != nil {
		return err
	}
	if after != nil {
		r.describe(after)
	}
	r.w.Header().Set("Content-Length", "0")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

func (r *request) update(change func(old *xdm.Document) ([]byte, error)) (before, after *xdm.Document, err error) {
	fn := func(old *xdm.Document) ([]byte, error) {
		leave, err := r.desk()
		if err != nil {
			return nil, err
		}
		defer leave()
		return change(old)
	}
	if r.usage.Serial != nil {
		r.usage.Serial.Lock()
		defer r.usage.Serial.Unlock()
	}
	return r.edge.Documents.Update(r.Context(), r.name(), fn)
}

// change is a document as it would be.
type change struct {
	body    []byte
	root    *markup.Element // of body
	created bool            // the resource was not there
}

// placed checks that a document of this name may be there (RFC 4825 §8.2.1).
func (r *request) placed() error {
	n := r.name()
	dir := ""
	if i := strings.LastIndexByte(n.Path, '/'); i >= 0 {
		dir = n.Path[:i]
	}
	if (r.usage.Directory == nil && dir != "") || (r.usage.Directory != nil && !r.usage.Directory(dir)) {
		home := r.sel.doc
		for range strings.Count(r.sel.path, "/") + 1 {
			home = home[:strings.LastIndexByte(home, '/')]
		}
		return reported(&conflict{condition: noParent, phrase: "there is no such directory for documents of " + r.usage.AUID,
			ancestor: strings.TrimSuffix(r.root(), r.edge.Root) + home + "/"})
	}
	if r.usage.Only != "" && n.Path != r.usage.Only {
		return conflictf(constraintFailure, "the only document of %s is called %s", r.usage.AUID, r.usage.Only)
	}
	return nil
}

// noDocument is the answer to a PUT into a document that is not there.
func (r *request) noDocument() error {
	doc := r.uri()
	return reported(&conflict{condition: noParent, phrase: "there is no such document; PUT the whole of it first",
		ancestor: doc[:strings.LastIndexByte(doc, '/')+1]})
}

// formType is what HTTP libraries put there when nobody says anything: xcaplib
// does for documents.
const formType = "application/x-www-form-urlencoded"

// contentType refuses bodies of other types than the resource's (RFC 4825 §8.2.2).
func (r *request) contentType() error {
	want := r.usage.Type
	if r.sel.node != nil {
		want = elementType
		if r.sel.node.terminal == attribute {
			want = attributeType
		}
	}
	have, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && have == "" {
		have, _, _ = strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	}
	if c := r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return say(http.StatusUnsupportedMediaType, "the content coding %q is not understood", c)
	}
	if r.Header.Get("Content-Range") != "" { // RFC 9110 §14.5
		return say(http.StatusBadRequest, "a document cannot be put in pieces; name an element instead")
	}
	if have == want || have == formType && r.sel.node == nil {
		return nil
	}
	return &failure{status: http.StatusUnsupportedMediaType, accept: want, text: "the Content-Type must be " + want}
}

// wholeDocument reads the body as a document.
func (r *request) wholeDocument(body []byte, created bool) (change, error) {
	if !utf8.Valid(body) {
		return change{}, conflictf(notUTF8, "the document is not UTF-8")
	}
	root, err := markup.Parse(body, r.edge.options())
	if err != nil {
		return change{}, r.malformed(err, notWellFormed, body)
	}
	return change{body, root, created}, nil
}

// malformed finds the answer to XML that cannot be parsed.
func (r *request) malformed(err error, condition string, body []byte) error {
	var s *markup.SyntaxError
	if !errors.As(err, &s) {
		return err
	}
	line := bytes.Count(body[:min(s.Offset, len(body))], []byte("\n")) + 1
	switch s.Kind {
	case markup.TooBig:
		return say(http.StatusRequestEntityTooLarge, "line %d: %s", line, s.Reason)
	case markup.BadEncoding:
		return conflictf(notUTF8, "line %d: %s", line, s.Reason)
	case markup.Restricted:
		if condition == notWellFormed && strings.Contains(s.Reason, "document type") {
			return conflictf(constraintFailure, "line %d: %s is not accepted", line, s.Reason)
		}
	}
	return conflictf(condition, "line %d: %s", line, s.Reason)
}

// again parses a document that was spliced.
func (r *request) again(body []byte) (*markup.Element, error) {
	if len(body) > r.edge.Limits.Body {
		return nil, say(http.StatusRequestEntityTooLarge, "the document would have more than %d octets", r.edge.Limits.Body)
	}
	root, err := markup.Parse(body, r.edge.options())
	if err != nil {
		return nil, r.malformed(err, notWellFormed, body)
	}
	return root, nil
}

// checked validates (RFC 4825 §8.2.5): schema first, then uniqueness, then what else
// the usage asks for. A change that changes nothing keeps the document, and with it its entity-tag.
func (r *request) checked(old *xdm.Document, c change) ([]byte, error) {
	if g := r.usage.Grammar; g != nil {
		if err := g.Check(c.root, c.body); err != nil {
			var s *schema.Error
			if errors.As(err, &s) {
				return nil, conflictf(schemaError, "line %d, %s: %s", s.Line, s.Path, s.Text)
			}
			return nil, err
		}
		if twice := g.Duplicates(c.root); len(twice) > 0 {
			return nil, r.duplicates(c.root, twice)
		}
	}
	if r.usage.Check != nil {
		if err := r.usage.Check(r, c.root, c.body); err != nil {
			return nil, err
		}
	}
	if old != nil && bytes.Equal(old.Body, c.body) {
		return old.Body, nil
	}
	return c.body, nil
}
