package engine

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestNewOwnerTellsWhatDiffers: the owner is lost, the edges say again what they had said, and
// a watcher is told what has changed since he was told last: wherever the old owner was, and the
// new one is.
func TestNewOwnerTellsWhatDiffers(t *testing.T) {
	for _, tt := range []struct{ name, owner, watcher, heir string }{
		{"all elsewhere", "a", "b", "c"},
		{"comes to the watcher", "a", "b", "b"},
		{"goes from the watcher", "b", "b", "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(w *town) {
				owner, at := w.nodes[tt.owner], w.nodes[tt.watcher]
				owner.must(alice, presence.Touch{Package: "x"}) // lives there
				for _, name := range []string{"pad", "desk"} {
					in := session(name, name)
					in.Native, in.Again = presence.Payload{Type: "x", Bytes: []byte(name)}, true
					at.xmpp.say(alice, in)
				}
				s := watch("s", bob)
				s.Via.Edge, s.Lifetime = "xmpp", 0
				at.xmpp.say(alice, s)
				time.Sleep(time.Second)
				synctest.Wait()
				told := at.xmpp.told()
				if len(told) == 0 {
					t.Fatal("the watcher was told nothing")
				}

				// What the desk says again of the second session is something else.
				at.xmpp.mu.Lock()
				second := at.xmpp.now["alice session/desk"]
				again := second.in.(presence.Publish)
				again.Native.Bytes = []byte("other")
				second.in = again
				at.xmpp.mu.Unlock()
				if owner == at {
					owner.valid.Store(false)
					time.Sleep(time.Second)
					owner.Disown()
					w.bury(owner, tt.heir)
					w.mu.Lock()
					owner.epoch, owner.hints = owner.fence, map[presence.Entity]home{}
					w.mu.Unlock()
					owner.valid.Store(true)
					owner.Lost(func(presence.Entity) bool { return true })
				} else {
					w.kill(tt.owner, tt.heir, time.Second)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				var changed []string
				for _, n := range at.xmpp.told() {
					if n.View == nil || n.State != presence.Active {
						t.Errorf("told %s", seen(n))
						continue
					}
					gone, news := n.View.Changes(n.Targets[0].Shown)
					for _, s := range gone {
						changed = append(changed, "-"+s.ID.Key)
					}
					for _, s := range news {
						changed = append(changed, s.ID.Key)
					}
				}
				if !slices.Equal(changed, []string{"desk"}) {
					t.Errorf("told of %q", changed)
				}
				if x, err := at.Explain(context.Background(), alice, bob); err != nil || len(x.Sources) != 2 || len(x.Subscriptions) != 1 {
					t.Errorf("%+v, %v", x, err)
				}
			})
		})
	}
}

// What a subscription was told here is forgotten when it goes on at another node.
func TestLeft(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, presence.Touch{Package: "x"}) // lives at a
		b.must(alice, watch("s", bob))
		a.must(alice, publish("k", "tag", time.Hour, "busy"))
		time.Sleep(time.Second)
		if n := b.Kept().Told; n != 1 {
			t.Fatalf("%d are remembered", n)
		}
		b.Left(alice, "s")
		a.Left(alice, "s")
		if n := b.Kept().Told; n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}
