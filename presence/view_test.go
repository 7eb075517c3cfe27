package presence

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRenderOnce: however many ask at once, the bytes are made once per format.
func TestRenderOnce(t *testing.T) {
	v := &View{Version: 7}
	var made [3]atomic.Int32
	var wg sync.WaitGroup
	results := make([][]byte, 60)
	for i := range results {
		wg.Go(func() {
			f := i % 3
			results[i] = v.Render(fmt.Sprint("format ", f), func(w *View) []byte {
				if w != v {
					t.Error("make got another view")
				}
				made[f].Add(1)
				return fmt.Appendf(nil, "bytes of %d", f)
			})
		})
	}
	wg.Wait()
	for f := range made {
		if n := made[f].Load(); n != 1 {
			t.Errorf("format %d was made %d times", f, n)
		}
	}
	for i, b := range results {
		if want := fmt.Sprintf("bytes of %d", i%3); string(b) != want {
			t.Errorf("got %q, want %q", b, want)
		}
		if &b[0] != &results[i%3][0] {
			t.Errorf("result %d is not shared", i)
		}
	}
}

func TestChanges(t *testing.T) {
	a, b, b2, c := &Source{ID: SourceID{Session, "a"}}, &Source{ID: SourceID{Session, "b"}}, &Source{ID: SourceID{Session, "b"}}, &Source{ID: SourceID{Session, "c"}}
	v1 := &View{serial: 1, Version: 1, Sources: []*Source{a, b}}
	v2 := &View{serial: 2, Version: 2, Sources: []*Source{b2, c}}
	for range 2 { // the second time from what was kept
		gone, changed := v2.Changes(v1)
		if len(gone) != 1 || gone[0] != a || len(changed) != 2 || changed[0] != b2 || changed[1] != c {
			t.Fatalf("gone %v, changed %v", gone, changed)
		}
	}
	if gone, changed := v2.Changes(nil); len(gone) != 0 || len(changed) != 2 {
		t.Errorf("to a newcomer: gone %v, changed %v", gone, changed)
	}
	if gone, changed := v2.Changes(v2); len(gone) != 0 || len(changed) != 0 {
		t.Errorf("to itself: gone %v, changed %v", gone, changed)
	}
	// What is kept of one predecessor is not taken for another.
	v0 := &View{serial: 3, Version: 1, Sources: []*Source{c}}
	if gone, changed := v2.Changes(v0); len(gone) != 0 || len(changed) != 1 || changed[0] != b2 {
		t.Errorf("from another: gone %v, changed %v", gone, changed)
	}
}

// TestRefreshUnchanged: a source that was only refreshed is not a change in
// the next view either.
func TestRefreshUnchanged(t *testing.T) {
	p := New(user("alice"))
	step(t, p, SetPolicy{&Policy{Default: Allow}})
	step(t, p, Publish{ID: SourceID{Publication, "a"}, NewTag: "1", Doc: &Document{}, Lifetime: 60e9})
	v1 := step(t, p, Watch{ID: "s", Watcher: user("bob"), Via: Via{Edge: "sip"}}).Notices[0].View
	step(t, p, Publish{IfMatch: "1", NewTag: "2", Lifetime: 120e9})
	n := step(t, p, Publish{ID: SourceID{Session, "b"}, Doc: &Document{}}).Notices[0]
	gone, changed := n.View.Changes(n.Targets[0].Shown)
	if n.Targets[0].Shown != v1 || len(gone) != 0 || len(changed) != 1 || changed[0].ID.Key != "b" {
		t.Errorf("gone %v, changed %v", gone, changed)
	}
	if x := p.Explain(epoch, user("bob"), ""); x.Sources[0].Tag != "2" {
		t.Errorf("explained with tag %q", x.Sources[0].Tag)
	}
}
