package soak

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pharos/bench"
)

// Sample is what a node's process costs at one time.
type Sample struct {
	At          float64 `json:"at"` // seconds since the begin
	Node        string  `json:"node"`
	Life        int     `json:"life"`              // which process of the node, from 0
	Settled     bool    `json:"settled,omitempty"` // a collection had just been asked for, and the last fault is long ago
	Resident    float64 `json:"resident"`
	Live        float64 `json:"heap_live"` // after the last collection
	Heap        float64 `json:"heap"`
	Room        float64 `json:"heap_room"` // free in the heap, and resident: holes, and what was not given back
	Stacks      float64 `json:"stacks"`
	Runtime     float64 `json:"runtime"` // what Go's runtime has for itself
	Mapped      float64 `json:"mapped"`  // resident pages of files
	Goroutines  float64 `json:"goroutines"`
	Descriptors float64 `json:"descriptors"`
	Sessions    float64 `json:"sessions"`      // of XMPP, here
	Subs        float64 `json:"subscriptions"` // of presentities that live here
	Homes       float64 `json:"homes"`
	Dialogs     float64 `json:"dialogs"` // of SIP, here
	Cached      float64 `json:"cached"`  // how many octets bounded caches have: see caches.octets
	Caches      caches  `json:"caches"`
	Told        float64 `json:"told"`  // subscriptions here by which is remembered what an owner elsewhere has told them
	CPU         float64 `json:"cpu"`   // seconds, of this life
	Moved       float64 `json:"moved"` // handed over to others and inherited
}

// statusReply is of a node's status what is looked at.
type statusReply struct {
	Engine struct{ Presentities, Sources, Subscriptions int }
	SIP    struct{ Dialogs int }
	XMPP   struct {
		Sessions    int
		Hibernating int
	}
	Process struct {
		Goroutines  int
		Descriptors int
		Heap        uint64 `json:"heap_bytes"`
		Live        uint64 `json:"heap_live_bytes"`
		Unused      uint64 `json:"heap_unused_bytes"`
		Free        uint64 `json:"heap_free_bytes"`
		Stacks      uint64 `json:"stack_bytes"`
		Runtime     uint64 `json:"runtime_bytes"`
		Resident    uint64 `json:"resident_bytes"`
		Mapped      uint64 `json:"mapped_bytes"`
	}
	Caches  caches
	Cluster struct {
		Homes  int
		Counts struct{ Moved, Inherited uint64 }
	}
}

// caches are the bounded ones of a node.
type caches struct {
	Accounts, Rosters, Policies, Handed, Told int
	Items                                     int `json:"roster_items"`
	Documents                                 int `json:"document_bytes"`
}

// octets is what they take: entries of different caches differ by much, and a node meets users, lists and documents at
// different times. What an entry takes is what heap profiles of three nodes had for them (a sample each 64 KiB; 22,000 policies,
// 23,000 rosters of eight items, 8,900 accounts), and less than their bounds allow for.
func (c *caches) octets() float64 {
	const account, roster, item, policy, message = 430, 200, 75, 1070, 1000
	return float64(c.Accounts*account + c.Rosters*roster + c.Items*item + c.Policies*policy + c.Handed*message + c.Documents)
}

// sampler looks at all nodes.
type sampler struct {
	begun  time.Time
	mu     sync.Mutex
	all    []Sample
	lives  map[string]*life
	file   *os.File // one line of JSON for each; nil: none
	failed sync.Once
	heaps  string // folder for the heap profiles of settled samples; "": they are not kept
}

// life is the process that a node has now.
type life struct{ pid, n int }

// sampleEvery is how often.
const sampleEvery = 5 * time.Second

// watch samples the nodes until ctx ends.
func (s *sampler) watch(ctx context.Context, nodes []*bench.HostedNode, every time.Duration) {
	var g sync.WaitGroup
	for _, n := range nodes {
		g.Go(func() {
			for ctx.Err() == nil {
				if x, err := s.take(ctx, n); err == nil {
					s.keep(x)
				}
				pause(ctx, every)
			}
		})
	}
	g.Wait()
}

func (s *sampler) take(ctx context.Context, n *bench.HostedNode) (x Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	pid := n.PID()
	if pid == 0 {
		return x, fmt.Errorf("%s does not run", n.Name)
	}
	var st statusReply
	if err := n.Ask(ctx, http.MethodGet, "/status", nil, &st); err != nil {
		return x, err // it is stopped, or starts
	}
	cpu, err := bench.CPU(pid)
	if err != nil {
		return x, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lives[n.Name]
	switch {
	case l == nil:
		l = &life{pid: pid}
		s.lives[n.Name] = l
	case l.pid != pid:
		l.pid, l.n = pid, l.n+1
	}
	return Sample{At: time.Since(s.begun).Seconds(), Node: n.Name, Life: l.n, Resident: float64(st.Process.Resident), Live: float64(st.Process.Live), Heap: float64(st.Process.Heap), Room: float64(st.Process.Unused + st.Process.Free),
		Stacks: float64(st.Process.Stacks), Runtime: float64(st.Process.Runtime), Mapped: float64(st.Process.Mapped), Caches: st.Caches,
		Goroutines: float64(st.Process.Goroutines), Descriptors: float64(st.Process.Descriptors), Sessions: float64(st.XMPP.Sessions), Subs: float64(st.Engine.Subscriptions),
		Homes: float64(st.Cluster.Homes), Dialogs: float64(st.SIP.Dialogs),
		Cached: st.Caches.octets(), Told: float64(st.Caches.Told), CPU: cpu.Seconds(), Moved: float64(st.Cluster.Counts.Moved + st.Cluster.Counts.Inherited)}, nil
}

// settle takes a sample of each node that runs when it has collected its garbage: what is there between faults, no more.
func (s *sampler) settle(ctx context.Context, nodes []*bench.HostedNode) {
	var g sync.WaitGroup
	for _, n := range nodes {
		if n.PID() == 0 {
			continue
		}
		g.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			heap, err := n.Profile(ctx, "heap", 0, true)
			if err != nil {
				return // it comes or goes
			}
			x, err := s.take(ctx, n)
			if err != nil {
				return
			}
			x.Settled = true
			s.keep(x)
			if s.heaps == "" {
				return
			}
			if err := os.WriteFile(filepath.Join(s.heaps, heapName(&x)), heap, 0o644); err != nil {
				s.failed.Do(func() { fmt.Fprintln(os.Stderr, "soak: a heap profile cannot be kept:", err) })
			}
		})
	}
	g.Wait()
}

func (s *sampler) keep(x Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
	if s.file != nil {
		fmt.Fprintf(s.file, "%s\n", encode(x))
	}
}

func (s *sampler) samples() []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sample(nil), s.all...)
}

// last is the latest of each node.
func (s *sampler) last() map[string]Sample {
	m := map[string]Sample{}
	for _, x := range s.samples() {
		m[x.Node] = x
	}
	return m
}
