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

// BenchmarkPackage is a modified dialog, told to its 20 watchers, of a user whose
// presence has 20 too and says nothing new.
func BenchmarkPackage(b *testing.B) {
	p := New(user("alice"))
	step(b, p, SetPolicy{&Policy{Default: Allow}})
	for i := range 40 {
		step(b, p, Watch{ID: fmt.Sprint("sub", i), Watcher: user(fmt.Sprint("w", i)), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour,
			Package: []string{"", "dialog"}[i&1]})
	}
	bodies := []Payload{{Bytes: []byte("early")}, {Bytes: []byte("confirmed")}}
	docs := []*Document{benchDoc("on-the-phone"), benchDoc("on-the-phone")}
	in := Publish{ID: SourceID{Publication, "k"}, NewTag: "a", Lifetime: time.Hour, Package: "dialog", Native: bodies[1], Doc: docs[1]}
	step(b, p, in)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in.Native, in.Doc = bodies[i&1], docs[i&1]
		if out := step(b, p, in); len(out.Notices) != 1 {
			b.Fatal(len(out.Notices))
		}
	}
}

// BenchmarkSetPolicy: 100 rules decide about 1,000 watchers again. Nothing is
// different for them; or each tenth sees another part than before; and the same
// with somebody who watches the watchers, of whom one in ten comes and goes.
func BenchmarkSetPolicy(b *testing.B) {
	policy := func(odd bool, tenth Handling) *Policy {
		pol := &Policy{Default: Confirm}
		for i := range 100 {
			r := Rule{ID: fmt.Sprint("r", i), Rank: Named, Handling: Allow, Shows: &Transform{Services: Selection{All: true}, Persons: Selection{All: true}}}
			if i%10 == 0 {
				r.Handling, r.Shows.AllAttributes = tenth, odd
			}
			id := Identity{One: map[Entity]struct{}{}}
			for j := range 10 {
				id.One[user(fmt.Sprint("w", i*10+j))] = struct{}{}
			}
			r.Identity = [][]Identity{{id}}
			pol.Rules = append(pol.Rules, r)
		}
		return pol
	}
	for _, c := range []struct {
		name     string
		policies [2]*Policy
		winfo    bool
		notices  int
	}{
		{"same", [2]*Policy{policy(false, Allow), policy(false, Allow)}, false, 0},
		{"other view", [2]*Policy{policy(false, Allow), policy(true, Allow)}, false, 1},
		{"other state", [2]*Policy{policy(false, Allow), policy(false, Confirm)}, false, 1},
		{"other state, watched", [2]*Policy{policy(false, Allow), policy(false, Confirm)}, true, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := New(user("alice"))
			step(b, p, SetPolicy{c.policies[1]})
			step(b, p, Publish{ID: SourceID{Publication, "k"}, Doc: benchDoc("busy"), NewTag: "a", Lifetime: time.Hour})
			if c.winfo {
				step(b, p, Watch{ID: "winfo", Watcher: user("alice"), Via: Via{Edge: "sip"}, Package: WatcherInfo})
			}
			for i := range 1000 {
				step(b, p, Watch{ID: fmt.Sprint("sub", i), Watcher: user(fmt.Sprint("w", i)), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if out := step(b, p, SetPolicy{c.policies[i&1]}); len(out.Notices) != c.notices {
					b.Fatal(len(out.Notices))
				}
			}
		})
	}
}

// BenchmarkFiltered is a modified publication, seen by 20 watchers in part.
func BenchmarkFiltered(b *testing.B) {
	p := New(user("alice"))
	step(b, p, SetPolicy{&Policy{Rules: []Rule{{ID: "r", Handling: Allow, Shows: &Transform{
		Services: Selection{All: true}, Persons: Selection{All: true}, Attributes: map[string]bool{"activities": true}}}}}})
	for i := range 20 {
		step(b, p, Watch{ID: fmt.Sprint("sub", i), Watcher: user(fmt.Sprint("w", i)), Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
	}
	docs := []*Document{benchDoc("busy"), benchDoc("away")}
	step(b, p, Publish{ID: SourceID{Publication, "k"}, Doc: docs[1], NewTag: "a", Lifetime: time.Hour})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if out := step(b, p, Publish{IfMatch: "a", NewTag: "a", Doc: docs[i&1], Lifetime: time.Hour}); len(out.Notices) != 1 {
			b.Fatal(len(out.Notices))
		}
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
