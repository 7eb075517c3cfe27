package balance

import "container/heap"

// Admission chooses nodes for newcomers between one exchange of levels and the next.
// What it has admitted itself is counted in. Other nodes admit at the same time and
// see the same levels: so each of ours counts for as many as the whole service admits,
// by what the last exchanges showed. And all of them would take the same node first, a
// thousand nodes a thousand times: so everybody gives each node another start, of up to what
// the service admits for one of ours, and nodes get as many as they lie below the others. It is for
// one goroutine.
type Admission struct {
	self   string
	nodes  admitHeap
	byName map[string]*candidate
	cost   float64 // what a newcomer will add to a level

	room     int     // nodes that are below their maximum for certain
	heard    bool    // that there was an exchange
	users    int     // of the service, at the last exchange
	admitted float64 // by us since then
	ours     float64 // average of that
	all      float64 // average of how the service grew meanwhile
}

// Verdict of an admission.
type Verdict uint8

// Verdicts.
const (
	// Admitted: the node is below its maximum.
	Admitted Verdict = iota
	// Full: all are at their maximum. The node is the least loaded one, for the time
	// until a standby has joined, which the leader is to be asked for.
	Full
	// Nobody: no node is active.
	Nobody
)

type candidate struct {
	Node
	place int     // in the heap
	extra float64 // admitted by us since the node's last word
	start float64 // by which we take it to be higher than it is
	order uint64  // among equals
}

// NewAdmission makes one for the node named self; userWeight is what a newcomer adds to
// a level as long as there are too few users to tell.
func NewAdmission(self string, userWeight float64) *Admission {
	return &Admission{self: self, byName: make(map[string]*candidate), cost: userWeight, nodes: admitHeap{factor: 1}}
}

// manyUsers is from when on an average user is one.
const manyUsers = 16

// Update takes the levels of an exchange.
func (a *Admission) Update(nodes []Node) {
	old := a.byName
	a.byName = make(map[string]*candidate, len(nodes))
	a.nodes.of = make([]*candidate, 0, len(nodes))
	users, level, active := 0, 0.0, 0
	for _, n := range nodes {
		users += n.Users
		level += n.Level
		if n.State != Active {
			continue
		}
		active++
		c := &candidate{Node: n, order: a.order(n.Name, n.Report)}
		if was := old[n.Name]; was != nil && was.Report == n.Report {
			c.extra = was.extra
		}
		c.place = len(a.nodes.of)
		a.nodes.of = append(a.nodes.of, c)
		a.byName[n.Name] = c
	}
	if users >= manyUsers {
		a.cost = level / float64(users)
	}
	a.learn(users, active)
	a.room = 0
	for _, c := range a.nodes.of {
		const whole = 1 << 32
		c.start = a.cost * (a.nodes.factor - 1) * float64(c.order%whole) / whole
		if c.below() {
			a.room++
		}
	}
	heap.Init(&a.nodes)
}

// learn works out how many newcomers the service admits for each of ours: as many as there are nodes as
// long as only others have some.
func (a *Admission) learn(users, active int) {
	const keep = 0.7
	grown := max(0, float64(users-a.users))
	if !a.heard {
		grown, a.heard = 0, true
	}
	a.users = users
	a.ours = keep*a.ours + (1-keep)*a.admitted
	a.all = keep*a.all + (1-keep)*grown
	a.admitted = 0
	// A crowd may come at any moment, and to all: of many nodes some are taken to admit then, too.
	a.nodes.factor = max(1, float64(active)/8)
	if most := float64(max(1, active)); a.ours > 0 {
		a.nodes.factor = min(max(1, a.all/a.ours), most)
	} else if a.all > 0 {
		a.nodes.factor = most
	}
}

// order spreads equal nodes: everybody takes them in another order, and in another
// one after each exchange (FNV-1a, so that a simulation repeats itself).
func (a *Admission) order(name string, report uint64) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for _, s := range [...]string{a.self, "/", name} {
		for i := 0; i < len(s); i++ {
			h = (h ^ uint64(s[i])) * prime
		}
	}
	h = (h ^ report) * prime
	return h ^ h>>29
}

// Admit chooses the node for one newcomer: the one with the lowest level below its
// maximum (the paper, section 3.1), as far as that can be known.
func (a *Admission) Admit() (node string, v Verdict) {
	if len(a.nodes.of) == 0 {
		return "", Nobody
	}
	c := a.nodes.of[0]
	if a.room == 0 {
		v = Full
	}
	a.count(c)
	return c.Name, v
}

// below tells whether a newcomer may come, by what is certain: what others may have
// admitted meanwhile is a guess, and shall not have a standby started.
func (c *candidate) below() bool { return c.Level+c.extra < c.Max }

func (a *Admission) count(c *candidate) {
	a.admitted++
	was := c.below()
	c.extra += a.cost
	if was && !c.below() {
		a.room--
	}
	if a.cost > 0 {
		heap.Fix(&a.nodes, c.place)
	}
}

// Chosen counts a newcomer whose node was found another way.
func (a *Admission) Chosen(node string) {
	if c := a.byName[node]; c != nil {
		a.count(c)
	}
}

// admitHeap has the node for the next newcomer on top: those below their maximum by
// their level, then those above it by their share of it; all as we guess that they are.
type admitHeap struct {
	of     []*candidate
	factor float64 // newcomers that the service admits for each of ours
}

// guess is a node's level with what all have admitted.
func (h *admitHeap) guess(c *candidate) float64 { return c.Level + c.extra*h.factor + c.start }

func (h *admitHeap) Len() int { return len(h.of) }

func (h *admitHeap) Less(i, j int) bool {
	a, b := h.of[i], h.of[j]
	x, y := h.guess(a), h.guess(b)
	if below := x < a.Max; below != (y < b.Max) {
		return below
	} else if !below { // levels over maxima, which may be zero
		x, y = x*b.Max, y*a.Max
	}
	if x != y {
		return x < y
	}
	return a.order < b.order
}

func (h *admitHeap) Swap(i, j int) {
	h.of[i], h.of[j] = h.of[j], h.of[i]
	h.of[i].place, h.of[j].place = i, j
}

// Push is for container/heap.
func (h *admitHeap) Push(x any) { h.of = append(h.of, x.(*candidate)) }

// Pop is for container/heap.
func (h *admitHeap) Pop() any {
	c := h.of[len(h.of)-1]
	h.of = h.of[:len(h.of)-1]
	return c
}
