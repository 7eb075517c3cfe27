package jabber

import "context"

// vcard answers vcard-temp (XEP-0054): there is none of anybody. For others
// the answer does not tell whether the account exists (§3.3).
func (r *request) vcard(context.Context) {
	if r.own() && !r.set {
		r.refuse("item-not-found")
		return
	}
	r.refuse("service-unavailable")
}
