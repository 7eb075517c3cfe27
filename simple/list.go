package simple

import (
	"slices"
	"strconv"

	"pharos/presence"
	"pharos/rlmi"
)

// A resourceList is what one list subscription tells its watcher (RFC 4662): the
// resources, what is known of each, and what of that is still to be told. It is
// state only: listing locks it, watches its members and sends.
//
// Lists within lists are told flat, as RFC 4826 §4.4.1 and §3.1 have it: the
// resources are those that a walk through the list meets. The alternative, a
// multipart in a multipart for each (RFC 4662 §5.5), needs a URI for every inner
// list, which inner lists of resource-lists do not have, and phones show the
// outermost level only.
type resourceList struct {
	names     []rlmi.Name
	resources []resource
	members   map[presence.Entity]*member
	ordered   bool // each state is told, in order; else the newest
	full      bool // a resource has gone, which only full state tells
}

// resource is one entry of the list.
type resource struct {
	uri    string // as the list has it
	names  []rlmi.Name
	member *member
}

// member is whom one or several resources address.
type member struct {
	entity presence.Entity // zero: nobody whose state can be had here
	state  presence.State
	reason presence.Reason
	view   *presence.View   // with Active
	told   *presence.View   // the last that a NOTIFY had
	queue  []*presence.View // of an ordered list: newer than view, in order
	news   bool             // is to be told
	asked  bool             // the answer to the first Watch is being waited for
	doubt  bool             // has refused, and perhaps not for long
}

// listEntry is one entry as a list has it.
type listEntry struct {
	uri    string
	names  []rlmi.Name
	entity presence.Entity // of a user of this server, else zero
}

// maxStates is the number of states of one member of an ordered list that wait to
// be told; beyond it the oldest are dropped.
const maxStates = 16

// set replaces the entries. added are members that were not there before, gone
// those that are not any more.
func (l *resourceList) set(names []rlmi.Name, entries []listEntry) (added, gone []*member) {
	before := l.members
	was := make(map[string]resource, len(l.resources))
	for _, r := range l.resources {
		was[r.uri] = r
	}
	renamed := !slices.Equal(l.names, names)
	l.names, l.resources, l.members = names, make([]resource, 0, len(entries)), make(map[presence.Entity]*member, len(entries))
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if seen[e.uri] {
			continue // an entry may be in several inner lists
		}
		seen[e.uri] = true
		r := resource{uri: e.uri, names: e.names}
		old, there := was[e.uri]
		delete(was, e.uri)
		switch m := l.members[e.entity]; {
		case m != nil:
			r.member = m
		case before[e.entity] != nil:
			r.member = before[e.entity]
		case e.entity == presence.Entity{} && there && old.member.entity == e.entity:
			r.member = old.member
		case e.entity == presence.Entity{}:
			r.member = &member{state: presence.Terminated, reason: presence.NoResource}
		default:
			r.member = &member{entity: e.entity}
			added = append(added, r.member)
		}
		if (e.entity != presence.Entity{}) {
			l.members[e.entity] = r.member
		}
		l.resources = append(l.resources, r)
		if !there || renamed || !slices.Equal(old.names, r.names) || old.member != r.member {
			r.member.news = true
		}
	}
	// What is not listed any more only full state tells (RFC 4662 §5.6.1).
	l.full = l.full || len(was) > 0
	for entity, m := range before {
		if l.members[entity] == nil {
			gone = append(gone, m)
		}
	}
	return added, gone
}

// note takes what has become known of a member; false when nothing is new.
func (l *resourceList) note(m *member, state presence.State, reason presence.Reason, view *presence.View) bool {
	if state != presence.Active {
		view = nil
	}
	latest := m.view
	if len(m.queue) > 0 {
		latest = m.queue[len(m.queue)-1]
	}
	if m.state == state && m.reason == reason && latest == view {
		return false
	}
	if l.ordered && m.news && m.view != nil && view != nil {
		if m.queue = append(m.queue, view); len(m.queue) > maxStates {
			m.view, m.queue = m.queue[0], m.queue[1:]
		}
	} else {
		m.view, m.queue = view, nil
	}
	m.state, m.reason, m.news = state, reason, true
	return true
}

// pending: there is something to tell.
func (l *resourceList) pending() bool {
	return l.full || slices.ContainsFunc(l.resources, func(r resource) bool { return r.member.due() })
}

// due: there is news that a partial NOTIFY is to have. Who is new is told together with
// his state.
func (m *member) due() bool { return m.news && (m.state != 0 || !m.asked) }

// told is one resource as a NOTIFY tells it.
type told struct {
	resource
	state  presence.State
	reason presence.Reason
	view   *presence.View
	before *presence.View // what the watcher was told last; nil where it is to be told everything
}

// size is about what a resource takes in the document, in octets.
func (t *told) size() int {
	n := perResource + len(t.uri)
	for _, name := range t.names {
		n += len(name.Text)
	}
	return n
}

// take takes out what the next NOTIFY is to tell, in the order of the list: all
// with everything, or where a resource has gone; else what is new.
func (l *resourceList) take(everything bool) (out []told, full bool) {
	full, l.full = everything || l.full, false
	for _, r := range l.resources {
		if m := r.member; full || m.due() {
			t := told{r, m.state, m.reason, m.view, m.told}
			if full {
				t.before = nil
			}
			out = append(out, t)
		}
	}
	for _, t := range out { // a member may be there more than once
		t.member.news, t.member.told = false, t.view
	}
	if !l.ordered {
		return out, full
	}
	for _, t := range out {
		if m := t.member; len(m.queue) > 0 && !m.news {
			m.view, m.queue, m.news = m.queue[0], m.queue[1:], true
		}
	}
	return out, full
}

// putBack has a state told by a later NOTIFY.
func (l *resourceList) putBack(t told) {
	m := t.member
	if l.ordered && m.news && m.view != t.view {
		m.queue = append([]*presence.View{m.view}, m.queue...)
		m.view = t.view
	}
	m.news, m.told = true, t.before
}

// instanceID is the id of the one instance that a resource has: it is unique only
// within the resource (RFC 4662 §5.5).
const instanceID = "1"

// perResource is about what a resource takes in the document beside its URI and
// the text of its names, perPart what a part takes beside the state.
const (
	perResource = 160
	perPart     = 200
)

// listBody writes the body of one NOTIFY. Of the states those are told that fit
// into max octets, but at least one; left are the others. In full state their
// resources are there without an instance, which says that their state is not known
// (RFC 4662 §4.5); in partial state they are missing. Full state has all resources
// (RFC 4662 §5.2) unless they take more than rows octets: what a datagram cannot hold
// would not be told at all, and so follows in partial state, as if it had been
// added. unique is what Content-IDs end with.
func listBody(b *rlmi.Body, l *rlmi.List, news []told, mediaType string, render func(told) []byte,
	unique string, max, rows int) (body []byte, left []told) {
	type part struct {
		cid   string
		state []byte
	}
	parts := make(map[*member]part)
	size := 0
	for i := 0; l.Full && i < len(news); i++ {
		size += news[i].size()
		if i > 0 && size > rows {
			size -= news[i].size()
			news, left = news[:i], slices.Clone(news[i:])
		}
	}
	var order []part
	begun := make(map[*member]bool)
	l.Resources = make([]rlmi.Resource, 0, len(news))
	for _, t := range news {
		r := rlmi.Resource{URI: t.uri, Names: t.names}
		row := 0 // what the resource takes that is not counted yet
		if !l.Full {
			row = t.size()
		}
		if len(l.Resources) > 0 && row > 0 && size+row > max && !begun[t.member] {
			left = append(left, t)
			continue
		}
		size += row
		if t.state != 0 {
			in := rlmi.Instance{ID: instanceID, State: t.state, Reason: t.reason}
			if t.view != nil {
				p, have := parts[t.member]
				if !have {
					p.state = render(t)
					more := len(p.state) + perPart
					if len(order) > 0 && size+more > max {
						left = append(left, t)
						size -= row
						if l.Full {
							l.Resources = append(l.Resources, r)
						}
						continue
					}
					size += more
					p.cid = strconv.Itoa(len(order)+1) + unique
					order = append(order, p)
					parts[t.member] = p
				}
				in.CID = p.cid
			}
			r.Instances = []rlmi.Instance{in}
		}
		begun[t.member] = true // what is put back is a member, and so all of its resources
		l.Resources = append(l.Resources, r)
	}
	body = b.Begin(make([]byte, 0, size+512), l)
	for _, p := range order {
		body = b.Part(body, p.cid, mediaType, p.state)
	}
	return b.End(body), left
}
