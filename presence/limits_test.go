package presence

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	sip := Via{Edge: "sip"}
	tests := []struct {
		name string
		in   func(i int) Input
		max  int
		also Input // still possible at the limit
	}{
		{"sources", func(i int) Input {
			return Publish{ID: SourceID{Publication, fmt.Sprint(i)}, NewTag: fmt.Sprint("t", i), Doc: &Document{}, Lifetime: time.Minute}
		}, MaxSources, Publish{IfMatch: "t3", NewTag: "n", Lifetime: time.Minute}},
		{"sources of another package", func(i int) Input {
			return Publish{ID: SourceID{Publication, fmt.Sprint(i)}, NewTag: fmt.Sprint("t", i), Lifetime: time.Minute, Package: "dialog"}
		}, MaxSources, Publish{ID: SourceID{Session, "a"}, Doc: &Document{}}},
		{"extended", func(i int) Input {
			return Publish{ID: SourceID{Extended, fmt.Sprint(i)}, Doc: &Document{}, Lifetime: time.Minute}
		}, MaxExtended, Publish{ID: SourceID{Publication, "k"}, NewTag: "n", Lifetime: time.Minute}},
		{"sources, not those that are extended", func(i int) Input {
			return Publish{ID: SourceID{Session, fmt.Sprint(i)}, Doc: &Document{}, Lifetime: time.Minute}
		}, MaxSources, Publish{ID: SourceID{Extended, "mood"}, Doc: &Document{}}},
		{"packages that are watched", func(i int) Input {
			return Watch{ID: fmt.Sprint(i), Watcher: user("alice"), Via: sip, Package: fmt.Sprint("package", i)}
		}, MaxPackages, Watch{ID: "x", Watcher: user("alice"), Via: sip, Package: "package7"}},
		{"packages that are published", func(i int) Input {
			return Publish{ID: SourceID{Publication, "k"}, NewTag: "t", Package: fmt.Sprint("package", i)}
		}, MaxPackages, Watch{ID: "x", Watcher: user("bob"), Via: sip}},
		{"subscriptions", func(i int) Input {
			return Watch{ID: fmt.Sprint(i), Watcher: user(fmt.Sprint("w", i)), Via: sip, Lifetime: time.Minute}
		}, MaxSubscriptions, Watch{ID: "7", Watcher: user("w7"), Via: sip, Lifetime: time.Minute}},
		{"of one watcher", func(i int) Input {
			return Watch{ID: fmt.Sprint(i), Watcher: user("bob"), Via: sip, Lifetime: time.Minute}
		}, MaxPerWatcher, Watch{ID: "x", Watcher: user("carol"), Via: sip}},
		{"directed by one source", func(i int) Input {
			return Direct{Source: &Source{ID: SourceID{Session, "a"}}, Watcher: user(fmt.Sprint("w", i)), Available: true}
		}, MaxDirected, Direct{Source: &Source{ID: SourceID{Session, "a"}}, Watcher: user("w3"), Available: true}},
		{"directed by all", func(i int) Input {
			return Direct{Source: &Source{ID: SourceID{Session, fmt.Sprint(i % 10)}}, Watcher: user(fmt.Sprint("w", i)), Available: true}
		}, MaxDirectedAll, Direct{Source: &Source{ID: SourceID{Session, "3"}}, Watcher: user("w3")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := New(user("alice"))
			for i := range tt.max {
				if _, err := p.Step(epoch, tt.in(i)); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			if _, err := p.Step(epoch, tt.in(tt.max)); !errors.Is(err, ErrTooMany) {
				t.Errorf("one more: %v", err)
			}
			if _, err := p.Step(epoch, tt.also); err != nil {
				t.Errorf("what is within the limit: %v", err)
			}
			if d := p.Deadline(); d.IsZero() {
				return
			}
			// What is over makes room, though nobody has ticked.
			if _, err := p.Step(epoch.Add(2*time.Minute), tt.in(tt.max)); err != nil {
				t.Errorf("after expiry: %v", err)
			}
		})
	}
}

// TestUnknownHandling: a handling of a newer version does not open a door.
func TestUnknownHandling(t *testing.T) {
	d := Decide(&Policy{Default: Allow, Watchers: map[Entity]Grant{user("bob"): {Handling: Allow + 1}}}, user("alice"), user("bob"), Circumstances{})
	if d.Class.Handling != Block || d.Reason == "" {
		t.Errorf("%v", d)
	}
}
