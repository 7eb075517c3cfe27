package simulate

import (
	"cmp"
	"math"
	"slices"

	"pharos/balance"
)

// Counts of a run.
type Counts struct {
	Users      int        `json:"users"`    // with a home, now
	Arrived    float64    `json:"arrived"`  // newcomers
	Admitted   float64    `json:"admitted"` // of them
	Waiting    float64    `json:"waiting"`  // of them, and of those who lost a connection: not in, and still trying
	Left       float64    `json:"left"`
	Refused    float64    `json:"refused"` // answers: come again later
	Full       float64    `json:"full"`    // admitted though all nodes were at their maximum
	Logins     float64    `json:"logins"`
	Redirected float64    `json:"redirected"`
	Served     float64    `json:"served"` // where they came, though they live elsewhere
	Moved      float64    `json:"moved"`
	Inherited  float64    `json:"inherited"`
	Shed       [4]float64 `json:"shed"` // work of those who are in, by class: load.Class
	Joined     int        `json:"joined"`
	Drained    int        `json:"drained"` // for want of work
	Restarts   int        `json:"restarts"`
	Leaders    int        `json:"leaders"`
	Rounds     int        `json:"rounds"`
	Starved    int        `json:"starved"` // rounds in which nobody was left to be added
}

// Sample is a second.
type Sample struct {
	T        float64 `json:"t"`
	Users    int     `json:"users"`
	Active   int     `json:"active"`
	Min      float64 `json:"min"` // levels over maxima of the active nodes
	Low      float64 `json:"low"` // a tenth of them is below
	Median   float64 `json:"median"`
	High     float64 `json:"high"`
	Max      float64 `json:"max"`
	Moves    float64 `json:"moves"` // in this second, as are those that follow
	Logins   float64 `json:"logins"`
	Redirect float64 `json:"redirected"`
	Refused  float64 `json:"refused"`
	Shed     float64 `json:"shed"`
	Waiting  int     `json:"waiting"`
	Homeless int     `json:"homeless"` // users whose node is dead, and who have no other yet
	Full     float64 `json:"full"`     // the fullest queue
	Database float64 `json:"database"` // share of its time
}

// Happened is an event and what came of it.
type Happened struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
	// Even is how long after it levels lay within the band for good; -1: not before the next event,
	// or the end.
	Even float64 `json:"even"`
	Most float64 `json:"most"` // how far they lay apart

	times int // how often it happened at this moment, where that is counted
}

// Takeover is a death and how long it took, in seconds since.
type Takeover struct {
	Node      string  `json:"node"`
	At        float64 `json:"at"`
	Users     int     `json:"users"`
	Buried    float64 `json:"buried"`
	Inherited float64 `json:"inherited"` // everybody has a home
	Right     float64 `json:"right"`     // what is durable has been loaded
}

// Result of a run.
type Result struct {
	Scenario  Scenario    `json:"scenario"`
	Counts    Counts      `json:"counts"`
	Events    []Happened  `json:"events"`
	Deaths    []Takeover  `json:"deaths"`
	Resources []Resource  `json:"resources"`
	Samples   []Sample    `json:"samples"`
	Heat      [][]float32 `json:"-"` // levels over maxima by second and (group of) nodes; below 0: not active
	// Round is what the leader's rounds took by the clock on the wall, in seconds; 0: not timed.
	Round     float64 `json:"-"`
	RoundMost float64 `json:"-"`
}

// heatRows is how many nodes, or groups of them, the picture shows.
const heatRows = 40

// sample looks at everything.
func (w *world) sample() {
	if w.steps > 0 {
		w.use.second()
	}
	var levels []float64
	s := Sample{T: w.now.Seconds(), Users: w.counts.Users}
	groups := min(heatRows, len(w.nodes))
	sums, counts := make([]float64, groups), make([]float64, groups)
	for _, n := range w.nodes {
		s.Waiting += n.line.users
		if !n.up {
			s.Homeless += n.users
			continue
		}
		s.Full = max(s.Full, n.full)
		if n.state != balance.Active {
			continue
		}
		level := float64(n.users) * w.perUser / w.s.Nodes.Max
		levels = append(levels, level)
		g := n.index * groups / len(w.nodes)
		sums[g] += level
		counts[g]++
	}
	line := make([]float32, groups)
	for g := range line {
		if line[g] = -1; counts[g] > 0 {
			line[g] = float32(sums[g] / counts[g])
		}
	}
	w.heat = append(w.heat, line)
	s.Active = len(levels)
	if len(levels) > 0 {
		slices.Sort(levels)
		at := func(q float64) float64 { return levels[int(q*float64(len(levels)-1)+0.5)] }
		s.Min, s.Low, s.Median, s.High, s.Max = at(0), at(0.1), at(0.5), at(0.9), at(1)
	}
	for _, c := range w.coming {
		s.Waiting += c.fresh + c.back
	}
	w.mostUsers = max(w.mostUsers, w.counts.Users)
	now, was := &w.counts, &w.last
	now.Waiting = float64(s.Waiting)
	s.Moves, s.Logins, s.Redirect, s.Refused = now.Moved-was.Moved, now.Logins-was.Logins, now.Redirected-was.Redirected, now.Refused-was.Refused
	for i := range now.Shed {
		s.Shed += now.Shed[i] - was.Shed[i]
	}
	s.Database = w.busyDatabase - w.databaseWas
	w.databaseWas = w.busyDatabase
	w.last = *now
	w.rows = append(w.rows, s)
}

func (w *world) result() *Result {
	slices.SortStableFunc(w.happened, func(x, y Happened) int { return cmp.Compare(x.At, y.At) })
	r := &Result{Scenario: *w.s, Counts: w.counts, Events: w.happened, Deaths: w.death, Samples: w.rows, Heat: w.heat, Resources: w.resources()}
	for i := range r.Events {
		end := w.now.Seconds()
		for _, e := range r.Events {
			if e.At > r.Events[i].At {
				end = min(end, e.At)
			}
		}
		r.even(&r.Events[i], end)
	}
	if w.use.timed > 0 {
		r.Round = w.use.rounds.Seconds() / float64(w.use.timed)
		r.RoundMost = w.use.slow.Seconds()
	}
	return r
}

// even finds when levels lay within the band for good.
func (r *Result) even(e *Happened, end float64) {
	last := e.At
	for _, s := range r.Samples {
		if s.T < e.At || s.T > end {
			continue
		}
		apart := s.Max - s.Min
		e.Most = max(e.Most, apart)
		if apart > r.Scenario.Load.Band {
			last = s.T
		}
	}
	if e.Even = last - e.At; last > e.At && last >= math.Floor(end)-1 {
		e.Even = -1
	}
}
