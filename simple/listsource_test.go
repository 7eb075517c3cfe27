package simple

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/rlmi"
	"pharos/sip"
	"pharos/xdm"
)

// contained is the list of RFC 5367 §4, with members of example.com.
const contained = `<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <list>
    <entry uri="sip:bob@example.com" />
    <entry uri="sip:joe@example.org" />
    <entry uri="sip:carol@example.com" />
  </list>
</resource-lists>`

const containedLines = "Require: recipient-list-subscribe\r\nContent-Disposition: recipient-list\r\n"

// The example of RFC 5367 §7.
func TestContainedList(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		l := alice.watchList("sip:rls@example.com", containedLines, contained, 600)
		n := l.told()
		if doc := rootOf(t, n); !doc.Full || len(doc.Resources) != 3 || doc.Resources[0].URI != "sip:bob@example.com" || doc.Version != 0 {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:bob@example.com", "here")
		l.shows("sip:joe@example.org", "noresource")
		l.shows("sip:carol@example.com", "<basic>closed</basic>")

		// A refresh without a list keeps it; one with a list replaces it.
		again := func(status int, lines, body string) *sip.Message {
			return alice.want(status, out{method: "SUBSCRIBE", to: "alice", uri: l.sub.target, toTag: l.sub.tag, callID: l.sub.callID,
				lines: supportsLists + lines + fmt.Sprintf("Event: presence\r\nContact: <%s>\r\nExpires: 600\r\n", alice.contact), body: body, ctype: listType})
		}
		m := again(200, "", "")
		if get(m, sip.HRequire) != "eventlist" {
			t.Errorf("refresh:\n%s", m.Append(nil))
		}
		if doc := rootOf(t, l.told()); !doc.Full || len(doc.Resources) != 3 {
			t.Errorf("%+v", doc)
		}
		again(200, containedLines, strings.Replace(contained, "carol", "dave", 1))
		n = l.told()
		if e := get(n, sip.HEvent); e != "presence" { // RFC 6665 §8.2.1: octet by octet, where it is not Linphone
			t.Errorf("Event: %s", e)
		}
		if doc := rootOf(t, n); !doc.Full || len(doc.Resources) != 3 || doc.Resources[2].URI != "sip:dave@example.com" {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:dave@example.com", "<basic>closed</basic>")
		again(400, containedLines, "<resource-lists")
		time.Sleep(time.Second)
		bob.publish("open", "still there", "")
		l.told()
		l.shows("sip:bob@example.com", "still there")
	})
}

// Linphone's manner: a deflated list, NOTIFYs deflated as it asks for, and
// Content-IDs as its older versions need them.
func TestContainedListDeflated(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", strings.Repeat("many words ", 200), "")
		lines := containedLines + "Accept: multipart/related\r\nAccept: application/pidf+xml\r\nAccept: application/rlmi+xml\r\n" +
			"Accept-Encoding: deflate\r\nContent-Encoding: deflate\r\n"
		l := alice.watchList("sip:rls@example.com", lines, string(deflate([]byte(contained))), 600)
		time.Sleep(50 * time.Millisecond)
		n := alice.one()
		plain, err := inflate(n.Body, 1<<20)
		if err != nil || get(n, sip.HContentEncoding) != "deflate" || len(n.Body)*3 > len(plain) {
			t.Fatalf("%d octets for %d, %v\n%s", len(n.Body), len(plain), err, n.Append(nil))
		}
		l.read(n)
		l.shows("sip:bob@example.com", "many words")
		kind := get(n, sip.HContentType)
		if strings.Contains(kind, `boundary="`) || get(n, sip.HEvent) != "Presence" || !strings.Contains(string(plain), "\r\nContent-Id: 1.") {
			t.Errorf("%s\n%s", kind, plain)
		}
	})
}

func TestListRefusals(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Members: 3, Lists: 1}}, func(w *world) {
		w.putDocument("alice", xdm.RLSServices, `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
			<service uri="sip:team@example.com"><list><rl:entry uri="sip:bob@example.com"/></list><packages><package>dialog</package></packages></service>
			<service uri="sip:friends@example.com"><list><rl:entry uri="sip:bob@example.com"/></list></service>
			<service uri="sip:bob@example.com"><list><rl:entry uri="sip:carol@example.com"/></list></service></rls-services>`)
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.tcpPhone("bob", "192.0.2.11:5060")
		base := "Event: presence\r\nContact: <sip:alice@192.0.2.10>\r\nExpires: 600\r\n"
		for _, c := range []struct {
			name, uri, lines, body, ctype string
			status                        int
			want                          string
		}{
			{"no eventlist, buddies", "sip:alice/buddies@example.com", "", "", "", 421, "Require: eventlist"},
			{"no eventlist, service", "sip:friends@example.com", "", "", "", 421, "Require: eventlist"},
			{"no eventlist, contained", "sip:rls@example.com", containedLines, contained, listType, 421, "Require: eventlist"},
			{"somebody else's buddies", "sip:bob/buddies@example.com", supportsLists, "", "", 404, ""},
			{"no such list", "sip:foes@example.com", supportsLists, "", "", 404, ""},
			{"not for this package", "sip:team@example.com", supportsLists, "", "", 489, "Allow-Events: dialog"},
			{"bodies not accepted", "sip:friends@example.com", "Supported: eventlist\r\nAccept: text/plain\r\n", "", "", 406, "multipart/related"},
			{"no list", "sip:rls@example.com", supportsLists + containedLines, "", "", 400, ""},
			{"not XML", "sip:rls@example.com", supportsLists + containedLines, "list", listType, 400, "Bad List"},
			{"another document", "sip:rls@example.com", supportsLists + containedLines, "<list/>", listType, 400, "Bad List"},
			{"another type", "sip:rls@example.com", supportsLists + containedLines, "<list/>", "text/xml", 415, "Accept: application/resource-lists+xml"},
			{"another coding", "sip:rls@example.com", supportsLists + containedLines + "Content-Encoding: gzip\r\n", "x", listType, 415, "Accept-Encoding: deflate, identity"},
			{"not that coding", "sip:rls@example.com", supportsLists + containedLines + "Content-Encoding: deflate\r\n", contained, listType, 400, ""},
			{"a bomb", "sip:rls@example.com", supportsLists + containedLines + "Content-Encoding: deflate\r\n", string(deflate(make([]byte, 1<<20))), listType, 413, ""},
			{"too many members", "sip:rls@example.com", supportsLists + containedLines, strings.Replace(contained, "<list>", `<list><entry uri="tel:1"/>`, 1), listType, 403, "Too Many Members"},
			{"another domain", "sip:rls@example.org", supportsLists + containedLines, contained, listType, 404, ""},
			{"another extension", "sip:rls@example.com", supportsLists + "Require: recipient-list-message\r\n", contained, listType, 420, "recipient-list-message"},
		} {
			m := alice.do(out{method: "SUBSCRIBE", uri: c.uri, lines: c.lines + base, body: c.body, ctype: c.ctype})
			if m.Status != c.status || !strings.Contains(string(m.Append(nil)), c.want) {
				t.Errorf("%s: %d, want %d %s\n%s", c.name, m.Status, c.status, c.want, m.Append(nil))
			}
		}
		alice.none()
		if n := w.edge.Stats().Dialogs; n != 0 {
			t.Errorf("%d dialogs", n)
		}

		// An account is never taken for a list, nor a list for an account.
		m := alice.want(200, out{method: "SUBSCRIBE", to: "bob", lines: supportsLists + base})
		if n := alice.one(); get(m, sip.HRequire) != "" || get(n, sip.HRequire) != "" || get(n, sip.HContentType) != "application/pidf+xml" {
			t.Errorf("%s", n.Append(nil))
		}
		bob.want(404, out{method: "SUBSCRIBE", uri: "sip:friends@example.com", lines: supportsLists + "Event: presence\r\nContact: <sip:bob@192.0.2.11>\r\n"})

		l := alice.watchList("sip:friends@example.com", "", "", 600)
		l.told()
		alice.want(403, out{method: "SUBSCRIBE", uri: "sip:friends@example.com", lines: supportsLists + base})
		// The end of one makes room for another.
		l.sub.again(200, 0)
		l.told()
		alice.watchList("sip:friends@example.com", "", "", 600).told()

		// Capital letters of Linphone; Event of another package with the same name.
		m = alice.want(200, out{method: "OPTIONS", to: "alice"})
		if !strings.Contains(get(m, sip.HSupported), "eventlist, recipient-list-subscribe") { // RFC 5367 §5
			t.Errorf("%s", m.Append(nil))
		}
	})
}

// Services of RFC 4826 §4.3: a list by reference and one within the service,
// with references in it.
func TestServices(t *testing.T) {
	const root = "http://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/"
	inWorld(t, Config{}, func(w *world) {
		alice := w.tcpPhone("alice", "192.0.2.10:5060")
		w.putDocument("bob", xdm.ResourceLists, resourceLists(entriesXML("dave")))
		lists := resourceLists(`<list name="l1"><display-name xml:lang="en">My buddies</display-name><entry uri="sip:bob@example.com"/>
			<list name="inner"><entry uri="sip:dave@example.com"/></list></list><list name="x">` +
			`<entry uri="sip:carol@example.com"><display-name>Carol</display-name></entry></list>`)
		w.putDocument("alice", xdm.ResourceLists, lists)
		services := `<?xml version="1.0" encoding="UTF-8"?>
			<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
			<service uri="sip:mybuddies@example.com"><resource-list>` + root + `list%5b@name=%22l1%22%5d</resource-list><packages><package>presence</package></packages></service>
			<service uri="sip:marketing@example.com"><list name="marketing"><rl:entry uri="sip:alice@example.com"/>
			<rl:entry-ref ref="resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22x%22%5d/entry%5b1%5d"/>
			<rl:entry-ref ref="resource-lists/users/sip:bob@example.com/index/~~/resource-lists/list/entry"/>
			<rl:external anchor="` + root + `list%5b@name=%22l1%22%5d"/><rl:external anchor="` + root + `list%5b@name=%22gone%22%5d"/></list>
			<packages><package>presence</package></packages></service>
			<service uri="sip:nowhere@example.com"><resource-list>` + root + `list%5b@name=%22gone%22%5d</resource-list></service></rls-services>`
		w.putDocument("alice", xdm.RLSServices, services)

		uris := func(l *rlmi.List) (us []string) {
			for _, r := range l.Resources {
				us = append(us, r.URI)
			}
			return us
		}
		l := alice.watchList("sip:mybuddies@example.com", "", "", 600)
		doc := rootOf(t, l.told())
		if !slices.Equal(uris(doc), []string{"sip:bob@example.com", "sip:dave@example.com"}) || doc.URI != "sip:mybuddies@example.com" ||
			len(doc.Names) != 1 || doc.Names[0] != (rlmi.Name{Lang: "en", Text: "My buddies"}) {
			t.Errorf("%+v", doc)
		}
		m := alice.watchList("sip:marketing@example.com", "", "", 600)
		doc = rootOf(t, m.told())
		// Bob's document is not Alice's to read.
		if !slices.Equal(uris(doc), []string{"sip:alice@example.com", "sip:carol@example.com", "sip:bob@example.com", "sip:dave@example.com"}) {
			t.Errorf("%+v", doc)
		}
		if ns := doc.Resources[1].Names; len(ns) != 1 || ns[0].Text != "Carol" {
			t.Errorf("%+v", doc.Resources[1])
		}
		n := alice.watchList("sip:nowhere@example.com", "", "", 600)
		if doc = rootOf(t, n.told()); !doc.Full || len(doc.Resources) != 0 {
			t.Errorf("%+v", doc)
		}

		// A change of the document that is referred to acts in both lists.
		time.Sleep(time.Second)
		w.putDocument("alice", xdm.ResourceLists, strings.Replace(lists, "sip:bob@", "sip:m%C3%BCller@", 1))
		time.Sleep(50 * time.Millisecond)
		for _, x := range alice.got() {
			if x.CallID() == l.sub.callID {
				l.read(x)
			} else if x.CallID() == m.sub.callID {
				m.read(x)
			} else {
				t.Errorf("%s", x.Append(nil))
			}
		}
		for _, x := range []*listPhone{l, m} {
			x.shows("sip:m%C3%BCller@example.com", "<basic>closed</basic>")
			x.shows("sip:bob@example.com", "missing")
		}

		// A service that goes ends its subscriptions, and no others.
		time.Sleep(time.Second)
		a, rest, _ := strings.Cut(services, "<service")
		_, rest, _ = strings.Cut(rest, "</service>")
		w.putDocument("alice", xdm.RLSServices, a+rest)
		last := l.told()
		if state(last) != "terminated;reason=noresource" {
			t.Errorf("%s", last.Append(nil))
		}
		if s := w.edge.Stats().Dialogs; s != 2 {
			t.Errorf("%d dialogs", s)
		}
	})
}

// A restart: members are watched again, and the watcher is told everything once,
// by a higher version.
func TestListRestart(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		tag := bob.publish("open", "here", "")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob", "carol")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		l.told()
		c := alice.watchList("sip:rls@example.com", containedLines, contained, 600)
		c.told()
		w.restart()
		time.Sleep(2 * time.Second)
		ns := alice.got()
		if len(ns) != 2 {
			t.Fatalf("%d NOTIFYs: %v", len(ns), texts(ns))
		}
		for _, n := range ns {
			x := c
			if n.CallID() == l.sub.callID {
				x = l
			}
			doc := rootOf(t, n)
			if !doc.Full || n.CSeq() <= 1 || int(doc.Version) <= x.table.version {
				t.Errorf("%+v", doc)
			}
			x.table.version = int(doc.Version) - 1 // RFC 4662 §5.6.1: a higher one is taken
			x.read(n)
			x.shows("sip:bob@example.com", "here")
			x.shows("sip:carol@example.com", "<basic>closed</basic>")
		}
		bob.publish("open", "after", tag)
		for _, n := range alice.got() {
			x := c
			if n.CallID() == l.sub.callID {
				x = l
			}
			x.read(n)
		}
		l.shows("sip:bob@example.com", "after")
		c.shows("sip:bob@example.com", "after")
		if doc := rootOf(t, func() *sip.Message { l.sub.again(200, 600); return l.told() }()); doc.URI != "sip:alice/buddies@example.com" {
			t.Errorf("%+v", doc)
		}
	})
}

// A NOTIFY that fails is followed by full state: it is not known what has arrived.
// While one is under way everything gathers.
func TestListNotifyFails(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob", "carol", "dave")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		l.told()
		time.Sleep(time.Second)
		var status atomic.Int32
		status.Store(503)
		alice.mu.Lock()
		alice.answer = func(*sip.Message) (int, string) { return int(status.Load()), "" }
		alice.mu.Unlock()
		tag := bob.publish("open", "one", "")
		alice.one()
		bob.publish("open", "two", tag)
		alice.none()
		status.Store(200)
		time.Sleep(firstBackoff)
		n := alice.one()
		doc := rootOf(t, n)
		if !doc.Full || len(doc.Resources) != 3 || doc.Version != 2 {
			t.Errorf("%+v", doc)
		}
		l.table.version = 1
		l.read(n)
		l.shows("sip:bob@example.com", "two")
		alice.none()
	})
}

// Over UDP a list is told in several NOTIFYs that each get through.
func TestListOverUDP(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		for i, u := range []string{"alice", "bob", "carol", "dave"} {
			w.phone(u, fmt.Sprint("192.0.2.20:", 5060+i)).publish("open", strings.Repeat(u, 600), "")
		}
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("alice", "bob", "carol", "dave")))
		alice := w.phone("alice", "192.0.2.10:5060")
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		time.Sleep(50 * time.Millisecond)
		ns := alice.got()
		if len(ns) < 2 {
			t.Fatalf("%d NOTIFYs", len(ns))
		}
		for i, n := range ns {
			if len(n.Body) > maxListDatagram+512 {
				t.Errorf("%d octets", len(n.Body))
			}
			l.read(n)
			if doc := rootOf(t, n); doc.Full != (i == 0) || i == 0 && len(doc.Resources) != 4 {
				t.Errorf("%d: %+v", i, doc)
			}
		}
		for _, u := range []string{"alice", "bob", "carol", "dave"} {
			l.shows("sip:"+u+"@example.com", u+u)
		}
		// A connection takes more.
		tcp := w.tcpPhone("alice", "192.0.2.30:5060")
		m := tcp.watchList("sip:alice/buddies@example.com", "", "", 600)
		m.told()
		m.shows("sip:dave@example.com", "davedave")
	})
}

// Over UDP a list whose members alone are more than a datagram is told all the same.
func TestLongListOverUDP(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		users := make([]string, 900)
		for i := range users {
			users[i] = fmt.Sprintf("somebody-%04d", i)
		}
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML(users...)))
		alice := w.phone("alice", "192.0.2.10:5060")
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		time.Sleep(50 * time.Millisecond)
		for i, n := range alice.got() {
			if size := len(n.Append(nil)); size > 65507 || i > 0 && size > maxListDatagram+1024 {
				t.Errorf("NOTIFY %d has %d octets", i+1, size)
			}
			if doc := rootOf(t, n); doc.Full != (i == 0) {
				t.Errorf("NOTIFY %d: full %v", i+1, doc.Full)
			}
			l.read(n)
		}
		if len(l.table.rows) != len(users) {
			t.Errorf("%d of %d are known", len(l.table.rows), len(users))
		}
	})
}

// Asked once: the list and what is known of its members (RFC 4662 §4.6).
func TestListFetch(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		l := alice.watchList("sip:rls@example.com", containedLines, contained, 0)
		n := l.told()
		if doc := rootOf(t, n); !doc.Full || state(n) != "terminated;reason=timeout" {
			t.Errorf("%s", n.Append(nil))
		}
		l.shows("sip:bob@example.com", "here")
		time.Sleep(time.Second)
		if s := w.engine.Stats(); s.Subscriptions != 0 || w.edge.Stats().Dialogs != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// Who has refused is remembered for as long as the list has him.
func TestListForgetsRefusals(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice := w.tcpPhone("alice", "192.0.2.10:5060")
		w.rule("alice", "dave", presence.Block)
		refused := func() int {
			w.edge.lists.mu.Lock()
			defer w.edge.lists.mu.Unlock()
			return len(w.edge.lists.refused)
		}
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("dave", "nobody")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		l.told()
		if n := refused(); n != 2 {
			t.Errorf("%d have refused, want 2", n)
		}
		time.Sleep(time.Second)
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("nobody")))
		l.told()
		if n := refused(); n != 1 {
			t.Errorf("%d have refused, want the one that is left", n)
		}
		l.sub.send(200, "presence", 0, supportsLists)
		l.told()
		if n := refused(); n != 0 {
			t.Errorf("%d are remembered for a list that nobody watches", n)
		}
	})
}

// Members whose state takes long do not keep the others waiting for ever, and
// are told when it is there.
func TestListPatience(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		w.rules.late = map[string]time.Duration{"carol": 4 * time.Second}
		l := alice.watchList("sip:rls@example.com", containedLines, contained, 600)
		time.Sleep(listPatience - 100*time.Millisecond)
		alice.none()
		time.Sleep(100 * time.Millisecond)
		l.told()
		l.shows("sip:bob@example.com", "here")
		l.shows("sip:carol@example.com", "nothing") // RFC 4662 §4.5
		time.Sleep(3 * time.Second)
		if doc := rootOf(t, l.told()); doc.Full || len(doc.Resources) != 1 {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:carol@example.com", "<basic>closed</basic>")
	})
}

func TestListKept(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	e := &Edge{log: quiet, domains: map[string]bool{domain: true}}
	for _, want := range []listSource{
		{uri: "sip:alice/buddies@example.com"}, {uri: "sip:friends@example.com;x=y", deflate: true},
		{friends: true, deflate: true, xml: string(deflate([]byte(contained)))},
	} {
		var s dialogState
		s.part[partLocalURI] = "sip:rls@example.com"
		s.part[partKept] = want.encode()
		if want.uri == "" {
			want.uri = "sip:rls@example.com"
		}
		if got := s.listSource(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	names, entries, err := e.resolve(presence.Entity{}, listSource{xml: string(deflate([]byte(contained)))})
	if err != nil || len(names) != 0 || len(entries) != 3 || entries[1].entity != (presence.Entity{}) || entries[0].entity.User != "bob" {
		t.Errorf("%v %+v", err, entries)
	}
}

// Lists that strangers send and references that users write do no harm.
func FuzzContained(f *testing.F) {
	f.Add(contained, "resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22x%22%5d?xmlns(a=b)")
	f.Add(resourceLists(entriesXML("bob")), "http://example.com/resource-lists/global/index/~~/*/*[1]")
	e := &Edge{domains: map[string]bool{domain: true}}
	alice := presence.Entity{User: "alice", Domain: domain}
	f.Fuzz(func(t *testing.T, xml, ref string) {
		entries, err := e.contained(xml)
		if err == nil && len(entries) > len(xml) {
			t.Fatalf("%d entries", len(entries))
		}
		root, err := markup.Parse([]byte(xml), markup.File)
		if err != nil {
			return
		}
		r := &reader{edge: e, owner: alice, docs: map[xdm.Name]*markup.Element{{AUID: xdm.ResourceLists, User: alice, Path: xdm.Index}: root}}
		if el, err := r.lookup(ref); (el == nil) == (err == nil) {
			t.Fatalf("%v, %v", el, err)
		}
	})
}
