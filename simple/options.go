package simple

import (
	"slices"

	"pharos/sip"
)

// options answers what we can do (RFC 3261 §11.2). It needs no proof of
// identity, since front proxies and PBXes use it as a keep-alive, and so tells
// nothing about any user.
func (r *request) options() {
	if !r.edge.ours(r.uri.Host) && !r.edge.here(r.uri.Host, r.flow) {
		r.fail(404, "Domain not served here")
		return
	}
	b := make([]byte, 0, 256)
	b = append(b, allow...)
	b = sip.AppendList(b, sip.HAccept, slices.Concat(publishTypes, subscribeTypes, []string{plainText})...)
	b = append(b, "Accept-Encoding: identity\r\nAccept-Language: en\r\n"...)
	b = append(b, allowEvents...)
	b = append(b, "Supported: path, outbound, eventlist, recipient-list-subscribe\r\n"...) // RFC 5367 §5
	r.reply(200, "", b)
}
