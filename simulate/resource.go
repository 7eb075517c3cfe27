package simulate

import (
	"fmt"
	"math"
	"time"
)

// use is what was used: sums of the second that goes on, and the most of any second before.
type use struct {
	cpu   float64 // seconds of all nodes
	soft  float64 // rows
	homes float64 // settled
	moved float64
	inherited, loaded, nodeRows,
	renewals, frames, tells, groups, orders float64

	before  float64 // seconds of the database at the last step
	hottest float64 // share of a node's processors, the most in any step
	memory  float64 // bytes, at most

	was   []float64 // sums at the last second
	peak  []float64
	total int // seconds

	rounds time.Duration // by the clock on the wall
	slow   time.Duration
	timed  int
}

// rows that many wait for, in seconds of the database's time.
func (u *use) rows(c *Costs) float64 {
	return u.soft/c.SoftRows + u.homes/c.Homes + u.moved/c.Moved + u.nodeRows/c.NodeRows
}

func (u *use) sums() []float64 {
	return []float64{u.cpu, u.soft, u.homes, u.moved, u.inherited, u.loaded, u.nodeRows, u.frames, u.tells, u.groups, u.before}
}

// second ends one.
func (u *use) second() {
	now := u.sums()
	if u.peak == nil {
		u.peak, u.was = make([]float64, len(now)), make([]float64, len(now))
	}
	for i := range now {
		u.peak[i] = max(u.peak[i], now[i]-u.was[i])
	}
	u.was = now
	u.total++
}

func (u *use) round(took time.Duration) {
	u.rounds += took
	u.slow = max(u.slow, took)
	u.timed++
}

// Resource is one of the things that could run out first.
type Resource struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Mean  float64 `json:"mean"`
	Peak  float64 `json:"peak"` // of the busiest second
	Can   float64 `json:"can"`
	Used  float64 `json:"used"` // share of it, at the peak
	Limit string  `json:"limit"`
	// Elastic work takes as much as there is, and longer if that is little: it is no limit.
	Elastic bool `json:"elastic,omitempty"`
}

// maxPeers is how many other nodes a node can name where it remembers homes (cluster.MaxPeers).
const maxPeers = 1<<10 - 1

// bequeathFor is how long a leader gives homes of one node away before it tells the heirs (package cluster).
const bequeathFor = time.Second

// Documents of levels, see docs/load-control.md.
const (
	meshNodes     = 33  // up to here each tells each
	documentNodes = 150 // in one document, at most
)

// resources is the table of what was used.
func (w *world) resources() []Resource {
	u, c := &w.use, &w.s.Costs
	if u.peak == nil {
		u.second()
	}
	db := w.s.Nodes.Database
	nodes := float64(max(1, len(w.serve)))
	inside := float64(w.inside)
	var all []Resource
	add := func(name, unit string, mean, peak, can float64, grows float64) *Resource {
		r := Resource{Name: name, Unit: unit, Mean: mean, Peak: peak, Can: can, Used: peak / can}
		switch {
		case r.Used <= 0:
		case grows == 1: // in proportion to the users
			r.Limit = fmt.Sprintf("%s users", rounded(float64(w.mostUsers)/r.Used))
		case grows == 2: // nodes, each of which knows all
			r.Limit = fmt.Sprintf("%s nodes", rounded(inside/math.Sqrt(r.Used)))
		case grows == 3: // nodes
			r.Limit = fmt.Sprintf("%s nodes", rounded(inside/r.Used))
		}
		all = append(all, r)
		return &all[len(all)-1]
	}
	seconds := float64(max(1, u.total))
	mean := func(i int) float64 { return u.was[i] / seconds }
	add("processors of all nodes", "cores", mean(0), u.peak[0], nodes*w.s.Nodes.Cores, 0)
	add("processors of the busiest node", "cores", mean(0)/nodes, u.hottest*w.s.Nodes.Cores, w.s.Nodes.Cores, 0)
	add("memory of the fullest node", "GiB", u.memory/(1<<30), u.memory/(1<<30), w.s.Nodes.Memory/(1<<30), 0)
	add("database: all that cannot wait", "of its time", mean(10), u.peak[10], 1, 0)
	add("database: rows of soft state", "a second", mean(1), u.peak[1], c.SoftRows*db, 1)
	add("database: homes for newcomers", "a second", mean(2), u.peak[2], c.Homes*db, 0)
	add("database: homes moved", "a second", mean(3), u.peak[3], c.Moved*db, 0)
	add("database: homes inherited", "a second", mean(4), u.peak[4], c.Inherited*db, 0).Elastic = true
	add("database: rows loaded by heirs", "a second", mean(5), u.peak[5], c.Loaded*db, 0).Elastic = true
	add("database: rows of the table of nodes", "a second", mean(6), u.peak[6], c.NodeRows*db, 2)
	add("bus: frames of a node", "a second", mean(7)/nodes, u.peak[7]/nodes, 1/c.Frame, 0)
	add("bus: redirects that each node hears of", "a second", mean(8), u.peak[8], 1/c.Frame, 0)
	add("bus: moves that each node hears of", "a second", mean(9), u.peak[9], 1/c.Frame, 0)
	notices, bytes := inside-1, (inside-1)*c.Document
	if inside > meshNodes {
		notices, bytes = inside, inside*min(inside, documentNodes)*c.Document
	}
	add("leader: NOTIFYs of levels", "a second", notices, notices, 1/c.Notify, 3)
	add("leader: octets of levels", "MB/s", bytes/1e6, bytes/1e6, c.LeaderLine/1e6, 3)
	add("nodes that one can speak to", "nodes", inside-1, inside-1, maxPeers, 0).Limit = grouped(maxPeers+1) + " nodes"
	return all
}
