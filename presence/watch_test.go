package presence

import (
	"testing"
	"time"
)

// What a node saves of a subscription counts as long as it is that node's, and nobody else has saved something since.
func TestKeepElsewhere(t *testing.T) {
	p := New(Entity{User: "alice", Domain: "example.com"})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	bob := Entity{User: "bob", Domain: "example.com"}
	if _, err := p.Step(now, Watch{ID: "s", Watcher: bob, Via: Via{Node: "b", Edge: "sip"}, Lifetime: time.Hour, Durable: true, Opaque: []byte("0")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		node, was, is string
		err           error
	}{
		{"a", "0", "1", ErrNoSubscription},
		{"b", "0", "1", nil},
		{"b", "0", "2", ErrOvertaken},
		{"b", "0", "1", nil}, // the same once more: its answer was lost
		{"", "1", "3", nil},
	} {
		if _, err := p.Step(now, Keep{ID: "s", Node: c.node, Was: Sum([]byte(c.was)), Opaque: []byte(c.is)}); err != c.err {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if s := p.Subscription(now, "s"); s == nil || string(s.Opaque) != "3" {
		t.Errorf("%+v", s)
	}
}

// Of two nodes to which a watcher has come at the same time the second is told to look again.
func TestWatchOvertaken(t *testing.T) {
	p := New(Entity{User: "alice", Domain: "example.com"})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	bob := Entity{User: "bob", Domain: "example.com"}
	watch := func(node, was, is string) error {
		in := Watch{ID: "s", Watcher: bob, Via: Via{Node: node, Edge: "sip"}, Lifetime: time.Hour, Durable: true, Opaque: []byte(is)}
		if was != "" {
			in.Was = Sum([]byte(was))
		}
		_, err := p.Step(now, in)
		return err
	}
	for _, c := range []struct {
		node, was, is string
		err           error
	}{{"a", "", "0", nil}, {"b", "0", "1", nil}, {"c", "0", "2", ErrOvertaken}, {"c", "1", "2", nil}, {"c", "1", "2", nil}} {
		if err := watch(c.node, c.was, c.is); err != c.err {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if s := p.Subscription(now, "s"); s == nil || s.Via.Node != "c" {
		t.Errorf("%+v", s)
	}
	now = now.Add(time.Hour) // nothing is left that another could have changed
	if err := watch("b", "0", "3"); err != nil {
		t.Error(err)
	}
}
