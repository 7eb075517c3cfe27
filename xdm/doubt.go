package xdm

import (
	"context"
	"sync"
	"time"

	"pharos/presence"
)

// When the database is lost while it commits (store.ErrUnknown), the caller hears of it and may try again, and then
// finds what he wants there already: nothing changes any more that anybody could be told of. So who listens, here
// and on other nodes, is told to look for himself, as soon as the database answers.

const (
	// maxDoubtful bounds the users whose last change may or may not have been committed; beyond, all
	// are looked at.
	maxDoubtful = 10_000
	// doubtPause is between two looks whether the database is back, doubtWithin bounds one.
	doubtPause  = 250 * time.Millisecond
	doubtWithin = 2 * time.Second
)

// doubts are users of whom it is not known what was committed.
type doubts struct {
	mu    sync.Mutex
	users map[presence.Entity]struct{}
	all   bool
	busy  bool
	ended bool
	end   chan struct{} // closed by Close; made with the first doubt
	wg    sync.WaitGroup
}

// doubt has users looked at again by all who listen.
func (d *Documents) doubt(users []presence.Entity) {
	x := &d.doubts
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		return
	}
	if x.users == nil {
		x.users, x.end = make(map[presence.Entity]struct{}), make(chan struct{})
	}
	for _, u := range users {
		x.users[u] = struct{}{}
	}
	if len(x.users) > maxDoubtful {
		clear(x.users)
		x.all = true
	}
	if !x.busy {
		x.busy = true
		x.wg.Go(d.resolve)
	}
}

// resolve waits for the database, and tells. It ends when there is no doubt any more.
func (d *Documents) resolve() {
	x := &d.doubts
	for {
		t := time.NewTimer(doubtPause)
		select {
		case <-x.end:
			t.Stop()
			return
		case <-t.C:
		}
		x.mu.Lock()
		users, all := x.users, x.all
		if len(users) == 0 && !all {
			x.busy = false
			x.mu.Unlock()
			return
		}
		var one presence.Entity
		for one = range users {
			break
		}
		x.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), doubtWithin)
		_, err := d.c.Store.Revision(ctx, one)
		cancel()
		if err != nil {
			continue
		}
		x.mu.Lock()
		users, all = x.users, x.all
		x.users, x.all = make(map[presence.Entity]struct{}), false
		x.mu.Unlock()
		if all {
			d.Missed()
			d.tellOthers(&Change{})
			continue
		}
		for u := range users {
			c := &Change{User: u, Policy: true, Doubtful: true}
			d.tellOthers(c)
			d.Heard(c)
		}
	}
}

func (d *Documents) tellOthers(c *Change) {
	if d.c.Tell != nil {
		d.c.Tell(c)
	}
}

// Close ends the waiting for a database that does not come back.
func (d *Documents) Close() {
	x := &d.doubts
	x.mu.Lock()
	if !x.ended {
		x.ended = true
		if x.end != nil {
			close(x.end)
		}
	}
	x.mu.Unlock()
	x.wg.Wait()
}
