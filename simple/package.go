package simple

import (
	"strings"
	"time"

	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// eventPackage is one row of the table of event packages (RFC 6665 §5).
type eventPackage struct {
	name     string
	def      time.Duration // when SUBSCRIBE has no Expires
	bodyType string        // of NOTIFY bodies

	// view renders what a watcher may see, once for all who see the same.
	view func(v *presence.View) []byte
	// pending is the body while nothing may be told; agent is the watcher's
	// User-Agent.
	pending func(presentity presence.Entity, agent string) []byte
}

// packages is the table. A further package is a further row.
var packages = []*eventPackage{presencePackage}

// allowEvents lists the table (RFC 6665 §8.2.2).
const allowEvents = "Allow-Events: presence\r\n"

// presencePackage is RFC 3856.
var presencePackage = &eventPackage{
	name:     "presence",
	def:      time.Hour, // RFC 3856 §6.4
	bodyType: pidf.Type, // RFC 3856 §6.5: what every watcher takes
	view:     renderPIDF,
	pending: func(e presence.Entity, agent string) []byte {
		if strings.HasPrefix(agent, "Purple/") {
			// libpurple does not answer a NOTIFY without a basic status, and so
			// would be told nothing more until that one has been given up.
			return pidf.Closed(nil, aor(e))
		}
		return pidf.Neutral(nil, aor(e)) // RFC 3856 §6.6.2: tells nothing
	},
}

// packageOf finds the package of a request. Names are compared without regard
// to case: Linphone before 5.4 says "Presence".
func packageOf(name string) *eventPackage {
	for _, p := range packages {
		if strings.EqualFold(p.name, name) {
			return p
		}
	}
	return nil
}

// event finds the event package of a PUBLISH or SUBSCRIBE; when there is none
// the request is answered (RFC 6665 §4.2.1.1, §4.2.3, RFC 3903 §6 step 2).
func (r *request) event() (*eventPackage, sip.Event, bool) {
	ev, ok, err := r.msg.Event()
	if err != nil {
		r.fail(400, "Malformed Event")
		return nil, ev, false
	}
	if ok {
		if p := packageOf(ev.Package); p != nil {
			return p, ev, true
		}
	}
	r.reply(489, "", []byte(allowEvents))
	return nil, ev, false
}

// accepted reports whether the watcher takes the package's bodies; without an
// Accept it does (RFC 3856 §6.5).
func (p *eventPackage) accepted(msg *sip.Message) bool {
	q, present := msg.Acceptable(p.bodyType)
	return !present || q > 0
}

// renderPIDF writes the document of a view. When all there is to see is one
// PIDF document it is carried as its publisher wrote it, under the name that
// watchers know; else the composed document is written.
func renderPIDF(v *presence.View) []byte {
	return v.Render(pidf.Type, func(v *presence.View) []byte {
		uri := aor(v.Presentity)
		if len(v.Sources) == 1 && v.Sources[0].Native.Type == pidf.Type {
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
