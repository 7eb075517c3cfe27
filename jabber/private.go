package jabber

import (
	"context"
	"errors"
	"strings"

	"pharos/load"
	"pharos/markup"
	"pharos/xdm"
)

const (
	nsPrivate    = "jabber:iq:private"
	privateUsage = "private"
)

// private answers private XML storage (XEP-0049): one document for each element
// that clients keep.
func (r *request) private(ctx context.Context) {
	if !r.own() {
		r.refuse("forbidden") // XEP-0049 §2.4
		return
	}
	var what []*markup.Element
	for c := range r.child.Children() {
		what = append(what, c)
	}
	switch {
	case len(what) == 0 || !r.set && len(what) > 1 || len(what) > MaxPrivate:
		r.refuse("not-acceptable")
		return
	case r.set && !r.edge.enter(load.Publish):
		r.refuse("resource-constraint")
		return
	}
	for _, c := range what {
		// XEP-0049 §2.4: elements of reserved namespaces are not kept.
		if c.Space == "" || strings.HasPrefix(c.Space, "jabber:") || c.Space == nsVCard || len(c.Space)+len(c.Local) > MaxNodeName {
			r.refuse("not-acceptable")
			return
		}
	}
	if !r.set {
		r.getPrivate(ctx, what[0])
		return
	}
	for _, c := range what {
		body := c.Append(nil, "")
		_, _, err := r.edge.c.Documents.Update(ctx, r.privateName(c), func(*xdm.Document) ([]byte, error) { return body, nil })
		switch {
		case errors.Is(err, xdm.ErrTooMany), errors.Is(err, xdm.ErrTooLarge):
			r.refuse("resource-constraint")
			return
		case err != nil:
			r.failed("private element not written", err)
			return
		}
	}
	r.result(nil)
}

func (r *request) privateName(c *markup.Element) xdm.Name {
	return xdm.Name{AUID: privateUsage, User: r.user.entity, Path: nodePath(c.Space + " " + c.Local)}
}

// getPrivate answers with the element as it is kept, or as it was asked for.
func (r *request) getPrivate(ctx context.Context, what *markup.Element) {
	kept := what.Append(nil, nsPrivate)
	d, err := r.edge.c.Documents.Get(ctx, r.privateName(what))
	if err == nil {
		kept = d.Body
	} else if !errors.Is(err, xdm.ErrNotFound) {
		r.failed("private element not read", err)
		return
	}
	r.result(func(b []byte) []byte {
		b = append(append(b, "<query xmlns='"+nsPrivate+"'>"...), kept...)
		return append(b, "</query>"...)
	})
}
