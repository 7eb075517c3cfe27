package jabber

import "context"

// ping answers XEP-0199 for the server and the user's own account.
func (r *request) ping(context.Context) {
	if r.set || !r.server() && !r.own() {
		r.refuse("service-unavailable")
		return
	}
	r.result(nil)
}
