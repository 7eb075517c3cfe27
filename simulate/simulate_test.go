package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/cluster"
	"pharos/config"
	"pharos/engine"
	"pharos/jabber"
)

func play(t testing.TB, s Scenario) *Result {
	t.Helper()
	r, err := Run(context.Background(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is simulated by default is what servers do by default.
func TestServersDefaults(t *testing.T) {
	s, c := Default(), config.Defaults()
	if l := c.Cluster; s.Nodes.Max != l.Max || s.Load != (Load{l.Users, l.Records, l.Low, l.Band, l.Moves}) {
		t.Errorf("the servers' are %+v", l)
	}
	if c.Limits.Connections != connections {
		t.Errorf("limits.connections is %d", c.Limits.Connections)
	}
	if s.Costs.Queue != engine.DefaultQueue {
		t.Errorf("engine.DefaultQueue is %d", engine.DefaultQueue)
	}
	if leaseTime != cluster.LeaseTime || leadTime != cluster.LeadTime || renewEvery != cluster.RenewEvery || roundEvery != cluster.ControlEvery {
		t.Error("the times are not those of package cluster")
	}
	if maxOrders != cluster.MaxOrders || moveGroup != cluster.MoveGroup || maxPeers != cluster.MaxPeers {
		t.Error("the bounds are not those of package cluster")
	}
	if lineMost != jabber.MaxNewcomers || lineWithin != jabber.AdmitTime {
		t.Error("the line is not that of package jabber")
	}
}

// scenarios draws services and what happens to them.
func scenarios(t *rapid.T) Scenario {
	s := Default()
	n := func(name string, low, high int) int { return rapid.IntRange(low, high).Draw(t, name) }
	sec := func(name string, low, high int) Duration {
		return Duration(time.Duration(n(name, low, high)) * time.Second)
	}
	s.Seed = uint64(n("seed", 0, 1000))
	s.Length = sec("length", 20, 90)
	s.Nodes.Count, s.Nodes.Standby, s.Nodes.Running = n("nodes", 1, 12), n("standby", 0, 3), n("running", 0, 1) == 1
	s.Nodes.Max = float64(n("max", 10, 5000))
	s.Nodes.Cores = float64(n("cores", 1, 4)) / 20
	s.Users.Count = n("users", 0, int(s.Nodes.Max)*s.Nodes.Count)
	s.Users.SIP = float64(n("sip", 0, 4)) / 4
	s.Users.Follow = float64(n("follow", 0, 2)) / 2
	s.Load.Moves = n("moves", 1, 3000)
	for range n("events", 0, 5) {
		s.Events = append(s.Events, Event{
			At: Duration(time.Duration(n("at", 0, int(s.Length.seconds())-1)) * time.Second), Do: Kinds[n("do", 0, len(Kinds)-1)][0],
			Users: n("crowd", 1, 20_000), Nodes: n("of", 0, 3), Over: sec("over", 1, 20), Back: sec("back", 0, 10), By: float64(n("by", 1, 10)) / 10,
		})
	}
	return s
}

// total is whoever is somewhere.
func (w *world) total() (users, sip, xmpp, back, fresh int) {
	for _, n := range w.nodes {
		users, sip, xmpp = users+n.users, sip+n.sip, xmpp+n.xmpp
		for _, b := range n.line.of {
			back, fresh = back+b.back, fresh+b.fresh
		}
	}
	for _, c := range w.coming {
		back, fresh = back+c.back, fresh+c.fresh
	}
	return users, sip, xmpp, back, fresh
}

// Whatever happens, nobody is lost and nobody is there twice; and nothing is below nothing.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenarios(t)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		w := newWorld(&s, Options{})
		gone, due := 0, 0 // newcomers that are still to knock
		for w.now < time.Duration(s.Length) {
			w.step()
			users, sip, xmpp, back, fresh := w.total()
			c := &w.counts
			if users != c.Users || users != s.Users.Count+int(c.Admitted)-int(c.Left) {
				t.Fatalf("%v: %d users, counted %d: %d + %v - %v", w.now, users, c.Users, s.Users.Count, c.Admitted, c.Left)
			}
			if due = int(c.Arrived) - int(c.Admitted) - fresh; due < gone {
				t.Fatalf("%v: %v came, %v admitted, %d try", w.now, c.Arrived, c.Admitted, fresh)
			}
			if most := s.Users.Count + int(c.Admitted); sip+xmpp+back > most {
				t.Fatalf("%v: %d phones, %d chats, %d come back: there are %d", w.now, sip, xmpp, back, most)
			}
			for _, n := range w.nodes {
				if n.users < 0 || n.sip < 0 || n.xmpp < 0 || n.line.users < 0 || n.line.users > lineMost || !(n.full >= 0 && n.full <= 1) || n.backlog < 0 || len(n.orders) > maxOrders {
					t.Fatalf("%v: %+v", w.now, n)
				}
			}
		}
		var coming int
		for _, e := range s.Events {
			if e.Do == doArrive && e.At+e.Over <= s.Length-Duration(step) {
				coming += e.Users
			}
		}
		if _, _, _, _, fresh := w.total(); int(w.counts.Admitted)+fresh < coming {
			t.Fatalf("%d came, %v were admitted, %d try", coming, w.counts.Admitted, fresh)
		}
	})
}

// The same is the same to the bit, another seed is not.
func TestDeterministic(t *testing.T) {
	s, _ := Find("room-loss")
	text := func() string {
		b, err := json.Marshal(play(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := text()
	if text() != first {
		t.Error("twice the same scenario, two results")
	}
	s.Seed++
	if text() == first {
		t.Error("the seed makes no difference")
	}
}

// short makes a scenario small enough to be played all the time.
func short(s Scenario) Scenario {
	if s.Nodes.Count > 100 {
		s.Scale(s.Users.Count/s.Nodes.Count*20, 20)
	}
	return s
}

// All scenarios do what they are there for, and what the design promises.
func TestBuiltin(t *testing.T) {
	names := map[string]bool{}
	for _, s := range Builtin() {
		if names[s.Name] || s.About == "" {
			t.Errorf("%q: twice, or about nothing", s.Name)
		}
		names[s.Name] = true
		t.Run(s.Name, func(t *testing.T) {
			s := short(s)
			r := play(t, s)
			end := r.Samples[len(r.Samples)-1]
			if end.Homeless > 0 {
				t.Errorf("%d users have no node at the end", end.Homeless)
			}
			for _, d := range r.Deaths {
				if d.Buried > 3 {
					t.Errorf("%s was declared dead after %v s", d.Node, d.Buried)
				}
			}
			for _, x := range r.Samples {
				if x.Max > 1.3 {
					t.Fatalf("at %v s a node is at %.0f %% of its maximum", x.T, x.Max*100)
				}
			}
			if s.Name == "overload" {
				if r.Counts.Refused == 0 || r.Counts.Shed != [4]float64{} || math.Abs(end.Median-1.2) > 0.02 {
					t.Errorf("%v were refused, %v shed, levels are at %v", r.Counts.Refused, r.Counts.Shed, end.Median)
				}
				return
			}
			if end.Max-end.Min > s.Load.Band && s.Name != "drain" {
				t.Errorf("levels lie between %v and %v at the end", end.Min, end.Max)
			}
			if r.Counts.Waiting > 0 {
				t.Errorf("%v are not in at the end", r.Counts.Waiting)
			}
			switch s.Name {
			case "growth":
				if r.Counts.Joined < 3 || r.Counts.Drained < 2 {
					t.Errorf("%d joined, %d were given up", r.Counts.Joined, r.Counts.Drained)
				}
			case "rolling-restart":
				if r.Counts.Restarts != s.Nodes.Count {
					t.Errorf("%d were restarted", r.Counts.Restarts)
				}
			case "steady":
				if r.Counts.Moved+r.Counts.Refused > 0 {
					t.Error("something happened")
				}
			}
		})
	}
}

// Who admits where sees levels a second old, at up to 1,000 nodes: nobody is overrun all the same.
func TestHerd(t *testing.T) {
	for _, n := range []int{3, 60, 1000} {
		if n > 60 && testing.Short() {
			continue
		}
		s := Default()
		s.Length, s.Load.Band = Duration(90*time.Second), 1 // moves shall not help
		s.Nodes.Count, s.Nodes.Database, s.Costs.NodeRows = n, 10, 1e8
		s.Users.Count = 3000 * n
		s.Events = []Event{{At: Duration(5 * time.Second), Do: doArrive, Users: 3500 * n, Over: Duration(70 * time.Second)}}
		r := play(t, s)
		for _, x := range r.Samples {
			if x.Max-x.Min > 0.06 {
				t.Fatalf("%d nodes, %v s: levels from %v to %v", n, x.T, x.Min, x.Max)
			}
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, Default(), Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The picture and the text are whole.
func TestShown(t *testing.T) {
	s, _ := Find("node-loss")
	r := play(t, s)
	var b bytes.Buffer
	if err := r.Draw(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 100_000 {
		t.Errorf("the picture has %d octets", b.Len())
	}
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	b.Reset()
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a node dies", "is back", "database: rows of soft state", "next"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, b.String())
		}
	}
}

func TestCheck(t *testing.T) {
	for want, change := range map[string]func(*Scenario){
		"length: ":                         func(s *Scenario) { s.Length = 0 },
		"users.count: ":                    func(s *Scenario) { s.Users.Count = -1 },
		"users.sip: 2 is no share":         func(s *Scenario) { s.Users.SIP = 2 },
		"nodes.count: ":                    func(s *Scenario) { s.Nodes.Count = 0 },
		"nodes.max: ":                      func(s *Scenario) { s.Nodes.Max = math.NaN() },
		"load.band: ":                      func(s *Scenario) { s.Load.Band = 0 },
		"costs.login: ":                    func(s *Scenario) { s.Costs.Login = 0 },
		`event 1: do = "explode" is none`:  func(s *Scenario) { s.Events = []Event{{Do: "explode"}} },
		"event 1 (arrive): users: how":     func(s *Scenario) { s.Events = []Event{{Do: doArrive}} },
		"event 1 (kill): at: 1h0m0s lies":  func(s *Scenario) { s.Events = []Event{{Do: doKill, At: Duration(time.Hour)}} },
		"event 1 (busy): by and over: how": func(s *Scenario) { s.Events = []Event{{Do: doBusy}} },
	} {
		s := Default()
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// The experiment has the load control spread users evenly, and comes near to the ideal where servers work
// alike, and the generator and the database take no time.
func TestExperiment(t *testing.T) {
	e := DefaultExperiment()
	for i := range e.Tests {
		x := &e.Tests[i]
		x.Several, x.Pace, x.Sent, x.Read, x.Save = x.Alone, 0, 0, 0, 0
	}
	rows, err := e.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 25 {
		t.Errorf("%d rows", len(rows))
	}
	for _, r := range rows {
		if r.Max == 0 {
			continue
		}
		if want := int(math.Ceil(float64(r.Users) / r.Max)); len(r.Homes) != want || slices.Max(r.Homes)-slices.Min(r.Homes) > 4 {
			t.Errorf("maximum %v: %d users on %v", r.Max, r.Users, r.Homes)
		}
		if math.Abs(r.Cut-r.Ideal) > 0.05 {
			t.Errorf("%s, maximum %v, %d users: cut by %.3f, ideal is %.3f", r.Test, r.Max, r.Users, r.Cut, r.Ideal)
		}
	}
}

func TestSize(t *testing.T) {
	z, err := SizeFor(context.Background(), Default(), Need{Users: 30_000, Spare: 1, Share: 0.5, Peak: 4}, 10_000, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if z.Nodes != 7 || z.Refused != 0 || z.Right <= 0 || z.Even < 0 {
		t.Errorf("%+v", z)
	}
	var b bytes.Buffer
	if err := z.Write(&b); err != nil || !strings.Contains(b.String(), "cluster.max") {
		t.Error(b.String(), err)
	}
	for _, n := range []Need{{}, {Users: 1, Share: 2, Peak: 1}, {Users: 1, Share: 1}, {Users: 1, Share: 1, Peak: 1, Spare: -1}} {
		if _, err := SizeFor(context.Background(), Default(), n, 0, Options{}); err == nil {
			t.Errorf("%+v is taken", n)
		}
	}
}
