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

// held is the context of who holds users. Logins hold one several times, so this
// is one piece of memory.
type held struct {
	context.Context
	d     *Documents
	users []presence.Entity
	taken []int // stripes
	room  struct {
		users [2]presence.Entity
		taken [2]int
	}
}

// heldKey asks a context for the held of d.
type heldKey struct{ d *Documents }

// Value is Context's.
func (h *held) Value(key any) any {
	if k, ok := key.(heldKey); ok && k.d == h.d {
		return h
	}
	return h.Context.Value(key)
}

func (h *held) release() {
	for _, i := range h.taken {
		<-h.d.locks.stripes[i]
	}
}

// Hold locks what users have, for the caller to read, change and tell in one
// piece; UpdateItems, SetBlocks, Get, List and Update for them are called with it
// held, by ctx of the context that it returns. Nobody holds twice, and no other user
// is changed by ctx of that context.
func (d *Documents) Hold(ctx context.Context, users ...presence.Entity) (context.Context, func()) {
	h := &held{Context: ctx, d: d}
	h.users = append(h.room.users[:0], users...)
	h.taken = d.locks.take(h.room.taken[:0], users)
	return h, h.release
}

// take locks the stripes of users, in one order everywhere.
func (l *locks) take(taken []int, users []presence.Entity) []int {
	for _, u := range users {
		i := l.of(u)
		if at, again := slices.BinarySearch(taken, i); !again {
			taken = slices.Insert(taken, at, i)
		}
	}
	for _, i := range taken {
		l.stripes[i] <- struct{}{}
	}
	return taken
}

// enter holds users for one call, unless the caller holds them already.
func (d *Documents) enter(ctx context.Context, users ...presence.Entity) (release func(), err error) {
	if h, ok := ctx.Value(heldKey{d}).(*held); ok {
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
	_, release = d.Hold(ctx, users...)
	return release, nil
}
