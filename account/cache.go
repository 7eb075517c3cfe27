package account

import (
	"container/list"
	"encoding/hex"
	"errors"
	"sync"

	"pharos/presence"
	"pharos/store"
)

const (
	// maxCachedAccounts bounds the accounts in memory, about 1.5 kB each.
	maxCachedAccounts = 50_000
	// maxCachedUnknown bounds the names known to have no account, apart, so that
	// asking for names at random does not push out those who are here.
	maxCachedUnknown = 20_000

	// maxLoaders is how many accounts are read from the store at one time.
	maxLoaders = 4
	// maxLoads is how many more may wait to be read; beyond it logins fail with ErrBusy.
	maxLoads = 8192
)

// entry is a cached account in the form that verification needs, or, with known
// false, the knowledge that there is none. Immutable.
type entry struct {
	known       bool
	user        string
	md5         [16]byte
	sha256      [32]byte
	sha512256   [32]byte
	logins      []store.Login
	sha1Scram   store.Scram
	sha256Scram store.Scram
}

func newEntry(a *store.Account) *entry {
	e := &entry{known: true, user: a.User.User, logins: a.Logins, sha1Scram: a.Sha1, sha256Scram: a.Sha256}
	// The store checks their form.
	hex.Decode(e.md5[:], []byte(a.MD5))
	hex.Decode(e.sha256[:], []byte(a.SHA256))
	hex.Decode(e.sha512256[:], []byte(a.SHA512256))
	return e
}

// ha1 writes the key for a spelling of the user name in hex, and returns its length.
func (e *entry) ha1(to []byte, alg algorithm, username string) int {
	l := (*store.Login)(nil)
	if username != e.user {
		for i := range e.logins {
			if e.logins[i].Username == username {
				l = &e.logins[i]
				break
			}
		}
	}
	switch {
	case alg == algMD5 && l == nil:
		to = hex.AppendEncode(to, e.md5[:])
	case alg == algMD5:
		to = hex.AppendEncode(to, l.MD5[:])
	case alg == algSHA256 && l == nil:
		to = hex.AppendEncode(to, e.sha256[:])
	case alg == algSHA256:
		to = hex.AppendEncode(to, l.SHA256[:])
	case l == nil:
		to = hex.AppendEncode(to, e.sha512256[:])
	default:
		to = hex.AppendEncode(to, l.SHA512256[:])
	}
	return len(to)
}

// cache holds accounts and reads each missing one once, however many ask.
type cache struct {
	read func(presence.Entity) (store.Account, error)

	mu      sync.Mutex
	known   lru
	unknown lru
	loads   map[presence.Entity]*load
	queue   []*load
	running int
}

type load struct {
	user    presence.Entity
	waiting []func(*entry, error)
	old     bool // changed since it was begun: its answer is not to be kept
}

func (c *cache) init(read func(presence.Entity) (store.Account, error)) {
	c.read = read
	c.known.init(maxCachedAccounts)
	c.unknown.init(maxCachedUnknown)
	c.loads = make(map[presence.Entity]*load)
}

// peek returns what is cached, or nil.
func (c *cache) peek(u presence.Entity) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(u)
}

// find is peek for who asks only for the user and whether there is an account.
func (c *cache) find(u presence.Entity) (own presence.Entity, known, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.known.find(u); i != nil {
		return i.u, true, true
	}
	if i := c.unknown.find(u); i != nil {
		return i.u, false, true
	}
	return u, false, false
}

func (c *cache) lookup(u presence.Entity) *entry {
	if e := c.known.get(u); e != nil {
		return e
	}
	return c.unknown.get(u)
}

// get calls done at once with what is cached, else on another goroutine with what
// was read. The entry is never nil without an error.
func (c *cache) get(u presence.Entity, done func(*entry, error)) {
	c.mu.Lock()
	if e := c.lookup(u); e != nil {
		c.mu.Unlock()
		done(e, nil)
		return
	}
	if l := c.loads[u]; l != nil && !l.old {
		l.waiting = append(l.waiting, done)
		c.mu.Unlock()
		return
	}
	if len(c.queue) >= maxLoads {
		c.mu.Unlock()
		done(nil, ErrBusy)
		return
	}
	l := &load{user: u, waiting: []func(*entry, error){done}}
	c.loads[u] = l
	c.queue = append(c.queue, l)
	start := c.running < maxLoaders
	if start {
		c.running++
	}
	c.mu.Unlock()
	if start {
		go c.work()
	}
}

// work reads until nothing waits.
func (c *cache) work() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.running--
			c.queue = nil
			c.mu.Unlock()
			return
		}
		l := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.mu.Unlock()

		e := &entry{}
		a, err := c.read(l.user)
		switch {
		case err == nil:
			e = newEntry(&a)
		case errors.Is(err, store.ErrNotFound):
			err = nil
		default:
			e = nil
		}

		c.mu.Lock()
		if c.loads[l.user] == l {
			delete(c.loads, l.user)
		}
		if e != nil && !l.old {
			u := l.user.Clone() // of a packet, perhaps
			if e.known {
				c.known.put(u, e)
			} else {
				c.unknown.put(u, e)
			}
		}
		waiting := l.waiting
		c.mu.Unlock()
		for _, done := range waiting {
			done(e, err)
		}
	}
}

// count is how many are cached.
func (c *cache) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known.items) + len(c.unknown.items)
}

func (c *cache) drop(u presence.Entity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.drop(u)
	c.unknown.drop(u)
	if l := c.loads[u]; l != nil {
		l.old = true
	}
}

// clear drops everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.init(maxCachedAccounts)
	c.unknown.init(maxCachedUnknown)
	for _, l := range c.loads {
		l.old = true
	}
}

// lru is a bounded map that forgets what was not used for longest.
type lru struct {
	max   int
	items map[presence.Entity]*lruItem
	order list.List // of *lruItem
}

type lruItem struct {
	u    presence.Entity
	e    *entry
	used bool // since it was put in front
	at   *list.Element
}

func (l *lru) init(max int) {
	l.max = max
	l.items = make(map[presence.Entity]*lruItem)
	l.order.Init()
}

func (l *lru) get(u presence.Entity) *entry {
	if i := l.find(u); i != nil {
		return i.e
	}
	return nil
}

func (l *lru) find(u presence.Entity) *lruItem {
	i := l.items[u]
	if i != nil {
		i.used = true
	}
	return i
}

func (l *lru) put(u presence.Entity, e *entry) {
	if i := l.items[u]; i != nil {
		i.e = e
		l.order.MoveToFront(i.at)
		return
	}
	if len(l.items) >= l.max {
		last := l.order.Back()
		for i := last.Value.(*lruItem); i.used; i = last.Value.(*lruItem) {
			i.used = false
			l.order.MoveToFront(last)
			last = l.order.Back()
		}
		delete(l.items, last.Value.(*lruItem).u)
		l.order.Remove(last)
	}
	i := &lruItem{u: u, e: e}
	i.at = l.order.PushFront(i)
	l.items[u] = i
}

func (l *lru) drop(u presence.Entity) {
	if i := l.items[u]; i != nil {
		delete(l.items, u)
		l.order.Remove(i.at)
	}
}
