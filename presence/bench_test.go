package presence

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkChange is a modified publication, told to so many watchers.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{0, 1, 20, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := New(user("alice"))
			step(b, p, SetPolicy{&Policy{Default: Allow}})
			for i := range n {
				step(b, p, Watch{ID: fmt.Sprint("sub", i), Watcher: user(fmt.Sprint("w", i)), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
			}
			docs := []*Document{benchDoc("busy"), benchDoc("away")}
			id := SourceID{Publication, "k"}
			step(b, p, Publish{ID: id, Doc: docs[1], NewTag: "a", Lifetime: time.Hour})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				out, err := p.Step(epoch, Publish{IfMatch: "a", NewTag: "a", Doc: docs[i&1], Lifetime: time.Hour})
				if err != nil || n > 0 && len(out.Notices) != 1 {
					b.Fatal(err, len(out.Notices))
				}
			}
		})
	}
}

func benchDoc(activity string) *Document {
	return &Document{
		Tuples:  []Tuple{{ID: "t1", Basic: Open, Contact: "sip:alice@example.com", Priority: 800}},
		Persons: []Person{{ID: "p1", Rich: Rich{Activities: &Values{Names: []string{activity}}}, Notes: []Note{{Text: "here"}}}},
	}
}

func BenchmarkRefresh(b *testing.B) {
	p := New(user("alice"))
	step(b, p, Publish{ID: SourceID{Publication, "k"}, Doc: benchDoc("busy"), NewTag: "a", Lifetime: time.Hour})
	b.ReportAllocs()
	for b.Loop() {
		step(b, p, Publish{IfMatch: "a", NewTag: "a", Lifetime: time.Hour})
	}
}

func BenchmarkWatch(b *testing.B) {
	p := New(user("alice"))
	step(b, p, SetPolicy{&Policy{Default: Allow}})
	step(b, p, Publish{ID: SourceID{Publication, "k"}, Doc: benchDoc("busy"), NewTag: "a", Lifetime: time.Hour})
	b.ReportAllocs()
	for b.Loop() {
		step(b, p, Watch{ID: "s", Watcher: user("bob"), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
		step(b, p, Unwatch{ID: "s", Silent: true})
	}
}

func BenchmarkCompose(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var ss []*Source
			for i := range n {
				d := benchDoc("away")
				d.Tuples[0].ID = fmt.Sprint("t", i)
				ss = append(ss, &Source{Doc: d})
			}
			b.ReportAllocs()
			for b.Loop() {
				Compose(ss)
			}
		})
	}
}

// BenchmarkHeld is memory: of a user with one device and one watcher, and of a
// further watcher.
func BenchmarkHeld(b *testing.B) {
	held := func(n, watchers int) uint64 {
		ps := make([]*Presentity, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range ps {
			ps[i] = New(user("alice"))
			step(b, ps[i], SetPolicy{&Policy{Default: Allow}})
			step(b, ps[i], Publish{ID: SourceID{Publication, "k"}, NewTag: "a", Doc: &Document{}, Lifetime: time.Hour})
			for j := range watchers {
				step(b, ps[i], Watch{ID: subIDs[j], Watcher: user("bob"), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(ps)
		return (after.HeapAlloc - before.HeapAlloc) / uint64(n)
	}
	for b.Loop() {
		one, many := held(1000, 1), held(100, 50)
		b.ReportMetric(float64(one), "B/user")
		b.ReportMetric(float64(many-one)/49, "B/watcher")
	}
}

var subIDs = func() (ids [50]string) {
	for i := range ids {
		ids[i] = fmt.Sprint("sub", i)
	}
	return ids
}()
