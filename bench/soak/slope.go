package soak

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// What a long run is to find out: does a process grow by itself? Its memory follows how much it carries too (sessions and dialogs that are
// there, users who live there, what it remembers of others), and these jump with every fault; so the growth is the coefficient of time in a
// least-squares fit that has these beside it. It also fills its caches, up to their bounds, for as long as it meets users whom it has not met: what is
// in them is counted, and taken off. Each life of a process has a constant of its own; its first minutes (Options.Fill), in which pools and
// buffers grow to what a fault demands, are left out. Samples a few seconds apart know the same thing: they are averaged over a minute, and what
// is left of correlation between minutes widens the bounds. Memory is judged by one sample a minute, behind a collection and before the next
// fault: between collections it is garbage that makes most of the difference, and behind a fault what is under way.
const (
	leastFor = 8    // minutes that a life must have beyond its first, to count
	block    = 60.0 // seconds that are averaged
)

// Growth is the slope of one figure.
type Growth struct {
	Figure  string  `json:"figure"`
	Node    string  `json:"node"` // or "all": of all lives together
	Life    int     `json:"life"`
	Minutes int     `json:"minutes"` // points of the fit
	Mean    float64 `json:"mean"`
	PerHour float64 `json:"per_hour"`
	Bound   float64 `json:"bound"` // half of the 95 % confidence interval; below 0: not known
	Verdict string  `json:"verdict"`
}

// figures are what is looked at. A process's resident memory grows with what its heap has ever had to hold at once, after each fault, and hardly
// shrinks: Go's objects do not move, so what is left of a crowd stays spread over the pages that the crowd took. Nor does the runtime give back what it
// notes about these pages, and about each place that a profile has ever found (the finer the profile, the more). That is told, and no leak; what is resident
// without it, and without pages of files, which the system may take at any time, is judged. allowed is the growth in an hour, as a share of the mean, up to which nobody
// would speak of a leak, with at least so much in absolute terms.
var figures = []struct {
	name    string
	of      func(*Sample) float64
	unit    string
	scale   float64
	allowed float64
	least   float64
	told    bool // and not judged
	settled bool // samples behind a collection only, where there are any
}{
	{"resident memory", func(s *Sample) float64 { return s.Resident }, "MiB", 1 << 20, 0.05, 2 << 20, true, false},
	{"room in the heap", func(s *Sample) float64 { return s.Room }, "MiB", 1 << 20, 0.05, 2 << 20, true, false},
	{"in caches", func(s *Sample) float64 { return s.Cached }, "MiB", 1 << 20, 0.05, 1 << 20, true, true},
	{"of Go's runtime", func(s *Sample) float64 { return s.Runtime }, "MiB", 1 << 20, 0.05, 2 << 20, true, false},
	{"resident without all these", func(s *Sample) float64 { return s.Resident - s.Room - s.Cached - s.Runtime - s.Mapped }, "MiB", 1 << 20, 0.05, 2 << 20, false, true},
	{"live heap without caches", func(s *Sample) float64 { return s.Live - s.Cached }, "MiB", 1 << 20, 0.05, 1 << 20, false, true},
	{"goroutines", func(s *Sample) float64 { return s.Goroutines }, "", 1, 0.05, 20, false, false},
	{"descriptors", func(s *Sample) float64 { return s.Descriptors }, "", 1, 0.02, 10, false, false},
}

// loads are what a process carries: sessions connected to it, dialogs that it has, users who live there (their subscriptions
// go along with them), and the subscriptions here by which it remembers what others' owners have told.
const loads = 4

func loadOf(s *Sample) [loads]float64 { return [loads]float64{s.Sessions, s.Dialogs, s.Homes, s.Told} }

// point is a minute of a life.
type point struct {
	t, y float64
	load [loads]float64
	n    int
}

// lifeOf is one process.
type lifeOf struct {
	node   string
	n      int
	points []point
}

// span is the time whose samples count, in seconds of the run, but for the first of each life.
type span struct{ from, until, fill float64 }

// lives splits the samples of a span, and averages; settled: only those behind a collection, where there are any.
func lives(all []Sample, of func(*Sample) float64, settled bool, in span) (ls []*lifeOf) {
	least := 3 // samples of a minute
	if settled = settled && slices.ContainsFunc(all, func(s Sample) bool { return s.Settled }); settled {
		least = 1
	}
	begun := map[string]float64{}
	by := map[string]*lifeOf{}
	for i := range all {
		s := &all[i]
		key := fmt.Sprint(s.Node, " ", s.Life)
		if _, ok := begun[key]; !ok {
			begun[key] = s.At
			by[key] = &lifeOf{node: s.Node, n: s.Life}
			ls = append(ls, by[key])
		}
		if s.At < max(in.from, begun[key]+in.fill) || s.At >= in.until || settled && !s.Settled {
			continue
		}
		l := by[key]
		k := math.Floor(s.At/block) * block
		if len(l.points) == 0 || l.points[len(l.points)-1].t != k {
			l.points = append(l.points, point{t: k})
		}
		p := &l.points[len(l.points)-1]
		p.n++
		p.y += of(s)
		for k, v := range loadOf(s) {
			p.load[k] += v
		}
	}
	for _, l := range ls {
		l.points = slices.DeleteFunc(l.points, func(p point) bool { return p.n < least })
		for i := range l.points {
			p := &l.points[i]
			p.y /= float64(p.n)
			for k := range p.load {
				p.load[k] /= float64(p.n)
			}
		}
	}
	ls = slices.DeleteFunc(ls, func(l *lifeOf) bool { return len(l.points) < leastFor })
	slices.SortFunc(ls, func(a, b *lifeOf) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.n, b.n)) })
	return ls
}

// growths are those of each life that is long enough, and of all together.
func growths(all []Sample, in span) (gs []Growth) {
	for _, f := range figures {
		ls := lives(all, f.of, f.settled, in)
		for _, l := range ls {
			g := fit([]*lifeOf{l})
			g.Figure, g.Node, g.Life = f.name, l.node, l.n
			g.Verdict = verdict(g, f.allowed, f.least, f.told)
			gs = append(gs, g)
		}
		if len(ls) > 0 {
			g := fit(ls)
			g.Figure, g.Node = f.name, "all"
			g.Verdict = verdict(g, f.allowed, f.least, f.told)
			gs = append(gs, g)
		}
	}
	return gs
}

// verdict says leak where it is sure that there is growth, and that it is more than is allowed; none where it is sure that it
// is less than that. What is only told grows, or does not.
func verdict(g Growth, allowed, least float64, told bool) string {
	most := max(least, allowed*g.Mean)
	switch {
	case g.Bound < 0:
		return "not decided"
	case g.PerHour-g.Bound > 0 && g.PerHour > most && told:
		return "grows"
	case g.PerHour-g.Bound > 0 && g.PerHour > most:
		return "leak"
	case g.PerHour+g.Bound <= most && told:
		return "does not grow"
	case g.PerHour+g.Bound <= most:
		return "no leak"
	}
	return "not decided"
}

// fit is the least-squares slope of time, per hour. Each life has a constant: all columns are taken as differences to their
// means in it.
func fit(ls []*lifeOf) (g Growth) {
	var x [][]float64 // rows: time, and the loads
	var y []float64
	var ends []int // of the lives
	sum := 0.0
	for _, l := range ls {
		var m point
		for _, p := range l.points {
			m.t, m.y = m.t+p.t, m.y+p.y
			for k, v := range p.load {
				m.load[k] += v
			}
		}
		k := float64(len(l.points))
		sum += m.y
		for _, p := range l.points {
			row := []float64{(p.t - m.t/k) / 3600}
			for i, v := range p.load {
				row = append(row, v-m.load[i]/k)
			}
			x = append(x, row)
			y = append(y, p.y-m.y/k)
		}
		ends = append(ends, len(y))
	}
	g.Minutes, g.Mean = len(y), sum/float64(len(y))
	cols := []int{0}
	for c := 1; c <= loads; c++ { // a load that does not change says nothing
		if !slices.ContainsFunc(x, func(r []float64) bool { return math.Abs(r[c]) > 1e-9 }) {
			continue
		}
		more := append(slices.Clone(cols), c)
		if beta, _ := solve(x, y, more); beta != nil { // else it goes along with another
			cols = more
		}
	}
	beta, inverse := solve(x, y, cols)
	free := len(y) - len(ls) - len(cols)
	if beta == nil || free < 1 {
		g.Bound = -1 // nobody knows
		return g
	}
	g.PerHour = beta[0]
	rest := make([]float64, len(y))
	ss := 0.0
	for i := range y {
		rest[i] = y[i]
		for k, c := range cols {
			rest[i] -= beta[k] * x[i][c]
		}
		ss += rest[i] * rest[i]
	}
	// Minutes that are like the ones before them are fewer than they look: (1+r)/(1-r), r of lag one.
	num, from := 0.0, 0
	for _, end := range ends {
		for i := from + 1; i < end; i++ {
			num += rest[i] * rest[i-1]
		}
		from = end
	}
	r := 0.0
	if ss > 0 {
		r = min(0.9, max(0, num/ss))
	}
	wider := math.Sqrt((1 + r) / (1 - r))
	g.Bound = student(free) * wider * math.Sqrt(ss/float64(free)*inverse)
	return g
}

// solve is the normal equations, by Gauss and Jordan; inverse is the first of the diagonal of (X'X)⁻¹. nil: they
// have no one solution.
func solve(x [][]float64, y []float64, cols []int) (beta []float64, inverse float64) {
	p := len(cols)
	size := make([]float64, p) // of the columns, which are taken as of one size
	for i, c := range cols {
		for r := range y {
			size[i] += x[r][c] * x[r][c]
		}
		if size[i] = math.Sqrt(size[i]); size[i] == 0 {
			return nil, 0
		}
	}
	a := make([][]float64, p) // X'X | X'y | 1st unit vector
	for i := range a {
		a[i] = make([]float64, p+2)
		for r := range y {
			for j := range p {
				a[i][j] += x[r][cols[i]] / size[i] * x[r][cols[j]] / size[j]
			}
			a[i][p] += x[r][cols[i]] / size[i] * y[r]
		}
	}
	a[0][p+1] = 1
	for i := range p {
		best := i
		for k := i + 1; k < p; k++ {
			if math.Abs(a[k][i]) > math.Abs(a[best][i]) {
				best = k
			}
		}
		a[i], a[best] = a[best], a[i]
		if math.Abs(a[i][i]) < 1e-9 {
			return nil, 0
		}
		for k := range p {
			if k == i {
				continue
			}
			q := a[k][i] / a[i][i]
			for j := i; j < p+2; j++ {
				a[k][j] -= q * a[i][j]
			}
		}
	}
	for i := range p {
		beta = append(beta, a[i][p]/a[i][i]/size[i])
	}
	return beta, a[0][p+1] / a[0][0] / (size[0] * size[0])
}

// student is the 97.5 % quantile of Student's t, by the expansion of Cornish and Fisher (Abramowitz and Stegun 26.7.5);
// with few degrees from the table.
func student(free int) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571}
	if free <= len(table) {
		return table[max(0, free-1)]
	}
	const z = 1.959964
	v := float64(free)
	g1 := (math.Pow(z, 3) + z) / 4
	g2 := (5*math.Pow(z, 5) + 16*math.Pow(z, 3) + 3*z) / 96
	g3 := (3*math.Pow(z, 7) + 19*math.Pow(z, 5) + 17*math.Pow(z, 3) - 15*z) / 384
	return z + g1/v + g2/(v*v) + g3/(v*v*v)
}
