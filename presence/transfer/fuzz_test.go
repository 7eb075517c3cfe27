package transfer

import (
	"testing"

	"pharos/presence"
)

// FuzzRead: no bytes do harm, and what was read once is read again as the same.
func FuzzRead(f *testing.F) {
	for kind, b := range seeds() {
		f.Add(byte(kind), b)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		r, err := Open(b)
		if err != nil {
			return
		}
		switch kind % 6 {
		case 0:
			if in := r.Input(); in != nil {
				if _, err := AppendInput(nil, in); err != nil {
					t.Fatal(err)
				}
			}
		case 1:
			r.Outcome()
		case 2:
			readNotice(t, r)
		case 3:
			readHolding(t, r)
		case 4:
			x := r.Explanation()
			AppendExplanation(nil, &x)
		case 5:
			_ = Errors{}.Read(r)
		}
		if r.Err() != nil && r.More() {
			t.Fatal("something is left after an error")
		}
	})
}

func readNotice(t *testing.T, r *Reader) {
	m := NewMirror()
	copied := *r
	ns := m.Notices(r)
	for _, n := range ns {
		if len(ns) > 1 || n.Presentity != ns[0].Presentity {
			t.Fatal("told apart by nothing")
		}
		AppendNotice(nil, n, 0, 1<<20)
	}
	for _, n := range m.Notices(&copied) {
		for _, tg := range n.Targets {
			if tg.Shown != nil && tg.Shown != n.View && n.State != presence.Terminated {
				t.Fatal("told again, and it is another view")
			}
		}
	}
}

// readHolding assumes what can be read.
func readHolding(t *testing.T, r *Reader) {
	h := r.Holding()
	if h == nil {
		return
	}
	again, err := Open(AppendHolding(Begin(nil), h))
	if err != nil {
		t.Fatal(err)
	}
	if again.Holding() == nil {
		t.Fatal(again.Err())
	}
	NewMirror().Settle(h, "n1")
	p := presence.New(h.Entity)
	if _, err := p.Step(epoch, presence.Assume{Holding: h}); err != nil {
		t.Fatal(err)
	}
	for _, in := range []presence.Input{presence.SetPolicy{Policy: &presence.Policy{Revision: 1 << 63, Default: presence.Allow}},
		presence.Publish{ID: presence.SourceID{Kind: presence.Session, Key: "k"}}, presence.Renotify{}, presence.Depart{To: "n"}, presence.Tick{}, presence.Remove{}} {
		if _, err := p.Step(epoch, in); err != nil && err != presence.ErrTooMany {
			t.Fatal(err)
		}
	}
	p.Export()
}

// seeds are what is really sent.
func seeds() [][]byte {
	in, _ := AppendInput(Begin(nil), filled[presence.Publish]())
	o := presence.Outcome{Tag: "t", State: presence.Active}
	n, _ := AppendNotice(Begin(nil), benchNotice(3), 0, 1<<20)
	p := presence.New(user("alice"))
	for _, in := range []presence.Input{presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}}, session("pad", "hello"),
		watch("s1", ""), presence.Watch{ID: "w", Watcher: user("alice"), Package: presence.WatcherInfo}} {
		if _, err := p.Step(epoch, in); err != nil {
			panic(err)
		}
	}
	x := p.Explain(epoch, user("bob"), "")
	return [][]byte{in, AppendOutcome(Begin(nil), &o), n, AppendHolding(Begin(nil), p.Export()),
		AppendExplanation(Begin(nil), &x), Errors{}.Append(Begin(nil), presence.ErrTooMany)}
}
