package store

import (
	"bytes"
	"container/list"
	"strings"
	"sync"

	"pharos/presence"
)

// maxCachedBytes bounds the bodies of documents in memory; those used last are kept.
const maxCachedBytes = 32 << 20

// bodies keeps the bodies of the documents used last. It need not be told of
// changes: what the newest version is, the cache of users says, and a body of another
// version is not taken.
type bodies struct {
	mu    sync.Mutex
	m     map[bodyKey]*list.Element
	order list.List // of *body, used last first
	bytes int
	max   int
}

type bodyKey struct {
	u          presence.Entity
	auid, path string
}

type body struct {
	key     bodyKey
	version uint64
	b       []byte
}

// size is what a body counts for: it and about what it takes to keep it.
func (b *body) size() int { return len(b.b) + 256 }

func (c *bodies) init(bytes int) {
	c.max = bytes
	c.m = make(map[bodyKey]*list.Element)
}

// get fills in the body of d, if it is there in d's version.
func (c *bodies) get(u presence.Entity, d *Document) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.m[bodyKey{u, d.AUID, d.Path}]
	if el == nil || el.Value.(*body).version != d.Version {
		return false
	}
	c.order.MoveToFront(el)
	d.Body = el.Value.(*body).b
	return true
}

// put keeps a body, unless there is a newer one.
func (c *bodies) put(u presence.Entity, d Document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := bodyKey{u.Clone(), strings.Clone(d.AUID), strings.Clone(d.Path)}
	if el := c.m[k]; el != nil {
		if el.Value.(*body).version > d.Version {
			return
		}
		c.remove(el)
	}
	n := &body{k, d.Version, d.Body}
	if n.size() > c.max {
		return
	}
	if cap(d.Body) > len(d.Body)+len(d.Body)/8 {
		n.b = bytes.Clone(d.Body) // the room behind what was read is not to be kept, nor counted
	}
	c.m[k] = c.order.PushFront(n)
	for c.bytes += n.size(); c.bytes > c.max; {
		c.remove(c.order.Back())
	}
}

func (c *bodies) remove(el *list.Element) {
	b := c.order.Remove(el).(*body)
	delete(c.m, b.key)
	c.bytes -= b.size()
}
