package simple

import (
	"slices"
	"strings"
	"time"

	"pharos/filter"
	"pharos/presence"
	"pharos/sip"
)

// eventPackage is one row of the table of event packages (RFC 6665 §5). What a
// package needs beyond the common path of subscriptions it says here; a zero
// field means that it does not.
type eventPackage struct {
	name    string        // of the Event header field, in lower case
	key     string        // presence.Watch.Package; "" for presence
	def     time.Duration // when SUBSCRIBE has no Expires
	private bool          // only the user itself may subscribe

	// bodies are what NOTIFYs may carry. The first is for watchers without an
	// Accept (RFC 6665 §5.5.5); of several that a watcher likes equally well the
	// last is taken, so richer ones follow the plain one.
	bodies []bodyType
	// pending is the body while nothing may be told; agent is the watcher's
	// User-Agent. Nil: no body.
	pending func(presentity presence.Entity, agent string) []byte
	// params are the parameters of Event, besides id, that are kept with the
	// dialog (dialogState, partParams).
	params []string
	// ordered packages have each notice told by a NOTIFY of its own, in order;
	// else the newest state wins. See maxQueued.
	ordered bool

	// takes names the bodies of SUBSCRIBE that take is called with, after
	// authentication; others get 415. It answers the request and returns false, or
	// returns what is to be kept with the dialog (partKept); at most
	// Limits.Body octets are. The parts may be Encoded.
	takes []string
	take  func(r *request, parts []sip.Part) (kept string, ok bool)

	// choose finds the row for a new SUBSCRIBE where several share the name (a
	// subscription to a list is not one to a user), once r.who is known; it may
	// change r.pkg and r.to. It calls next, at once or later, or answers the request.
	// Such rows stand in the table behind the one with choose.
	choose func(r *request, next func(*request))

	// begin is called when a subscription stands: it was accepted, or restored
	// after a restart; refresh when the watcher has refreshed it; end, once, when
	// its dialog is out of the table, with d.mu perhaps held. A fetch has
	// neither begin nor refresh. What they keep is at dialog.keep.
	begin, refresh, end func(e *Edge, d *dialog)

	// tag is the entity-tag of what of a view a filter leaves (RFC 5839); nil: the
	// package's NOTIFYs have none.
	tag func(v *presence.View, f *filter.Filter) string

	publish *publishing // nil: PUBLISH is not taken

	// What follows is for the rows of lists, see listRows.

	members *eventPackage // the package of the members; nil: not a list
	header  string        // header lines of a 2xx to SUBSCRIBE
	// touch is called when the presentity was touched (presence.Touch), instead of
	// telling the watcher.
	touch func(e *Edge, d *dialog)
}

// bodyType is one kind of NOTIFY body.
type bodyType struct {
	name string // media type in lower case
	// named: only for watchers whose Accept names it; "*/*" is said by those, too,
	// that have never heard of it.
	named bool
	// view renders what a watcher may see, once for all who see the same.
	view func(v *presence.View) []byte
	// tell renders what one watcher is told; where it is set view is not used.
	tell func(t *telling) content
	// narrowed is used instead for a dialog with which something is kept (a filter).
	narrowed *bodyType
}

// publishing is how a package takes PUBLISH (RFC 3903).
type publishing struct {
	def   time.Duration // for a PUBLISH without Expires
	types []string      // documents that are read
	// others: a trusted peer publishes for users of this server, when it speaks for
	// itself.
	others bool
	// read reads p.body, which is one of the types and is not changed afterwards,
	// fills in what is to be published, and calls next, at once or later; or it
	// answers the request.
	read func(r *request, p *publication, next func())
	// revive makes the document of a stored payload of one of the types; nil:
	// there is none to be made.
	revive func(native []byte) (*presence.Document, error)
}

// publication is an initial or modifying PUBLISH on its way.
type publication struct {
	tag       string // SIP-If-Match; empty: initial
	mediaType string // one of publishing.types
	body      []byte

	// What read fills in. The lifetime is the wish, and may be made shorter; key
	// is for an initial publication that takes the place of one like it.
	doc      *presence.Document
	native   presence.Payload
	lifetime time.Duration
	key      string
}

// packages is the table. A further package is a further row. It is filled by
// init, since what the rows do leads back to the table.
var packages []*eventPackage

// allowEvents lists the table (RFC 6665 §8.2.2); allowPublish is for those whose
// PUBLISH has a wrong Event (RFC 3903 §6 step 2).
var allowEvents, allowPublish string

// publishTypes are the bodies that PUBLISH takes, subscribeTypes those that
// SUBSCRIBE does, of any package.
var publishTypes, subscribeTypes []string

func init() {
	packages = []*eventPackage{presencePackage, winfoPackage, dialogPackage, summaryPackage, diffPackage}
	packages = append(packages, listRows(packages)...)
	var names, published []string
	for _, p := range packages {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
		for _, t := range p.takes {
			if !slices.Contains(subscribeTypes, t) {
				subscribeTypes = append(subscribeTypes, t)
			}
		}
		if p.publish != nil {
			published = append(published, p.name)
			publishTypes = append(publishTypes, p.publish.types...)
		}
	}
	publishTypes = append(publishTypes, multiparts...)
	allowEvents = "Allow-Events: " + strings.Join(names, ", ") + "\r\n"
	allowPublish = "Allow-Events: " + strings.Join(published, ", ") + "\r\n"
}

// Packages lists the event packages beside presence, as the presentities know them.
func Packages() (keys []string) {
	for _, p := range packages {
		if p.key != "" {
			keys = append(keys, p.key)
		}
	}
	return keys
}

// packageOf finds the package of a request: the first row of that name. Names
// are compared without regard to case: Linphone before 5.4 says "Presence".
func packageOf(name string) *eventPackage {
	for _, p := range packages {
		if strings.EqualFold(p.name, name) {
			return p
		}
	}
	return nil
}

// packageOfKey finds the package of a saved subscription.
func packageOfKey(key string) *eventPackage {
	for _, p := range packages {
		if p.key == key {
			return p
		}
	}
	return nil
}

// findPackage finds the event package of a PUBLISH or SUBSCRIBE; when there is none
// the request is answered (RFC 6665 §4.2.1.1, §4.2.3, RFC 3903 §6 step 2).
func (r *request) findPackage() bool {
	ev, ok, err := r.msg.Event()
	if err != nil {
		r.fail(400, "Malformed Event")
		return false
	}
	allowed := allowEvents
	if r.msg.Method == "PUBLISH" {
		allowed = allowPublish
	}
	if ok {
		if p := packageOf(ev.Package); p != nil && (r.msg.Method != "PUBLISH" || p.publish != nil) {
			r.pkg, r.event = p, ev
			return true
		}
	}
	r.reply(489, "", []byte(allowed))
	return false
}

// accept chooses the body of the NOTIFYs by the watcher's Accept (RFC 6665
// §4.2.1.1, RFC 3261 §20.1). When it takes none of ours the request is answered.
func (r *request) accept(p *eventPackage) (chosen *bodyType, ok bool) {
	if chosen = p.chosen(r.msg); chosen == nil {
		var names []string
		for i := range p.bodies {
			names = append(names, p.bodies[i].name)
		}
		r.reply(406, "", sip.AppendList(nil, sip.HAccept, names...))
		return nil, false
	}
	return chosen, true
}

func (p *eventPackage) chosen(msg *sip.Message) (chosen *bodyType) {
	best := 0
	for i := range p.bodies {
		if p.bodies[i].named && !msg.Accepts(p.bodies[i].name) {
			continue
		}
		q, present := msg.Acceptable(p.bodies[i].name)
		if !present {
			return &p.bodies[0]
		}
		if q > 0 && q >= best {
			chosen, best = &p.bodies[i], q
		}
	}
	return chosen
}

// saved is how a body type is named in a dialogState: the first one, which is
// nearly everybody's, costs nothing.
func (p *eventPackage) saved(b *bodyType) string {
	if b == &p.bodies[0] {
		return ""
	}
	return b.name
}

// body finds it again. A type that an earlier version knew and this one does not
// becomes the first one.
func (p *eventPackage) body(saved string) *bodyType {
	if saved != "" {
		for i := range p.bodies {
			if p.bodies[i].name == saved {
				return &p.bodies[i]
			}
		}
	}
	return &p.bodies[0]
}

// keptParams are the parameters of an Event that the package keeps.
func (p *eventPackage) keptParams(ev sip.Event) string {
	var b []byte
	for _, name := range p.params {
		if v, ok := ev.Params.Get(name); ok {
			b = sip.AppendParam(b, name, v)
		}
	}
	return string(b)
}
