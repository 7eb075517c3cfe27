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
	pkg, _, ok := r.event() // step 2
	if !ok {
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
	r.authenticate(from, func(r *request) { r.publishAs(pkg) }) // step 3
}

// publishAs goes on for an authenticated publisher.
func (r *request) publishAs(pkg *eventPackage) {
	if r.who != r.to && !(r.trusted && pkg.publish.proxied) {
		r.fail(403, "Only The Presentity Publishes Its Presence")
		return
	}
	if r.trusted {
		r.existing(r.to, func(r *request) { r.publishState(pkg) })
		return
	}
	r.publishState(pkg)
}

func (r *request) publishState(pkg *eventPackage) {
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
	case hasTag && !pkg.gave(tag):
		r.fail(412, "") // RFC 3903 §6 step 4: no publication of this package has it
	case hasTag && lifetime == 0:
		r.submit(pkg, presence.Retract{IfMatch: tag}, 0) // with or without a body
	case r.msg.Body == "":
		r.submit(pkg, presence.Publish{IfMatch: tag, NewTag: r.edge.tagOf(pkg), Lifetime: lifetime,
			From: r.source(), Package: pkg.key}, lifetime)
	default:
		r.publishBody(pkg, tag, lifetime)
	}
}

// tagOf makes an entity-tag, which shows the package that it is for: a tag is
// good for publications of that one only (RFC 3903 §4.1).
func (e *Edge) tagOf(pkg *eventPackage) string {
	if pkg.key == "" {
		return e.newTag()
	}
	return pkg.key + tagMark + e.newTag()
}

// tagMark ends the package in an entity-tag.
const tagMark = "~"

// gave tells whether a tag can be one of the package's.
func (p *eventPackage) gave(tag string) bool {
	key, _, marked := strings.Cut(tag, tagMark)
	return marked == (p.key != "") && (!marked || key == p.key)
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
	doc, native, ok := pkg.publish.read(r, mediaType, []byte(body))
	if !ok {
		return
	}
	if lifetime == 0 {
		// Published and gone at once: nobody could have seen it.
		r.published(r.edge.tagOf(pkg), 0)
		return
	}
	in := presence.Publish{
		IfMatch: tag, NewTag: r.edge.tagOf(pkg), Doc: doc, Native: native,
		Lifetime: lifetime, From: r.source(), Package: pkg.key,
	}
	if tag == "" {
		in.ID = presence.SourceID{Kind: presence.Publication, Key: in.NewTag}
		if ua, _ := r.msg.Get(sip.HUserAgent); publishesTwice(ua) {
			in.ID.Key = r.onceKey()
		}
	}
	r.submit(pkg, in, lifetime)
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
func (r *request) submit(pkg *eventPackage, in presence.Input, lifetime time.Duration) {
	err := r.edge.engine.Submit(r.to, in, func(out presence.Outcome, err error) {
		if err != nil {
			r.failed(err)
			return
		}
		if out.Lifetime > 0 && lifetime > 0 {
			lifetime = min(lifetime, out.Lifetime)
		}
		if out.Tag == "" {
			out.Tag = r.edge.tagOf(pkg) // of a removal; step 7 asks for one in every 2xx
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
