package simple

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"pharos/load"
	"pharos/presence"
	"pharos/sip"
)

// publish is RFC 3903 §6.
func (r *request) publish() {
	if !r.findPackage() { // step 2
		return
	}
	class := load.Publish
	if r.msg.Body == "" {
		class = load.Refresh
	}
	if r.pkg.publish.others && r.speaksForItself() {
		if r.enter(class) {
			r.who, _ = entityOf(r.msg.From().URI)
			r.trusted = true
			r.existing(r.to, (*request).publishState)
		}
		return
	}
	from, ok := r.sender()
	if !ok || !r.enter(class) {
		return
	}
	r.authenticate(from, (*request).publishAs) // step 3
}

// speaksForItself tells a trusted PBX's own request from one that a trusted proxy
// has passed on for one of its users: that one has a Via more, and may have the
// user's asserted identity. What From says does not matter then: Asterisk has its
// own address there, Kamailio the presentity's.
func (r *request) speaksForItself() bool {
	_, asserted := r.msg.Get(sip.HPAssertedIdentity)
	return r.edge.believed(r.flow) && r.vias() == 1 && !asserted
}

// publishAs goes on for an authenticated publisher.
func (r *request) publishAs() {
	if r.who != r.to {
		r.fail(403, "Only The Presentity Publishes Its State")
		return
	}
	if r.trusted {
		r.existing(r.to, (*request).publishState)
		return
	}
	r.publishState()
}

func (r *request) publishState() {
	pkg := r.pkg
	tag, hasTag := r.msg.Get(sip.HSIPIfMatch)
	if hasTag && tag == "" {
		r.fail(400, "Malformed SIP-If-Match")
		return
	}
	lifetime, ok := r.expires(pkg.publish.def) // step 5
	if !ok {
		return
	}
	switch {
	case r.msg.Body == "" && !hasTag:
		r.fail(400, "Initial PUBLISH Without Body") // RFC 3903 §4.1
	case hasTag && lifetime == 0:
		r.submit(presence.Retract{IfMatch: tag, Package: pkg.key}, 0) // with or without a body
	case r.msg.Body == "":
		r.submit(presence.Publish{IfMatch: tag, NewTag: r.edge.newTag(), Lifetime: lifetime,
			From: r.source(), Package: pkg.key}, lifetime)
	default:
		r.publishBody(pkg, tag, lifetime)
	}
}

// publishBody is an initial or modifying PUBLISH.
func (r *request) publishBody(pkg *eventPackage, tag string, lifetime time.Duration) {
	if len(r.msg.Body) > r.edge.limits.Body {
		r.fail(413, "")
		return
	}
	mediaType, body, ok := r.document(pkg.publish)
	if !ok {
		return
	}
	if body == "" {
		r.fail(400, "PUBLISH Without Document")
		return
	}
	p := &publication{tag: tag, mediaType: mediaType, body: []byte(body), lifetime: lifetime}
	pkg.publish.read(r, p, func() { r.submitDocument(pkg, p) })
}

// submitDocument publishes what has been read.
func (r *request) submitDocument(pkg *eventPackage, p *publication) {
	if p.lifetime == 0 {
		// Published and gone at once: nobody could have seen it.
		r.published(r.edge.newTag(), 0)
		return
	}
	in := presence.Publish{
		IfMatch: p.tag, NewTag: r.edge.newTag(), Doc: p.doc, Native: p.native,
		Lifetime: p.lifetime, From: r.source(), Package: pkg.key,
	}
	if p.tag == "" {
		in.ID = presence.SourceID{Kind: presence.Publication, Key: in.NewTag}
		if ua, _ := r.msg.Get(sip.HUserAgent); p.key != "" {
			in.ID.Key = p.key
		} else if publishesTwice(ua) {
			in.ID.Key = r.onceKey()
		}
	}
	r.submit(in, p.lifetime)
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

// badDocument says what is wrong with a document: in the status line, where
// people look first, and in a Warning (RFC 3261 §20.43).
func (r *request) badDocument(text string, err error) {
	r.reply(400, phrase("Bad Document: "+clip(text, 100)), r.edge.warning(nil, r.flow, err.Error()))
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
		if out.Tag == "" {
			out.Tag = r.edge.newTag() // of a removal; step 7 asks for one in every 2xx
		}
		r.published(out.Tag, granted(lifetime, out.Lifetime))
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
