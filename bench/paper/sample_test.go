package paper

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// rounds has one for each mean, in order.
func rounds(run, limit, servers int, means ...int) (list []Round) {
	for i, m := range means {
		list = append(list, Round{Test: Subscribe, Limit: limit, Users: 100 * max(servers, 1), Servers: servers, Run: run, Number: i + 1, Mean: time.Duration(m) * time.Millisecond})
	}
	return list
}

// The rounds of one go stand together.
func TestApart(t *testing.T) {
	for _, x := range []struct {
		rounds []Round
		means  []float64
		error  float64
	}{
		{rounds(1, 0, 1, 10), []float64{10}, 0},
		{rounds(1, 0, 1, 10, 14), []float64{10, 14}, 2 * 2 / 12.0},
		{rounds(1, 0, 1, 9, 11, 10, 12, 13, 11), []float64{10, 11, 12}, 2 * math.Sqrt(2/2.0/3) / 11},
		{append(rounds(1, 0, 1, 9, 11, 10, 12, 13, 11), rounds(2, 0, 1, 19, 21, 20, 22, 23, 21)...), []float64{10, 11, 12, 20, 21, 22}, 2 * math.Sqrt(154/5.0/6) / 16},
	} {
		if got := apart(x.rounds); !slices.Equal(got, x.means) {
			t.Errorf("%v, want %v", got, x.means)
		}
		if s := average(x.rounds); math.Abs(s.Error-x.error) > 1e-9 || s.Rounds != len(x.rounds) {
			t.Errorf("%v: %+v, want an error of %v", x.means, s, x.error)
		}
	}
}

// A goal is kept, or not, only where that is surer than the measurement.
func TestVerdict(t *testing.T) {
	for _, x := range []struct {
		one, several []int
		want         string
	}{
		{[]int{200, 202}, []int{100, 101}, "kept in 1 of 1 rows, not kept in 0; in 0 it cannot"},
		{[]int{200, 202}, []int{120, 121}, "kept in 0 of 1 rows, not kept in 1; in 0 it cannot"},
		{[]int{150, 250}, []int{104, 106}, "kept in 0 of 1 rows, not kept in 0; in 1 it cannot"},
		{[]int{200}, []int{100}, "kept in 0 of 1 rows, not kept in 0; in 1 it cannot"},
	} {
		one := rounds(1, 0, 1, x.one...)
		for i := range one {
			one[i].Users = 200
		}
		r := Result{Rounds: append(one, rounds(1, 100, 2, x.several...)...)}
		if got := Verdict(r.Rows()); !strings.Contains(got, x.want) {
			t.Errorf("%v, %v: %s", x.one, x.several, got)
		}
	}
}
