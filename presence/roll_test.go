package presence

import (
	"testing"
	"time"
)

func TestHere(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := New(Entity{User: "a", Domain: "b"})
	want := func(x, s, o bool, n int) {
		t.Helper()
		if xmpp, sip, open, resources := p.Here(); xmpp != x || sip != s || open != o || resources != n {
			t.Errorf("xmpp %v, sip %v, open %v, %d resources", xmpp, sip, open, resources)
		}
	}
	step := func(in Input) {
		t.Helper()
		if _, err := p.Step(now, in); err != nil {
			t.Fatal(err)
		}
	}
	want(false, false, false, 0)
	step(Publish{ID: SourceID{Publication, "k"}, NewTag: "t", Lifetime: time.Hour, Doc: &Document{Tuples: []Tuple{{ID: "x", Basic: Closed}}}})
	want(false, true, false, 1)
	step(Publish{ID: SourceID{Session, "phone"}, NewTag: "u", Doc: &Document{Tuples: []Tuple{{ID: "y", Basic: Open}}}})
	want(true, true, true, 2)
	step(Watch{ID: "w", Watcher: Entity{User: "a", Domain: "b"}, Via: Via{Edge: "sip", Handle: "h"}, Lifetime: time.Hour})
	want(true, true, true, 3)
}
