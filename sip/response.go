package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// Response is what the handler decides.
type Response struct {
	Status int
	Reason string // empty: the standard's phrase
	ToTag  string // empty: a stateless-safe one is made by the stack
	Header []byte // further complete header lines, each ending in CRLF; without Content-Length
	Body   []byte // Content-Type must be in Header

	overload string // parameters for the topmost Via
}

// appendResponse builds a response by RFC 3261 §8.2.6 to a request that came
// from src. tag is used where the request's To has none.
func appendResponse(b []byte, req *Message, src netip.AddrPort, r *Response, tag string) []byte {
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	if r.Reason != "" {
		b = append(b, r.Reason...)
	} else {
		b = append(b, ReasonPhrase(r.Status)...)
	}
	b = append(b, "\r\n"...)
	top := true
	for i := range req.headers {
		f := &req.headers[i]
		value := req.raw[f.value:f.valueEnd]
		switch f.id {
		case HVia:
			b = append(b, "Via: "...)
			if top {
				b = appendReceived(b, value, src, r.overload)
				top = false
			} else {
				b = append(b, value...)
			}
			b = append(b, "\r\n"...)
		case HFrom:
			b = appendLine(b, "From: ", value)
		case HTo:
			b = append(b, "To: "...)
			b = append(b, value...)
			if r.Status != 100 && !req.tagged() {
				b = append(b, ";tag="...)
				b = append(b, tag...)
			}
			b = append(b, "\r\n"...)
		case HCallID:
			b = appendLine(b, "Call-ID: ", value)
		case HCSeq:
			b = appendLine(b, "CSeq: ", value)
		case HTimestamp: // §8.2.6.1
			b = appendLine(b, "Timestamp: ", value)
		case HRecordRoute: // §12.1.1
			if r.Status > 100 && r.Status < 300 && createsDialog(req.Method) {
				b = appendLine(b, "Record-Route: ", value)
			}
		}
	}
	b = append(b, r.Header...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, r.Body...)
}

func appendLine(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// createsDialog lists the methods whose 2xx may create a dialog: INVITE,
// SUBSCRIBE (RFC 6665 §4.4.1), REFER (RFC 3515).
func createsDialog(method string) bool {
	return method == "SUBSCRIBE" || method == "INVITE" || method == "REFER" || method == "NOTIFY"
}

// tagged tells whether the To of a request has a tag. That of a request that was
// not understood is only looked at.
func (m *Message) tagged() bool {
	if m.to.URI != "" {
		return m.to.Tag() != ""
	}
	to, _ := m.Get(HTo)
	return strings.Contains(lower(to), ";tag=")
}

// ReasonPhrase is the standard's phrase for a status code (RFC 3261 §21 and the
// IANA registry); for an unknown one the phrase of its class.
func ReasonPhrase(status int) string {
	if s, ok := reasonPhrases[status]; ok {
		return s
	}
	switch status / 100 {
	case 1:
		return "Session Progress"
	case 2:
		return "OK"
	case 3:
		return "Multiple Choices"
	case 4:
		return "Bad Request"
	case 5:
		return "Server Internal Error"
	}
	return "Decline"
}

var reasonPhrases = map[int]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
	183: "Session Progress", 199: "Early Dialog Terminated",
	200: "OK", 202: "Accepted", 204: "No Notification",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily",
	305: "Use Proxy", 380: "Alternative Service",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
	404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
	412: "Conditional Request Failed", 413: "Request Entity Too Large",
	414: "Request-URI Too Long", 415: "Unsupported Media Type",
	416: "Unsupported URI Scheme", 417: "Unknown Resource-Priority",
	420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small",
	423: "Interval Too Brief", 424: "Bad Location Information",
	425: "Bad Alert Message", 428: "Use Identity Header",
	429: "Provide Referrer Identity", 430: "Flow Failed",
	433: "Anonymity Disallowed", 436: "Bad Identity Info",
	437: "Unsupported Credential", 438: "Invalid Identity Header",
	439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded",
	469: "Bad Info Package", 470: "Consent Needed",
	480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
	482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete",
	485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
	493: "Undecipherable", 494: "Security Agreement Required",
	500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
	503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
	513: "Message Too Large", 555: "Push Notification Service Not Supported",
	580: "Precondition Failure",
	600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere",
	606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
}
