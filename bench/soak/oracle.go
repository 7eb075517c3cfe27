package soak

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// kind is which of a user's clients says something.
type kind int

const (
	byPhone kind = iota
	byChat
	kinds
)

func (k kind) String() string { return [kinds]string{"phone", "chat"}[k] }

// truth is what one client says: a number that only rises.
type truth struct {
	said   atomic.Int32 // last acknowledged; 0: not there
	unsure atomic.Bool  // something is under way of which nobody knows whether it has come about
	at     atomic.Int32 // the chat's node, by index
}

// user is one address.
type user struct {
	name  string
	says  [kinds]truth
	phone *phone // nil: has none
	chat  *chat

	// doubtful is until when there may be two publications, in Unix nanoseconds: of one the answer was lost, and it
	// stays until it runs out (RFC 3903 §4.1).
	doubtful atomic.Int64
}

// watch is what one client is told of one user.
type watch struct {
	watcher      *user
	by           kind
	of           *user
	told         [kinds]atomic.Int32 // 0: not there
	stands       atomic.Bool         // the watcher can be told, and has subscribed
	extra        atomic.Int32        // publications of the phone beyond one
	subscription string              // by the roster, of a chat; under its lock

	behind time.Time // since when it is told too little: the oracle's own
	noted  bool      // of that, that it has lasted
}

func (w *watch) String() string {
	s := fmt.Sprintf("%s's %v of %s:", w.watcher.name, w.by, w.of.name)
	for k := range kinds {
		s += fmt.Sprintf(" %v told %d says %d", k, w.told[k].Load(), w.of.says[k].said.Load())
	}
	if c := w.watcher.chat; c != nil && w.by == byChat && !w.stands.Load() {
		c.mu.Lock()
		s += fmt.Sprintf(", subscription %q", w.subscription)
		c.mu.Unlock()
	}
	if n := w.extra.Load(); n > 0 {
		s += fmt.Sprintf(", %d publications too many", n)
	}
	return s
}

// oracle compares what is said with what is told.
type oracle struct {
	users   []*user
	watches []*watch
	frozen  []atomic.Bool // by node: stopped, so that its chats can neither tell nor be told

	mu     sync.Mutex
	breach []string // what must never happen, in words
	count  int      // of breaches
	file   *os.File // a line for each; nil: none
	since  []lag    // of this period

	lasting int // how many have been written down: look's own
}

// lag is how long a watcher was behind.
type lag struct {
	took time.Duration
	what string
}

// never notes what must not happen.
func (o *oracle) never(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what := time.Now().UTC().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	if o.count++; len(o.breach) < 100 {
		o.breach = append(o.breach, what)
	}
	o.write(what)
}

// odd notes what is worth a look, and no breach.
func (o *oracle) odd(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(time.Now().UTC().Format("15:04:05.000 odd: ") + fmt.Sprintf(format, args...))
}

// write puts a line into the file. o.mu is held.
func (o *oracle) write(what string) {
	if o.file != nil {
		fmt.Fprintln(o.file, what)
	}
}

func (o *oracle) breaches() (int, []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count, append([]string(nil), o.breach...)
}

// excused tells whether a client sits at a node that is stopped.
func (o *oracle) excused(u *user, k kind) bool {
	return k == byChat && u.says[byChat].said.Load() != 0 && o.frozen[u.says[byChat].at.Load()].Load()
}

// right compares what a watcher was told. strict: to the number; else newer is right too, since an answer may be on its way.
func (o *oracle) right(w *watch, strict bool) bool {
	for k := range kinds {
		t := &w.of.says[k]
		said, told := t.said.Load(), w.told[k].Load()
		switch {
		case said == told:
		case !strict && (t.unsure.Load() || o.excused(w.of, k)):
		case k == byPhone && said == 0 && w.of.doubtful.Load() > time.Now().UnixNano():
		case !strict && said != 0 && told > said:
		default:
			return false
		}
	}
	return !strict || w.extra.Load() == 0 || w.of.doubtful.Load() > time.Now().UnixNano()
}

// look goes over everybody; late are those who have been behind for a second.
func (o *oracle) look(now time.Time) (wrong, late int) {
	var ended []lag
	for _, w := range o.watches {
		if !w.stands.Load() || o.excused(w.watcher, w.by) {
			w.behind = time.Time{}
			continue
		}
		right := o.right(w, false)
		if right && w.behind.IsZero() {
			continue
		}
		if right {
			if d := now.Sub(w.behind); d >= noticed {
				ended = append(ended, lag{d, w.String()})
			}
			w.behind, w.noted = time.Time{}, false
			continue
		}
		wrong++
		if w.behind.IsZero() {
			w.behind = now
		} else if d := now.Sub(w.behind); d >= noticed {
			if late++; d >= lasting && !w.noted && o.lasting < mostLasting {
				w.noted = true
				o.lasting++
				o.odd("behind for %v: %s", lasting, w)
			}
		}
	}
	if len(ended) > 0 {
		o.mu.Lock()
		o.since = append(o.since, ended...)
		o.mu.Unlock()
	}
	return wrong, late
}

// noticed is from when on somebody who is behind counts: the oracle looks every lookEvery.
const (
	noticed   = time.Second
	lookEvery = 250 * time.Millisecond

	// lasting is when it is written down who is behind, so that somebody can look why (pharos why) while it is so: so many, in all.
	lasting     = 20 * time.Second
	mostLasting = 1000
)

// period takes what has ended since the last call: how many watchers were behind for a second, and the longest.
func (o *oracle) period() (n int, worst time.Duration, of string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.since {
		if l.took > worst {
			worst, of = l.took, l.what
		}
	}
	n, o.since = len(o.since), nil
	return n, worst, of
}

// doubtful tells until when there may be publications whose entity-tag nobody has got, so that they run out by themselves.
func (o *oracle) doubtful() (until time.Time, n int) {
	for _, u := range o.users {
		if at := time.Unix(0, u.doubtful.Load()); at.After(time.Now()) {
			n++
			if at.After(until) {
				until = at
			}
		}
	}
	return until, n
}
