package soak

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/bench"
	"pharos/store/postgrestest"
)

var soaks = flag.Bool("soak", false, "a service of three nodes for half a minute with users and faults: a short form of what 'make soak' does")

// TestSoak says nothing about speed or growth, but all about what was told and acknowledged.
func TestSoak(t *testing.T) {
	if !*soaks {
		t.Skip("it takes the whole machine for a minute: go test ./bench/soak -soak")
	}
	bin, err := bench.BuildIn(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	r, err := Run(ctx, Options{
		Bin: bin, Users: 60, Nodes: 3, Length: 24 * time.Second, Every: 12 * time.Second, Pace: 20, Come: time.Second,
		Settle: time.Minute, Sample: time.Second, Log: t.Output(),
	})
	if postgrestest.MaySkip(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Log(Table(r))
	if !r.True() {
		t.Errorf("%d wrong: %s\n%d breaches: %s\nlost: %s", r.WrongN, strings.Join(r.Wrong, "\n"), r.BreachN, strings.Join(r.Breaches, "\n"), strings.Join(r.Mail.Lost, "\n"))
	}
	if len(r.Faults) != 2 || r.Mail.Arrived == 0 || r.Notifies == 0 || r.Looked["rosters"] != r.Chats || r.Looked["documents"] == 0 || r.Looked["presences, fetched"] == 0 {
		t.Errorf("not everything was done: %d faults, %+v, %d NOTIFYs, %v", len(r.Faults), r.Mail, r.Notifies, r.Looked)
	}
	for _, n := range []string{"n1", "n2", "n3"} {
		s := r.Ended[n]
		if s.Resident == 0 || s.Heap == 0 || s.Goroutines == 0 || s.Descriptors == 0 || s.Room == 0 || s.Cached == 0 || s.Told == 0 {
			t.Errorf("%s was not looked at: %+v", n, s)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(r.samples), func(s Sample) bool { return !s.Settled })); n < 3 {
		t.Errorf("%d samples are behind a collection", n)
	}
	if svg := string(Chart(r)); strings.Count(svg, "<polyline") < 3*5 || strings.Count(svg, "<title>") != 2 {
		t.Errorf("the picture lacks something: %.300s", svg)
	}
}

// TestMassReconnect has all come back, and each told of all contacts.
func TestMassReconnect(t *testing.T) {
	if !*soaks {
		t.Skip("go test ./bench/soak -soak")
	}
	bin, err := bench.BuildIn(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []int{0, 3} {
		w, err := OurWorld(t.Context(), bin, 50, nodes)
		if postgrestest.MaySkip(err) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		var rs []Return
		err = MassReconnect(t.Context(), w, 50, 2, 100*time.Millisecond, time.Minute, nil, func(r Return) { rs = append(rs, r) })
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if len(rs) != 2 || rs[0].Missing+rs[1].Missing != 0 || rs[1].Sessions != 50 || rs[1].Right < rs[1].Median || rs[1].Memory == 0 {
			t.Errorf("%+v", rs)
		}
		t.Log(MassTable(rs))
	}
}
