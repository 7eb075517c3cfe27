package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/presence"
	"pharos/store"
)

// table is a registry in memory, with the rules of the real one, and saves under its fence.
type table struct {
	t      *testing.T
	mu     sync.Mutex
	nodes  map[string]Member
	homes  map[presence.Entity]Home
	stamp  uint64
	leader Member
	until  time.Time
	term   uint64
	saved  map[presence.Entity]int // versions, of those who have something durable
	terms  map[uint64]string       // who had which term
	down   bool                    // the database is not there
	ahead  time.Duration           // of the database's clock
}

// now is by the database's clock.
func (t *table) now() time.Time { return time.Now().Add(t.ahead) }

func newTable(t *testing.T) *table {
	return &table{t: t, nodes: map[string]Member{}, homes: map[presence.Entity]Home{}, saved: map[presence.Entity]int{}, terms: map[uint64]string{}}
}

// view is what one node has of the table, with faults.
type view struct {
	*table
	node   string
	gate   sync.Mutex
	frozen chan struct{}               // calls wait until it is closed
	dead   bool                        // nothing answers
	fault  func(call string) (f fault) // of the next call; may be nil
}

type fault int

const (
	fine       fault = iota
	refused          // an error, and nothing was done
	unheard          // done, but an error
	doneLater        // an error at once, and done some time afterwards
	laterAfter = 300 * time.Millisecond
)

var errDatabase = errors.New("the database does not answer")

// call runs fn as a transaction.
func (v *view) call(ctx context.Context, name string, fn func() error) error {
	v.gate.Lock()
	frozen, dead := v.frozen, v.dead
	f := fine
	if v.fault != nil {
		f = v.fault(name)
	}
	v.gate.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	locked := func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.down {
			return errDatabase
		}
		return fn()
	}
	switch {
	case dead || f == refused:
		return errDatabase
	case f == unheard:
		_ = locked()
		return errDatabase
	case f == doneLater:
		time.AfterFunc(laterAfter, func() { _ = locked() })
		return errDatabase
	}
	time.Sleep(time.Millisecond)
	return locked()
}

func (v *view) freeze() {
	v.gate.Lock()
	defer v.gate.Unlock()
	v.frozen = make(chan struct{})
}

func (v *view) thaw() {
	v.gate.Lock()
	defer v.gate.Unlock()
	close(v.frozen)
	v.frozen = nil
}

func (v *view) kill() {
	v.gate.Lock()
	defer v.gate.Unlock()
	v.dead = true
}

func (v *view) faults(f func(call string) fault) {
	v.gate.Lock()
	defer v.gate.Unlock()
	v.fault = f
}

// alive is called with mu held.
func (t *table) alive(name string) bool {
	m, ok := t.nodes[name]
	return ok && m.State != Dead && m.State != Left && m.Expires.After(t.now())
}

func (v *view) Enter(ctx context.Context, m Member, lease time.Duration) (epoch uint64, err error) {
	err = v.call(ctx, "enter", func() error {
		m.Epoch, m.Expires = v.nodes[m.Name].Epoch+1, v.now().Add(lease)
		v.nodes[m.Name] = m
		epoch = m.Epoch
		return nil
	})
	return epoch, err
}

func (v *view) Renew(ctx context.Context, m Member, lease time.Duration) error {
	return v.call(ctx, "renew", func() error {
		have := v.nodes[m.Name]
		if have.Epoch != m.Epoch || have.State == Dead || have.State == Left {
			return store.ErrFenced
		}
		m.Expires = v.now().Add(lease)
		v.nodes[m.Name] = m
		return nil
	})
}

func (v *view) end(name string, epoch uint64, state string) bool {
	m := v.nodes[name]
	if m.Epoch != epoch || m.State == Dead || m.State == Left {
		return false
	}
	m.Epoch++
	m.State = state
	v.nodes[name] = m
	return true
}

func (v *view) Leave(ctx context.Context, name string, epoch uint64) error {
	return v.call(ctx, "leave", func() error { v.end(name, epoch, Left); return nil })
}

func (v *view) Bury(ctx context.Context, name string, epoch uint64) (ok bool, err error) {
	err = v.call(ctx, "bury", func() error {
		ok = !v.alive(name) && v.end(name, epoch, Dead)
		return nil
	})
	return ok && err == nil, err
}

func (v *view) Members(ctx context.Context) (list []Member, err error) {
	err = v.call(ctx, "members", func() error {
		list = nil
		for _, name := range slices.Sorted(maps.Keys(v.nodes)) {
			m := v.nodes[name]
			m.Leader = v.leader.Name == name && v.leader.Epoch == m.Epoch && v.until.After(v.now())
			m.Expires = m.Expires.Add(-v.ahead) // as the node's clock has it
			list = append(list, m)
		}
		return nil
	})
	return list, err
}

func (v *view) Lead(ctx context.Context, name string, epoch uint64, lease time.Duration) (leader string, term uint64, err error) {
	err = v.call(ctx, "lead", func() error {
		if v.nodes[name].Epoch != epoch {
			return store.ErrFenced
		}
		same := v.leader.Name == name && v.leader.Epoch == epoch && v.until.After(v.now())
		if over := v.nodes[v.leader.Name].Epoch != v.leader.Epoch || !v.until.After(v.now()); same || over {
			if !same {
				v.term++
				v.terms[v.term] = name
			}
			v.leader, v.until = Member{Name: name, Epoch: epoch}, v.now().Add(lease)
		}
		leader, term = v.leader.Name, v.term
		return nil
	})
	return leader, term, err
}

func (v *view) rise(e presence.Entity, node string) Home {
	v.stamp = max(v.stamp, v.homes[e].Epoch) + 1
	h := Home{Node: node, Epoch: v.stamp}
	v.homes[e] = h
	return h
}

// inheritMost is a portion of the homes of a dead node.
const inheritMost = 7

func (v *view) Inherit(ctx context.Context, dead string, heirs map[string]int) (got map[string]int, err error) {
	err = v.call(ctx, "inherit", func() error {
		got = map[string]int{}
		if m := v.nodes[dead]; m.State != Dead && m.State != Left {
			return nil
		}
		var names []string
		for _, h := range slices.Sorted(maps.Keys(heirs)) {
			if heirs[h] > 0 && v.alive(h) {
				names = append(names, h)
			}
		}
		if len(names) == 0 {
			return store.ErrNoHeir
		}
		var all []presence.Entity
		for e, h := range v.homes {
			if h.Node == dead {
				all = append(all, e)
			}
		}
		slices.SortFunc(all, func(a, b presence.Entity) int { return strings.Compare(a.User, b.User) })
		for i, e := range all[:min(len(all), inheritMost)] {
			node := names[i%len(names)]
			v.rise(e, node)
			got[node]++
		}
		return nil
	})
	return got, err
}

func (v *view) Homes(ctx context.Context, of []presence.Entity) (found map[presence.Entity]Home, err error) {
	err = v.call(ctx, "homes", func() error {
		found = map[presence.Entity]Home{}
		for _, e := range of {
			if h, ok := v.homes[e]; ok {
				found[e] = h
			}
		}
		return nil
	})
	return found, err
}

func (v *view) Settle(ctx context.Context, wish map[presence.Entity]string) (found map[presence.Entity]Home, err error) {
	err = v.call(ctx, "settle", func() error {
		found = map[presence.Entity]Home{}
		for e, node := range wish {
			h, ok := v.homes[e]
			m := v.nodes[h.Node]
			switch {
			case ok && m.State != Dead && m.State != Left:
				found[e] = h
			case v.alive(node):
				found[e] = v.rise(e, node)
			case ok:
				found[e] = h
			}
		}
		return nil
	})
	return found, err
}

func (v *view) Move(ctx context.Context, from, to string, of map[presence.Entity]uint64) (moved map[presence.Entity]Home, err error) {
	of = maps.Clone(of)
	err = v.call(ctx, "move", func() error {
		moved = map[presence.Entity]Home{}
		if !v.alive(to) {
			return nil
		}
		for e, epoch := range of {
			if v.homes[e] == (Home{Node: from, Epoch: epoch}) {
				moved[e] = v.rise(e, to)
			}
		}
		return nil
	})
	return moved, err
}

func (v *view) Release(ctx context.Context, node string, of map[presence.Entity]uint64) error {
	of = maps.Clone(of)
	return v.call(ctx, "release", func() error {
		for e, epoch := range of {
			if v.homes[e] == (Home{Node: node, Epoch: epoch}) {
				delete(v.homes, e)
			}
		}
		return nil
	})
}

func (v *view) HomesOf(ctx context.Context, node string, durable bool) (list []presence.Entity, err error) {
	err = v.call(ctx, "homesof", func() error {
		list = nil
		for e, h := range v.homes {
			if h.Node == node && (!durable || v.saved[e] > 0) {
				list = append(list, e)
			}
		}
		return nil
	})
	return list, err
}

// save is what the store does for a node: it fails once the node's epoch is over. The version
// must be the next one, or somebody has worked on a state that was not the last.
func (t *table) save(node string, epoch uint64, e presence.Entity, version int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.nodes[node]; m.Epoch != epoch || m.State == Dead || m.State == Left {
		return store.ErrFenced
	}
	if have := t.saved[e]; version != have+1 {
		t.t.Errorf("%s saves version %d of %s after %d", node, version, e, have)
	}
	t.saved[e] = version
	return nil
}

func (t *table) version(e presence.Entity) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.saved[e]
}
