package transfer

import (
	"fmt"
	"testing"
	"time"

	"pharos/presence"
)

// benchNotice is a change of one of two devices, told to so many watchers of another node.
func benchNotice(watchers int) *presence.Notice {
	return benchNotices(watchers)[0]
}

// benchNotices are two changes, from each to the other.
func benchNotices(watchers int) [2]*presence.Notice {
	p := presence.New(user("alice"))
	step := func(in presence.Input) presence.Outcome {
		out, err := p.Step(epoch, in)
		if err != nil {
			panic(err)
		}
		return out
	}
	step(presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}})
	step(session("pad", "<show>away</show><status>out for lunch</status>"))
	for i := range watchers {
		step(presence.Watch{ID: fmt.Sprintf("8f3a91c2-%d", i), Watcher: user(fmt.Sprint("watcher", i)), Lifetime: time.Hour,
			Via: presence.Via{Node: "n2", Edge: "sip", Handle: fmt.Sprintf("8f3a91c2-%d", i)}})
	}
	var ns [2]*presence.Notice
	for i := range ns {
		doc := &presence.Document{
			Tuples:  []presence.Tuple{{ID: "t1", Basic: presence.Open, Contact: "sip:alice@example.com", Priority: 800, Timestamp: epoch}},
			Persons: []presence.Person{{ID: "p1", Rich: presence.Rich{Activities: &presence.Values{Names: []string{"busy"}}}, Notes: []presence.Note{{Text: "here"}}}},
		}
		native := fmt.Appendf(nil, "%0500d", i) // the size of a PIDF document
		ns[i] = step(presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, NewTag: "tag", Doc: doc, Lifetime: time.Hour,
			Native: presence.Payload{Type: "application/pidf+xml", Bytes: native}}).Notices[0]
	}
	return ns
}

// BenchmarkNotice is a notice written, read and mirrored.
func BenchmarkNotice(b *testing.B) {
	for _, n := range []int{1, 20, 300} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ns := benchNotices(n)
			m := NewMirror()
			var buf []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				buf, _ = AppendNotice(Begin(buf[:0]), ns[i&1], 0, 1<<20)
				r, _ := Open(buf)
				if got := m.Notices(r); len(got) != 1 || len(got[0].Targets) != n {
					b.Fatal(len(got), r.Err())
				}
			}
			b.SetBytes(int64(len(buf)))
		})
	}
	b.Run("write", func(b *testing.B) {
		ns := benchNotices(20)
		var buf []byte
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			buf, _ = AppendNotice(Begin(buf[:0]), ns[i&1], 0, 1<<20)
		}
	})
}

func BenchmarkInput(b *testing.B) {
	for name, in := range map[string]presence.Input{"watch": watch("s1", "n2"), "publish": session("pad", "<show>away</show>")} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = AppendInput(Begin(buf[:0]), in)
				r, _ := Open(buf)
				if r.Input() == nil {
					b.Fatal(r.Err())
				}
			}
		})
	}
}

// BenchmarkMove is a user with two devices and so many watchers, from one presentity to
// another.
func BenchmarkMove(b *testing.B) {
	for _, n := range []int{1, 20, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := presence.New(user("alice"))
			step(b, p, presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}})
			step(b, p, session("pad", "<show>away</show>"))
			for i := range n {
				step(b, p, presence.Watch{ID: fmt.Sprint("sub", i), Watcher: user(fmt.Sprint("w", i)), Lifetime: time.Hour,
					Via: presence.Via{Node: "n2", Edge: "sip", Handle: "h"}, Durable: true, Opaque: make([]byte, 400)})
			}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = AppendHolding(Begin(buf[:0]), p.Export())
				r, _ := Open(buf)
				q := presence.New(p.Entity())
				step(b, q, presence.Assume{Holding: r.Holding()})
			}
			b.ReportMetric(float64(len(buf)), "B/user")
		})
	}
}
