package loaddoc

import (
	"cmp"
	"fmt"
	"slices"
)

// Apply adds what a document says to what is known: a full one replaces it, a partial
// one has to follow it. The error is ErrGap when it does not, or when nothing is known
// yet (base nil). base stays as it is.
func Apply(base, d *Document) (*Document, error) {
	if !d.Partial {
		return d, nil
	}
	if base == nil {
		return nil, fmt.Errorf("%w: a change of version %d of what is not known", ErrGap, d.Version)
	}
	if d.Version != base.Version+1 || d.Entity != base.Entity {
		return nil, fmt.Errorf("%w: version %d of %s after %d of %s", ErrGap, d.Version, d.Entity, base.Version, base.Entity)
	}
	out := *d
	out.Partial, out.Listed = false, false
	if !d.Listed {
		out.Addable = base.Addable
	}
	out.Servers = merge(base.Servers, d.Servers, func(s *Server) string { return s.ID }, func(old, s *Server) (Server, bool) {
		if s.Gone {
			return Server{}, false
		}
		now := *s
		var users []User
		if old != nil {
			users = old.Users
		}
		now.Users = merge(users, s.Users, func(u *User) string { return u.ID }, func(_, u *User) (User, bool) { return *u, !u.Gone })
		return now, true
	})
	return &out, nil
}

// merge joins two lists in the order of their keys: what is in the second only is
// added, what is in both, or new, is what change makes of it, if anything.
func merge[T any](a, b []T, key func(*T) string, change func(old, now *T) (T, bool)) []T {
	if len(b) == 0 {
		return a
	}
	var out []T
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(b) == 0:
			order = -1
		case len(a) == 0:
			order = 1
		default:
			order = cmp.Compare(key(&a[0]), key(&b[0]))
		}
		switch {
		case order < 0:
			out = append(out, a[0])
			a = a[1:]
			continue
		case order > 0:
			if t, ok := change(nil, &b[0]); ok {
				out = append(out, t)
			}
		default:
			if t, ok := change(&a[0], &b[0]); ok {
				out = append(out, t)
			}
			a = a[1:]
		}
		b = b[1:]
	}
	return out
}

// Diff is the change that leads from what was told to what is, nil when there is none.
// At most room octets of users in detail are in it: those that are left over come with
// the next one. after is what is told with it.
func Diff(told, now *Document, room int) (change, after *Document) {
	c := *now
	c.Version, c.Entity, c.Partial, c.Listed = told.Version+1, told.Entity, true, false
	if !slices.Equal(told.Addable, now.Addable) {
		c.Listed = true
	} else {
		c.Addable = nil
	}
	c.Servers = nil
	a, b := told.Servers, now.Servers
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			c.Servers = append(c.Servers, Server{ID: a[0].ID, Gone: true})
			a = a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			s := b[0]
			s.Users = diffUsers(nil, s.Users, &room)
			c.Servers = append(c.Servers, s)
			b = b[1:]
		default:
			s := b[0]
			s.Users = diffUsers(a[0].Users, s.Users, &room)
			if len(s.Users) > 0 || !s.same(&a[0]) {
				c.Servers = append(c.Servers, s)
			}
			a, b = a[1:], b[1:]
		}
	}
	if len(c.Servers) == 0 && !c.Listed && c.Count == told.Count && c.Users == told.Users && c.Basic == told.Basic && c.Note == told.Note {
		return nil, told
	}
	after, err := Apply(told, &c)
	if err != nil {
		panic("loaddoc: a change that does not follow: " + err.Error())
	}
	return &c, after
}

// diffUsers lists the users that have changed, within room, which it uses up.
func diffUsers(a, b []User, room *int) (out []User) {
	add := func(u User) {
		if *room -= u.size(); *room >= 0 {
			out = append(out, u)
		}
	}
	for (len(a) > 0 || len(b) > 0) && *room > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].ID < b[0].ID:
			add(User{ID: a[0].ID, Gone: true})
			a = a[1:]
		case len(a) == 0 || b[0].ID < a[0].ID:
			add(b[0])
			b = b[1:]
		default:
			if a[0] != b[0] {
				add(b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// Cut is a full document with at most room octets of users in detail: the first that is
// told to somebody. The others come with the changes that follow.
func Cut(d *Document, room int) *Document {
	out := *d
	out.Servers = slices.Clone(d.Servers)
	for i := range out.Servers {
		out.Servers[i].Users = diffUsers(nil, out.Servers[i].Users, &room)
	}
	return &out
}
