package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// service is a service under load control, without servers: users with a home, levels
// that come late, a leader that decides each second.
type service struct {
	now      time.Time
	weights  Weights
	each     int // resources of a user
	nodes    []*server
	list     []Candidate
	lag      int // rounds until a level is heard
	joinTime int // rounds from INVITE to active
	admit    *Admission
	leader   *Balancer

	moved, flips int
	invites      []string
	drains       []string
	last         Decision
	random       *rand.Rand
}

type server struct {
	Node
	heard   []Node
	joining int
	gave    int // round of the last move away
	took    int
}

func newService(set Settings, limits ...float64) *service {
	s := &service{now: time.Unix(1e9, 0), weights: Weights{User: 1}, lag: 1, joinTime: 2,
		admit: NewAdmission("a", 1), leader: NewBalancer(set), random: rand.New(rand.NewPCG(1, 2))}
	for i, m := range limits {
		s.nodes = append(s.nodes, &server{Node: Node{Name: fmt.Sprintf("n%02d", i), State: Active, Max: m}})
	}
	return s
}

func (s *service) standby(limit float64) {
	uri := fmt.Sprintf("sip:s%02d", len(s.list))
	s.list = append(s.list, Candidate{URI: uri, State: Standby})
	s.nodes = append(s.nodes, &server{Node: Node{Name: uri, State: Standby, Max: limit, Spare: true}})
}

func (s *service) at(name string) *server {
	for _, n := range s.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// heard is what is known of the nodes now.
func (s *service) heard() (all []Node) {
	for _, n := range s.nodes {
		all = append(all, n.heard[0])
	}
	return all
}

// report has every node say its level.
func (s *service) report() {
	for _, n := range s.nodes {
		n.Resources = n.Users * s.each
		n.Level = s.weights.Level(n.Users, n.Resources)
		n.Report++
		n.heard = append(n.heard, n.Node)
		if len(n.heard) > s.lag {
			n.heard = n.heard[len(n.heard)-s.lag:]
		}
	}
}

// round is a second of the service.
func (s *service) round() {
	s.now = s.now.Add(time.Second)
	s.report()
	heard := s.heard()
	s.admit.Update(heard)
	for i, c := range s.list {
		s.list[i].State = s.at(c.URI).State
	}
	d := s.leader.Round(s.now, heard, s.list)
	s.last = d
	round := int(s.now.Unix())
	for _, n := range s.nodes {
		if n.State == Joining {
			if n.joining--; n.joining <= 0 {
				n.State = Active
			}
		}
	}
	for _, m := range d.Moves {
		from, to := s.at(m.From), s.at(m.To)
		users := min(m.Users, from.Users)
		from.Users -= users
		to.Users += users
		s.moved += users
		if from.took == round || to.gave == round || from.took > 0 && round-from.took < 5 {
			s.flips++
		}
		from.gave, to.took = round, round
	}
	if d.Invite != "" {
		s.invites = append(s.invites, d.Invite)
		n := s.at(d.Invite)
		n.State, n.joining = Joining, s.joinTime
	}
	if d.Drain != "" {
		s.drains = append(s.drains, d.Drain)
		s.at(d.Drain).State = Draining
	}
	for _, name := range d.Retire {
		if n := s.at(name); n.Users == 0 {
			n.State = Standby
		}
	}
}

// come admits newcomers; those whom nobody takes are counted out.
func (s *service) come(users int) (full int) {
	for range users {
		name, v := s.admit.Admit()
		if v != Admitted {
			full++
		}
		if v != Nobody {
			s.at(name).Users++
		}
	}
	return full
}

// leave ends sessions anywhere.
func (s *service) leave(users int) {
	for range users {
		n := s.nodes[s.random.IntN(len(s.nodes))]
		if n.Users > 0 {
			n.Users--
		}
	}
}

func (s *service) users() (n int) {
	for _, x := range s.nodes {
		n += x.Users
	}
	return n
}

func (s *service) active() (n int) {
	for _, x := range s.nodes {
		if x.State == Active {
			n++
		}
	}
	return n
}

// spread is how far the levels of active nodes lie apart, as a share of the maximum,
// for nodes of one maximum.
func (s *service) spread() float64 {
	var levels []float64
	for _, n := range s.nodes {
		if n.State == Active {
			levels = append(levels, float64(n.Users)/n.Max)
		}
	}
	return slices.Max(levels) - slices.Min(levels)
}
