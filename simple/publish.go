package simple

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"pharos/load"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// defaultPublish is for a PUBLISH without Expires (RFC 3856 §6.4; pjsua sends
// none).
const defaultPublish = time.Hour

// publishTypes are the bodies that PUBLISH takes.
var publishTypes = []string{pidf.Type, "multipart/mixed", "multipart/alternative"}

// publish is RFC 3903 §6.
func (r *request) publish() {
	if _, _, ok := r.event(); !ok { // step 2
		return
	}
	from, ok := r.sender()
	if !ok {
		return
	}
	class := load.Publish
	if r.msg.Body == "" {
		class = load.Refresh
	}
	if !r.enter(class) {
		return
	}
	r.authenticate(from, (*request).publishAs) // step 3
}

// publishAs goes on for an authenticated publisher.
func (r *request) publishAs() {
	if r.who != r.to {
		r.fail(403, "Only The Presentity Publishes Its Presence")
		return
	}
	if r.trusted {
		r.existing(r.to, (*request).publishState)
		return
	}
	r.publishState()
}

func (r *request) publishState() {
	tag, hasTag := r.msg.Get(sip.HSIPIfMatch)
	if hasTag && tag == "" {
		r.fail(400, "Malformed SIP-If-Match")
		return
	}
	lifetime, ok := r.expires(defaultPublish) // step 5
	if !ok {
		return
	}
	switch {
	case r.msg.Body == "" && !hasTag:
		r.fail(400, "Initial PUBLISH Without Body") // RFC 3903 §4.1
	case hasTag && lifetime == 0:
		r.submit(presence.Retract{IfMatch: tag}, 0) // with or without a body
	case r.msg.Body == "":
		r.submit(presence.Publish{IfMatch: tag, NewTag: r.edge.newTag(), Lifetime: lifetime, From: r.source()}, lifetime)
	default:
		r.publishBody(tag, lifetime)
	}
}

// publishBody is an initial or modifying PUBLISH.
//
// The entity attribute of the document is not compared: whose presence it is
// the request-URI says (RFC 3903 §4.1), which has just been proven to be the
// sender's, and clients write there what their account dialog happened to hold
// (pres:, a port, an IP address). Watchers never see it: what is carried to them
// gets the entity that they know (renderPIDF).
func (r *request) publishBody(tag string, lifetime time.Duration) {
	if len(r.msg.Body) > r.edge.limits.Body {
		r.fail(413, "")
		return
	}
	body, ok := r.document()
	if !ok {
		return
	}
	if body == "" {
		r.fail(400, "PUBLISH Without Document")
		return
	}
	native := []byte(body)
	// A payload is never changed, so that the document may be made of its text.
	doc, _, err := pidf.ParseString(unsafe.String(unsafe.SliceData(native), len(native)))
	if err != nil {
		r.refuseDocument(err)
		return
	}
	if lifetime == 0 {
		// Published and gone at once: nobody could have seen it.
		r.published(r.edge.newTag(), 0)
		return
	}
	in := presence.Publish{
		IfMatch: tag, NewTag: r.edge.newTag(), Doc: doc,
		Native:   presence.Payload{Type: pidf.Type, Bytes: native},
		Lifetime: lifetime, From: r.source(),
	}
	if tag == "" {
		in.ID = presence.SourceID{Kind: presence.Publication, Key: in.NewTag}
		if ua, _ := r.msg.Get(sip.HUserAgent); publishesTwice(ua) {
			in.ID.Key = r.onceKey()
		}
	}
	r.submit(in, lifetime)
}

// publishesTwice knows clients that publish anew while their first PUBLISH is
// under way: baresip 1.0.0 does 10 ms after it has registered. It keeps the last
// entity-tag only, so that the other publication would show it online until it
// expires, long after it has gone.
func publishesTwice(userAgent string) bool { return isBaresip(userAgent) }

// onceKey is the same for an initial publication and its repetition: the same
// bytes over the same flow. The repetition then takes the place of the first.
func (r *request) onceKey() string {
	h := sha256.New()
	h.Write([]byte(r.flow.Token()))
	h.Write([]byte{0})
	h.Write([]byte(r.msg.Body))
	return "once." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// refuseDocument says what is wrong with a document: in the status line, where
// people look first, and in a Warning (RFC 3261 §20.43).
func (r *request) refuseDocument(err error) {
	var bad *pidf.Error
	if !errors.As(err, &bad) {
		r.fail(400, "Malformed Document")
		return
	}
	header := r.edge.warning(nil, r.flow, bad.Error())
	switch bad.Kind {
	case pidf.TooBig:
		r.reply(413, "", header)
	case pidf.Foreign:
		r.reply(415, "", sip.AppendList(header, sip.HAccept, publishTypes...))
	default:
		r.reply(400, phrase("Bad Document: "+clip(bad.Text, 100)), header)
	}
}

// phrase makes text fit for a status line: a document's own words may be in it.
func phrase(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7F || c == utf8.RuneError {
			return ' '
		}
		return c
	}, s)
}

// submit hands a publication to the presentity; the answer follows the commit.
func (r *request) submit(in presence.Input, lifetime time.Duration) {
	err := r.edge.engine.Submit(r.to, in, func(out presence.Outcome, err error) {
		if err != nil {
			r.failed(err)
			return
		}
		if out.Lifetime > 0 && lifetime > 0 {
			lifetime = min(lifetime, out.Lifetime)
		}
		if out.Tag == "" {
			out.Tag = r.edge.newTag() // of a removal; step 7 asks for one in every 2xx
		}
		r.published(out.Tag, lifetime)
	})
	if err != nil {
		r.failed(err)
	}
}

func (r *request) published(tag string, lifetime time.Duration) {
	b := make([]byte, 0, 64)
	b = sip.AppendHeader(b, sip.HSIPETag, tag)
	b = sip.AppendNumber(b, sip.HExpires, seconds(lifetime))
	r.reply(200, "", b)
}
