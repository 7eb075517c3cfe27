package simple

import (
	"errors"
	"slices"
	"strings"

	"pharos/sip"
)

// bodiless refuses a body in a request that has no use for one, unless it may be
// ignored (RFC 3261 §8.2.3): a watcher whose filter is not applied, for one, has
// to know. What OPTIONS carries is ignored: it is mostly a keep-alive.
func (r *request) bodiless() bool {
	parts, err := r.msg.Parts()
	for i := range parts {
		if !parts[i].Optional {
			err = errors.New("unwanted")
		}
	}
	if err != nil {
		r.reply(415, "", []byte("Accept: \r\n")) // RFC 3261 §20.1: empty is none at all
	}
	return err == nil
}

// multiparts are the bodies made of several that are taken apart (RFC 5621 §4.2).
var multiparts = []string{"multipart/mixed", "multipart/alternative"}

// keptBody reads the body of a SUBSCRIBE, and returns what the package keeps of
// it; there is false without one. ok is false when the request has been answered.
func (r *request) keptBody(pkg *eventPackage) (kept string, there, ok bool) {
	if r.msg.Body == "" {
		return "", false, true
	}
	if pkg.take == nil {
		return "", false, r.bodiless()
	}
	if len(r.msg.Body) > r.edge.limits.Body && pkg.members == nil { // a list may be as large as a message
		r.fail(413, "")
		return "", false, false
	}
	parts, err := r.understood(pkg.taken)
	if err != nil {
		if errors.Is(err, sip.ErrBody) {
			r.fail(400, "Malformed Multipart Body")
		} else {
			r.reply(415, "", sip.AppendList(nil, sip.HAccept, append(slices.Clone(pkg.takes), multiparts...)...))
		}
		return "", false, false
	}
	if len(parts) == 0 {
		return "", false, true
	}
	kept, ok = pkg.take(r, parts)
	if ok && len(kept) > r.edge.limits.Body && pkg.members == nil {
		r.fail(413, "")
		ok = false
	}
	return kept, ok, ok
}

// taken tells whether a body of SUBSCRIBE is one that the package reads.
func (p *eventPackage) taken(part *sip.Part) bool { return slices.ContainsFunc(p.takes, part.Type.Is) }

// errUnwanted: a body part that is not understood and may not be ignored.
var errUnwanted = errors.New("simple: a body part that is not understood")

// understood takes a body apart: those parts that are wanted, without what may
// be ignored, of alternatives the last one wanted (RFC 5621 §6.1). The error is
// sip.ErrBody, sip.ErrHeader or errUnwanted (RFC 5621 §8.4).
func (r *request) understood(wanted func(*sip.Part) bool) ([]sip.Part, error) {
	parts, err := r.msg.Parts()
	if err != nil {
		return nil, err
	}
	n := 0
	for i := 0; i < len(parts); i++ {
		p := &parts[i]
		for p.Alternative != 0 && i+1 < len(parts) && parts[i+1].Alternative == p.Alternative {
			i++
			if wanted(&parts[i]) || !wanted(p) {
				p = &parts[i]
			}
		}
		switch {
		case wanted(p):
			parts[n] = *p
			n++
		case !p.Optional:
			return nil, errUnwanted
		}
	}
	return parts[:n], nil
}

// encoded reports a Content-Encoding that would have to be undone, and answers
// that we undo none (RFC 3261 §8.2.3).
func (r *request) encoded() bool {
	enc, has := r.msg.Get(sip.HContentEncoding)
	if !has || enc == "" || strings.EqualFold(enc, "identity") {
		return false
	}
	r.reply(415, "", []byte("Accept-Encoding: identity\r\n"))
	return true
}

// document is the document of a PUBLISH (RFC 3903 §6 step 6), which may stand in
// a multipart body (RFC 5621 §4.2); empty where all that is there may be ignored.
// ok is false when the request has been answered.
func (r *request) document(p *publishing) (mediaType, doc string, ok bool) {
	if r.encoded() {
		return "", "", false
	}
	t, _, err := r.msg.ContentType()
	if _, has := r.msg.Get(sip.HContentDisposition); err == nil && !has {
		if name := p.reads(t); name != "" {
			return name, r.msg.Body, true
		}
	}
	parts, err := r.understood(p.document)
	switch {
	case errors.Is(err, sip.ErrBody):
		r.fail(400, "Malformed Multipart Body")
	case err != nil:
		r.reply(415, "", sip.AppendList(nil, sip.HAccept, p.accepted()...))
	case len(parts) > 1:
		r.fail(400, "More Than One Document")
	case len(parts) == 0:
		return "", "", true
	default:
		return p.reads(parts[0].Type), parts[0].Body, true
	}
	return "", "", false
}

// reads is the name of a type that is read; empty: it is not.
func (p *publishing) reads(t sip.MediaType) string {
	for _, name := range p.types {
		if t.Is(name) {
			return name
		}
	}
	return ""
}

// document reports a part that is to be taken as the document: render is the
// disposition of all that has none (RFC 3261 §20.11).
func (p *publishing) document(part *sip.Part) bool {
	return p.reads(part.Type) != "" && !part.Encoded && (part.Disposition == "render" || part.Disposition == "inline")
}

// accepted is for the Accept of a 415.
func (p *publishing) accepted() []string { return append(slices.Clone(p.types), multiparts...) }
