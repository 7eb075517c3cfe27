package store

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/presence"
)

const (
	// maxCachedRows bounds the roster rows and blocks in memory, some 250 bytes each; those of the users used last are kept.
	maxCachedRows = 250_000
	// cacheUserRow is what a user counts for besides.
	cacheUserRow = 4
	// copyUpTo changes of one user in one transaction are written into what is
	// cached; after more it is read again.
	copyUpTo = 16
)

// userState is what is in the database of one user's roster and blocks, and which
// documents there are. It is immutable, and shared.
type userState struct {
	items    []Item // in the order of byContact
	blocks   []string
	docs     []Document // without bodies, in the order of byPath
	version  uint64     // of roster and documents
	floor    uint64
	revision uint64
	mailed   bool // a message may have been kept for him once; only SQLite looks
}

func byContact(a Item, b presence.Entity) int {
	return cmp.Or(strings.Compare(a.Contact.Domain, b.Domain), strings.Compare(a.Contact.User, b.User))
}

func (s *userState) rows() int { return len(s.items) + len(s.blocks) + len(s.docs) + cacheUserRow }

// item finds a row.
func (s *userState) item(contact presence.Entity) (Item, bool) {
	i, ok := slices.BinarySearchFunc(s.items, contact, byContact)
	if !ok {
		return Item{}, false
	}
	return s.items[i], true
}

// follows tells whether the state is not to be changed by what was written as a
// revision, but to be taken as it is, or, when nil, to be read again.
func (s *userState) follows(version, revision uint64) (done bool, next *userState) {
	switch {
	case version <= s.version:
		return true, s // read after the commit: it is in already
	case revision != s.revision+1:
		return true, nil // another process has written in between
	}
	return false, nil
}

// with returns the state after one row was written (or, without flags, deleted).
func (s *userState) with(it Item, version, revision uint64) *userState {
	if done, next := s.follows(version, revision); done {
		return next
	}
	next := &userState{blocks: s.blocks, docs: s.docs, version: version, floor: s.floor, revision: revision, mailed: s.mailed}
	i, found := slices.BinarySearchFunc(s.items, it.Contact, byContact)
	if it.flags() == 0 {
		next.items = spliced(s.items, i, found)
	} else {
		next.items = spliced(s.items, i, found, it)
	}
	return next
}

// spliced is a copy of a list with what is put at i, in the place of what was found there. It has no room that stays empty.
func spliced[T any](list []T, i int, found bool, put ...T) []T {
	rest := list[i:]
	if found {
		rest = rest[1:]
	}
	return slices.Concat(list[:i], put, rest)
}

// cache keeps the users used last, so that neither a login nor a policy reads the
// database, which is what hurts when all come back at once. It is never behind
// where this process is the only one that writes: its writer brings the cache up to
// date after each commit and before the acknowledgement, and what a reader has
// read meanwhile is not put in. Where others write too, it is asked for its revision
// before it is believed: see validate.go.
type cache struct {
	mu    sync.Mutex
	users map[presence.Entity]*list.Element
	order list.List // of *cachedUser, used last first
	rows  int
	max   int
	turns [256]uint64 // changes, by a hash of the user
	hits  uint64
	reads uint64
}

type cachedUser struct {
	u       presence.Entity
	s       *userState
	checked time.Time // when it was seen to be what the database has; where others write too
}

func (c *cache) init(rows int) {
	c.max = rows
	c.users = make(map[presence.Entity]*list.Element)
}

func (c *cache) turn(u presence.Entity) *uint64 {
	h := uint32(2166136261)
	for i := range len(u.User) {
		h = (h ^ uint32(u.User[i])) * 16777619
	}
	return &c.turns[h>>24]
}

// get returns what is cached, and when it was checked, or nil and the turn to put with.
func (c *cache) get(u presence.Entity) (*userState, time.Time, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.users[u]; el != nil {
		c.hits++
		c.order.MoveToFront(el)
		e := el.Value.(*cachedUser)
		return e.s, e.checked, 0
	}
	c.reads++
	return nil, time.Time{}, *c.turn(u)
}

// now is the turn to put with what is read from now on.
func (c *cache) now(u presence.Entity) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.turn(u)
}

// check notes when a state was seen to be the database's.
func (c *cache) check(u presence.Entity, s *userState, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.users[u]; el != nil && el.Value.(*cachedUser).s == s {
		el.Value.(*cachedUser).checked = at
	}
}

// expire takes out a state that is not the database's any more, and returns the turn to put with.
func (c *cache) expire(u presence.Entity, s *userState) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.users[u]; el != nil && el.Value.(*cachedUser).s == s {
		c.remove(el)
	}
	c.reads++
	return *c.turn(u)
}

// put keeps what a reader has read since get, not before at, unless it was changed meanwhile.
func (c *cache) put(u presence.Entity, s *userState, turn uint64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *c.turn(u) != turn {
		return
	}
	if el := c.users[u]; el != nil {
		if el.Value.(*cachedUser).s.revision >= s.revision {
			return
		}
		c.remove(el) // of before a commit that the writer is about to tell of
	}
	u = u.Clone()
	c.users[u] = c.order.PushFront(&cachedUser{u, s, at})
	c.rows += s.rows()
	c.bound()
}

func (c *cache) bound() {
	for c.rows > c.max && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

// update is the writer's, after a commit: with returns the new state, or nil to
// have it read again.
func (c *cache) update(u presence.Entity, with func(*userState) *userState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.turn(u)++
	el := c.users[u]
	if el == nil {
		return
	}
	old := el.Value.(*cachedUser)
	s := with(old.s)
	if s == nil {
		c.remove(el)
		return
	}
	c.rows += s.rows() - old.s.rows()
	old.s = s
	c.order.MoveToFront(el)
	c.bound()
}

func (c *cache) drop(u presence.Entity) {
	c.update(u, func(*userState) *userState { return nil })
}

func (c *cache) remove(el *list.Element) {
	e := c.order.Remove(el).(*cachedUser)
	delete(c.users, e.u)
	c.rows -= e.s.rows()
}

// peek is the writer's look at the cache.
func (c *cache) peek(u presence.Entity) *userState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.users[u]; el != nil {
		return el.Value.(*cachedUser).s
	}
	return nil
}
