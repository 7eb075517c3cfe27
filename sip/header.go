package sip

// Header names a header field; compact forms map to the same constant. The
// names follow the IANA registry "SIP Header Fields".
type Header uint8

// The header fields that we have a constant for. Other stands for every name
// that we do not know; such fields are read with Message.GetName.
const (
	Other Header = iota
	HAccept
	HAcceptContact
	HAcceptEncoding
	HAcceptLanguage
	HAlertInfo
	HAllow
	HAllowEvents
	HAuthenticationInfo
	HAuthorization
	HCallID
	HCallInfo
	HContact
	HContentDisposition
	HContentEncoding
	HContentID
	HContentLanguage
	HContentLength
	HContentType
	HCSeq
	HDate
	HErrorInfo
	HEvent
	HExpires
	HFrom
	HHistoryInfo
	HIdentity
	HIdentityInfo
	HInReplyTo
	HJoin
	HMIMEVersion
	HMaxBreadth
	HMaxForwards
	HMinExpires
	HMinSE
	HOrganization
	HPAccessNetworkInfo
	HPAssertedIdentity
	HPAssociatedURI
	HPPreferredIdentity
	HPath
	HPriority
	HPrivacy
	HProxyAuthenticate
	HProxyAuthorization
	HProxyRequire
	HRAck
	HRSeq
	HReason
	HRecordRoute
	HReferSub
	HReferTo
	HReferredBy
	HRejectContact
	HReplaces
	HReplyTo
	HRequestDisposition
	HRequire
	HRetryAfter
	HRoute
	HSIPETag
	HSIPIfMatch
	HServer
	HServiceRoute
	HSessionExpires
	HSubject
	HSubscriptionState
	HSupported
	HSuppressIfMatch
	HTargetDialog
	HTimestamp
	HTo
	HUnsupported
	HUserAgent
	HVia
	HWWWAuthenticate
	HWarning
	numHeaders
)

// headerNames holds the registered spelling of each header field, which is
// what we write.
var headerNames = [numHeaders]string{
	HAccept:             "Accept",
	HAcceptContact:      "Accept-Contact",
	HAcceptEncoding:     "Accept-Encoding",
	HAcceptLanguage:     "Accept-Language",
	HAlertInfo:          "Alert-Info",
	HAllow:              "Allow",
	HAllowEvents:        "Allow-Events",
	HAuthenticationInfo: "Authentication-Info",
	HAuthorization:      "Authorization",
	HCallID:             "Call-ID",
	HCallInfo:           "Call-Info",
	HContact:            "Contact",
	HContentDisposition: "Content-Disposition",
	HContentEncoding:    "Content-Encoding",
	HContentID:          "Content-ID",
	HContentLanguage:    "Content-Language",
	HContentLength:      "Content-Length",
	HContentType:        "Content-Type",
	HCSeq:               "CSeq",
	HDate:               "Date",
	HErrorInfo:          "Error-Info",
	HEvent:              "Event",
	HExpires:            "Expires",
	HFrom:               "From",
	HHistoryInfo:        "History-Info",
	HIdentity:           "Identity",
	HIdentityInfo:       "Identity-Info",
	HInReplyTo:          "In-Reply-To",
	HJoin:               "Join",
	HMIMEVersion:        "MIME-Version",
	HMaxBreadth:         "Max-Breadth",
	HMaxForwards:        "Max-Forwards",
	HMinExpires:         "Min-Expires",
	HMinSE:              "Min-SE",
	HOrganization:       "Organization",
	HPAccessNetworkInfo: "P-Access-Network-Info",
	HPAssertedIdentity:  "P-Asserted-Identity",
	HPAssociatedURI:     "P-Associated-URI",
	HPPreferredIdentity: "P-Preferred-Identity",
	HPath:               "Path",
	HPriority:           "Priority",
	HPrivacy:            "Privacy",
	HProxyAuthenticate:  "Proxy-Authenticate",
	HProxyAuthorization: "Proxy-Authorization",
	HProxyRequire:       "Proxy-Require",
	HRAck:               "RAck",
	HRSeq:               "RSeq",
	HReason:             "Reason",
	HRecordRoute:        "Record-Route",
	HReferSub:           "Refer-Sub",
	HReferTo:            "Refer-To",
	HReferredBy:         "Referred-By",
	HRejectContact:      "Reject-Contact",
	HReplaces:           "Replaces",
	HReplyTo:            "Reply-To",
	HRequestDisposition: "Request-Disposition",
	HRequire:            "Require",
	HRetryAfter:         "Retry-After",
	HRoute:              "Route",
	HSIPETag:            "SIP-ETag",
	HSIPIfMatch:         "SIP-If-Match",
	HServer:             "Server",
	HServiceRoute:       "Service-Route",
	HSessionExpires:     "Session-Expires",
	HSubject:            "Subject",
	HSubscriptionState:  "Subscription-State",
	HSupported:          "Supported",
	HSuppressIfMatch:    "Suppress-If-Match",
	HTargetDialog:       "Target-Dialog",
	HTimestamp:          "Timestamp",
	HTo:                 "To",
	HUnsupported:        "Unsupported",
	HUserAgent:          "User-Agent",
	HVia:                "Via",
	HWWWAuthenticate:    "WWW-Authenticate",
	HWarning:            "Warning",
}

// compactForms are all of the IANA registry (RFC 3261 §7.3.3 and later RFCs),
// indexed by letter.
var compactForms = ['z' - 'a' + 1]Header{
	0:         HAcceptContact, // a,
	'b' - 'a': HReferredBy,
	'c' - 'a': HContentType,
	'd' - 'a': HRequestDisposition,
	'e' - 'a': HContentEncoding,
	'f' - 'a': HFrom,
	'i' - 'a': HCallID,
	'j' - 'a': HRejectContact,
	'k' - 'a': HSupported,
	'l' - 'a': HContentLength,
	'm' - 'a': HContact,
	'n' - 'a': HIdentityInfo,
	'o' - 'a': HEvent,
	'r' - 'a': HReferTo,
	's' - 'a': HSubject,
	't' - 'a': HTo,
	'u' - 'a': HAllowEvents,
	'v' - 'a': HVia,
	'x' - 'a': HSessionExpires,
	'y' - 'a': HIdentity,
}

// single marks the header fields that may occur once at most and have one
// value; a second one is 400 (RFC 4475 §3.3.8, RFC 3261 §20 table 2).
var single = [numHeaders]bool{
	HCallID: true, HContentLength: true, HContentType: true, HCSeq: true,
	HDate: true, HEvent: true, HExpires: true, HFrom: true, HMaxForwards: true,
	HMinExpires: true, HSIPETag: true, HSIPIfMatch: true,
	HSubscriptionState: true, HSuppressIfMatch: true, HTo: true,
	HContentDisposition: true, HReferTo: true, HRetryAfter: true,
}

// String is the registered spelling of the header field's name; empty for Other.
func (h Header) String() string {
	if h >= numHeaders {
		return ""
	}
	return headerNames[h]
}

// headerSlots is an open-addressing table from headerHash to constants.
var headerSlots = func() (t [512]Header) {
	for h := Other + 1; h < numHeaders; h++ {
		i := headerHash(headerNames[h])
		for t[i] != Other {
			i = (i + 1) % uint(len(t))
		}
		t[i] = h
	}
	return t
}()

// headerHash mixes length and three letters of a name that is not empty.
func headerHash(name string) uint {
	n := uint(len(name))
	first, mid, last := uint(name[0]|0x20), uint(name[n/2]|0x20), uint(name[n-1]|0x20)
	return (n*37 + first*7 + mid*131 + last*17) % 512
}

// LookupHeader finds the constant for a header name or compact form in any
// case (RFC 3261 §7.3.1); Other when there is none.
func LookupHeader(name string) Header {
	switch len(name) {
	case 0:
		return Other
	case 1:
		if c := name[0] | 0x20; 'a' <= c && c <= 'z' && isAlpha(name[0]) {
			return compactForms[c-'a']
		}
		return Other
	}
	for i := headerHash(name); headerSlots[i] != Other; i = (i + 1) % uint(len(headerSlots)) {
		h := headerSlots[i]
		if full := headerNames[h]; full == name || equalFold(full, name) {
			return h
		}
	}
	return Other
}
