package xmpp

import "pharos/markup"

// Namespaces of RFC 6120, RFC 3921 and RFC 7395.
const (
	NSClient   = "jabber:client"
	NSStreams  = "http://etherx.jabber.org/streams"
	NSTLS      = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	NSSession  = "urn:ietf:params:xml:ns:xmpp-session"
	NSStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsStreams  = "urn:ietf:params:xml:ns:xmpp-streams"
	nsFraming  = "urn:ietf:params:xml:ns:xmpp-framing"
	nsBindings = "urn:xmpp:sasl-cb:0"
)

// stanzaErrors holds the conditions of RFC 6120 §8.3.3 with the type that each
// has unless a protocol says otherwise.
var stanzaErrors = map[string]string{
	"bad-request":             "modify",
	"conflict":                "cancel",
	"feature-not-implemented": "cancel",
	"forbidden":               "auth",
	"gone":                    "cancel",
	"internal-server-error":   "cancel",
	"item-not-found":          "cancel",
	"jid-malformed":           "modify",
	"not-acceptable":          "modify",
	"not-allowed":             "cancel",
	"not-authorized":          "auth",
	"policy-violation":        "modify",
	"recipient-unavailable":   "wait",
	"redirect":                "modify",
	"registration-required":   "auth",
	"remote-server-not-found": "cancel",
	"remote-server-timeout":   "wait",
	"resource-constraint":     "wait",
	"service-unavailable":     "cancel",
	"subscription-required":   "auth",
	"undefined-condition":     "modify",
	"unexpected-request":      "wait",
}

// IsStanza tells whether el is a message, presence or iq of a client.
func IsStanza(el *markup.Element) bool {
	return el != nil && el.Space == NSClient && (el.Local == "message" || el.Local == "presence" || el.Local == "iq")
}

// AppendError appends an error reply to stanza in (RFC 6120 §8.3): addresses
// swapped, id kept, condition with its default type. from and to are the
// addresses of the reply; "" takes them from in. What in carried is not
// repeated. Returns dst unchanged for a stanza of type error and for an iq of
// type result, which are never answered, and for what is no stanza.
func AppendError(dst []byte, in *markup.Element, from, to string, condition, text string) []byte {
	return AppendErrorWith(dst, in, from, to, StanzaError{Condition: condition, Text: text})
}

// StanzaError is the content of an error reply.
type StanzaError struct {
	Type      string // auth, cancel, continue, modify or wait; "" for the condition's default
	Condition string // one of RFC 6120 §8.3.3; an unknown one becomes undefined-condition
	Text      string // in English, or ""
	App       string // an application-specific condition as XML, or "" (RFC 6120 §8.3.4)
}

// AppendErrorWith is AppendError for an error with all that it may have.
func AppendErrorWith(dst []byte, in *markup.Element, from, to string, e StanzaError) []byte {
	typ := in.Attr("type")
	if !IsStanza(in) || typ == "error" || in.Local == "iq" && typ == "result" {
		return dst
	}
	if from == "" {
		from = in.Attr("to")
	}
	if to == "" {
		to = in.Attr("from")
	}
	dst = append(append(dst, '<'), in.Local...)
	for _, a := range [...]struct{ name, value string }{{"from", from}, {"to", to}, {"id", in.Attr("id")}} {
		if a.value != "" {
			dst = markup.AppendAttr(dst, a.name, a.value)
		}
	}
	dst = append(dst, " type='error'>"...)
	dst = e.Append(dst)
	dst = append(append(dst, "</"...), in.Local...)
	return append(dst, '>')
}

// Append writes the <error/> element.
func (e StanzaError) Append(dst []byte) []byte {
	typ, known := stanzaErrors[e.Condition]
	if !known {
		e.Condition, typ = "undefined-condition", stanzaErrors["undefined-condition"]
	}
	if e.Type != "" {
		typ = e.Type
	}
	dst = append(dst, "<error"...)
	dst = append(markup.AppendAttr(dst, "type", typ), '>')
	dst = appendCondition(dst, e.Condition, NSStanzas, "")
	dst = appendErrorText(dst, e.Text, NSStanzas)
	return append(append(dst, e.App...), "</error>"...)
}

// appendCondition writes a defined condition, with its content where it has one.
func appendCondition(dst []byte, condition, space, content string) []byte {
	dst = append(append(dst, '<'), condition...)
	dst = markup.AppendAttr(dst, "xmlns", space)
	if content == "" {
		return append(dst, "/>"...)
	}
	dst = markup.AppendText(append(dst, '>'), content)
	dst = append(append(dst, "</"...), condition...)
	return append(dst, '>')
}

func appendErrorText(dst []byte, text, space string) []byte {
	if text == "" {
		return dst
	}
	dst = append(dst, "<text"...)
	dst = append(markup.AppendAttr(dst, "xmlns", space), " xml:lang='en'>"...)
	return append(markup.AppendText(dst, text), "</text>"...)
}
