package jabber

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pharos/load"
	"pharos/presence"
)

func TestMaxResources(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		for i := range MaxResources {
			w.login("alice", fmt.Sprint("r", i))
		}
		c := w.dial("more", "alice")
		c.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'><resource>more</resource></bind></iq>")
		if el := c.await("iq"); el.Child(nsClient, "error").Child(nsStanzas, "resource-constraint") == nil {
			t.Error(el.Source())
		}
		// The place of one who goes is free, and a conflict needs none.
		w.login("alice", "r0").conn.Close()
		settle()
		c.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'><resource>more</resource></bind></iq>")
		if el := c.await("iq"); el.Attr("type") != "result" {
			t.Error(el.Source())
		}
		if n := len(w.edge.Sessions(entity("alice"))); n != MaxResources {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestPreBindBound(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		c := w.dial("c", "alice")
		c.send(strings.Repeat("<r xmlns='urn:xmpp:sm:3'/>", MaxPreBind))
		settle()
		if !strings.Contains(c.pending(), "policy-violation") {
			t.Error(c.pending())
		}
	})
}

// A refusal of admission is the standard's own error.
func TestGate(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		c := w.login("alice", "a")
		depth := 1.0
		w.edge.c.Gate = load.NewGate(func() float64 { return depth })
		c.send("<message id='m'><body>x</body></message>")
		if el := c.await("message"); el.Child(nsClient, "error").Child(nsStanzas, "resource-constraint") == nil {
			t.Error(el.Source())
		}
		c2 := w.dial("more", "alice")
		c2.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
		if el := c2.await("iq"); el.Child(nsClient, "error").Child(nsStanzas, "resource-constraint") == nil {
			t.Error(el.Source())
		}
	})
}

// Presence waits for its admission: a client that was refused would not say it again.
func TestPresenceWaitsForGate(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		c := w.login("alice", "a")
		var busy atomic.Bool
		busy.Store(true)
		w.edge.c.Gate = load.NewGate(func() float64 {
			if busy.Load() {
				return 1
			}
			return 0
		})
		c.send("<presence/>")
		time.Sleep(5 * time.Second)
		if got := c.pending(); got != "" {
			t.Error(got)
		}
		busy.Store(false)
		time.Sleep(time.Second)
		if got := c.pending(); !strings.Contains(got, "<presence from='alice@") || strings.Contains(got, "error") {
			t.Error(got)
		}
		busy.Store(true)
		c.send("<presence><show>away</show></presence>")
		time.Sleep(2 * MaxSubmitWait)
		if got := c.pending(); !strings.Contains(got, "resource-constraint") {
			t.Error(got)
		}
	})
}

// To a client that does not read, presence waits, the newest of each contact
// winning; it follows when the client reads on.
func TestSlowReader(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		w.befriend("alice", "bob")
		a, b := w.login("alice", "a"), w.login("bob", "b")
		a.send("<presence/>")
		b.send("<presence/>")
		settle()
		a.drop()
		release := a.pause()
		pad := strings.Repeat("x", 2000)
		for i := range 500 {
			b.send(fmt.Sprintf("<presence><status>%d %s</status></presence>", i, pad))
		}
		settle()
		d := w.edge.Sessions(entity("alice"))[0]
		if d.Queued > MaxBehind+8<<10 || d.Held != 1 {
			t.Errorf("%d bytes queued, %d held", d.Queued, d.Held)
		}
		release()
		time.Sleep(3 * time.Second)
		settle()
		got := a.pending()
		if n := strings.Count(got, "<presence"); n > 100 || !strings.Contains(got, "<status>499 ") {
			t.Errorf("%d presences; the last one came: %v", n, strings.Contains(got, "<status>499 "))
		}
		if d := w.edge.Sessions(entity("alice"))[0]; d.Held != 0 {
			t.Errorf("%d held", d.Held)
		}
	})
}

func TestDescribe(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		w.befriend("alice", "bob")
		a, b := w.login("alice", "a"), w.login("bob", "b")
		a.manage(t)
		b.send("<presence/>")
		settle()
		a.send("<presence><priority>3</priority></presence>")
		settle()
		a.send("<inactive xmlns='urn:xmpp:csi:0'/>")
		settle()
		b.send("<presence><show>dnd</show></presence>")
		settle()
		ds := w.edge.Sessions(entity("alice"))
		if len(ds) != 1 {
			t.Fatalf("%d sessions", len(ds))
		}
		d := ds[0]
		if !d.Available || d.Priority != 3 || !d.Inactive || !d.Resumable || d.Held != 1 || d.Remote == "" || len(d.Watches) != 2 {
			t.Errorf("%+v", d)
		}
		for _, x := range d.Watches {
			if x.Presentity == entity("bob") && (!x.Held || len(x.Sources) != 1 || x.Sources[0] != "b") {
				t.Errorf("%+v", x)
			}
		}
		x, err := w.engine.Explain(w.ctx, entity("bob"), entity("alice"))
		if err != nil || len(x.Subscriptions) != 1 {
			t.Fatal(x, err)
		}
		if e, ok := w.edge.Describe(x.Subscriptions[0].Via.Handle); !ok || e.Resource != "a" {
			t.Errorf("the handle %q does not lead to the session", x.Subscriptions[0].Via.Handle)
		}
		if _, ok := w.edge.Describe("nobody"); ok {
			t.Error("nobody is described")
		}
	})
}

// A removed account's sessions end.
func TestEnd(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		a := w.login("alice", "a")
		w.edge.End(w.ctx, entity("alice"), "not-authorized")
		settle()
		if !strings.Contains(a.pending(), "not-authorized") {
			t.Error(a.pending())
		}
	})
}

// Stand-ins keep their resource whatever the publication's tuples are called.
func TestResourceOf(t *testing.T) {
	id := presence.SourceID{Kind: presence.Publication, Key: "k"}
	same := presence.SourceID{Kind: presence.Publication, Key: "k"}
	if resourceOf(id) != resourceOf(same) || !isStandIn(resourceOf(id)) {
		t.Error(resourceOf(id), resourceOf(same))
	}
	other := presence.SourceID{Kind: presence.Remote, Key: "k"}
	if resourceOf(other) == resourceOf(id) {
		t.Error("kinds are not told apart")
	}
	if r := resourceOf(presence.SourceID{Kind: presence.Session, Key: "desk"}); r != "desk" {
		t.Error(r)
	}
}
