package xdm

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"pharos/presence"
)

// errNotHeld is a mistake of the caller: who holds some users may not change
// others, since two who did so might wait for one another for ever.
var errNotHeld = errors.New("xdm: the caller holds other users")

// stripes of locks; users who share one wait for one another.
const stripes = 256

// waitLock is a mutex that is held while its holder waits for a commit. It is a
// channel because the store lets a moment pass between commits: in
// testing/synctest no time passes while somebody waits for a sync.Mutex.
type waitLock chan struct{}

type locks struct {
	seed    maphash.Seed
	stripes [stripes]waitLock
}

func (l *locks) init() {
	l.seed = maphash.MakeSeed()
	for i := range l.stripes {
		l.stripes[i] = make(waitLock, 1)
	}
}

func (l *locks) of(u presence.Entity) int {
	return int(maphash.Comparable(l.seed, u) % stripes)
}

// heldKey is the key of a context's holding.
type heldKey struct{ d *Documents }

type holding struct{ users []presence.Entity }

// Hold locks what users have, for the caller to read, change and tell in one
// piece; UpdateItems, SetBlocks, Get, List and Update for them are called with it
// held, by ctx of the context that it returns. Nobody holds twice, and no other user
// is changed by ctx of that context.
func (d *Documents) Hold(ctx context.Context, users ...presence.Entity) (held context.Context, release func()) {
	taken := d.locks.take(users)
	return context.WithValue(ctx, heldKey{d}, holding{users}), func() { d.locks.free(taken) }
}

// take locks the stripes of users, in one order everywhere.
func (l *locks) take(users []presence.Entity) (taken []int) {
	taken = make([]int, 0, len(users))
	for _, u := range users {
		taken = append(taken, l.of(u))
	}
	slices.Sort(taken)
	taken = slices.Compact(taken)
	for _, i := range taken {
		l.stripes[i] <- struct{}{}
	}
	return taken
}

func (l *locks) free(taken []int) {
	for _, i := range taken {
		<-l.stripes[i]
	}
}

// enter holds users for one call, unless the caller holds them already.
func (d *Documents) enter(ctx context.Context, users ...presence.Entity) (release func(), err error) {
	if h, ok := ctx.Value(heldKey{d}).(holding); ok {
		for _, u := range users {
			if !slices.Contains(h.users, u) {
				return nil, errNotHeld
			}
		}
		return func() {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	taken := d.locks.take(users)
	return func() { d.locks.free(taken) }, nil
}
