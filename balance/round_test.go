package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Users who move are counted twice as long as only the node has spoken to which they went.
func TestMovesAddNoServer(t *testing.T) {
	b := NewBalancer(Settings{})
	now := time.Unix(1e9, 0)
	list := []Candidate{{URI: "sip:c", State: Standby}}
	nodes := func(x, y float64) []Node {
		return []Node{{Name: "a", State: Active, Users: int(x), Level: x, Max: 100.5}, {Name: "b", State: Active, Users: int(y), Level: y, Max: 100.5}}
	}
	b.Round(now, nodes(140, 60), list)
	d := b.Round(now.Add(time.Second), nodes(140, 60), list)
	if len(d.Moves) != 1 || d.Moves[0].Users < 39 || d.Invite != "" {
		t.Fatalf("%+v", d)
	}
	for i, levels := range [][2]float64{{140, 100.5}, {101, 100.5}, {100, 100}} {
		if d := b.Round(now.Add(time.Duration(i+2)*time.Second), nodes(levels[0], levels[1]), list); d.Invite != "" {
			t.Errorf("at %v a server is added", levels)
		}
	}
	if d := b.Round(now.Add(time.Minute), nodes(101, 101), list); d.Invite != "sip:c" {
		t.Errorf("when both are full: %+v", d)
	}
}

// The paper's experiment: a user with 20 resources is a unit; servers are added at the
// maximum.
func TestPaper(t *testing.T) {
	for _, c := range []struct {
		limit          float64
		users, servers int
	}{{100, 100, 1}, {100, 200, 2}, {100, 300, 3}, {100, 500, 5}, {200, 200, 1}, {200, 300, 2}, {200, 400, 2}, {200, 500, 3}} {
		t.Run(fmt.Sprint(c.limit, c.users), func(t *testing.T) {
			s := newService(Settings{}, c.limit)
			s.weights, s.each = Weights{User: 1. / 21, Resource: 1. / 21}, 20
			for range 6 {
				s.standby(c.limit)
			}
			s.round()
			for range c.users / 10 {
				for range 10 {
					// The newcomer waits until there is room, as at the main server.
					for tries := 0; ; tries++ {
						if _, full := s.full(); !full {
							break
						} else if tries > 10 {
							t.Fatal("no standby joins")
						}
						s.round()
					}
					s.come(1)
				}
			}
			for range 20 {
				s.round()
			}
			if s.active() != c.servers && (s.active() != c.servers+1 || c.users != c.servers*int(c.limit)) {
				t.Errorf("%d servers, want %d", s.active(), c.servers)
			}
			if s.users() != c.users {
				t.Errorf("%d users of %d", s.users(), c.users)
			}
			if s.spread() > 0.1 {
				t.Errorf("levels lie %.2f of the maximum apart", s.spread())
			}
		})
	}
}

func (s *service) full() (n string, full bool) {
	if len(s.admit.nodes.of) == 0 {
		return "", true
	}
	c := s.admit.nodes.of[0]
	return c.Name, !c.below()
}

// Who joins relieves the most loaded first, within the bound, until levels are even.
func TestEvening(t *testing.T) {
	s := newService(Settings{Moves: 100}, 1000, 1000, 1000)
	s.nodes[0].Users, s.nodes[1].Users = 900, 600
	s.round()
	s.round()
	if m := s.last.Moves; len(m) == 0 || m[0].From != "n00" || m[0].To != "n02" || m[0].Users > 100 {
		t.Fatalf("first moves: %+v", m)
	}
	for range 30 {
		s.round()
	}
	if s.spread() > 0.026 || s.users() != 1500 {
		t.Errorf("spread %.3f, users %d", s.spread(), s.users())
	}
	if s.moved > 520 {
		t.Errorf("%d moved where 500 were enough", s.moved)
	}
}

// Inside of the band nobody is moved, whatever the noise.
func TestHysteresis(t *testing.T) {
	s := newService(Settings{}, 1000, 1000)
	s.nodes[0].Users, s.nodes[1].Users = 545, 455
	for i := range 50 {
		s.nodes[i%2].Users += 3
		s.round()
		s.nodes[i%2].Users -= 3
	}
	if s.moved != 0 {
		t.Errorf("%d moved within the band", s.moved)
	}
}

func TestNoMovesWhileJoining(t *testing.T) {
	s := newService(Settings{}, 1000, 1000)
	s.nodes[0].Users = 900
	s.nodes = append(s.nodes, &server{Node: Node{Name: "z", State: Joining, Max: 1000}, joining: 5})
	for range 5 {
		s.round()
		if s.nodes[2].heard[0].State == Joining && len(s.last.Moves) > 0 {
			t.Fatalf("moves while joining: %v", s.last.Moves)
		}
	}
	for range 5 {
		s.round()
	}
	if s.moved == 0 {
		t.Error("no moves afterwards")
	}
}

// drain, undrain, and a drain that has ended.
func TestDrain(t *testing.T) {
	s := newService(Settings{Moves: 50}, 1000, 1000, 1000)
	for _, n := range s.nodes {
		n.Users = 400
	}
	s.round()
	s.nodes[1].State = Draining
	s.round()
	s.round()
	if s.nodes[1].Users != 300 {
		t.Errorf("%d users left after two rounds of 50", s.nodes[1].Users)
	}
	s.nodes[1].State = Active // undrain: they come back by themselves
	for range 20 {
		s.round()
	}
	if s.spread() > 0.1 {
		t.Errorf("spread %.2f after undrain", s.spread())
	}
	s.nodes[1].State = Draining
	for range 20 {
		s.round()
	}
	if n := s.nodes[1]; n.Users != 0 || n.State != Standby {
		t.Errorf("%d users, %s after a drain", n.Users, n.State)
	}
	if s.users() != 1200 {
		t.Errorf("%d users", s.users())
	}
}

// The last users of a node that drains do not wait until orders have run out, however small the service is,
// though levels come late and newcomers arrive.
func TestDrainIsQuick(t *testing.T) {
	const services = 1000
	late := 0
	for seed := range services {
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		var maxima []float64
		for range 2 + r.IntN(4) {
			maxima = append(maxima, float64(20+r.IntN(100)))
		}
		s := newService(Settings{}, maxima...)
		for _, n := range s.nodes {
			n.Users = r.IntN(int(1.2 * n.Max))
		}
		s.round()
		s.round()
		s.nodes[1].State = Draining
		rounds := 0
		for s.nodes[1].Users > 0 {
			s.round()
			if rounds++; rounds > 30 {
				t.Fatalf("service %d does not get empty", seed)
			}
			if r.IntN(3) == 0 {
				s.come(1)
			}
		}
		if rounds > 6 {
			late++
		}
	}
	if late > services/12 {
		t.Errorf("%d of %d took more than 6 rounds", late, services)
	}
}

// The maximum of a node is changed: what is above it goes.
func TestMaximumChanged(t *testing.T) {
	s := newService(Settings{}, 1000, 1000)
	s.nodes[0].Users, s.nodes[1].Users = 480, 500
	s.round()
	s.round()
	if s.moved != 0 {
		t.Fatal("moved without reason")
	}
	s.nodes[1].Max = 200
	for range 20 {
		s.round()
	}
	if n := s.nodes[1].Users; n > 200 || n < 190 {
		t.Errorf("%d users at a maximum of 200", n)
	}
}

// All are full and nobody is left to be added: nobody is moved to and fro, and the
// leader says so.
func TestStarved(t *testing.T) {
	s := newService(Settings{}, 100, 100)
	s.nodes[0].Users, s.nodes[1].Users = 130, 126
	for range 10 {
		s.round()
	}
	if !s.last.Starved || s.moved != 0 {
		t.Errorf("starved %v, moved %d", s.last.Starved, s.moved)
	}
	if full := s.come(10); full != 10 {
		t.Errorf("%d of 10 were told", full)
	}
	s.nodes[0].Users = 190 // further apart than the band
	for range 10 {
		s.round()
	}
	if s.spread() > 0.1 {
		t.Errorf("spread %.2f", s.spread())
	}
}

// A candidate that does not join is passed over, and tried again later; one that is held
// is never asked.
func TestCandidates(t *testing.T) {
	b := NewBalancer(Settings{Retry: 10 * time.Second})
	full := nodes(100)
	list := []Candidate{{URI: "sip:held", State: Draining}, {URI: "sip:up", State: Active}, {URI: "sip:x"}, {URI: "sip:y", State: Standby}}
	now := time.Unix(1e9, 0)
	for _, want := range []string{"sip:x", "sip:y", ""} {
		d := b.Round(now, full, list)
		if d.Invite != want || d.Starved != (want == "") {
			t.Fatalf("invited %q, starved %v; want %q", d.Invite, d.Starved, want)
		}
		b.Failed(d.Invite, now)
		now = now.Add(time.Second)
	}
	now = now.Add(8 * time.Second)
	if d := b.Round(now, full, list); d.Invite != "sip:x" {
		t.Errorf("invited %q after the pause", d.Invite)
	}
}

// Load comes and goes: a standby joins and is given back; only spare ones are; nothing
// flaps.
func TestScaleInAndOut(t *testing.T) {
	s := newService(Settings{Low: 0.2, Patience: 10 * time.Second}, 100)
	s.standby(100)
	s.standby(100)
	s.round()
	for range 25 {
		s.come(10)
		s.round()
		s.round()
	}
	if s.active() != 3 {
		t.Fatalf("%d active at 250", s.active())
	}
	for s.users() > 20 {
		s.leave(5)
		s.round()
	}
	for range 60 {
		s.round()
	}
	if s.active() != 1 || s.nodes[0].State != Active {
		t.Errorf("%d active after the load went", s.active())
	}
	if len(s.invites) != 2 || len(s.drains) != 2 {
		t.Errorf("invited %v, drained %v", s.invites, s.drains)
	}
}

func TestKeepsWhatItsOperatorStarted(t *testing.T) {
	s := newService(Settings{Low: 0.2, Patience: time.Second}, 100, 100, 100)
	for range 60 {
		s.round()
	}
	if s.active() != 3 || len(s.drains) != 0 {
		t.Errorf("%d active, drained %v", s.active(), s.drains)
	}
}

// Who leaves a node that drains goes where he stays: that an order still counts to which levels have risen
// already is no reason to fill others above the line, from where he would be moved again.
func TestDrainMovesOnce(t *testing.T) {
	for _, c := range []struct {
		moves, lag, each int
		limits           []float64
		users            []int
	}{
		{156, 1, 5, []float64{500, 500, 500, 500, 500, 500, 500}, []int{934, 0, 0, 0, 0, 0, 557}},
		{196, 3, 4, []float64{1000, 500, 2000}, []int{691, 1, 942}}, // an older order shows late
		{71, 3, 3, []float64{1000, 2000, 1000}, []int{601, 1445, 487}},
		{50, 2, 3, []float64{1000, 500, 2000, 500}, []int{1055, 493, 104, 307}},
	} {
		s := newService(Settings{Moves: c.moves}, c.limits...)
		s.lag, s.each, s.weights = c.lag, c.each, Weights{User: 1, Resource: 0.05}
		for i, n := range c.users {
			s.nodes[i].Users = n
		}
		s.nodes[0].State = Draining
		for range 60 {
			s.round()
		}
		if s.nodes[0].Users > 0 || s.flips > 0 {
			t.Errorf("%v: %d left, %d moves to and fro", c.users, s.nodes[0].Users, s.flips)
		}
	}
}

// Whatever the levels, the weights and the lag: it converges, moves are bounded, no user
// is lost, nobody is moved to and fro, and then it stays quiet.
func TestRoundProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 8).Draw(t, "nodes")
		limits := make([]float64, n)
		for i := range limits {
			limits[i] = float64(rapid.SampledFrom([]int{500, 1000, 1000, 1000, 2000}).Draw(t, "max"))
		}
		moves := rapid.IntRange(20, 2000).Draw(t, "moves")
		s := newService(Settings{Moves: moves}, limits...)
		s.lag = rapid.IntRange(1, 3).Draw(t, "lag")
		s.each = rapid.IntRange(0, 5).Draw(t, "resources")
		s.weights = Weights{User: 1, Resource: 0.05}
		for _, x := range s.nodes {
			x.Users = rapid.IntRange(0, 1500).Draw(t, "users")
		}
		if rapid.Bool().Draw(t, "drain") {
			s.nodes[0].State = Draining
		}
		users := s.users()
		quiet := 0
		for i := range 2000 {
			before := s.moved
			s.round()
			if d := s.moved - before; d > moves {
				t.Fatalf("%d users moved in a second", d)
			} else if d == 0 {
				quiet++
			} else {
				quiet = 0
			}
			if s.users() != users {
				t.Fatalf("%d users of %d", s.users(), users)
			}
			if quiet > 15 {
				break
			} else if i == 1999 {
				t.Fatal("never quiet")
			}
		}
		if s.flips > 0 {
			t.Fatalf("%d moves to and fro", s.flips)
		}
		if s.nodes[0].State != Active && s.nodes[0].Users > 0 {
			t.Fatal("not drained")
		}
		// Within the band of the line, and above the maximum only where all are.
		s.report()
		var active []*view
		total := 0.0
		for _, x := range s.nodes {
			if x.State == Active {
				active = append(active, &view{Node: x.Node})
				total += x.Level
			}
		}
		even := waterline(active, total)
		for _, v := range active {
			if math.Abs(v.Level-even.of(v)) > 0.1*v.Max+2 {
				t.Fatalf("%s at %.0f, the line is at %.0f", v.Name, v.Level, even.of(v))
			}
			if even.share == 0 && v.Level > v.Max+2 {
				t.Fatalf("%s at %.0f above its maximum %.0f, with room elsewhere", v.Name, v.Level, v.Max)
			}
		}
	})
}

// With people coming and going all the time, moves are few once it is even.
func TestQuietUnderChurn(t *testing.T) {
	s := newService(Settings{}, 1000, 1000, 1000, 1000)
	s.lag = 2
	s.round()
	for range 300 {
		s.come(20)
		s.leave(10)
		if s.users() > 2000 {
			s.leave(15)
		}
		s.round()
	}
	if s.moved > 300 || s.spread() > 0.15 {
		t.Errorf("%d moved, spread %.2f", s.moved, s.spread())
	}
}

func TestPressure(t *testing.T) {
	for _, c := range []struct{ level, limit, want float64 }{{0, 100, 0}, {100, 100, 0}, {110, 100, 0.575}, {120, 100, 0.65}, {500, 100, 0.65}, {5, 0, 0}} {
		if got := Pressure(c.level, c.limit); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("Pressure(%v, %v) = %v, want %v", c.level, c.limit, got, c.want)
		}
	}
}

// A round of the leader with ten thousand nodes.
func BenchmarkRound(b *testing.B) {
	all := make([]Node, 10_000)
	for i := range all {
		all[i] = Node{Name: fmt.Sprint(i), State: Active, Users: i, Level: float64(i), Max: 1e5}
	}
	l := NewBalancer(Settings{Moves: 100_000, Band: 0.01})
	now := time.Unix(1e9, 0)
	l.Round(now, all, nil)
	for b.Loop() {
		now = now.Add(time.Second)
		l.Round(now, all, nil)
	}
}

// Users who do nothing are spread as well, and so are those whom a standby has got in the
// last moment.
func TestIdleUsersLeave(t *testing.T) {
	for _, state := range []State{Draining, Standby} {
		b := NewBalancer(Settings{Moves: 100})
		now := time.Unix(1e9, 0)
		all := append(nodes(10, 20, 30), Node{Name: "z", State: state, Users: 9, Max: 100})
		b.Round(now, all, nil)
		d := b.Round(now.Add(time.Second), all, nil)
		got := map[string]int{}
		for _, m := range d.Moves {
			if m.From != "z" {
				t.Errorf("%s: %+v", state, m)
			}
			got[m.To] += m.Users
		}
		if got["a"] != 3 || got["b"] != 3 || got["c"] != 3 || len(d.Retire) > 0 {
			t.Errorf("%s: %v, retired %v", state, got, d.Retire)
		}
		if d = b.Round(now.Add(2*time.Second), all, nil); len(d.Moves) > 0 {
			t.Errorf("%s: ordered twice: %v", state, d.Moves)
		}
	}
}
