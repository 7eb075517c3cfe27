package paper

import (
	"math"
	"os"
	"testing"
)

// What was measured is simulated from the processor times that were counted: in three quarters of the rows within 10 %,
// which is about what the measurement itself can tell, and in none worse than 20 %, in the mean and in the 99th percentile.
func TestCompare(t *testing.T) {
	f, err := os.Open("rounds.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ReadCSV(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := Compare(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 25 {
		t.Errorf("%d rows", len(rows))
	}
	for _, c := range rows {
		mean, tail := Off(c.Own.Mean, c.Measured.Mean), Off(c.Own.P99, c.Measured.P99)
		if math.Abs(mean) > 0.2 || math.Abs(tail) > 0.2 {
			t.Errorf("%s, maximum %d, %d users: mean off by %.3f, 99th percentile by %.3f", c.Test, c.Limit, c.Users, mean, tail)
		}
		if cut := c.Simulated.Cut - c.Simulated.Ideal; c.Limit > 0 && c.Servers > 1 && cut < -0.01 {
			t.Errorf("%s, maximum %d, %d users: cut by less than the ideal, %.3f", c.Test, c.Limit, c.Users, cut)
		}
	}
	if _, own, tail, _ := tally(rows); own*4 < 3*len(rows) || tail*4 < 3*len(rows) {
		t.Errorf("%d means and %d percentiles of %d rows are within %v", own, tail, len(rows), Within)
	}
}
