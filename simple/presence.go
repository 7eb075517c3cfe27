package simple

import (
	"context"
	"errors"
	"strings"
	"time"
	"unsafe"

	"pharos/engine"
	"pharos/filter"
	"pharos/patch"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// presencePackage is RFC 3856.
var presencePackage = &eventPackage{
	name:   "presence",
	def:    time.Hour, // RFC 3856 §6.4
	params: rateParams,
	takes:  []string{filter.Type},
	take:   takeFilter,
	tag:    tagOf,
	bodies: []bodyType{ // RFC 3856 §6.5: the first is what every watcher takes
		{name: pidf.Type, view: renderPIDF, narrowed: &bodyType{name: pidf.Type, tell: tellPresence(false)}},
		{name: pidf.TypeDiff, named: true, tell: tellPresence(true)},
	},
	pending: func(e presence.Entity, agent string) []byte {
		if strings.HasPrefix(agent, "Purple/") {
			// libpurple does not answer a NOTIFY without a basic status, and so
			// would be told nothing more until that one has been given up.
			return pidf.Closed(nil, aor(e))
		}
		return pidf.Neutral(nil, aor(e)) // RFC 3856 §6.6.2: tells nothing
	},
	publish: &publishing{
		def:   time.Hour, // RFC 3856 §6.4; pjsua sends none
		types: []string{pidf.Type, pidf.TypeDiff},
		read:  readPresence,
		revive: func(native []byte) (*presence.Document, error) {
			doc, _, err := pidf.Parse(native)
			return doc, err
		},
	},
}

// renderPIDF writes the document of a view. When all there is to see is one
// PIDF document it is carried as its publisher wrote it, under the name that
// watchers know; else the composed document is written.
func renderPIDF(v *presence.View) []byte {
	return v.Render(pidf.Type, func(v *presence.View) []byte {
		uri := aor(v.Presentity)
		if len(v.Sources) == 1 && v.Sources[0].Native.Type == pidf.Type && len(v.Persons()) == 0 {
			if b, ok := pidf.Carry(v.Sources[0].Native.Bytes, uri); ok {
				return b
			}
		}
		if v.Doc == nil || len(v.Doc.Tuples) == 0 && len(v.Doc.Persons) == 0 {
			return pidf.Closed(nil, uri)
		}
		return pidf.Append(nil, uri, v.Doc)
	})
}

// readPresence reads a PUBLISH: a whole document, or (RFC 5264) what has changed
// since the last. The present document is asked for by its entity-tag; when it has
// another by the time that the new one is submitted, that gets 412.
func readPresence(r *request, p *publication, next func()) {
	if p.mediaType != pidf.TypeDiff {
		readPIDF(r, p, next)
		return
	}
	if p.tag == "" {
		editPIDF(r, p, nil, next)
		return
	}
	select {
	case r.edge.messages <- struct{}{}: // as many at one time as MESSAGEs
	default:
		r.failed(engine.ErrOverload)
		return
	}
	go func() {
		defer func() { <-r.edge.messages }()
		ctx, cancel := context.WithTimeout(context.Background(), readTime)
		defer cancel()
		x, err := r.edge.engine.Explain(ctx, r.to, r.to)
		if err != nil {
			r.failed(err)
			return
		}
		for _, s := range x.Sources {
			if s.Tag == p.tag && s.Native.Type == pidf.Type {
				editPIDF(r, p, s.Native.Bytes, next)
				return
			}
		}
		r.failed(presence.ErrNoMatch)
	}()
}

// readTime bounds the look at what is published.
const readTime = 5 * time.Second

// editPIDF makes the whole document of a partial one.
func editPIDF(r *request, p *publication, was []byte, next func()) {
	doc, err := pidf.Edit(was, p.body)
	var misfit *patch.Error
	if errors.As(err, &misfit) {
		// RFC 5264 §4.2: the client publishes everything anew.
		r.badDocument(misfit.Condition+" "+misfit.Text, misfit)
		return
	}
	if err != nil {
		r.refusePIDF(err)
		return
	}
	if len(doc) > r.edge.limits.Body {
		r.fail(413, "")
		return
	}
	p.mediaType, p.body = pidf.Type, doc
	readPIDF(r, p, next)
}

// readPIDF reads a published presence document.
//
// The entity attribute of the document is not compared: whose presence it is
// the request-URI says (RFC 3903 §4.1), which has just been proven to be the
// sender's, and clients write there what their account dialog happened to hold
// (pres:, a port, an IP address). Watchers never see it: what is carried to them
// gets the entity that they know (renderPIDF).
func readPIDF(r *request, p *publication, next func()) {
	// A payload is never changed, so that the document may be made of its text.
	doc, _, err := pidf.ParseString(unsafe.String(unsafe.SliceData(p.body), len(p.body)))
	if err == nil {
		p.doc, p.native = doc, presence.Payload{Type: p.mediaType, Bytes: p.body}
		next()
		return
	}
	r.refusePIDF(err)
}

// refusePIDF answers a document that is none.
func (r *request) refusePIDF(err error) {
	var bad *pidf.Error
	switch {
	case !errors.As(err, &bad):
		r.fail(400, "Malformed Document")
	case bad.Kind == pidf.TooBig:
		r.reply(413, "", r.edge.warning(nil, r.flow, bad.Error()))
	case bad.Kind == pidf.Foreign:
		header := r.edge.warning(nil, r.flow, bad.Error())
		r.reply(415, "", sip.AppendList(header, sip.HAccept, append([]string{pidf.Type, pidf.TypeDiff}, multiparts...)...))
	default:
		r.badDocument(bad.Text, bad)
	}
}
