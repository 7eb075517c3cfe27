package jabber

import (
	"context"

	"pharos/markup"
)

// version answers XEP-0092 for the server.
func (r *request) version(context.Context) {
	if r.set || !r.server() {
		r.refuse("service-unavailable")
		return
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsVersion+"'><name>Pharos</name><version>"...)
		b = markup.AppendText(b, r.edge.c.Version)
		return append(b, "</version></query>"...)
	})
}
