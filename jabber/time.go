package jabber

import (
	"context"
	"time"
)

// stampFormat is the DateTime profile of XEP-0082.
const stampFormat = "2006-01-02T15:04:05.000Z"

// time answers XEP-0202 for the server.
func (r *request) time(context.Context) {
	if r.set || !r.server() {
		r.refuse("service-unavailable")
		return
	}
	now := time.Now()
	r.result(func(b []byte) []byte {
		b = append(b, "<time xmlns='"+nsTime+"'><tzo>"...)
		b = now.AppendFormat(b, "-07:00")
		b = append(b, "</tzo><utc>"...)
		b = now.UTC().AppendFormat(b, stampFormat)
		return append(b, "</utc></time>"...)
	})
}
