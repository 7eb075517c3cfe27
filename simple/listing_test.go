package simple

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/rlmi"
	"pharos/sip"
	"pharos/xdm"
)

// listPhone is a phone that supports lists, and keeps the table of what it is told.
type listPhone struct {
	*phone
	table *subscriber
	sub   *sub
}

const supportsLists = "Supported: eventlist\r\nAccept: multipart/related, application/rlmi+xml, application/pidf+xml\r\n"

// putDocument writes a document of a user.
func (w *world) putDocument(user, auid, xml string) {
	w.t.Helper()
	_, _, err := w.docs.Update(context.Background(), xdm.Name{AUID: auid, User: presence.Entity{User: user, Domain: domain}, Path: xdm.Index},
		func(*xdm.Document) ([]byte, error) {
			if xml == "" {
				return nil, nil
			}
			return []byte(xml), nil
		})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func resourceLists(inner string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + inner + `</resource-lists>`
}

// entriesXML is a list of contacts of example.com.
func entriesXML(users ...string) string {
	var b strings.Builder
	b.WriteString(`<list name="friends">`)
	for _, u := range users {
		fmt.Fprintf(&b, `<entry uri="sip:%s@example.com"><display-name>%s</display-name></entry>`, u, strings.ToUpper(u))
	}
	return b.String() + `</list>`
}

// watchList subscribes to a list and reads the first NOTIFY.
func (p *phone) watchList(uri, lines, body string, expires int) *listPhone {
	p.w.t.Helper()
	l := &listPhone{phone: p, table: newSubscriber()}
	l.sub = &sub{p: p, to: p.user, callID: newID()}
	m := p.want(200, out{method: "SUBSCRIBE", uri: uri, callID: l.sub.callID, body: body, ctype: listType,
		lines: supportsLists + lines + fmt.Sprintf("Event: presence\r\nContact: <%s>\r\nExpires: %d\r\n", p.contact, expires)})
	l.sub.tag = m.To().Tag()
	c, _, err := m.Contact()
	if err != nil {
		p.w.t.Fatal(err)
	}
	l.sub.target = c.URI
	if get(m, sip.HRequire) != "eventlist" { // RFC 4662 §4.1
		p.w.t.Errorf("200 without Require: eventlist:\n%s", m.Append(nil))
	}
	return l
}

// told reads one NOTIFY into the table.
func (l *listPhone) told() *sip.Message {
	l.w.t.Helper()
	time.Sleep(50 * time.Millisecond) // documents are read, members are asked
	m := l.one()
	l.read(m)
	return m
}

func (l *listPhone) read(m *sip.Message) {
	l.w.t.Helper()
	body := m.Body
	if get(m, sip.HContentEncoding) == "deflate" {
		b, err := inflate(body, 1<<20)
		if err != nil {
			l.w.t.Fatal(err)
		}
		body = string(b)
	}
	if m.Method != "NOTIFY" || get(m, sip.HRequire) != "eventlist" || !strings.EqualFold(get(m, sip.HEvent), "presence") {
		l.w.t.Errorf("NOTIFY of a list:\n%s", m.Append(nil))
	}
	if err := l.table.take(get(m, sip.HContentType), body); err != nil {
		l.w.t.Fatalf("%v\n%s", err, m.Append(nil))
	}
}

// shows checks what is known of one resource: a piece of its state, or "pending",
// "rejected" and the like.
func (l *listPhone) shows(uri, want string) {
	l.w.t.Helper()
	r, there := l.table.rows[uri]
	got := "nothing"
	switch {
	case !there:
		got = "missing"
	case len(r.Instances) == 0:
	case r.Instances[0].State == presence.Active:
		got = l.table.states[uri]
	case r.Instances[0].State == presence.Pending:
		got = "pending"
	default:
		got = r.Instances[0].Reason.String()
	}
	if !strings.Contains(got, want) {
		l.w.t.Errorf("%s is %s, want %s", uri, got, want)
	}
}

// A user's buddy list under the URI that everybody has: full state first, then
// what changes, whatever happens to the members and to the list.
func TestBuddies(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob, carol := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("carol", "192.0.2.12:5060")
		w.rule("alice", "carol", presence.Confirm)
		w.rule("alice", "dave", presence.Block)
		tag := bob.publish("open", "here", "")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob", "carol", "dave", "nobody", "alice")+
			`<list><list><entry uri="tel:+43-1-234"/><entry uri="sip:eve@example.org"/></list></list>`))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		n := l.told()
		if n.CSeq() != 1 || state(n) != "active;expires=600" || l.table.version != 0 || len(l.table.rows) != 7 {
			t.Errorf("%d rows\n%s", len(l.table.rows), n.Append(nil))
		}
		for uri, want := range map[string]string{
			"sip:bob@example.com": "<note>here</note>", "sip:carol@example.com": "pending", "sip:dave@example.com": "rejected",
			"sip:nobody@example.com": "noresource", "sip:alice@example.com": "<basic>closed</basic>",
			"tel:+43-1-234": "noresource", "sip:eve@example.org": "noresource",
		} {
			l.shows(uri, want)
		}
		if i, ok := w.edge.Describe(l.sub.tag + memberSuffix); !ok || i.List != "sip:alice/buddies@example.com" || i.CallID != l.sub.callID {
			t.Errorf("described as %+v", i)
		}
		if got := l.table.rows["sip:bob@example.com"].Names; len(got) != 1 || got[0].Text != "BOB" {
			t.Errorf("names %v", got)
		}

		// One change, one resource, at once.
		time.Sleep(time.Second)
		tag = bob.publish("open", "lunch", tag)
		n = l.told()
		l.shows("sip:bob@example.com", "lunch")
		if doc := rootOf(t, n); len(doc.Resources) != 1 || doc.Full || doc.Version != 1 {
			t.Errorf("%+v", doc)
		}
		// What comes right after it gathers; the newest state wins.
		for i := range 5 {
			tag = bob.publish("open", fmt.Sprint("note ", i), tag)
		}
		carol.publish("open", "carol is here", "")
		alice.none() // she may not see carol, and bob's gather
		time.Sleep(listWindow)
		l.told()
		l.shows("sip:bob@example.com", "note 4")

		// Members decide about the watcher while the subscription lives.
		time.Sleep(time.Second)
		w.rule("alice", "carol", presence.Allow)
		l.told()
		l.shows("sip:carol@example.com", "carol is here")
		time.Sleep(time.Second)
		w.rule("alice", "bob", presence.Block)
		l.told()
		l.shows("sip:bob@example.com", "rejected")
		bob.publish("open", "secret", tag)
		alice.none()

		// The list changes: a new member is told alone, one that goes by full state.
		time.Sleep(time.Second)
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("carol", "dave", "müller")))
		n = l.told()
		if doc := rootOf(t, n); !doc.Full || len(doc.Resources) != 3 {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:müller@example.com", "<basic>closed</basic>")
		l.shows("sip:bob@example.com", "missing")
		time.Sleep(time.Second)
		w.rule("alice", "bob", presence.Allow)
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("carol", "dave", "müller", "bob")))
		n = l.told()
		if doc := rootOf(t, n); doc.Full || len(doc.Resources) != 1 {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:bob@example.com", "secret")

		// Refresh: full state (RFC 4662 §4.5). The end: full state too.
		l.sub.again(200, 600)
		n = l.told()
		if doc := rootOf(t, n); !doc.Full || len(doc.Resources) != 4 {
			t.Errorf("%+v", doc)
		}
		l.sub.again(200, 0)
		n = l.told()
		if doc := rootOf(t, n); !doc.Full || state(n) != "terminated;reason=timeout" {
			t.Errorf("%+v\n%s", doc, n.Append(nil))
		}
		carol.publish("open", "again", "")
		time.Sleep(time.Second)
		alice.none()
		if s := w.engine.Stats(); s.Subscriptions != 0 || w.edge.Stats().Dialogs != 0 || w.edge.lists.count(presence.Entity{User: "alice", Domain: domain}) != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// rootOf is the document of a NOTIFY.
func rootOf(t *testing.T, m *sip.Message) *rlmi.List {
	t.Helper()
	body := m.Body
	if get(m, sip.HContentEncoding) == "deflate" {
		b, err := inflate(body, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	root, _, err := splitRelated(get(m, sip.HContentType), body)
	if err != nil {
		t.Fatal(err)
	}
	l, err := rlmi.Parse([]byte(root))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The end of a subscription's time, of a member's account, and of the owner's.
func TestListEnds(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob", "carol")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 60)
		l.told()
		remove := func(user string) {
			t.Helper()
			if _, err := w.engine.Step(context.Background(), presence.Entity{User: user, Domain: domain}, presence.Remove{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		remove("bob")
		l.told()
		l.shows("sip:bob@example.com", "noresource")
		time.Sleep(time.Minute)
		n := l.told()
		if doc := rootOf(t, n); !doc.Full || len(doc.Resources) != 2 || state(n) != "terminated;reason=timeout" {
			t.Errorf("%+v\n%s", doc, n.Append(nil))
		}
		l.sub.again(481, 60)

		l = alice.watchList("sip:alice/buddies@example.com", "", "", 60)
		l.told()
		remove("alice")
		n = l.told()
		if doc := rootOf(t, n); !doc.Full || state(n) != "terminated;reason=noresource" {
			t.Errorf("%+v\n%s", doc, n.Append(nil))
		}
		time.Sleep(time.Second)
		if s := w.engine.Stats(); s.Subscriptions != 0 || w.edge.Stats().Dialogs != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// Close has begun when an owner is found to have gone: it waits for what is under way, and
// nothing more may begin.
func TestLostWhileClosing(t *testing.T) {
	for _, closing := range []bool{false, true} {
		inWorld(t, Config{}, func(w *world) {
			alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
			bob.publish("open", "here", "")
			w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob")))
			alice.watchList("sip:alice/buddies@example.com", "", "", 60).told()
			l := w.edge.lists.all()[0]
			w.edge.Lost(func(who presence.Entity) bool {
				if closing && who.User == "bob" { // the lists are being gone through
					w.edge.lists.mu.Lock()
					w.edge.lists.closed = true
					w.edge.lists.mu.Unlock()
				}
				return true
			})
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			if answered := l.waiting == 0; answered == closing {
				t.Errorf("closing: %v, and the member was subscribed to again: %v", closing, answered)
			}
		})
	}
}

// As many members as a list may have, most of them unknown, over TCP: all are named
// in the first NOTIFY, and it comes soon.
func TestListOfThousand(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		var b strings.Builder
		b.WriteString("<list>")
		for i := range 998 {
			fmt.Fprintf(&b, `<entry uri="sip:member%d@example.com"/>`, i)
		}
		b.WriteString(`<entry uri="sip:bob@example.com"/><entry uri="sip:carol@example.com"/></list>`)
		l := alice.watchList("sip:rls@example.com", containedLines+"Content-Encoding: deflate\r\nAccept-Encoding: deflate\r\n",
			string(deflate([]byte(resourceLists(b.String())))), 600)
		time.Sleep(listPatience)
		for _, n := range alice.got() {
			l.read(n)
		}
		if len(l.table.rows) != 1000 {
			t.Fatalf("%d rows", len(l.table.rows))
		}
		l.shows("sip:bob@example.com", "here")
		l.shows("sip:carol@example.com", "<basic>closed</basic>")
		for i := range 998 {
			l.shows(fmt.Sprintf("sip:member%d@example.com", i), "noresource")
		}
	})
}
