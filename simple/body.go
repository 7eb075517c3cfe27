package simple

import (
	"errors"
	"strings"

	"pharos/pidf"
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

// document is the presence document of a PUBLISH (RFC 3903 §6 step 6), which may
// stand in a multipart body (RFC 5621 §4.2); empty where all that is there may be
// ignored. ok is false when the request has been answered.
func (r *request) document() (doc string, ok bool) {
	if r.encoded() {
		return "", false
	}
	t, _, err := r.msg.ContentType()
	if _, has := r.msg.Get(sip.HContentDisposition); err == nil && !has && t.Is(pidf.Type) {
		return r.msg.Body, true
	}
	parts, err := r.msg.Parts()
	if errors.Is(err, sip.ErrBody) {
		r.fail(400, "Malformed Multipart Body")
		return "", false
	}
	if err != nil {
		return "", r.unsupported()
	}
	for i := 0; i < len(parts); i++ {
		p := &parts[i]
		for p.Alternative != 0 && i+1 < len(parts) && parts[i+1].Alternative == p.Alternative {
			i++
			if isDocument(&parts[i]) || !isDocument(p) {
				p = &parts[i] // the last that is understood (RFC 5621 §6.1)
			}
		}
		switch {
		case !isDocument(p) && p.Optional:
		case !isDocument(p):
			return "", r.unsupported() // RFC 5621 §8.4
		case doc != "":
			r.fail(400, "More Than One Document")
			return "", false
		default:
			doc = p.Body
		}
	}
	return doc, true
}

// isDocument reports a presence document that is to be taken as such: render is
// the disposition of all that has none (RFC 3261 §20.11).
func isDocument(p *sip.Part) bool {
	return p.Type.Is(pidf.Type) && !p.Encoded && (p.Disposition == "render" || p.Disposition == "inline")
}

func (r *request) unsupported() bool {
	r.reply(415, "", sip.AppendList(nil, sip.HAccept, publishTypes...))
	return false
}
