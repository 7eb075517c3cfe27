package simple

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/filter"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
	"pharos/xdm"
)

// meter counts what goes over a phone's wire, in octets of SIP messages.
type meter struct {
	mu                     sync.Mutex
	notifies, notify, wire int
}

// count is nil-safe.
func (m *meter) count(b []byte) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wire += len(b)
	if strings.HasPrefix(string(b), "NOTIFY ") {
		m.notifies++
		m.notify += len(b)
	}
}

// richDoc is what a phone, a calendar and a chat client together say of a user:
// about 1.5 kB.
func richDoc(user, activity, note string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:cipid="urn:ietf:params:xml:ns:pidf:cipid" entity="sip:` + user + `@example.com">
<tuple id="desk"><status><basic>open</basic></status><rpid:class>work</rpid:class><dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID><rpid:relationship><rpid:self/></rpid:relationship><contact priority="0.8">sip:` + user + `@example.com</contact><note xml:lang="en">desk phone, second floor</note></tuple>
<tuple id="mobile"><status><basic>open</basic></status><rpid:class>mobile</rpid:class><dm:deviceID>urn:uuid:d27459b7-8213-4395-aa77-ed859a3e5b3a</dm:deviceID><contact priority="0.3">tel:+43-1-5550123</contact></tuple>
<dm:person id="me"><rpid:activities><rpid:` + activity + `/></rpid:activities><rpid:mood><rpid:happy/></rpid:mood><rpid:place-type><lt:office xmlns:lt="urn:ietf:params:xml:ns:location-type"/></rpid:place-type><rpid:sphere><rpid:work/></rpid:sphere><rpid:time-offset>60</rpid:time-offset><cipid:display-name>Example User</cipid:display-name><cipid:icon>https://example.com/icons/` + user + `.png</cipid:icon><dm:note xml:lang="en">` + note + `</dm:note></dm:person>
<dm:device id="d1"><dm:deviceID>urn:uuid:48662e19-5fbf-43fc-a2fd-d23002787599</dm:deviceID></dm:device>
</presence>`
}

// thinCase is one way to watch.
type thinCase struct {
	name     string
	event    string // parameters of Event
	accept   string
	lines    string
	filter   bool
	suppress bool
	list     bool
	members  int // users that each watcher watches; 0: one
}

const onlyActivities = `<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings><ns-binding prefix="p" urn="urn:ietf:params:xml:ns:pidf"/>` +
	`<ns-binding prefix="r" urn="urn:ietf:params:xml:ns:pidf:rpid"/></ns-bindings><filter id="1"><what>` +
	`<include type="xpath">//p:basic</include><include type="xpath">//r:activities</include></what></filter></filter-set>`

// hour is what one of n watchers cost in a working hour. Each user watched changes
// 12 times: every quarter of an hour something begins, 20 s later the note says what,
// and 20 s after that it is something else. Each watcher refreshes every 10
// minutes. The first NOTIFY is counted, and the seven answers to SUBSCRIBEs with it.
func (c thinCase) hour(t *testing.T, n int) *meter {
	total := &meter{}
	members := max(c.members, 1)
	inWorld(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Limits: Limits{Subscriptions: 1 << 20}}, func(w *world) {
		var names []string
		var as []presence.Entity
		for i := range members {
			names = append(names, fmt.Sprint("user", i))
			as = append(as, presence.Entity{User: names[i], Domain: domain})
		}
		accounts := accountsOf()[:1:1]
		for _, e := range as {
			a := accounts[0] // its password nobody needs
			a.User = e
			accounts = append(accounts, a)
		}
		if err := w.store.PutAccounts(context.Background(), accounts[1:]); err != nil {
			t.Fatal(err)
		}
		type event struct {
			at time.Duration
			do func()
		}
		var events []event
		for i, name := range names {
			p := w.tcpPhone(name, fmt.Sprintf("192.0.2.20:%d", 5060+i))
			tag := ""
			publish := func(activity, note string) {
				lines := "Event: presence\r\nExpires: 3600\r\n"
				if tag != "" {
					lines += "SIP-If-Match: " + tag + "\r\n"
				}
				tag = get(p.want(200, out{method: "PUBLISH", lines: lines, body: richDoc(name, activity, note), ctype: pidf.Type}), sip.HSIPETag)
			}
			publish("working", "at my desk")
			for quarter := range 4 {
				at := time.Duration(quarter)*15*time.Minute + time.Duration(60+i*11%600)*time.Second
				events = append(events,
					event{at, func() { publish("on-the-phone", "at my desk") }},
					event{at + 20*time.Second, func() { publish("on-the-phone", fmt.Sprint("call ", quarter)) }},
					event{at + 40*time.Second, func() {
						publish([]string{"meeting", "working", "meal", "appointment"}[quarter], fmt.Sprint("call ", quarter))
					}})
			}
		}
		if c.list {
			w.putDocument("bob", xdm.ResourceLists, resourceLists(entriesXML(names...)))
		}
		var meters []*meter
		for i := range n {
			p := w.tcpPhone("bob", fmt.Sprintf("192.0.2.30:%d", 5060+i))
			p.meter = &meter{}
			meters = append(meters, p.meter)
			lines := fmt.Sprintf("Event: presence%s\r\nAccept: %s\r\nContact: <%s>\r\nExpires: 900\r\n%s", c.event, cmp.Or(c.accept, pidf.Type), p.contact, c.lines)
			body := ""
			if c.filter {
				body = onlyActivities
			}
			to := names
			if c.list {
				to = []string{"bob/buddies"}
			}
			for _, of := range to {
				s := &sub{p: p, to: "bob", callID: newID()}
				o := out{method: "SUBSCRIBE", uri: "sip:" + of + "@example.com", to: of, callID: s.callID, lines: lines, body: body, ctype: filter.Type}
				m := p.want(200, o)
				contact, _, err := m.Contact()
				if err != nil {
					t.Fatal(err)
				}
				o.uri, o.toTag, o.body = contact.URI, m.To().Tag(), "" // a filter stays
				refresh := func() {
					if c.suppress {
						o.lines = lines + "Suppress-If-Match: " + p.etag(s.callID) + "\r\n"
					}
					o.cseq = 0
					if m := p.do(o); m.Status != 200 && m.Status != 204 {
						t.Errorf("refresh: %d", m.Status)
					}
				}
				for at := 10 * time.Minute; at <= time.Hour; at += 10 * time.Minute {
					events = append(events, event{at - time.Duration(i%60)*time.Second, refresh})
				}
			}
		}
		time.Sleep(5 * time.Second) // all have their first NOTIFY
		slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		began := time.Now()
		for _, e := range events {
			time.Sleep(time.Until(began.Add(e.at)))
			e.do()
		}
		time.Sleep(time.Until(began.Add(62 * time.Minute))) // what waits for its time
		for _, m := range meters {
			m.mu.Lock()
			total.notifies += m.notifies
			total.notify += m.notify
			total.wire += m.wire
			m.mu.Unlock()
		}
	})
	return total
}

// etag is that of the last NOTIFY of a dialog.
func (p *phone) etag(callID string) (tag string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.requests {
		if m.CallID() == callID {
			if e := get(m, sip.HSIPETag); e != "" {
				tag = e
			}
		}
	}
	return tag
}

// What each way to thin traffic saves, in NOTIFYs and octets of a watcher's hour. With
// -v it prints the rows that 'go run ./bench/run -only thin' makes a table of.
func TestThinning(t *testing.T) {
	const both = "application/pidf+xml, application/pidf-diff+xml"
	const lists = "multipart/related, application/rlmi+xml, application/pidf+xml"
	got := map[string]*meter{}
	cases := []thinCase{
		{name: "plain"},
		{name: "partial state", accept: both},
		{name: "filter: basic, activities", filter: true},
		{name: "max-rate of one a minute", event: ";max-rate=0.0166"},
		{name: "Suppress-If-Match", suppress: true},
		{name: "all of these", accept: both, filter: true, event: ";max-rate=0.0166", suppress: true},
		{name: "50 users, one by one", members: 50},
		{name: "50 users, a list", members: 50, list: true, accept: lists, lines: "Supported: eventlist\r\n"},
		{name: "50 users, a list, deflate", members: 50, list: true, accept: lists, lines: "Supported: eventlist\r\nAccept-Encoding: deflate\r\n"},
		{name: "50 users, a list, deflate, max-rate", members: 50, list: true, accept: lists, event: ";max-rate=0.0166", lines: "Supported: eventlist\r\nAccept-Encoding: deflate\r\n"},
	}
	for _, c := range cases {
		n := 100
		if c.members > 0 {
			n = 1
		}
		m := c.hour(t, n)
		got[c.name] = &meter{notifies: m.notifies / n, notify: m.notify / n, wire: m.wire / n}
		t.Logf("thin: %s | %.1f | %d | %d", c.name, float64(m.notifies)/float64(n), m.notify/n, m.wire/n)
	}
	// Each must save, by what it is for.
	for _, c := range []struct {
		is, than    string
		notify, all float64 // at most so much of that
	}{
		{"partial state", "plain", 0.7, 0.8},
		{"filter: basic, activities", "plain", 0.5, 0.6},
		{"max-rate of one a minute", "plain", 0.85, 0.85},
		{"Suppress-If-Match", "plain", 0.7, 0.75},
		{"all of these", "plain", 0.25, 0.4},
		{"50 users, a list, deflate", "50 users, one by one", 0.6, 0.5},
		{"50 users, a list, deflate", "50 users, a list", 0.5, 0.5},
		{"50 users, a list, deflate, max-rate", "50 users, a list, deflate", 0.6, 0.6},
	} {
		is, than := got[c.is], got[c.than]
		if float64(is.notify) > c.notify*float64(than.notify) || float64(is.wire) > c.all*float64(than.wire) {
			t.Errorf("%s: %d octets of NOTIFYs and %d in all; %s: %d and %d", c.is, is.notify, is.wire, c.than, than.notify, than.wire)
		}
	}
	// Versions and partial state do not change how often is told.
	if p := got["plain"]; p.notifies != 1+12+6 || got["partial state"].notifies != p.notifies {
		t.Errorf("%d and %d NOTIFYs", p.notifies, got["partial state"].notifies)
	}
}
