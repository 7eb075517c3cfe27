package simple

import (
	"context"
	"errors"
	"strings"
	"time"

	"pharos/presence"
	"pharos/rlmi"
	"pharos/sip"
)

// Names of RFC 4826 and RFC 5367.
const (
	listType      = "application/resource-lists+xml"
	servicesSpace = "urn:ietf:params:xml:ns:rls-services"
	relatedType   = "multipart/related"
	containedTag  = "recipient-list-subscribe"
	eventlistTag  = "eventlist"
)

// buddies ends the user part of the URI that stands for a user's whole buddy
// list, for phones that have no XCAP client: sip:alice/buddies@example.com. It
// cannot be an account's, since no account has a slash in its name (RFC 7622
// §3.3.1), while a SIP URI may have one (RFC 3261 §25.1, user-unreserved).
const buddies = "/buddies"

// IsBuddies tells whether an address is that of a user's whole buddy list.
func IsBuddies(address string) bool {
	user, _, _ := strings.Cut(address, "@")
	return strings.HasSuffix(user, buddies)
}

const (
	// minDeflate is the smallest body that is coded, where the watcher undoes it.
	// The full state of 200 members takes twice the time then and a twentieth of the
	// octets; the change of one member, which is smaller, would take ten times as long
	// and save less than a packet (BenchmarkList).
	minDeflate = 2048
	// maxListStream is about the largest body of a NOTIFY to a list's watcher, in
	// octets: peers take at least 65,535 (RFC 3261 §18.1.1). What does not fit
	// follows in NOTIFYs with partial state. The document of a full NOTIFY has all
	// resources, however many (RFC 4662 §5.2).
	maxListStream = 56 << 10
	// maxListDatagram is the same over UDP without coding: large datagrams are cut
	// into many fragments, of which none may get lost.
	maxListDatagram = 8 << 10
	// maxListRows is about what the resources of full state may take over UDP without
	// coding, in octets: with a state and the header they fit into the largest
	// datagram, of 65,507. The others follow in partial state.
	maxListRows = 48 << 10
	// maxListXML is the largest list in a SUBSCRIBE, decoded, in octets.
	maxListXML = 256 << 10
	// maxListNodes is the number of elements and texts in a document of lists.
	maxListNodes = 1 << 17
)

// listRows makes the rows for lists of users: one for each package that is not
// private, of the same name. Their subscriptions are the watcher's to himself.
func listRows(ps []*eventPackage) (rows []*eventPackage) {
	for _, p := range ps {
		if p.private {
			continue
		}
		// Who supports lists must take all three (RFC 4662 §4.3); phones forget one
		// or the other, and mean lists all the same.
		bodies := []bodyType{{name: relatedType, tell: tellList}, {name: rlmi.Type, tell: tellList}, {name: p.bodies[0].name, tell: tellList}}
		var params []string
		if !p.ordered {
			params = rateParams // RFC 6446: of the whole list; what comes meanwhile is gathered
		}
		rows = append(rows, &eventPackage{
			params: params,
			name:   p.name, key: p.name + "/list", def: p.def, private: true, bodies: bodies,
			takes: []string{listType}, take: takeList,
			begin: beginList, refresh: refreshList, end: endList, touch: touchList,
			members: p, header: "Require: eventlist\r\n", // RFC 4662 §4.1
		})
		p.choose = chooseList
	}
	return rows
}

// memberBody renders a member's state, as a subscription to that member alone
// would be told it.
func memberBody(t *telling, p *eventPackage, m *told) []byte {
	b := &p.bodies[0]
	if b.tell == nil {
		return b.view(m.view)
	}
	// Versions of such bodies need only rise.
	x := *t
	x.view, x.before, x.must = m.view, m.before, m.before == nil
	c := b.tell(&x)
	if c.nothing {
		x.before, x.must = nil, true
		c = b.tell(&x)
	}
	return c.body
}

// listOf finds the row of lists of a package.
func listOf(p *eventPackage) *eventPackage {
	for _, row := range packages {
		if row.members == p {
			return row
		}
	}
	return nil
}

// chooseList tells a SUBSCRIBE for a list from one for a user: it has a list
// with it (RFC 5367), or its request-URI is no account's but a list's of the
// watcher. Lists are for their owners only; to others they are not there.
func chooseList(r *request, next func(*request)) {
	if hasTag(r.msg, sip.HRequire, containedTag) || isList(r.msg) {
		r.chooseRow("", next)
		return
	}
	if owner, ok := strings.CutSuffix(r.to.User, buddies); ok {
		if (presence.Entity{User: owner, Domain: r.to.Domain}) != r.who {
			r.fail(404, "")
			return
		}
		r.chooseRow(r.msg.URI, next)
		return
	}
	if r.to == r.known {
		next(r)
		return
	}
	r.edge.accounts.Exists(r.to, func(exists bool, err error) {
		switch {
		case err != nil:
			r.failed(err)
		case exists:
			r.known = r.to
			next(r)
		case r.edge.documents == nil || r.to.User == "":
			next(r)
		default:
			go r.chooseService(next) // reads documents
		}
	})
}

// chooseService looks for the request-URI among the services of the watcher
// (RFC 4826 §4.1).
func (r *request) chooseService(next func(*request)) {
	ctx, cancel := context.WithTimeout(context.Background(), listRead)
	defer cancel()
	rd := &reader{edge: r.edge, ctx: ctx, owner: r.who}
	s, err := rd.service(r.to)
	switch {
	case errors.Is(err, errNoList):
		next(r) // 404
	case err != nil:
		r.failed(err)
	case !s.takes(r.pkg.name):
		r.reply(489, "", sip.AppendList(nil, sip.HAllowEvents, s.packages...))
	default:
		r.chooseRow(r.msg.URI, next)
	}
}

// chooseRow goes on with the row of lists, where the watcher supports them.
func (r *request) chooseRow(uri string, next func(*request)) {
	switch {
	case !hasTag(r.msg, sip.HSupported, eventlistTag) && !hasTag(r.msg, sip.HRequire, eventlistTag):
		r.reply(421, "", []byte("Require: eventlist\r\n")) // RFC 4662 §4.1, RFC 3261 §21.4.16
	case r.edge.lists.count(r.who) >= r.edge.limits.Lists:
		r.fail(403, "Too Many List Subscriptions")
	default:
		s := listSource{uri: uri}
		s.ask(r.msg)
		r.pkg, r.to, r.kept = listOf(r.pkg), r.who, s.encode()
		next(r)
	}
}

// isList reports a list as the body.
func isList(msg *sip.Message) bool {
	t, ok, err := msg.ContentType()
	return ok && err == nil && t.Is(listType) && msg.Body != ""
}

// hasTag looks an option tag up.
func hasTag(msg *sip.Message, h sip.Header, tag string) bool {
	for v := range msg.All(h) {
		if strings.EqualFold(strings.TrimSpace(v), tag) {
			return true
		}
	}
	return false
}

// listSource is what is kept with the dialog of a list: what is subscribed to, and
// how the watcher wants to be told.
type listSource struct {
	uri     string // as in the request; empty: of a contained list
	deflate bool   // the watcher undoes this coding
	friends bool   // the watcher is Linphone, which calls its lists so
	xml     string // a contained list, with the coding deflate
}

// ask reads the watcher's wishes. Linphone may call itself anything, but it alone has
// lists in its requests and undoes the coding deflate. Others compare the event
// octet by octet (RFC 6665 §8.2.1).
func (s *listSource) ask(msg *sip.Message) {
	agent, _ := msg.Get(sip.HUserAgent)
	agent = strings.ToLower(agent)
	s.deflate = inflates(msg)
	s.friends = isList(msg) && s.deflate || strings.Contains(agent, "linphone") || strings.Contains(agent, "belle-sip")
}

// event is the Event of the NOTIFYs. Linphone before 5.4 subscribes to "presence"
// and takes a list only out of "Presence"; later versions take both.
func (s *listSource) event(name string) string {
	if s.friends && name == "presence" {
		return "Presence"
	}
	return name
}

func (s *listSource) encode() string {
	flags := []byte("--\n")
	if s.deflate {
		flags[0] = 'd'
	}
	if s.friends {
		flags[1] = 'f'
	}
	return string(flags) + s.uri + "\n" + s.xml
}

// listSource reads what encode wrote. The URI of a contained list is what the
// first SUBSCRIBE was sent to.
func (s *dialogState) listSource() (l listSource) {
	l = listSourceOf(s.part[partKept])
	if l.uri == "" {
		l.uri = s.part[partLocalURI]
	}
	return l
}

func listSourceOf(kept string) (l listSource) {
	flags, rest, _ := strings.Cut(kept, "\n")
	l.deflate, l.friends = strings.Contains(flags, "d"), strings.Contains(flags, "f")
	l.uri, l.xml, _ = strings.Cut(rest, "\n")
	return l
}

// takeList is eventPackage.take: the list in a SUBSCRIBE. One that comes with a
// refresh replaces the list: RFC 5367 §5.1 would have it refused, since no meaning
// is defined, but there is only one that it can have.
func takeList(r *request, parts []sip.Part) (kept string, ok bool) {
	if len(parts) > 1 {
		r.fail(400, "More Than One List")
		return "", false
	}
	body := parts[0].Body
	if parts[0].Encoded {
		if enc, _ := r.msg.Get(sip.HContentEncoding); !strings.EqualFold(enc, "deflate") || body != r.msg.Body {
			r.reply(415, "", []byte("Accept-Encoding: deflate, identity\r\n")) // RFC 3261 §8.2.3
			return "", false
		}
		plain, err := inflate(body, maxListXML)
		switch {
		case errors.Is(err, errTooLarge):
			r.fail(413, "")
			return "", false
		case err != nil:
			r.fail(400, "Body Is Not Deflated")
			return "", false
		}
		body = string(plain)
	}
	entries, err := r.edge.contained(body)
	switch {
	case err != nil:
		r.reply(400, "Bad List", r.edge.warning(nil, r.flow, clip(err.Error(), 200)))
		return "", false
	case len(entries) > r.edge.limits.Members:
		r.fail(403, "Too Many Members")
		return "", false
	}
	s := listSource{xml: string(deflate([]byte(body)))}
	s.ask(r.msg)
	return s.encode(), true
}

// errNoList: there is no such list (any more).
var errNoList = errors.New("simple: no such list")

// listRead bounds the reading of a list's documents.
const listRead = 5 * time.Second
