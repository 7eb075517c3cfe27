package paper

import (
	"math"
	"slices"
	"time"
)

// Sample is the mean, over the rounds, of what each has shown: some that are now fast and now slow have no median of which an
// error is known.
type Sample struct {
	Mean, P99, Last, CPU time.Duration
	// Error is how far off the mean may be, as a share of it: twice the standard error. 0: not known.
	Error  float64
	Rounds int
}

func average(rounds []Round) (s Sample) {
	for _, r := range rounds {
		s.Mean, s.P99, s.Last, s.CPU = s.Mean+r.Mean, s.P99+r.P99, s.Last+r.Last, s.CPU+r.CPU
	}
	n := time.Duration(max(len(rounds), 1))
	s.Mean, s.P99, s.Last, s.CPU = s.Mean/n, s.P99/n, s.Last/n, s.CPU/n
	s.Rounds, s.Error = len(rounds), deviation(apart(rounds))
	return s
}

// apart are the means, in milliseconds, of rounds that may be taken for independent of each other: those of a go together,
// since what one process has done in a row is alike.
func apart(rounds []Round) (means []float64) {
	type part struct{ run, of int }
	last := 1
	for _, r := range rounds {
		last = max(last, r.Number)
	}
	sums, counts := map[part]float64{}, map[part]float64{}
	for _, r := range rounds {
		p := part{r.Run, (r.Number - 1) * goes / last}
		sums[p] += float64(r.Mean) / float64(time.Millisecond)
		counts[p]++
	}
	for p, sum := range sums {
		means = append(means, sum/counts[p])
	}
	slices.Sort(means) // so that rounding is the same each time
	return means
}

// deviation is twice the standard error of the mean of values, as a share of it; 0 for less than two.
func deviation(values []float64) float64 {
	n, sum, squares := float64(len(values)), 0.0, 0.0
	if n < 2 {
		return 0
	}
	for _, v := range values {
		sum += v
	}
	for _, v := range values {
		squares += math.Pow(v-sum/n, 2)
	}
	return 2 * math.Sqrt(squares/(n-1)/n) / (sum / n)
}
