package simple

import (
	"errors"
	"strings"
	"time"
	"unsafe"

	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// presencePackage is RFC 3856.
var presencePackage = &eventPackage{
	name:   "presence",
	def:    time.Hour,                                       // RFC 3856 §6.4
	bodies: []bodyType{{name: pidf.Type, view: renderPIDF}}, // RFC 3856 §6.5: what every watcher takes
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
		types: []string{pidf.Type},
		read:  readPIDF,
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
	var bad *pidf.Error
	switch {
	case !errors.As(err, &bad):
		r.fail(400, "Malformed Document")
	case bad.Kind == pidf.TooBig:
		r.reply(413, "", r.edge.warning(nil, r.flow, bad.Error()))
	case bad.Kind == pidf.Foreign:
		header := r.edge.warning(nil, r.flow, bad.Error())
		r.reply(415, "", sip.AppendList(header, sip.HAccept, append([]string{pidf.Type}, multiparts...)...))
	default:
		r.badDocument(bad.Text, bad)
	}
}
