package jabber

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"pharos/crowd"
	"pharos/presence"
)

// registry finds users who have sessions, and sessions by handle. A hibernating
// session (XEP-0198) is still in it.
type registry struct {
	seed     maphash.Seed
	users    [32]userShard
	sessions [32]sessionShard
	tokens   sync.Map // resumption token -> *session
}

type userShard struct {
	mu   sync.RWMutex
	m    map[presence.Entity]*user
	most int // see crowd.Left
}

type sessionShard struct {
	mu   sync.RWMutex
	m    map[string]*session
	most int
}

func (r *registry) init() {
	r.seed = maphash.MakeSeed()
	for i := range r.users {
		r.users[i].m = make(map[presence.Entity]*user)
	}
	for i := range r.sessions {
		r.sessions[i].m = make(map[string]*session)
	}
}

// user is somebody with at least one session.
type user struct {
	entity presence.Entity
	bare   string
	to     []byte // " to='bare'", the end of a stanza's head
	all    atomic.Pointer[[]*session]
	blocks atomic.Pointer[blocklist]
	photo  atomic.Pointer[string] // hash of the avatar, "" for none; nil: not read yet
	size   int                    // rows of the roster, -1 unknown; read and written with the user held
	later  []*following           // of several nodes: what is to follow yet; read and written with the user held
}

// list is a snapshot of the user's sessions; nil-safe.
func (u *user) list() []*session {
	if u == nil {
		return nil
	}
	if p := u.all.Load(); p != nil {
		return *p
	}
	return nil
}

// resource is the session bound to a resource, or nil.
func (u *user) resource(res string) *session {
	for _, s := range u.list() {
		if s.resource == res {
			return s
		}
	}
	return nil
}

// blocked tells whether the user's block list names an address; nil-safe. Nobody
// is blocked from himself, whatever the list says of his domain (XEP-0191 §5).
func (u *user) blocked(e presence.Entity, resource string) bool {
	return u != nil && e != u.entity && u.blocks.Load().has(e, resource)
}

func (r *registry) userShard(e presence.Entity) *userShard {
	return &r.users[maphash.Comparable(r.seed, e)%uint64(len(r.users))]
}

func (r *registry) sessionShard(handle string) *sessionShard {
	return &r.sessions[maphash.String(r.seed, handle)%uint64(len(r.sessions))]
}

// user is the record of a user who has sessions, else nil. Of several nodes each has a
// record for the sessions that are there. Whoever asks for it does so for one of these reasons:
//   - to tell the sessions here of what their owners (Notify) or a call of another edge
//     (functions that end in Here) bring to each node by itself;
//   - to do here what was passed to the other nodes as well (pass, passAll, Reach);
//   - to follow here a change of which the other nodes hear by themselves (heard.go);
//   - to save a question of which the answer is known where there is a record: that the
//     account exists, which End undoes on all nodes, and whom the user blocks, which is read again
//     when it is heard to have changed.
func (r *registry) user(e presence.Entity) *user {
	sh := r.userShard(e)
	sh.mu.RLock()
	u := sh.m[e]
	sh.mu.RUnlock()
	return u
}

func (r *registry) session(handle string) *session {
	sh := r.sessionShard(handle)
	sh.mu.RLock()
	s := sh.m[handle]
	sh.mu.RUnlock()
	return s
}

// add enters a session whose user field is a candidate record: where another
// session made one before, that one is taken. It returns the session that has the
// resource already, if any, and then does nothing; full tells that the user
// has MaxResources.
func (r *registry) add(s *session) (holder *session, full bool) {
	sh := r.userShard(s.user.entity)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u := sh.m[s.user.entity]
	if u == nil {
		u = s.user
	}
	if o := u.resource(s.resource); o != nil {
		return o, false
	}
	old := u.list()
	if len(old) >= MaxResources {
		return nil, true
	}
	s.user = u
	now := append(old[:len(old):len(old)], s)
	u.all.Store(&now)
	sh.m[u.entity] = u
	ss := r.sessionShard(s.handle)
	ss.mu.Lock()
	ss.m[s.handle] = s
	ss.mu.Unlock()
	return nil, false
}

func (r *registry) remove(s *session) {
	sh := r.userShard(s.user.entity)
	sh.mu.Lock()
	var now []*session
	for _, o := range s.user.list() {
		if o != s {
			now = append(now, o)
		}
	}
	s.user.all.Store(&now)
	if len(now) == 0 {
		delete(sh.m, s.user.entity)
		sh.m = crowd.Left(sh.m, &sh.most)
	}
	sh.mu.Unlock()
	ss := r.sessionShard(s.handle)
	ss.mu.Lock()
	delete(ss.m, s.handle)
	ss.m = crowd.Left(ss.m, &ss.most)
	ss.mu.Unlock()
}

func (r *registry) all() []*session {
	var out []*session
	for i := range r.sessions {
		sh := &r.sessions[i]
		sh.mu.RLock()
		for _, s := range sh.m {
			out = append(out, s)
		}
		sh.mu.RUnlock()
	}
	return out
}
