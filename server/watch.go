package server

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/engine"
	"pharos/pidf"
	"pharos/presence"
)

// watchName is the edge of operators who watch a user ('pharos watch').
const watchName = "operator"

// watchEdge hands views to operators. They see what the user itself sees, since
// they watch as the user: there is no side door around the policy.
type watchEdge struct {
	engine *engine.Engine
	asked  func(request []byte) []byte // answers other servers
	next   atomic.Uint64
	mu     sync.Mutex // guards live
	live   map[string]*following
}

// following is an operator who watches.
type following struct {
	of    presence.Entity
	views chan *presence.View
}

var _ engine.ClusterEdge = (*watchEdge)(nil)

func newWatchEdge(e *engine.Engine, asked func([]byte) []byte) *watchEdge {
	return &watchEdge{engine: e, asked: asked, live: map[string]*following{}}
}

// maxWatches bounds the operators that watch at one time.
const maxWatches = 100

// Seen is one line of 'pharos watch'.
type Seen struct {
	At       time.Time    `json:"at"`
	User     string       `json:"user"`
	Version  uint64       `json:"version"`
	Presence string       `json:"presence"` // open or closed
	Sources  []SeenSource `json:"sources"`
	Document string       `json:"document"` // composed PIDF
}

// SeenSource is one source of a Seen.
type SeenSource struct {
	Kind    string    `json:"kind"`
	Key     string    `json:"key"`
	From    string    `json:"from,omitempty"`
	Updated time.Time `json:"updated"`
	Summary string    `json:"summary"`
}

// follow calls fn at once and at each change of the user's presence, until ctx
// ends or fn fails. Of changes that come faster than fn takes them the newest
// is told.
func (w *watchEdge) follow(ctx context.Context, u presence.Entity, fn func(Seen) error) error {
	handle := "w" + strconv.FormatUint(w.next.Add(1), 10)
	views := make(chan *presence.View, 1)
	w.mu.Lock()
	if len(w.live) >= maxWatches {
		w.mu.Unlock()
		return engine.ErrOverload
	}
	w.live[handle] = &following{u, views}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.live, handle)
		w.mu.Unlock()
		ctx := context.WithoutCancel(ctx)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = w.engine.Step(ctx, u, presence.Unwatch{ID: handle, Silent: true}) // a stopped engine has none to end
	}()
	if _, err := w.engine.Step(ctx, u, watchAs(handle, u)); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v := <-views:
			if err := fn(seen(v)); err != nil {
				return err
			}
		}
	}
}

func watchAs(handle string, u presence.Entity) presence.Watch {
	return presence.Watch{ID: handle, Watcher: u, Via: presence.Via{Edge: watchName, Handle: handle}}
}

// Lost implements engine.ClusterEdge: new owners do not know who watches.
func (w *watchEdge) Lost(lost func(presence.Entity) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for handle, f := range w.live {
		if lost(f.of) {
			_ = w.engine.Submit(f.of, watchAs(handle, f.of), nil) // too much to do: it is watched anew by hand
		}
	}
}

// Adopt implements engine.ClusterEdge: nothing of an operator outlives his connection.
func (w *watchEdge) Adopt(presence.Entity, []*presence.Subscription) {}

// Called implements engine.ClusterEdge: what operators ask at other servers.
func (w *watchEdge) Called(_ string, request []byte, answer func([]byte)) { answer(w.asked(request)) }

func seen(v *presence.View) Seen {
	s := Seen{At: time.Now().UTC(), User: v.Presentity.String(), Version: v.Version, Presence: "closed", Sources: []SeenSource{},
		Document: string(pidf.Append(nil, "pres:"+v.Presentity.String(), v.Doc))}
	for _, t := range v.Doc.Tuples {
		if t.Basic == presence.Open {
			s.Presence = "open"
		}
	}
	for _, src := range v.Sources {
		s.Sources = append(s.Sources, seenSource(src))
	}
	return s
}

func seenSource(src *presence.Source) SeenSource {
	return SeenSource{Kind: src.ID.Kind.String(), Key: src.ID.Key, From: src.From, Updated: src.Updated, Summary: summary(src.Doc)}
}

// Notify implements engine.Edge: the newest view replaces one not yet taken.
func (w *watchEdge) Notify(n *presence.Notice) {
	if n.View == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range n.Targets {
		f := w.live[t.Handle]
		if f == nil {
			continue
		}
		select {
		case <-f.views:
		default:
		}
		f.views <- n.View
	}
}

// WatcherChanged and Deliver: operators are not asked and get no messages.
func (w *watchEdge) WatcherChanged(presence.WatcherChange) {}
func (w *watchEdge) Deliver(*engine.Message) bool          { return false }

// summary says a document in a few words, each thing once.
func summary(d *presence.Document) string {
	if d == nil {
		return ""
	}
	var said []string
	add := func(s string) {
		if !slices.Contains(said, s) {
			said = append(said, s)
		}
	}
	rich := func(r presence.Rich) {
		if r.Activities != nil {
			for _, a := range r.Activities.Names {
				add(a)
			}
		}
	}
	notes := func(ns []presence.Note) {
		for _, n := range ns {
			add(strconv.Quote(n.Text))
		}
	}
	for _, t := range d.Tuples {
		switch t.Basic {
		case presence.Open:
			add("open")
		case presence.Closed:
			add("closed")
		}
		rich(t.Rich)
		notes(t.Notes)
	}
	for _, p := range d.Persons {
		rich(p.Rich)
		notes(p.Notes)
	}
	notes(d.Notes)
	return strings.Join(said, ", ")
}
