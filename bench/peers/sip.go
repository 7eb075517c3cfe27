package peers

import (
	"context"
	"fmt"

	"pharos/bench"
)

// sipWorks are the measurements of SIP.
func sipWorks() []Work {
	third := map[string]float64{"Kamailio": 3}
	var works []Work
	for _, n := range []int{1, 20, 200} {
		works = append(works, Work{
			Name:    fmt.Sprintf("fan-out %d", n),
			Metrics: []Metric{Rate("NOTIFY/s, p99 ≤ 50 ms", nil), CPU("CPU per NOTIFY with its 200, PUBLISH included", third)},
			Run: func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
				return bench.FanOut(ctx, start, n, scale)
			},
			Bare: bareDatagrams,
		})
	}
	for _, digest := range []bool{false, true} {
		name := map[bool]string{false: "SUBSCRIBE", true: "SUBSCRIBE with digest"}[digest]
		works = append(works, Work{
			Name:    name,
			Metrics: []Metric{Rate("SUBSCRIBE→200→NOTIFY→200 a second", nil), CPU("CPU of it", third)},
			Run: func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
				return bench.Subscribes(ctx, start, digest, scale)
			},
			Bare: bareDatagrams,
		})
	}
	for _, refresh := range []bool{false, true} {
		name := map[bool]string{false: "PUBLISH, changed", true: "PUBLISH, refresh"}[refresh]
		works = append(works, Work{
			Name:    name,
			Metrics: []Metric{Rate("PUBLISH→200 a second", nil), CPU("CPU of it", third)},
			Run: func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
				return bench.Publishes(ctx, start, refresh, scale)
			},
			Bare: bareDatagrams,
		})
	}
	for _, kind := range bench.Stones {
		most := 1
		if kind == bench.Mixed {
			most = 0
		}
		works = append(works, Work{
			Name:    "SIMPLEstone, " + string(kind),
			Most:    most,
			Metrics: []Metric{Rate("requests/s sustained, p99 ≤ 50 ms", nil), CPU("CPU per request at that rate", third)},
			Run: func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
				return bench.SIMPLEstone(ctx, start, kind, scale)
			},
			Bare: bareDatagrams,
		})
	}
	return append(works, Work{
		Name:    "memory",
		Metrics: []Metric{Memory("resident per subscription", nil)},
		Once:    true,
		Run:     bench.SubscriptionMemory,
	})
}

// bareDatagrams sends and gets as many datagrams per event as that row, of their mean sizes, in one loop
// for a second; each turn of the loop is one in and one out.
func bareDatagrams(ctx context.Context, self string, like bench.Row, scale float64) (bench.Row, error) {
	w := like.Wire
	if like.Events == 0 || w.In == 0 || w.Out == 0 {
		return bench.Row{}, fmt.Errorf("peers: nothing was sent")
	}
	turns := float64(w.In+w.Out) / 2 / float64(like.Events)
	l := bench.Loop{Network: "udp", In: int(w.InOctets / w.In), Out: int(w.OutOctets / w.Out), Events: max(int(60000*scale), 1000)}
	r, err := bench.Bare(ctx, self, l)
	// An event is as many turns.
	r.Events = max(int(float64(r.Events)/turns), 1)
	r.Note = fmt.Sprintf("%.2f datagrams of %d octets in, as many of %d out", turns, l.In, l.Out)
	return r, err
}
