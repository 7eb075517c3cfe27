package rlmi

import (
	"errors"
	"strconv"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// What Parse takes at most.
const (
	maxBytes = 4 << 20
	maxNodes = 1 << 16
)

// ErrSyntax: well-formed XML that is no list of RFC 4662 §5.1.
var ErrSyntax = errors.New("rlmi: not a resource list's meta-information")

// Parse reads a document as a subscriber does. Elements and attributes of other
// namespaces are skipped. The error is a *markup.SyntaxError or ErrSyntax.
func Parse(src []byte) (*List, error) {
	e, err := markup.Parse(src, markup.Options{MaxBytes: maxBytes, MaxNodes: maxNodes, Document: true})
	if err != nil {
		return nil, err
	}
	if !e.Is(Space, "list") {
		return nil, ErrSyntax
	}
	l := &List{URI: e.Attr("uri"), Names: names(e)}
	version, err := strconv.ParseUint(strings.TrimSpace(e.Attr("version")), 10, 32)
	if err != nil || l.URI == "" {
		return nil, ErrSyntax // RFC 4662 §5.2: three attributes must be there
	}
	l.Version = uint32(version)
	switch strings.TrimSpace(e.Attr("fullState")) { // xs:boolean
	case "true", "1":
		l.Full = true
	case "false", "0":
	default:
		return nil, ErrSyntax
	}
	for c := range e.Children() {
		if !c.Is(Space, "resource") {
			continue
		}
		r := Resource{URI: c.Attr("uri"), Names: names(c)}
		if r.URI == "" {
			return nil, ErrSyntax // §5.3
		}
		for i := range c.Children() {
			if !i.Is(Space, "instance") {
				continue
			}
			in, ok := instance(i)
			if !ok {
				return nil, ErrSyntax
			}
			r.Instances = append(r.Instances, in)
		}
		l.Resources = append(l.Resources, r)
	}
	return l, nil
}

func names(e *markup.Element) (ns []Name) {
	for c := range e.Children() {
		if c.Is(Space, "name") {
			lang, _ := c.LookupAttr(markup.XMLSpace, "lang")
			ns = append(ns, Name{lang, c.Text()})
		}
	}
	return ns
}

// instance reads one; its state must be one of three, and terminated has a
// reason (RFC 4662 §5.5), of which unknown ones are taken as none.
func instance(e *markup.Element) (in Instance, ok bool) {
	id, ok := e.LookupAttr("", "id")
	if !ok {
		return in, false
	}
	in = Instance{ID: id, CID: e.Attr("cid")}
	for s := presence.Active; s <= presence.Terminated; s++ {
		if s.String() == e.Attr("state") {
			in.State = s
		}
	}
	if in.State == presence.Terminated {
		for r := presence.Deactivated; r <= presence.Invariant; r++ {
			if r.String() == e.Attr("reason") {
				in.Reason = r
			}
		}
		if _, has := e.LookupAttr("", "reason"); !has {
			return in, false
		}
	}
	return in, in.State != 0
}
