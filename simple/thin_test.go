package simple

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pharos/filter"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// watch subscribes with more header lines and a body.
func (p *phone) watches(to, lines, body, ctype string) (*sub, *sip.Message) {
	p.w.t.Helper()
	s := &sub{p: p, to: to, callID: newID()}
	m := p.want(200, out{method: "SUBSCRIBE", to: to, callID: s.callID, body: body, ctype: ctype,
		lines: fmt.Sprintf("Contact: <%s>\r\nExpires: 600\r\n", p.contact) + lines})
	s.tag = m.To().Tag()
	c, _, err := m.Contact()
	if err != nil {
		p.w.t.Fatal(err)
	}
	s.target = c.URI
	return s, m
}

// refreshes sends a SUBSCRIBE in the dialog with more header lines and a body.
func (s *sub) refreshes(status int, lines, body, ctype string) *sip.Message {
	s.p.w.t.Helper()
	return s.p.want(status, out{method: "SUBSCRIBE", to: s.to, uri: s.target, toTag: s.tag, callID: s.callID, body: body, ctype: ctype,
		lines: fmt.Sprintf("Contact: <%s>\r\nExpires: 600\r\n", s.p.contact) + lines})
}

func contentType(t *testing.T, m *sip.Message) string {
	t.Helper()
	ct, _, err := m.ContentType()
	if err != nil {
		t.Fatal(err)
	}
	return ct.String()
}

// TestPartialNotification is RFC 5263 §4: full state first, then what has changed,
// each under the next version; full state again in answer to a SUBSCRIBE.
func TestPartialNotification(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		long := strings.Repeat("a note that does not change; ", 20)
		tag := alice.publish("open", long, "")
		s, _ := bob.watches("alice", "Event: presence\r\nAccept: application/pidf+xml, application/pidf-diff+xml\r\n", "", "")
		full := bob.one()
		if contentType(t, full) != pidf.TypeDiff || !strings.Contains(full.Body, "pidf-full") {
			t.Fatalf("%s", full.Body)
		}
		have, err := pidf.Edit(nil, []byte(full.Body))
		if err != nil {
			t.Fatal(err)
		}
		tag = alice.publish("closed", long, tag)
		diff := bob.one()
		if !strings.Contains(diff.Body, "<pidf-diff") || len(diff.Body) > len(full.Body)/2 {
			t.Fatalf("%d bytes: %s", len(diff.Body), diff.Body)
		}
		if version(t, diff) != version(t, full)+1 {
			t.Errorf("versions %d, %d", version(t, full), version(t, diff))
		}
		if have, err = pidf.Edit(have, []byte(diff.Body)); err != nil {
			t.Fatal(err)
		}
		if d, _, err := pidf.Parse(have); err != nil || d.Tuples[0].Basic != presence.Closed || d.Tuples[0].Notes[0].Text != long {
			t.Errorf("%v\n%s", err, have)
		}
		s.refreshes(200, "Event: presence\r\nAccept: application/pidf-diff+xml\r\n", "", "")
		if m := bob.one(); !strings.Contains(m.Body, "pidf-full") {
			t.Errorf("after a refresh: %s", m.Body)
		}
		// A watcher that changes its mind.
		s.refreshes(200, "Event: presence\r\nAccept: application/pidf+xml\r\n", "", "")
		if m := bob.one(); contentType(t, m) != pidf.Type {
			t.Errorf("%s", m.Body)
		}
		alice.publish("open", "short", tag)
		if m := bob.one(); contentType(t, m) != pidf.Type {
			t.Errorf("%s", m.Body)
		}
	})
}

func version(t *testing.T, m *sip.Message) int {
	t.Helper()
	_, v, ok := strings.Cut(m.Body, "version='")
	v, _, _ = strings.Cut(v, "'")
	n, err := strconv.Atoi(v)
	if !ok || err != nil {
		t.Fatalf("no version in %s", m.Body)
	}
	return n
}

// TestPartialPublication is RFC 5264: the change of a publication instead of the whole.
func TestPartialPublication(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		const root = `<p:pidf-diff xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="sip:alice@example.com" version="1">`
		publish := func(status int, tag, body string) *sip.Message {
			t.Helper()
			lines := "Event: presence\r\nExpires: 600\r\n"
			if tag != "" {
				lines += "SIP-If-Match: " + tag + "\r\n"
			}
			return alice.want(status, out{method: "PUBLISH", lines: lines, body: body, ctype: pidf.TypeDiff})
		}
		publish(400, "", root+`</p:pidf-diff>`)
		tag := get(publish(200, "", `<p:pidf-full xmlns="urn:ietf:params:xml:ns:pidf" xmlns:p="urn:ietf:params:xml:ns:pidf-diff" entity="sip:alice@example.com" version="0">`+
			`<tuple id="t1"><status><basic>open</basic></status><note>here</note></tuple></p:pidf-full>`), sip.HSIPETag)
		bob.subscribe("alice", 600)
		if m := bob.one(); !strings.Contains(m.Body, "<note>here</note>") || strings.Contains(m.Body, "pidf-full") {
			t.Fatalf("%s", m.Body)
		}
		tag = get(publish(200, tag, root+`<p:replace sel="*/tuple[@id='t1']/note/text()">away</p:replace></p:pidf-diff>`), sip.HSIPETag)
		if m := bob.one(); !strings.Contains(m.Body, "<note>away</note>") || !strings.Contains(m.Body, "open") {
			t.Fatalf("%s", m.Body)
		}
		publish(412, "stale", root+`</p:pidf-diff>`)
		if m := publish(400, tag, root+`<p:remove sel="*/tuple[@id='none']"/></p:pidf-diff>`); !strings.Contains(m.Reason, "unlocated-node") {
			t.Error(m.Reason)
		}
		bob.none()
		publish(200, tag, root+`<p:add sel="*"><note>more</note></p:add></p:pidf-diff>`)
		if m := bob.one(); !strings.Contains(m.Body, "<note>more</note>") {
			t.Fatalf("%s", m.Body)
		}
	})
}

const filterHead = `<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings><ns-binding prefix="pidf" urn="urn:ietf:params:xml:ns:pidf"/></ns-bindings>`

// TestFilters is RFC 4660: content and triggers, changed within the dialog.
func TestFilters(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		tag := alice.publish("open", "one", "")
		s, _ := bob.watches("alice", "Event: presence\r\n", filterHead+
			`<filter id="1"><what><exclude>//pidf:note</exclude></what></filter></filter-set>`, filter.Type)
		if m := bob.one(); strings.Contains(m.Body, "one") || !strings.Contains(m.Body, "open") {
			t.Fatalf("%s", m.Body)
		}
		tag = alice.publish("open", "two", tag)
		bob.none() // nothing that it wants to know
		tag = alice.publish("closed", "two", tag)
		if m := bob.one(); strings.Contains(m.Body, "two") || !strings.Contains(m.Body, "closed") {
			t.Fatalf("%s", m.Body)
		}
		// One filter more, in the dialog: only when it opens, whatever was told in between.
		w.restart()
		s.refreshes(200, "Event: presence\r\n", filterHead+
			`<filter id="1"><trigger><changed from="closed" to="open">//pidf:basic</changed></trigger></filter></filter-set>`, filter.Type)
		if m := bob.one(); !strings.Contains(m.Body, "two") {
			t.Fatalf("%s", m.Body) // the filter of this id was replaced, and the answer comes in any case
		}
		tag = alice.publish("open", "three", tag)
		if m := bob.one(); !strings.Contains(m.Body, "three") {
			t.Fatalf("%s", m.Body)
		}
		tag = alice.publish("closed", "four", tag)
		bob.none()
		tag = alice.publish("open", "five", tag)
		if m := bob.one(); !strings.Contains(m.Body, "five") {
			t.Fatalf("%s", m.Body)
		}
		s.refreshes(400, "Event: presence\r\n", filterHead+`<filter id="2"/></filter-set>`, filter.Type) // a second for the same user
		s.refreshes(200, "Event: presence\r\n", filterHead+`<filter id="1" remove="true"/></filter-set>`, filter.Type)
		bob.got()
		alice.publish("closed", "six", tag)
		if m := bob.one(); !strings.Contains(m.Body, "six") {
			t.Fatalf("%s", m.Body)
		}
	})
}

// TestMaxRate is RFC 6446 §4: the newest state, once the interval is over.
func TestMaxRate(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		tag := alice.publish("open", "one", "")
		s, _ := bob.watches("alice", "Event: presence;max-rate=0.1\r\n", "", "")
		if m := bob.one(); !strings.Contains(state(m), ";max-rate=0.1") {
			t.Error(state(m))
		}
		tag = alice.publish("open", "two", tag)
		alice.publish("open", "three", tag)
		bob.none()
		time.Sleep(11 * time.Second)
		if m := bob.one(); !strings.Contains(m.Body, "three") {
			t.Errorf("%s", m.Body)
		}
		s.again(200, 0)
		if m := bob.one(); !strings.HasPrefix(state(m), "terminated") {
			t.Errorf("the end had to wait: %s", state(m))
		}
	})
}

// TestMinRate is RFC 6446 §5 and §6: the state is told though nothing has changed.
func TestMinRate(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.publish("open", "one", "")
		s, _ := bob.watches("alice", "Event: presence;min-rate=0.05\r\n", "", "")
		bob.one()
		time.Sleep(61 * time.Second)
		if ms := bob.got(); len(ms) != 3 || !strings.Contains(ms[2].Body, "one") {
			t.Errorf("%d in a minute", len(ms))
		}
		s.refreshes(200, "Event: presence;min-rate=100;adaptive-min-rate=x\r\n", "", "")
		if m := bob.one(); !strings.HasSuffix(state(m), ";min-rate=1") {
			t.Errorf("not adjusted: %s", state(m))
		}
		s.refreshes(200, "Event: presence\r\n", "", "")
		bob.one()
		time.Sleep(time.Minute)
		bob.none()
		s.refreshes(200, "Event: presence;adaptive-min-rate=0.1\r\n", "", "")
		bob.one()
		time.Sleep(9 * time.Minute)
		// In the long run one in ten seconds.
		if n := len(bob.got()); n < 50 || n > 70 {
			t.Errorf("%d in nine minutes", n)
		}
		s.again(200, 0)
		bob.got()
		time.Sleep(time.Minute)
		bob.none()
	})
}

// TestConditionalNotification is RFC 5839 §5.4 to §5.7.
func TestConditionalNotification(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		published := alice.publish("open", "one", "")
		s, _ := bob.watches("alice", "Event: presence\r\n", "", "")
		first := bob.one()
		tag := get(first, sip.HSIPETag)
		if tag == "" || first.Body == "" {
			t.Fatalf("%s", first.Append(nil))
		}
		// A refresh: no NOTIFY.
		m := s.refreshes(204, "Event: presence\r\nSuppress-If-Match: "+tag+"\r\n", "", "")
		if m.Reason != "No Notification" || get(m, sip.HExpires) != "600" {
			t.Errorf("%s", m.Append(nil))
		}
		bob.none()
		w.restart() // and the tag means the same afterwards
		time.Sleep(time.Second)
		bob.got() // the state after the restart
		s.refreshes(204, "Event: presence\r\nSuppress-If-Match: "+tag+"\r\n", "", "")
		bob.none()
		// What changes is told.
		published = alice.publish("open", "two", published)
		if m := bob.one(); m.Body == "" || get(m, sip.HSIPETag) == tag {
			t.Errorf("%s", m.Append(nil))
		}
		s.refreshes(200, "Event: presence\r\nSuppress-If-Match: "+tag+"\r\n", "", "")
		if m := bob.one(); m.Body == "" {
			t.Errorf("the old tag still counts: %s", m.Append(nil))
		}
		// Sleeping: nothing but the end, without a body.
		s.refreshes(204, "Event: presence\r\nSuppress-If-Match: *\r\n", "", "")
		published = alice.publish("open", "three", published)
		bob.none()
		s.again(200, 0)
		end := bob.one()
		if !strings.HasPrefix(state(end), "terminated") {
			t.Errorf("%s", end.Append(nil))
		}
		// Resuming: the first NOTIFY has no body, the next change has.
		tag = get(end, sip.HSIPETag)
		s, _ = bob.watches("alice", "Event: presence\r\nSuppress-If-Match: "+tag+"\r\n", "", "")
		if m := bob.one(); m.Body != "" || get(m, sip.HSIPETag) != tag || !strings.HasPrefix(state(m), "active") {
			t.Errorf("%s", m.Append(nil))
		}
		alice.publish("closed", "four", published)
		if m := bob.one(); m.Body == "" {
			t.Errorf("%s", m.Append(nil))
		}
		s.again(200, 0)
	})
}

// TestListMaxRate: a list is told no more often than its watcher wants, and then
// all that has changed meanwhile.
func TestListMaxRate(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("alice", "bob", presence.Allow)
		w.rule("alice", "carol", presence.Allow)
		alice, bob, carol := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("carol", "192.0.2.12:5060")
		s := &sub{p: alice, to: "alice", callID: newID()}
		m := alice.want(200, out{method: "SUBSCRIBE", uri: "sip:rls@" + domain, callID: s.callID, body: resourceLists(entriesXML("bob", "carol")), ctype: listType,
			lines: supportsLists + "Require: recipient-list-subscribe\r\nContent-Disposition: recipient-list\r\n" +
				fmt.Sprintf("Event: presence;max-rate=0.1\r\nContact: <%s>\r\nExpires: 600\r\n", alice.contact)})
		s.tag = m.To().Tag()
		time.Sleep(3 * time.Second)
		if ms := alice.got(); len(ms) != 1 || !strings.Contains(state(ms[0]), "max-rate=0.1") {
			t.Fatalf("%v", texts(ms))
		}
		bob.publish("open", "one", "")
		time.Sleep(time.Second)
		carol.publish("open", "two", "")
		alice.none()
		time.Sleep(10 * time.Second)
		if m := alice.one(); !strings.Contains(m.Body, ">one<") || !strings.Contains(m.Body, ">two<") {
			t.Errorf("%s", m.Body)
		}
	})
}

func TestInside(t *testing.T) {
	for doc, want := range map[string]string{
		`<?xml version="1.0"?>` + "\n" + `<presence xmlns="urn:x" entity="sip:a@b"><tuple id="1"/></presence>`: `<tuple id="1"/></presence>`,
		`<presence xmlns="urn:x" xmlns:r="urn:r"></presence>`:                                                  `</presence>`,
		`<presence`: `<presence`,
		``:          ``,
	} {
		if got := string(inside([]byte(doc))); got != want {
			t.Errorf("%q: %q", doc, got)
		}
	}
}
