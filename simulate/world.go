package simulate

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"pharos/balance"
	"pharos/load"
)

// Times of the servers; a test holds them to be those of package cluster.
const (
	step       = 100 * time.Millisecond // what happens within it happens at once
	leaseTime  = 2500 * time.Millisecond
	leadTime   = 2 * time.Second
	renewEvery = 700 * time.Millisecond
	roundEvery = time.Second
	buryAfter  = 10 * time.Millisecond
)

// epoch is where virtual time begins, for code that wants a time.Time.
var epoch = time.Unix(1_000_000_000, 0)

// node of the service. Users are counts.
type node struct {
	index  int
	name   string
	state  balance.State
	up     bool // the process runs
	listed bool // in the standby list

	users int // whose home it is
	sip   int // phones that speak to it
	xmpp  int // chat clients that are connected to it
	line  line

	admission *balance.Admission // how it chooses homes for newcomers, where that is simulated
	updated   time.Duration      // when that has seen the table

	lease  time.Duration // until when it holds one
	row    balance.Node  // as it is in the table
	inside bool          // the table has it, alive

	backlog float64 // seconds of processor time that wait
	must    float64 // the same, of this step, that no gate refuses
	full    float64 // how full its queues are, 0 to 1

	orders []order
	free   time.Duration // when it may move the next group
	ending time.Duration // it stops, and hands its users over until then; 0: it does not
	ended  func()        // called when it has
}

func (n *node) serves() bool {
	return n.up && n.inside && (n.state == balance.Active || n.state == balance.Draining)
}

type world struct {
	s       *Scenario
	o       Options
	rnd     *rand.Rand
	now     time.Duration
	steps   int
	nodes   []*node
	byName  map[string]*node
	agenda  agenda
	entries int
	serve   []*node // that clients can reach
	lead    leader

	admit    []*node // that have an admission
	pressure float64 // what the table says of the service as a whole
	coming   []coming
	flow     []flow
	guide    *guide

	storeWait float64 // seconds of the database's time that wait
	storeFull float64
	use       use
	busy      float64 // factor of changes

	perUser      float64 // level
	watch        float64 // contacts of each
	counts       Counts
	rows         []Sample
	heat         [][]float32
	happened     []Happened
	inside       int // nodes in the table
	mostUsers    int
	bulk         []*bulk       // in front of the database
	busyDatabase float64       // seconds in which it had something to do
	said         float64       // things that edges say again, to owners that are new
	placedAt     time.Duration // when newcomers were placed last
	death        []Takeover
	last         Counts // at the last sample
	databaseWas  float64
}

func newWorld(s *Scenario, o Options) *world {
	w := &world{
		s: s, o: o, rnd: rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15)), byName: map[string]*node{},
		busy: 1, perUser: s.level(), watch: float64(max(0, s.Users.Resources-1)),
	}
	horizon := time.Duration(s.Users.Reconnect+s.Users.KeepAlive) + 2*time.Minute
	w.coming = make([]coming, int(horizon/step)+1)
	for i := range s.Nodes.Count + s.Nodes.Standby {
		n := w.newNode()
		if i < s.Nodes.Count {
			n.up, n.state = true, balance.Active
			n.users = part(s.Users.Count, i, s.Nodes.Count)
			n.sip = part(w.phones(s.Users.Count), i, s.Nodes.Count)
			n.xmpp = part(s.Users.Count-w.phones(s.Users.Count), i, s.Nodes.Count)
			continue
		}
		n.listed, n.up = true, s.Nodes.Running
	}
	for _, n := range w.nodes {
		if n.up {
			w.renew(n)
		}
	}
	w.placedAt = -time.Hour
	w.counts.Users = s.Users.Count
	w.guide = newGuide()
	for i := range s.Events {
		e := &s.Events[i]
		w.happened = append(w.happened, Happened{At: e.At.seconds(), What: e.String()})
		w.at(time.Duration(e.At), func() { w.happen(e) })
	}
	w.serving()
	w.sample()
	return w
}

// newNode makes one that does not run.
func (w *world) newNode() *node {
	n := &node{index: len(w.nodes), name: fmt.Sprintf("n%05d", len(w.nodes)+1), state: balance.Standby}
	w.nodes = append(w.nodes, n)
	w.byName[n.name] = n
	return n
}

// phones is how many of so many users are on SIP.
func (w *world) phones(users int) int { return int(math.Round(float64(users) * w.s.Users.SIP)) }

// part i of n equal ones of all.
func part(all, i, n int) int { return all*(i+1)/n - all*i/n }

// round takes a fraction for one more with its own probability.
func (w *world) round(x float64) int {
	k := math.Floor(x)
	if w.rnd.Float64() < x-k {
		k++
	}
	return int(k)
}

// step is a tenth of a second.
func (w *world) step() {
	w.now += step
	w.steps++
	for len(w.agenda) > 0 && w.agenda[0].at <= w.now {
		heap.Pop(&w.agenda).(*entry).do()
	}
	// Leases are renewed all over the time between two renewals.
	const phases = int(renewEvery / step)
	for i := w.steps % phases; i < len(w.nodes); i += phases {
		if n := w.nodes[i]; n.up {
			w.renew(n)
		}
	}
	w.rule()
	w.serving()
	w.pressing()
	w.move()
	w.arrive()
	w.work()
	w.enter()
	if w.now%time.Second == 0 {
		w.sample()
	}
}

// serving finds who can be reached.
func (w *world) serving() {
	w.serve = w.serve[:0]
	w.inside = 0
	for _, n := range w.nodes {
		if n.inside {
			w.inside++
		}
		if n.serves() && n.ending == 0 {
			w.serve = append(w.serve, n)
		}
	}
}

// others is how many other nodes each node speaks to.
func (w *world) others() float64 { return max(0, float64(len(w.serve)-1)) }

// remote is the share of what is said by and to users that crosses from one node to another.
func (w *world) remote() float64 {
	if len(w.serve) < 2 {
		return 0
	}
	follow := (1 - w.s.Users.SIP) * w.s.Users.Follow
	return (1 - follow) * (1 - 1/float64(len(w.serve)))
}

// work has all nodes and the database do what there is to do in this step, as their gates let it in.
func (w *world) work() {
	s, c, dt := w.s, &w.s.Costs, step.Seconds()
	change := s.Users.Changes / 3600 * w.busy
	remote, others := w.remote(), w.others()
	// The nodes at which somebody watches: contacts live anywhere.
	targets := 0.0
	if others > 0 {
		targets = others * (1 - math.Pow(1-1/(others+1), w.watch*remote))
	}
	refresh := float64(s.Users.Resources) / s.Users.Refresh.seconds()
	message := s.Users.Messages / 3600
	newcomer := s.Users.SIP*float64(s.Users.Resources)*c.Subscribe + (1-s.Users.SIP)*c.Login
	queue := s.Nodes.Cores * c.Queue * (c.Publish + c.Refresh) / 2 // seconds of work that fill it
	limit := s.Nodes.Cores * dt

	// What edges have to say again they say everywhere.
	again := w.said * c.Hop / max(1, float64(len(w.serve)))
	w.use.frames += w.said
	w.said = 0

	var sum, most float64
	var rows, frames float64
	for i, n := range w.serve {
		var cost, count [4]float64
		users, sip, xmpp := float64(n.users), float64(n.sip), float64(n.xmpp)
		count[load.Publish] = users * change * dt
		cost[load.Publish] = users*change*dt*(c.Publish+(remote+targets)*c.Hop) + w.watch*change*dt*(sip*c.Notify+xmpp*c.Deliver)
		count[load.Refresh] = sip * refresh * dt
		cost[load.Refresh] = count[load.Refresh] * (c.Refresh + remote*c.Hop)
		count[load.Message] = xmpp * message * dt
		cost[load.Message] = count[load.Message] * (c.Message + remote*c.Hop)
		count[load.Newcomer] = float64(w.flow[i].all() + min(n.line.users, lineTogether*int(step/lineEvery)))
		cost[load.Newcomer] = count[load.Newcomer] * newcomer
		n.full = settle(&n.backlog, n.must+again, limit, queue, w.pressure, &cost)
		full := max(n.full, w.storeFull, w.pressure)
		for class := load.Message; class <= load.Refresh; class++ {
			w.counts.Shed[class] += count[class] * class.Refused(full)
		}
		published := count[load.Publish] * (1 - load.Publish.Refused(full))
		refreshed := count[load.Refresh] * (1 - load.Refresh.Refused(full))
		rows += published*s.Users.SIP + refreshed
		f := published*(remote+targets) + (refreshed+count[load.Message])*remote
		frames += f
		used := min(limit, n.must+again) // what waits counts when it is done
		n.must = 0
		for class := range cost {
			used += cost[class] * (1 - load.Class(class).Refused(full))
		}
		used = min(used, limit)
		sum += used
		most = max(most, used/limit)
		w.use.memory = max(w.use.memory, xmpp*c.Session+sip*w.watch*c.Dialog)
	}
	w.use.cpu += sum
	w.use.hottest = max(w.use.hottest, most)
	w.use.soft += rows
	w.use.frames += frames
	w.database()
}

// settle finds how full a queue is at the end of a step: as full as has the gate let in just so much as
// leaves it so full. What waits is in seconds of work, as are must, cost and queue; limit is what can be done;
// shut is how full the whole service is, as gates count it.
func settle(wait *float64, must, limit, queue, shut float64, cost *[4]float64) (full float64) {
	left := func(f float64) float64 {
		x := *wait + must - limit
		for class := range cost {
			if cost[class] > 0 {
				x += cost[class] * (1 - load.Class(class).Refused(max(f, shut)))
			}
		}
		return x
	}
	if x := left(0); x <= 0 {
		*wait = 0
		return 0
	}
	low, high := 0.0, 1.0
	if left(1) < queue {
		for range 30 {
			if mid := (low + high) / 2; left(mid) > mid*queue {
				low = mid
			} else {
				high = mid
			}
		}
	}
	*wait = max(0, left(high))
	return high
}

// database does what it can of this step's rows, and has all gates wait where it cannot.
func (w *world) database() {
	u, c, dt := &w.use, &w.s.Costs, step.Seconds()
	speed := w.s.Nodes.Database
	now := u.rows(c) / speed
	wants := now - u.before
	u.before = now
	w.busyDatabase += wants
	queue := float64(len(w.serve)) * w.s.Nodes.Cores * c.Queue / (c.SoftRows * speed)
	w.storeWait = max(0, w.storeWait+wants-dt)
	w.storeFull = 0
	if queue > 0 {
		w.storeFull = min(1, w.storeWait/queue)
	}
	w.storeWait = min(w.storeWait, 2*queue+1) // beyond, nobody gets a place any more
	// What is done for many users at once takes what is left, but at least half.
	rest := max(dt/2, dt-wants)
	for len(w.bulk) > 0 && rest > 0 {
		b := w.bulk[0]
		some := min(rest, b.rows/(b.rate*speed))
		rest -= some
		w.busyDatabase += some
		done := some * b.rate * speed
		*b.count += done
		if b.rows -= done; b.rows < 0.5 {
			w.bulk = w.bulk[1:]
			b.done()
		}
	}
}

// bulk is work of the database on the rows of many users at once.
type bulk struct {
	rows, rate float64
	count      *float64
	done       func()
}

func (w *world) inBulk(b bulk) { w.bulk = append(w.bulk, &b) }

// at has something done at a time.
func (w *world) at(t time.Duration, do func()) {
	w.entries++
	heap.Push(&w.agenda, &entry{at: t, order: w.entries, do: do})
}

// after is at, from now.
func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

type entry struct {
	at    time.Duration
	order int
	do    func()
}

// agenda has what happens next on top; of the same time what was entered first.
type agenda []*entry

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push is for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(*entry)) }

// Pop is for container/heap.
func (a *agenda) Pop() any {
	e := (*a)[len(*a)-1]
	*a = slices.Delete(*a, len(*a)-1, len(*a))
	return e
}
