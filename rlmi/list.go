// Package rlmi writes and reads the state of a resource list: the
// meta-information document (RFC 4662 §5) and the multipart/related body that it
// is the root of.
package rlmi

import (
	"strconv"

	"pharos/markup"
	"pharos/presence"
)

// Type is the media type of the document, Space its namespace (RFC 4662 §5.1, §8.3).
const (
	Type  = "application/rlmi+xml"
	Space = "urn:ietf:params:xml:ns:rlmi"
)

// List is the meta-information of one notification (RFC 4662 §5.2).
type List struct {
	URI       string // of the list: what was subscribed to
	Version   uint32 // 0 in the first notification, one more in each that follows
	Full      bool   // every resource of the list is in Resources
	Names     []Name
	Resources []Resource
}

// Name is for people (RFC 4662 §5.4); Lang "" for none.
type Name struct{ Lang, Text string }

// Resource is one member (RFC 4662 §5.3). Without an instance nothing is known
// of its state.
type Resource struct {
	URI       string
	Names     []Name
	Instances []Instance
}

// Instance is the virtual subscription to one notifier of a resource (RFC 4662
// §5.5).
type Instance struct {
	ID     string // unique within the resource, and stable
	State  presence.State
	Reason presence.Reason // with Terminated
	CID    string          // Content-ID of the part with the state, without angle brackets; "" for none
}

// Append writes l as an XML document. Language tags are written as they are.
func Append(dst []byte, l *List) []byte {
	dst = append(dst, `<?xml version="1.0" encoding="UTF-8"?>`+"\r\n"+`<list xmlns="`+Space+`"`...)
	dst = appendAttr(dst, "uri", l.URI)
	dst = append(dst, ` version="`...)
	dst = strconv.AppendUint(dst, uint64(l.Version), 10)
	dst = append(dst, `" fullState="`...)
	dst = strconv.AppendBool(dst, l.Full)
	dst = append(dst, '"', '>')
	dst = appendNames(dst, l.Names)
	for i := range l.Resources {
		dst = appendResource(dst, &l.Resources[i])
	}
	return append(dst, "</list>"...)
}

func appendNames(dst []byte, names []Name) []byte {
	for _, n := range names {
		dst = append(dst, "<name"...)
		if n.Lang != "" {
			dst = appendAttr(dst, "xml:lang", n.Lang)
		}
		dst = append(dst, '>')
		dst = markup.AppendText(dst, n.Text)
		dst = append(dst, "</name>"...)
	}
	return dst
}

func appendResource(dst []byte, r *Resource) []byte {
	dst = append(dst, "\r\n<resource"...)
	dst = appendAttr(dst, "uri", r.URI)
	if len(r.Names) == 0 && len(r.Instances) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = appendNames(dst, r.Names)
	for i := range r.Instances {
		in := &r.Instances[i]
		dst = append(dst, "<instance"...)
		dst = appendAttr(dst, "id", in.ID)
		dst = append(dst, ` state="`...)
		dst = append(dst, in.State.String()...)
		dst = append(dst, '"')
		if in.State == presence.Terminated {
			dst = appendAttr(dst, "reason", reason(in.Reason))
		}
		if in.CID != "" {
			dst = appendAttr(dst, "cid", in.CID)
		}
		dst = append(dst, "/>"...)
	}
	return append(dst, "</resource>"...)
}

// appendAttr writes an attribute in double quotes, which markup's are not and
// which the examples have: phones may look for text. It escapes both.
func appendAttr(dst []byte, name, value string) []byte {
	at := len(dst) + len(name) + 2
	dst = markup.AppendAttr(dst, name, value)
	dst[at], dst[len(dst)-1] = '"', '"'
	return dst
}

// reason is never empty: with terminated it must be there (RFC 4662 §5.5).
func reason(r presence.Reason) string {
	if r == presence.NoReason {
		r = presence.NoResource
	}
	return r.String()
}
