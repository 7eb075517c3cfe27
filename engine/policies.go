package engine

import (
	"context"
	"sync"
	"time"

	"pharos/presence"
)

// loader loads policies off the shards. A presentity is in the queue at most
// once, and only with an input that waits for it or as a resident, so the queue
// is bounded by those. Workers live as long as there is work.
type loader struct {
	mu      sync.Mutex
	queue   []load
	workers int
	wg      sync.WaitGroup
}

type load struct {
	shard *shard
	of    presence.Entity
}

type loaded struct {
	of     presence.Entity
	policy *presence.Policy
	err    error
}

func (e *Engine) loadPolicy(s *shard, of presence.Entity) {
	l := &e.loads
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, load{s, of})
	if l.workers < PolicyLoaders {
		l.workers++
		l.wg.Go(func() { e.loadAll() })
	}
}

func (e *Engine) loadAll() {
	l := &e.loads
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.queue = nil
			l.workers--
			l.mu.Unlock()
			return
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		p, err := e.policyOf(e.work, next.of)
		next.shard.policyLoaded(loaded{next.of, p, err})
	}
}

func (l *loader) wait() { l.wg.Wait() }

// Policy is somebody's compiled policy, as it was last loaded or else loaded
// now; it may wait for the store. Never nil without an error.
func (e *Engine) Policy(ctx context.Context, of presence.Entity) (*presence.Policy, error) {
	if e.policies == nil {
		return &presence.Policy{Default: presence.Confirm}, nil
	}
	if p := e.known.get(of); p != nil {
		return p, nil
	}
	return e.policyOf(ctx, of)
}

// policyOf loads a policy and remembers it.
func (e *Engine) policyOf(ctx context.Context, of presence.Entity) (*presence.Policy, error) {
	g := e.known.generation(of)
	ctx, cancel := context.WithTimeout(ctx, PolicyTime)
	defer cancel()
	p, err := e.policies.Policy(ctx, of)
	if err == nil && p == nil {
		p = &presence.Policy{Default: presence.Confirm}
	}
	if err == nil {
		e.known.put(of, p, g)
	}
	return p, err
}

// policyCache remembers policies beyond the presentities in memory: for Send,
// which must not go through a shard for each message, and for contacts who are
// away when one user after the other logs in. What it holds is never older than
// the last PolicyChanged.
type policyCache struct {
	mu   sync.RWMutex
	m    map[presence.Entity]*presence.Policy
	gens [256]uint64 // changes, by hash of the entity
}

// MaxPolicies bounds the policies that are remembered; beyond, arbitrary ones
// make room.
const MaxPolicies = 1 << 14

func (c *policyCache) generation(of presence.Entity) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gens[hash(of)%uint32(len(c.gens))]
}

func (c *policyCache) get(of presence.Entity) *presence.Policy {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.m[of]
}

// put keeps a policy that was asked for at generation g. If it has changed
// since, it may be the old one.
func (c *policyCache) put(of presence.Entity, p *presence.Policy, g uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gens[hash(of)%uint32(len(c.gens))] != g {
		return
	}
	if c.m == nil {
		c.m = make(map[presence.Entity]*presence.Policy)
	}
	if len(c.m) >= MaxPolicies {
		for o := range c.m {
			delete(c.m, o)
			break
		}
	}
	c.m[of] = p
}

func (c *policyCache) forget(of presence.Entity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gens[hash(of)%uint32(len(c.gens))]++
	delete(c.m, of)
}

func (c *policyCache) forgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.gens {
		c.gens[i]++
	}
	c.m = nil
}

// hash is FNV-1a: the same on every run, so that logs compare.
func hash(of presence.Entity) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(of.User); i++ {
		h = (h ^ uint32(of.User[i])) * 16777619
	}
	h = (h ^ '@') * 16777619
	for i := 0; i < len(of.Domain); i++ {
		h = (h ^ uint32(of.Domain[i])) * 16777619
	}
	return h
}

// PolicyHeard is PolicyChanged for a change that was made on another node, which has told
// the owner: nothing is passed on.
func (e *Engine) PolicyHeard(of presence.Entity) {
	e.known.forget(of)
	e.shardOf(of).policyChanged(of)
}

// HeardTime is how long the one who has changed a policy on another node has to tell the owner himself.
const HeardTime = time.Second

// MaxHeardPolicies bounds the policies of which that is waited for; those beyond are loaded at once.
const MaxHeardPolicies = 1 << 14

// PolicyHeardOf is PolicyHeard for a change whose maker has more to do at the owner before
// the new policy (subscriptions to end for a reason of their own), and then calls PolicyChanged.
// Should his node die before, the policy is loaded again all the same, after HeardTime.
func (e *Engine) PolicyHeardOf(of presence.Entity) {
	e.known.forget(of)
	if !e.heard.add(e, of) {
		e.shardOf(of).policyChanged(of)
	}
}

// heardOf are policies that are loaded again when their time has come.
type heardOf struct {
	mu    sync.Mutex
	list  []heardAt // in the order of time
	timer *time.Timer
	ended bool
}

type heardAt struct {
	of presence.Entity
	at time.Time
}

func (h *heardOf) add(e *Engine, of presence.Entity) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || len(h.list) >= MaxHeardPolicies {
		return h.ended
	}
	h.list = append(h.list, heardAt{of, time.Now().Add(HeardTime)})
	if h.timer == nil {
		h.timer = time.AfterFunc(HeardTime, func() { h.due(e) })
	}
	return true
}

func (h *heardOf) due(e *Engine) {
	now := time.Now()
	h.mu.Lock()
	n := 0
	for n < len(h.list) && !h.list[n].at.After(now) {
		n++
	}
	due := h.list[:n]
	if h.list, h.timer = h.list[n:], nil; len(h.list) > 0 && !h.ended {
		h.timer = time.AfterFunc(h.list[0].at.Sub(now), func() { h.due(e) })
	}
	h.mu.Unlock()
	for _, x := range due {
		e.shardOf(x.of).policyChanged(x.of)
	}
}

func (h *heardOf) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended = true; h.timer != nil {
		h.timer.Stop()
	}
}

// PoliciesMissed has every policy loaded again: changes on other nodes may not have been heard.
func (e *Engine) PoliciesMissed() {
	e.known.forgetAll()
	for _, s := range e.shards {
		s.policiesChanged()
	}
}
