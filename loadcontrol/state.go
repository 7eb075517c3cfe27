package loadcontrol

import (
	"fmt"
	"time"

	"pharos/loaddoc"
)

// current is the system as it is told: not older than Interval, unless fresh is asked for. The
// edge is locked. Users in detail of other servers are what those have said.
func (e *Edge) current(now time.Time) *loaddoc.Document {
	if e.view != nil && now.Sub(e.viewed) < Interval {
		return e.view
	}
	users := ListedUsers
	if e.detailed {
		users += ListedUsers / 4 // who was listed stays so for a little while
	}
	for _, s := range e.subs {
		if s.users == usersAll {
			users = -1
		}
	}
	d := e.c.State(users)
	d.Entity, d.Version, d.Partial = e.entity, 0, false
	d.Sort()
	if len(d.Servers) > MaxServers {
		d.Servers = d.Servers[:MaxServers]
	}
	d.Addable = d.Addable[:min(len(d.Addable), MaxAddable)]
	for i := range d.Servers {
		s := &d.Servers[i]
		s.Level, s.Max = loaddoc.Round(s.Level), loaddoc.Round(s.Max)
		if s.ID == e.c.Name {
			continue
		}
		w := e.peers[s.ID]
		if w == nil {
			w = e.fetchedFrom(s.ID)
		}
		if w != nil && w.known != nil && s.Users == nil {
			if heard := w.known.Find(s.ID); heard != nil {
				s.Users = heard.Users
			}
		}
	}
	level, limit := 0.0, 0.0
	d.Basic = "closed"
	for i := range d.Servers {
		s := &d.Servers[i]
		if s.State != "active" {
			continue
		}
		level, limit = level+s.Level, limit+s.Max
		if s.Level < s.Max {
			d.Basic = "open"
		}
	}
	d.Note = fmt.Sprintf("%d servers, level %.0f of %.0f, %d users", d.Count, level, limit, d.Users)
	e.detailed = d.Users <= ListedUsers || e.detailed && d.Users <= ListedUsers+ListedUsers/4
	e.view, e.viewed = d, now
	return d
}

// users is what a subscriber wants of users in detail.
type users uint8

const (
	usersFew  users = iota // all of them, in a small service
	usersAll               // all of them, part by part
	usersNone              // only how many there are
)

// part is what a subscriber is told of d, without regard to how much fits.
func (e *Edge) part(d *loaddoc.Document, own bool, u users) *loaddoc.Document {
	out := *d
	out.Servers = nil
	for _, s := range d.Servers {
		if own && s.ID != e.c.Name {
			continue
		}
		if u == usersNone || u == usersFew && !e.detailed {
			s.Users = nil
		}
		out.Servers = append(out.Servers, s)
	}
	if own {
		// Who hears each server hears the whole of nobody: it would be said once for each.
		out.Basic, out.Note = "", ""
	}
	return &out
}

// maxBody is how large a document may be: a SIP message has 65,535 octets, with its head.
const maxBody = 60_000

// room is how many octets of users fit into a document beside the rest.
func room(d *loaddoc.Document) int {
	return max(0, maxBody-len(loaddoc.Append(nil, loaddoc.Cut(d, 0))))
}
