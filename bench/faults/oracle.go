package faults

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// oracle knows what each user has said last, as far as the service has acknowledged it,
// and what each watcher was told last. A watcher is behind from the acknowledgement on until
// he is told it, or something newer.
type oracle struct {
	mu     sync.Mutex
	truth  map[string]*truth // by user
	pairs  map[pair]*sight
	lags   []lag
	breach []string // what must never happen, in words
}

// truth is what a user says: a number that only rises, or that he is away.
type truth struct {
	said int // acknowledged
	away bool
	at   time.Time

	// unsure: the user's connection stands, and nobody but him can know: his node is stopped or cut
	// off. To be told that he is away is right as well.
	unsure bool

	lately trace // what he said
}

type pair struct{ watcher, of string }

// sight is what one watcher was told of one user.
type sight struct {
	told     int
	away     bool
	standing bool      // the watcher's transport stands, and he has subscribed
	behind   time.Time // since when he is told too little; zero: he is right
	lately   trace
}

// trace is what has happened of late, in words, for the report about who stays wrong.
type trace []event

type event struct {
	at   time.Time
	what string
}

// maxTrace bounds a trace; the oldest goes.
const maxTrace = 30

func (t *trace) add(what string) {
	if len(*t) >= maxTrace {
		*t = append((*t)[:0], (*t)[1:]...)
	}
	*t = append(*t, event{time.Now(), what})
}

// lag is how long somebody was behind.
type lag struct {
	pair
	from time.Time
	took time.Duration
}

func newOracle() *oracle { return &oracle{truth: map[string]*truth{}, pairs: map[pair]*sight{}} }

// says: the service has acknowledged what a user said.
func (o *oracle) says(user string, n int, away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.truth[user]
	if t == nil {
		t = &truth{}
		o.truth[user] = t
	}
	if !away && n < t.said {
		return
	}
	t.said, t.away, t.at = max(n, t.said), away, time.Now()
	t.lately.add(fmt.Sprintf("%s says n%d, away=%t", user, n, away))
	for p, s := range o.pairs {
		if p.of == user {
			o.look(p, s, t.at)
		}
	}
}

// told: a watcher has got word of a user. how is that word, and whose.
func (o *oracle) told(watcher, of string, n int, away bool, how string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := pair{watcher, of}
	s := o.sight(p)
	s.told, s.away = n, away
	s.lately.add(how)
	o.look(p, s, time.Now())
}

// stands says whether a watcher can be told at all at present.
func (o *oracle) stands(watcher, of string, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := pair{watcher, of}
	s := o.sight(p)
	if s.standing != yes {
		s.lately.add(map[bool]string{true: "can be told", false: "cannot be told"}[yes])
	}
	if s.standing = yes; !yes {
		s.behind = time.Time{}
	}
	o.look(p, s, time.Now())
}

// unsure says whether it can be known that a user is there.
func (o *oracle) unsure(user string, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.truth[user]
	if t == nil {
		return
	}
	t.unsure = yes
	for p, s := range o.pairs {
		if p.of == user {
			o.look(p, s, time.Now())
		}
	}
}

func (o *oracle) sight(p pair) *sight {
	s := o.pairs[p]
	if s == nil {
		s = &sight{told: -1}
		o.pairs[p] = s
	}
	return s
}

// look compares, and keeps the time of a pair that has become right.
func (o *oracle) look(p pair, s *sight, now time.Time) {
	t := o.truth[p.of]
	if t == nil || !s.standing {
		return
	}
	right := t.unsure && (s.away || s.told >= t.said) || t.away && s.away || !t.away && !s.away && s.told >= t.said
	switch {
	case right && !s.behind.IsZero():
		o.lags = append(o.lags, lag{p, s.behind, now.Sub(s.behind)})
		s.behind = time.Time{}
	case !right && s.behind.IsZero():
		s.behind = now
	}
}

// never notes what must not happen.
func (o *oracle) never(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.breach) < 100 {
		o.breach = append(o.breach, fmt.Sprintf(format, args...))
	}
}

// wrong lists who is behind now.
func (o *oracle) wrong() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []string
	for p, s := range o.pairs {
		if !s.behind.IsZero() {
			t := o.truth[p.of]
			list = append(list, fmt.Sprintf("%s was told %d away=%t of %s who says %d away=%t, for %v", p.watcher, s.told, s.away, p.of, t.said, t.away,
				time.Since(s.behind).Round(time.Millisecond)))
		}
	}
	sort.Strings(list)
	return list
}

// someWrong are up to so many of those who are behind, no two of one user.
func (o *oracle) someWrong(most int) (list []pair) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, s := range o.pairs {
		if !s.behind.IsZero() && len(list) < most && !slices.ContainsFunc(list, func(x pair) bool { return x.of == p.of }) {
			list = append(list, p)
		}
	}
	return list
}

// account is what was said and told of late to a watcher of a user, a line each.
func (o *oracle) account(p pair) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Clone(o.pairs[p].lately)
	if t := o.truth[p.of]; t != nil {
		all = append(all, t.lately...)
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "      %s  %s\n", e.at.Format("15:04:05.000"), e.what)
	}
	return b.String()
}

// since takes the lags of what began to be wrong after a time.
func (o *oracle) since(from time.Time) (n int, p50, worst time.Duration, of lag) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var took []time.Duration
	for _, l := range o.lags {
		if l.from.Add(l.took).After(from) { // was behind at some time after it
			d := l.took
			if l.from.Before(from) {
				d -= from.Sub(l.from)
			}
			took = append(took, d)
			if d >= worst {
				worst, of = d, l
			}
		}
	}
	if len(took) == 0 {
		return 0, 0, 0, of
	}
	slices.Sort(took)
	return len(took), took[len(took)/2], worst, of
}

// forget drops the lags so far.
func (o *oracle) forget() {
	o.mu.Lock()
	o.lags = nil
	o.mu.Unlock()
}

// breaches are what must never happen and did.
func (o *oracle) breaches() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.breach)
}
