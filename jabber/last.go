package jabber

import (
	"context"
	"strconv"
	"time"
)

// last answers XEP-0012: the server's uptime; for an account that shows its
// presence to the asker, 0 while it has a connected resource (§3). When
// somebody was last seen is not kept.
func (r *request) last(ctx context.Context) {
	if r.set {
		r.refuse("service-unavailable")
		return
	}
	seconds := int64(0)
	switch {
	case r.server():
		seconds = int64(time.Since(r.edge.started) / time.Second)
	case !r.own():
		switch v := r.glance(ctx, r.to); {
		case v == nil:
			r.refuse("forbidden") // XEP-0012 §4
			return
		case len(resources(v)) == 0:
			r.refuse("service-unavailable")
			return
		}
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsLast+"' seconds='"...)
		b = strconv.AppendInt(b, seconds, 10)
		return append(b, "'/>"...)
	})
}
