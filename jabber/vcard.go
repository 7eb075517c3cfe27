package jabber

import (
	"context"
	"errors"
	"strings"

	"pharos/load"
	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
)

// vcardUsage and vcardPath name the document of a vCard. The photo is not in it
// but where pictures are, see avatar.
const (
	vcardUsage = "vcard-temp"
	vcardPath  = "vcard"
)

// vcard answers vcard-temp (XEP-0054). For those who may not see it, where there is
// none, and where nobody is, the answer is the same (§3.3).
func (r *request) vcard(ctx context.Context) {
	switch {
	case r.server():
		r.refuse("service-unavailable")
	case !r.own() && r.set:
		r.refuse("forbidden")
	case r.set:
		r.setVCard(ctx)
	default:
		r.getVCard(ctx)
	}
}

func (r *request) getVCard(ctx context.Context) {
	text, picture := r.own(), r.own()
	if !r.own() {
		x, err := r.edge.c.Engine.Explain(ctx, r.to, r.user.entity)
		if err != nil {
			r.failed("vCard not decided", err)
			return
		}
		// Rules know nothing of vCards: who is shown less than everything is
		// not shown the text.
		text = x.Decision.Class == presence.Class{Handling: presence.Allow}
		if text {
			picture = true
		} else if x.Decision.Class.Handling == presence.Allow {
			_, err := r.readable(ctx, nodeAvatarData)
			picture = err == nil
		}
	}
	b, err := r.edge.appendVCard(ctx, r.to, text, picture)
	switch {
	case err != nil:
		r.failed("vCard not read", err)
	case b == nil && r.own():
		r.refuse("item-not-found")
	case b == nil:
		r.refuse("service-unavailable")
	default:
		r.result(func(out []byte) []byte { return append(out, b...) })
	}
}

// appendVCard writes a user's vCard as far as it is asked for; nil where nothing is.
func (e *Edge) appendVCard(ctx context.Context, u presence.Entity, text, picture bool) ([]byte, error) {
	var card *markup.Element
	if text {
		d, err := e.c.Documents.Get(ctx, xdm.Name{AUID: vcardUsage, User: u, Path: vcardPath})
		if err == nil {
			card, err = markup.Parse(d.Body, markup.Options{MaxBytes: 2 * MaxVCard})
		}
		if err != nil && !errors.Is(err, xdm.ErrNotFound) {
			return nil, err
		}
	}
	var a avatar
	if picture {
		var err error
		if a, err = e.avatar(ctx, u); err != nil {
			return nil, err
		}
	}
	if card == nil && a.hash == "" {
		return nil, nil
	}
	b := []byte("<vCard xmlns='" + nsVCard + "'>")
	if card != nil {
		b = card.AppendInner(b, nsVCard)
	}
	if a.hash != "" && card.Child(nsVCard, "PHOTO") == nil {
		b = append(markup.AppendText(append(b, "<PHOTO><TYPE>"...), a.typ), "</TYPE><BINVAL>"...)
		b = append(append(b, a.base64()...), "</BINVAL></PHOTO>"...)
	}
	return append(b, "</vCard>"...), nil
}

// setVCard stores the user's own vCard; its photo becomes the user's picture
// (XEP-0398 §4.2), and one without has none.
func (r *request) setVCard(ctx context.Context) {
	if !r.edge.enter(load.Publish) {
		r.refuse("resource-constraint")
		return
	}
	body := []byte("<vCard xmlns='" + nsVCard + "'>")
	empty := len(body)
	var a avatar
	linked := false
	for c := range r.child.Children() {
		if c.Is(nsVCard, "PHOTO") && c.Child(nsVCard, "EXTVAL") == nil {
			value := c.Child(nsVCard, "BINVAL")
			if value == nil || strings.TrimSpace(value.Text()) == "" {
				continue
			}
			var ok bool
			if a, ok = newAvatar(pictureType(c), value.Text()); !ok {
				r.refuse("bad-request")
				return
			}
			continue
		}
		linked = linked || c.Is(nsVCard, "PHOTO")
		body = c.Append(body, nsVCard)
	}
	if len(body) > MaxVCard {
		r.refuse("not-acceptable")
		return
	}
	if len(body) == empty {
		body = nil
	} else {
		body = append(body, "</vCard>"...)
	}
	u, e := r.user.entity, r.edge
	release := e.pepLock(u)
	defer release()
	_, _, err := e.c.Documents.Update(ctx, xdm.Name{AUID: vcardUsage, User: u, Path: vcardPath}, func(*xdm.Document) ([]byte, error) { return body, nil })
	if err == nil && !linked {
		err = e.setAvatar(ctx, u, a, r.full)
	}
	var pe *pubsubError
	switch {
	case errors.As(err, &pe) || errors.Is(err, xdm.ErrTooMany) || errors.Is(err, xdm.ErrTooLarge):
		r.refuse("resource-constraint")
	case err != nil:
		r.failed("vCard not written", err)
	default:
		r.result(nil)
	}
}

// pictureType is the media type of a photo; clients that leave it out send PNG.
func pictureType(photo *markup.Element) string {
	if t := strings.TrimSpace(photo.Child(nsVCard, "TYPE").Text()); strings.HasPrefix(strings.ToLower(t), "image/") {
		return t
	}
	return "image/png"
}
