package jabber

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"pharos/presence"
	"pharos/store"
)

// A full roster takes no new rows: neither from its owner nor from those who ask.
func TestRosterFull(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		rows := make([]store.ItemChange, MaxRosterItems)
		for i := range rows {
			rows[i] = store.ItemChange{User: entity("alice"), Contact: entity(fmt.Sprint("c", i)),
				Change: func(it *store.Item) bool { it.Visible = true; return true }}
		}
		if err := w.store.UpdateItems(w.ctx, rows); err != nil {
			t.Fatal(err)
		}
		a, b := w.login("alice", "a"), w.login("bob", "b")
		a.send("<iq type='set' id='new'><query xmlns='jabber:iq:roster'><item jid='more@localhost'/></query></iq>" +
			"<iq type='set' id='old'><query xmlns='jabber:iq:roster'><item jid='c1@localhost' name='One'/></query></iq>" +
			"<presence type='subscribe' to='bob@localhost' id='ask'/>")
		settle()
		got := a.pending()
		for _, want := range []string{"id='new' type='error'", "<iq type='result' id='old'", "id='ask' type='error'"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in %s", want, got)
			}
		}
		if n := strings.Count(got, "resource-constraint"); n != 2 {
			t.Errorf("%d refusals in %s", n, got)
		}
		b.send("<presence type='subscribe' to='alice@localhost'/>")
		settle()
		items, _, err := w.store.Roster(w.ctx, entity("alice"))
		if err != nil || countRows(items) != MaxRosterItems {
			t.Errorf("%d rows, %v", countRows(items), err)
		}
		// Where one goes there is room for another.
		a.drop()
		a.send("<iq type='set' id='rm'><query xmlns='jabber:iq:roster'><item jid='c1@localhost' subscription='remove'/></query></iq>" +
			"<iq type='set' id='new'><query xmlns='jabber:iq:roster'><item jid='more@localhost'/></query></iq>")
		settle()
		if got := a.pending(); !strings.Contains(got, "<iq type='result' id='new'") {
			t.Error(got)
		}
	})
}

// RFC 6121 §2.3.3: names and groups that are too long.
func TestRosterItemBounds(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		a := w.login("alice", "a")
		groups := ""
		for i := range MaxGroups + 1 {
			groups += fmt.Sprintf("<group>%d</group>", i)
		}
		for id, item := range map[string]string{
			"name":   "<item jid='b@localhost' name='" + strings.Repeat("n", MaxNameBytes+1) + "'/>",
			"group":  "<item jid='b@localhost'><group>" + strings.Repeat("g", MaxGroupBytes+1) + "</group></item>",
			"groups": "<item jid='b@localhost'>" + groups + "</item>",
		} {
			a.send("<iq type='set' id='" + id + "'><query xmlns='jabber:iq:roster'>" + item + "</query></iq>")
			if el := a.await("iq"); el.Child(nsClient, "error").Child(nsStanzas, "not-acceptable") == nil {
				t.Errorf("%s: %s", id, el.Source())
			}
		}
	})
}

// XEP-0160 §2: the sender learns that the mailbox is full.
func TestMailboxFull(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		w.mail.max = 1
		a := w.login("alice", "a")
		a.send("<message to='bob@localhost' type='chat' id='1'><body>x</body></message><message to='bob@localhost' type='chat' id='2'><body>x</body></message>")
		el := a.await("message")
		if el.Attr("id") != "2" || el.Child(nsClient, "error").Child(nsStanzas, "service-unavailable") == nil {
			t.Error(el.Source())
		}
	})
}

func TestDirectedBound(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		a := w.login("alice", "a")
		for i := range MaxDirected + 1 {
			a.send(fmt.Sprintf("<presence to='u%d@localhost'/>", i))
		}
		el := a.await("presence")
		if el.Child(nsClient, "error").Child(nsStanzas, "resource-constraint") == nil {
			t.Error(el.Source())
		}
		settle()
		if got := a.pending(); got != "" {
			t.Error(got)
		}
	})
}

// Each change waits once, and no more than the bound; what a client may take back
// waits longer.
func TestChangeQueue(t *testing.T) { synctest.Test(t, testChangeQueue) } // the clock stands

func testChangeQueue(t *testing.T) {
	q := changeQueue{waiting: map[change]struct{}{}, wake: make(chan struct{}, 1)}
	of := func(w what, i int) change { return change{w, entity("a"), presence.Entity{User: fmt.Sprint(i)}} }
	for range 2 {
		for i := range MaxWatcherChanges {
			w := asked
			if i < 3 {
				w = unlisted
			}
			if !q.put(of(w, i)) {
				t.Fatalf("%d was refused", i)
			}
		}
	}
	if q.put(of(asked, -1)) || q.put(of(unlisted, -1)) {
		t.Error("more than the bound")
	}
	if due, wait := q.take(false); len(due) != MaxWatcherChanges-3 || wait <= 0 || wait > UnlistedDelay {
		t.Errorf("%d were due, the next in %v", len(due), wait)
	}
	if !q.put(of(asked, -1)) {
		t.Error("refused when empty")
	}
	if due, wait := q.take(true); len(due) != 4 || wait >= 0 || len(q.waiting) != 0 {
		t.Errorf("%d at the end, then %v, %d still known", len(due), wait, len(q.waiting))
	}
}
