package simulate

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// Need is what is to be served, and how safely.
type Need struct {
	Users int
	Spare int     // nodes that may be lost while nobody is refused
	Share float64 // of a node's processors and memory that it may use when it is at its maximum
	Peak  float64 // how many times as often as on the average presence changes in the busiest hour
	Back  time.Duration
}

// Size is a service for a need.
type Size struct {
	Nodes    int     `json:"nodes"`
	Max      float64 `json:"max"`   // level of each
	Users    int     `json:"users"` // of each at its maximum
	Bound    string  `json:"bound"` // what bounds them
	Fullness float64 `json:"level"` // of the nodes, over their maximum, when all are there
	Lost     *Result `json:"-"`     // what happens when as many die as may
	Refused  float64 `json:"refused"`
	Right    float64 `json:"right_seconds"` // until the users of the dead are served as before
	Even     float64 `json:"even_seconds"`  // after they are back; -1: not within the simulated time
	Database float64 `json:"database"`      // share of its time, all the time
	Loss     float64 `json:"database_loss"` // the same, in the busiest second of the loss
	MoreThan string  `json:"beyond"`        // what else is past its limit
}

// connections is what limits.connections of the configuration is; a test holds it to be so.
const connections = 100_000

// each is what a user costs: seconds of processor time a second, bytes, rows of soft state a second.
func (s *Scenario) each(changes float64) (cpu, memory, rows float64) {
	c, u := &s.Costs, &s.Users
	watch := float64(max(0, u.Resources-1))
	change := changes / 3600
	refresh := u.SIP * float64(u.Resources) / u.Refresh.seconds()
	// At most each watcher is at another node.
	cpu = change*(c.Publish+c.Hop+watch*(c.Hop+u.SIP*c.Notify+(1-u.SIP)*c.Deliver)) + refresh*(c.Refresh+c.Hop) +
		(1-u.SIP)*u.Messages/3600*(c.Message+c.Hop)
	memory = u.SIP*watch*c.Dialog + (1-u.SIP)*c.Session
	return cpu, memory, change*u.SIP + refresh
}

// SizeFor finds how many nodes a need takes, each as the scenario says that they are, and
// simulates their loss. The nodes' maximum is taken as given if maximum is above 0.
func SizeFor(ctx context.Context, s Scenario, n Need, maximum float64, o Options) (*Size, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	switch {
	case n.Users < 1 || n.Users > MaxUsers:
		return nil, fmt.Errorf("users: from 1 to %d, not %d", MaxUsers, n.Users)
	case n.Spare < 0 || n.Spare > MaxNodes/2:
		return nil, fmt.Errorf("spare: from 0 to %d, not %d", MaxNodes/2, n.Spare)
	case !(n.Share > 0 && n.Share <= 1):
		return nil, fmt.Errorf("share: above 0, at most 1, not %g", n.Share)
	case !(n.Peak > 0):
		return nil, fmt.Errorf("peak: must be above 0, not %g", n.Peak)
	}
	z := &Size{}
	cpu, memory, _ := s.each(s.Users.Changes * n.Peak)
	byCPU, byMemory := n.Share*s.Nodes.Cores/cpu, n.Share*s.Nodes.Memory/memory
	users := math.Inf(1)
	take := func(most float64, why string) {
		if most < users {
			users, z.Bound = most, why
		}
	}
	take(byCPU, "processors")
	take(byMemory, "memory")
	if s.Users.SIP < 1 {
		take(connections/(1-s.Users.SIP), "limits.connections")
	}
	take(float64(n.Users), "the number of users")
	if maximum > 0 {
		users, z.Bound = maximum/s.level(), "the maximum that was given"
	}
	z.Users = max(1, int(users))
	z.Max = float64(z.Users) * s.level()
	z.Nodes = (n.Users+z.Users-1)/z.Users + n.Spare
	if z.Nodes > MaxNodes {
		return nil, fmt.Errorf("%d nodes would be needed, at most %d are simulated: larger ones?", z.Nodes, MaxNodes)
	}
	z.Fullness = float64(n.Users) * s.level() / (z.Max * float64(z.Nodes))
	s.Users.Changes *= n.Peak
	s.Users.Count, s.Nodes.Count, s.Nodes.Standby, s.Nodes.Max = n.Users, z.Nodes, 0, z.Max
	back := 90 * time.Second
	moves := float64(n.Spare) / float64(z.Nodes) * float64(n.Users) / float64(s.Load.Moves)
	s.Length = Duration(20*time.Second + back + min(MaxLength/24, time.Duration(1.5*moves+60)*time.Second))
	s.Name, s.About = "size", "the loss that is to be borne"
	s.Events = nil
	if n.Spare > 0 {
		s.Events = []Event{{At: Duration(20 * time.Second), Do: doKill, Nodes: n.Spare, Back: Duration(back)}}
	}
	r, err := Run(ctx, s, o)
	if err != nil {
		return nil, err
	}
	z.Lost = r
	z.Refused = r.Counts.Refused
	for _, d := range r.Deaths {
		z.Right = max(z.Right, d.Right)
	}
	if k := len(r.Events); k > 0 {
		z.Even = r.Events[k-1].Even
	}
	for i, x := range r.Samples {
		if z.Loss = max(z.Loss, x.Database); i == 15 {
			z.Database = x.Database
		}
	}
	for _, x := range r.Resources {
		if x.Used > 1.005 && !x.Elastic {
			z.MoreThan += "; " + x.Name + " " + percent(x.Used)
		}
	}
	z.MoreThan = strings.TrimPrefix(z.MoreThan, "; ")
	return z, nil
}

// Write is the answer for people.
func (z *Size) Write(w io.Writer) error {
	s := &z.Lost.Scenario
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(what, format string, args ...any) { fmt.Fprintf(t, what+"\t"+format+"\n", args...) }
	line("nodes", "%s, of %g processors and %.0f GiB", grouped(float64(z.Nodes)), s.Nodes.Cores, s.Nodes.Memory/(1<<30))
	line("cluster.max", "%.0f: %s users, bounded by %s", z.Max, grouped(float64(z.Users)), z.Bound)
	line("level", "%.0f %% of the maximum while all are there", z.Fullness*100)
	if len(z.Lost.Deaths) > 0 {
		line("when they die", "%d at once: their users are served as before after %.1f s; %s answers \"come again later\"", len(z.Lost.Deaths), z.Right, grouped(z.Refused))
		even := fmt.Sprintf("%.0f s", z.Even)
		if z.Even < 0 {
			even = "more time than was simulated: raise cluster.moves"
		}
		line("when they are back", "levels are even after %s, with %s moves a second", even, grouped(float64(s.Load.Moves)))
	}
	line("database", "%s of what the measured one can do, %s in the busiest second", percent(z.Database), percent(z.Loss))
	if z.MoreThan != "" {
		line("beyond its limit", "%s", z.MoreThan)
	}
	t.Flush()
	z.Lost.writeAssumed(&b)
	_, err := io.WriteString(w, b.String())
	return err
}
