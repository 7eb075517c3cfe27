package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// wire moves datagrams between two links on a clock of its own.
type wire struct {
	now   time.Duration
	ends  [2]*link
	under []parcel
	fate  func(from int) (delays []time.Duration) // of a datagram; none: lost
	got   [2][]string
	sent  [2]int // datagrams
}

type parcel struct {
	to int
	at time.Duration
	b  []byte
}

func newWire() *wire {
	w := &wire{now: time.Second}
	for i := range w.ends {
		w.ends[i] = newLink(uint64(i+1), w.now)
	}
	w.fate = func(int) []time.Duration { return []time.Duration{time.Millisecond} }
	return w
}

// flush takes from the links what they say now, and what they tell.
func (w *wire) flush() {
	for i, l := range w.ends {
		for b := l.output(w.now); b != nil; b = l.output(w.now) {
			w.sent[i]++
			for _, d := range w.fate(i) {
				w.under = append(w.under, parcel{to: 1 - i, at: w.now + d, b: slices.Clone(b)})
			}
		}
		for _, e := range l.events {
			w.got[i] = append(w.got[i], [...]string{"", "all:", "missed", "gone", "up", "down"}[e.kind]+string(e.b))
		}
		l.events, l.told = nil, 0
	}
}

// run plays until a time: datagrams and timers in their order.
func (w *wire) run(until time.Duration) {
	for {
		w.flush()
		next := never
		for _, l := range w.ends {
			next = min(next, l.deadline())
		}
		p := -1
		for i := range w.under {
			if w.under[i].at <= next && (p < 0 || w.under[i].at < w.under[p].at) {
				p, next = i, w.under[i].at
			}
		}
		if next > until {
			w.now = until
			return
		}
		w.now = max(w.now, next)
		if p >= 0 {
			box := w.under[p]
			w.under = slices.Delete(w.under, p, p+1)
			var d datagram
			if err := d.parse(box.b); err != nil {
				panic(err)
			}
			w.ends[box.to].receive(w.now, &d)
			continue
		}
		for _, l := range w.ends {
			l.tick(w.now)
		}
	}
}

// meet brings the two together.
func (w *wire) meet() {
	w.hello(0)
	w.run(w.now + 100*time.Millisecond)
	w.got = [2][]string{}
	w.sent = [2]int{}
}

// hello is what Links broadcasts.
func (w *wire) hello(from int) {
	d := datagram{epoch: w.ends[from].epoch, time: micros(w.now)}
	w.under = append(w.under, parcel{to: 1 - from, at: w.now, b: d.appendHead(nil)})
}

func (w *wire) expect(t *testing.T, end int, want ...string) {
	t.Helper()
	if !slices.Equal(w.got[end], want) {
		t.Errorf("%v: %q, want %q", w.now, w.got[end], want)
	}
	w.got[end] = nil
}

func TestLinkMeets(t *testing.T) {
	w := newWire()
	w.ends[0].push(w.now, 0, []byte("early"))
	w.ends[0].broadcast(w.now, []byte("nobody is met"))
	w.run(w.now + 2*time.Millisecond)
	w.expect(t, 0, "missed")
	w.run(w.now + 100*time.Millisecond)
	w.expect(t, 0, "up")
	w.expect(t, 1, "missed", "up", "early")
	w.ends[0].broadcast(w.now, []byte("hear"))
	w.ends[1].push(w.now, 0, nil)
	w.run(w.now + time.Millisecond)
	w.expect(t, 1, "all:hear")
	w.expect(t, 0, "")
}

// A frame does not wait when nothing is on its way; the acknowledgement waits a little
// for something to go with; after that the link is silent but for keepalives.
func TestLinkIsFrugal(t *testing.T) {
	w := newWire()
	w.meet()
	w.ends[0].push(w.now, 0, []byte("1"))
	if !w.ends[0].idle() {
		t.Error("not idle")
	}
	w.flush()
	if len(w.under) != 1 || w.ends[0].idle() {
		t.Errorf("%d datagrams at once", len(w.under))
	}
	began := w.now
	w.run(began + ackDelay)
	if w.sent != [2]int{1, 0} {
		t.Errorf("acknowledged at once: %v", w.sent)
	}
	w.run(began + ackDelay + time.Millisecond)
	if w.sent != [2]int{1, 1} {
		t.Errorf("not acknowledged: %v", w.sent)
	}
	if w.ends[0].idle() {
		t.Error("idle before the acknowledgement has come")
	}
	w.run(began + 10*time.Millisecond)
	if !w.ends[0].idle() || w.ends[0].queued() != 0 || w.ends[0].bytes != 0 {
		t.Errorf("still queued: %+v", w.ends[0])
	}
	// An answer takes the acknowledgement along.
	w.sent = [2]int{}
	w.ends[0].push(w.now, 0, []byte("2"))
	w.run(w.now + 2*time.Millisecond)
	w.ends[1].push(w.now, 0, []byte("3"))
	w.run(w.now + 50*time.Millisecond)
	if w.sent != [2]int{2, 1} {
		t.Errorf("%v datagrams for a question, its answer and an acknowledgement", w.sent)
	}
	w.sent = [2]int{}
	w.run(w.now + 10*keepalive)
	for i, n := range w.sent {
		if n < 9 || n > 11 {
			t.Errorf("%d says %d in 10 s", i, n)
		}
	}
	if r := w.ends[0].trip; r < 2*time.Millisecond || r > 3*time.Millisecond {
		t.Errorf("round trip %v, not 2 ms", r)
	}
}

func TestLinkGathers(t *testing.T) {
	w := newWire()
	w.meet()
	var want []string
	for i := range 500 {
		want = append(want, fmt.Sprint(i))
		w.ends[0].push(w.now, 0, []byte(want[i]))
	}
	w.flush()
	if w.sent[0] != 1 {
		t.Errorf("%d datagrams for 500 small frames", w.sent[0])
	}
	w.run(w.now + 100*time.Millisecond)
	w.expect(t, 1, want...)
}

func TestLinkCutsLongFrames(t *testing.T) {
	w := newWire()
	w.meet()
	long := strings.Repeat("0123456789abcdef", MaxFrame/16)
	w.ends[0].push(w.now, 0, []byte(long))
	w.ends[0].push(w.now, pieceBroadcast, []byte(long[:3*pieceSize]))
	w.ends[0].push(w.now, 0, []byte("short"))
	w.fate = func(int) []time.Duration { return []time.Duration{time.Millisecond} }
	w.run(w.now + time.Second)
	if got := w.got[1]; len(got) != 3 || got[0] != long || got[1] != "all:"+long[:3*pieceSize] || got[2] != "short" {
		t.Errorf("%d frames", len(got))
	}
	// What no node of ours sends: a frame that never ends goes nowhere.
	l := w.ends[1]
	number := l.come
	for i := range MaxFrame/pieceSize + 2 {
		number++
		flags := byte(pieceMore)
		if i == MaxFrame/pieceSize+1 {
			flags = 0
		}
		l.receive(w.now, &datagram{epoch: 1, to: 2, pieces: []arrived{{number: number, flags: flags, b: make([]byte, pieceSize)}}})
		if len(l.whole) > MaxFrame {
			t.Fatalf("holds %d bytes", len(l.whole))
		}
	}
	l.receive(w.now, &datagram{epoch: 1, to: 2, pieces: []arrived{{number: number + 1, b: []byte("good")}}})
	if len(l.events) != 1 || string(l.events[0].b) != "good" {
		t.Errorf("%d events", len(l.events))
	}
}

// A lost datagram is sent again as soon as a later one is known to have arrived, and
// what has arrived is not.
func TestLinkRepairs(t *testing.T) {
	w := newWire()
	w.meet()
	w.fate = func(int) []time.Duration { return []time.Duration{10 * time.Millisecond} }
	lose := map[int]bool{3: true, 4: true, 9: true}
	n := 0
	w.fate = func(from int) []time.Duration {
		if from == 0 {
			if n++; lose[n] {
				return nil
			}
		}
		return []time.Duration{10 * time.Millisecond}
	}
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprint(i))
		w.ends[0].push(w.now, 0, []byte(want[i]))
		w.run(w.now + 3*time.Millisecond)
	}
	w.run(w.now + 40*time.Millisecond)
	w.expect(t, 1, want...)
	if c := w.ends[0].count; c.again != 3 {
		t.Errorf("%d sent again, 3 were lost", c.again)
	}
}

// After a long time of nothing getting through, little is tried, and all comes once
// something does.
func TestLinkOutage(t *testing.T) {
	w := newWire()
	w.meet()
	cut := true
	w.fate = func(int) []time.Duration {
		if cut {
			return nil
		}
		return []time.Duration{time.Millisecond}
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		w.ends[0].push(w.now, 0, []byte(want[i]))
		w.run(w.now + 100*time.Millisecond)
	}
	w.expect(t, 0, "down")
	w.expect(t, 1, "down")
	if w.sent[0] > 25 {
		t.Errorf("%d datagrams into nothing in 10 s", w.sent[0])
	}
	cut = false
	w.run(w.now + slowest + 10*time.Millisecond)
	w.expect(t, 0, "up")
	up := slices.Index(w.got[1], "up")
	if up < 0 {
		t.Fatal("never up")
	}
	w.got[1] = slices.Delete(w.got[1], up, up+1)
	w.expect(t, 1, want...)
}

func TestLinkQueueIsBounded(t *testing.T) {
	w := newWire()
	w.meet()
	cut := true
	w.fate = func(int) []time.Duration {
		if cut {
			return nil
		}
		return []time.Duration{time.Millisecond}
	}
	l := w.ends[0]
	n := 0
	for l.push(w.now, 0, []byte{1}) {
		n++
	}
	if n != MaxQueuedPieces {
		t.Errorf("%d frames queued", n)
	}
	l.broadcast(w.now, []byte("left out"))
	w.run(w.now + time.Second)
	if l.next-l.first > MaxFlyingPieces {
		t.Errorf("%d under way", l.next-l.first)
	}
	cut = false
	w.run(w.now + 5*time.Second)
	if got := w.got[1]; len(got) != n+1 || !slices.Contains(got, "missed") {
		t.Errorf("%d came", len(got))
	}
	w.got = [2][]string{}
	l.broadcast(w.now, []byte("not left out"))
	w.run(w.now + 10*time.Millisecond)
	w.expect(t, 1, "all:not left out")

	big := make([]byte, MaxFrame)
	for n = 0; l.push(w.now, 0, big); n++ {
	}
	if n != MaxQueuedBytes/MaxFrame {
		t.Errorf("%d long frames queued", n)
	}
	w.flush()
	if l.flying > MaxFlyingBytes+datagramSize {
		t.Errorf("%d bytes under way", l.flying)
	}
}

func TestLinkIncarnations(t *testing.T) {
	w := newWire()
	w.meet()
	stale := w.ends[0]
	stale.push(w.now, 0, []byte("late"))
	late := slices.Clone(stale.output(w.now))

	// Node 1 (epoch 1) begins anew as 5.
	w.ends[0] = newLink(5, w.now)
	w.ends[1].push(w.now, 0, []byte("to the old one"))
	w.flush()
	w.run(w.now + 10*time.Millisecond)
	w.hello(0)
	w.run(w.now + 100*time.Millisecond)
	w.expect(t, 1, "gone", "missed", "up")
	w.expect(t, 0, "missed", "up")
	var d datagram
	if err := d.parse(late); err != nil {
		t.Fatal(err)
	}
	w.ends[1].receive(w.now, &d)
	w.flush()
	w.expect(t, 1)
	w.ends[1].push(w.now, 0, []byte("to the new one"))
	w.ends[0].push(w.now, 0, []byte("from the new one"))
	w.run(w.now + 10*time.Millisecond)
	w.expect(t, 0, "to the new one")
	w.expect(t, 1, "from the new one")

	// Node 2 says that node 1 is dead before node 1 knows.
	w.ends[1].push(w.now, 0, []byte("in vain"))
	w.ends[1].fence(w.now, 6)
	w.ends[1].fence(w.now, 6)
	w.expect(t, 1)
	w.ends[0].push(w.now, 0, []byte("from the dead"))
	w.run(w.now + UnreachableAfter)
	w.expect(t, 1, "gone")
	w.expect(t, 0, "down")
	w.ends[0].begin(w.now, 7)
	w.run(w.now + 100*time.Millisecond)
	w.expect(t, 1, "missed", "up")
	w.expect(t, 0, "missed", "up")
	w.ends[1].fence(w.now, 7) // it has come already
	w.ends[0].push(w.now, 0, []byte("alive"))
	w.run(w.now + 10*time.Millisecond)
	w.expect(t, 1, "alive")
}

// TestLinkProperty: whatever the network does and whoever begins anew, frames come in
// order and each once, those of a new incarnation after "gone" only; and when
// the network is good again, all that was not given up has come.
func TestLinkProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWire()
		loss := rapid.SampledFrom([]int{0, 5, 30, 60}).Draw(t, "loss")
		twice := rapid.SampledFrom([]int{0, 10}).Draw(t, "twice")
		jitter := rapid.SampledFrom([]int{0, 3, 300}).Draw(t, "jitter")
		delay := time.Duration(rapid.SampledFrom([]int{0, 1, 200}).Draw(t, "delay")) * time.Millisecond
		random := uint64(rapid.Uint32().Draw(t, "seed"))*2 + 1
		dice := func(n int) int {
			random ^= random << 13
			random ^= random >> 7
			random ^= random << 17
			return int(random % uint64(n))
		}
		good := false
		w.fate = func(int) []time.Duration {
			one := func() time.Duration { return delay + time.Duration(dice(jitter*1000+1))*time.Microsecond }
			switch {
			case good:
				return []time.Duration{time.Millisecond}
			case dice(100) < loss:
				return nil
			case dice(100) < twice:
				return []time.Duration{one(), one()}
			}
			return []time.Duration{one()}
		}
		// A line is what one end sends the other between two of its "gone"s, or beginnings.
		var line, sent [2]int
		epoch := uint64(2)
		type key struct{ to, line int }
		heard := map[key]int{}
		check := func() {
			w.flush()
			for i := range w.got {
				for _, g := range w.got[i] {
					var n, k int
					switch {
					case g == "gone":
						line[i]++
						sent[i] = 0
					case g == "missed", g == "up", g == "down":
					default:
						if _, err := fmt.Sscanf(strings.TrimPrefix(g, "all:"), "%d %d", &n, &k); err != nil {
							t.Fatal(err)
						}
						if heard[key{i, n}] != k {
							t.Fatalf("end %d was told %q as number %d", i, g, heard[key{i, n}])
						}
						heard[key{i, n}]++
					}
				}
				w.got[i] = nil
			}
		}
		anew := func(i int) {
			epoch++
			line[i] += 1000
			sent[i] = 0
			maps.DeleteFunc(heard, func(k key, _ int) bool { return k.to == i })
		}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			l := w.ends[i]
			check()
			switch rapid.SampledFrom([]string{"send", "send", "send", "burst", "long", "run", "run", "run", "pause", "again", "restart", "fence", "hello"}).Draw(t, "do") {
			case "send":
				l.push(w.now, 0, fmt.Appendf(nil, "%d %d", line[i], sent[i]))
				sent[i]++
			case "burst":
				for range 50 {
					l.push(w.now, 0, fmt.Appendf(nil, "%d %d", line[i], sent[i]))
					sent[i]++
				}
			case "long":
				l.push(w.now, pieceBroadcast, append(fmt.Appendf(nil, "%d %d ", line[i], sent[i]), make([]byte, 3*pieceSize)...))
				sent[i]++
			case "run":
				w.run(w.now + time.Duration(dice(50))*time.Millisecond)
			case "pause":
				w.run(w.now + 2*time.Second)
			case "hello":
				w.hello(i)
			case "again": // it goes on under a new epoch
				anew(i)
				w.ends[i].begin(w.now, epoch)
			case "restart": // it has forgotten everything
				anew(i)
				w.ends[i] = newLink(epoch, w.now)
			case "fence": // it hears from the store that the other is dead; and so does the other
				epoch++
				l.fence(w.now, epoch)
				check()
				anew(1 - i)
				w.ends[1-i].begin(w.now, epoch)
			}
			check()
		}
		good = true
		w.run(w.now + 20*time.Second)
		w.hello(0)
		w.hello(1)
		w.run(w.now + 20*time.Second)
		check()
		for i := range w.ends {
			if got := heard[key{1 - i, line[i]}]; got != sent[i] {
				t.Fatalf("end %d has sent %d since the last gone, %d came", i, sent[i], got)
			}
			if l := w.ends[i]; l.queued() != 0 || l.bytes != 0 || l.flying != 0 || l.lost != 0 || len(l.early) != 0 || l.earlyLen != 0 || len(l.spans) != 0 {
				t.Fatalf("end %d still holds something: %+v", i, l)
			}
		}
	})
}
