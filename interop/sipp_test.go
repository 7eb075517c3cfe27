package interop

import (
	"fmt"
	"strings"
	"testing"
)

// transports of sipp as Debian builds it.
var transports = []string{"udp", "tcp"}

func perTransport(t *testing.T, test func(t *testing.T, transport string)) {
	for _, tr := range transports {
		t.Run(tr, func(t *testing.T) { test(t, tr) })
	}
}

// through runs a scenario to its end.
func through(t *testing.T, s *Server, scenario string, u User, transport string, keys Keys) *Sipp {
	t.Helper()
	r := get(s.Sipp(scenario, u, transport, keys))(t)
	t.Cleanup(r.Stop)
	must(t, r.Done(soon))
	return r
}

func TestSippRegister(t *testing.T) {
	s, us := launch(t, "alice")
	perTransport(t, func(t *testing.T, tr string) {
		r := through(t, s, "register", us["alice"], tr, nil)
		get(r.Log(soon, `registered sip:alice@127\.0\.0\.1:`))(t)
	})
}

func TestSippWrongPassword(t *testing.T) {
	s, us := launch(t, "alice")
	wrong := us["alice"]
	wrong.Password += "!"
	r := get(s.Sipp("register", wrong, "udp", nil))(t)
	t.Cleanup(r.Stop)
	if err := r.Process.Wait(soon); err == nil {
		t.Fatal("a wrong password registered")
	}
	get(r.Message(soon, `SIP/2\.0 40[13]`))(t)
}

func TestSippPublish(t *testing.T) {
	s, us := launch(t, "alice")
	perTransport(t, func(t *testing.T, tr string) {
		r := through(t, s, "publish", us["alice"], tr, nil)
		m := get(r.Log(soon, `initial (\S+)\s+refreshed (\S+)\s+modified (\S+)`))(t)
		if m[1] == m[2] || m[2] == m[3] || m[1] == m[3] {
			t.Errorf("entity-tags must differ from each other: %q", m[1:])
		}
	})
}

func TestSippSubscribeErrors(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	perTransport(t, func(t *testing.T, tr string) {
		r := through(t, s, "refused", us["bob"], tr, Keys{"to": us["alice"].Address()})
		get(r.Log(soon, `refused 489\s+refused 406\s+refused 423`))(t)
		get(r.Message(soon, `423[^\n]*\n([^\n]+\n)*Min-Expires: [1-9]`))(t)
	})
}

// A user watches itself: no approval is needed, the first NOTIFY says that
// there is nothing yet, each change is told, and the end is told.
func TestSippWatch(t *testing.T) {
	perTransport(t, func(t *testing.T, tr string) {
		s, us := launch(t, "alice")
		alice := us["alice"]
		w := get(s.Sipp("watch", alice, tr, Keys{"to": alice.Address(), "UNTIL": "dm:note>lunch|note[^>]*>lunch"}))(t)
		t.Cleanup(w.Stop)
		get(w.Log(soon, `subscribed, expires 600\s+notify (\d+) active`))(t)
		through(t, s, "state", alice, tr, Keys{"basic": "open", "activity": "on-the-phone", "note": "on the phone"})
		get(w.Message(soon, `on-the-phone`))(t)
		through(t, s, "state", alice, tr, Keys{"basic": "open", "activity": "meal", "note": "lunch"})
		get(w.Log(soon, `notify \d+ terminated;reason=timeout`))(t)
		must(t, w.Done(soon))
		if n := strings.Count(w.logs.Text(), "notify"); n < 4 {
			t.Errorf("%d NOTIFYs, want 4 at least:\n%s", n, w.logs.Text())
		}
	})
}

// The same over IPv6.
func TestSippIPv6(t *testing.T) {
	if !hasIPv6() {
		t.Skip("no [::1] here")
	}
	s, us := launch(t, "alice")
	for _, tr := range []string{"udp6", "tcp6"} {
		t.Run(tr, func(t *testing.T) {
			r := through(t, s, "register", us["alice"], tr, nil)
			get(r.Log(soon, `registered sip:alice@\[::1\]:`))(t)
			w := get(s.Sipp("watch", us["alice"], tr, Keys{"to": "alice@localhost", "UNTIL": ">" + tr + "<"}))(t)
			t.Cleanup(w.Stop)
			get(w.Log(soon, `subscribed, expires 600\s+notify (\d+) active`))(t)
			unpublish(t, s, us["alice"], tr, state(t, s, us["alice"], tr, "open", "away", tr))
			get(w.Log(soon, `notify \d+ terminated;reason=timeout`))(t)
			must(t, w.Done(soon))
		})
	}
}

// A stranger waits for approval.
func TestSippPending(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	perTransport(t, func(t *testing.T, tr string) {
		w := get(s.Sipp("watch", us["bob"], tr, Keys{"to": us["alice"].Address(), "UNTIL": "pending"}))(t)
		t.Cleanup(w.Stop)
		get(w.Log(soon, `notify \d+ pending`))(t)
		must(t, w.Done(soon))
		if strings.Contains(w.Messages.Text(), "<tuple") {
			t.Errorf("a pending watcher was shown a tuple:\n%s", w.Messages.Text())
		}
	})
}

func TestSippMessage(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	perTransport(t, func(t *testing.T, tr string) {
		inbox := get(s.Sipp("inbox", us["bob"], tr, Keys{"port": freePort(t, tr)}))(t)
		t.Cleanup(inbox.Stop)
		listens(t, tr, inbox.Port)
		through(t, s, "binding", us["bob"], tr, Keys{"contact": "sip:bob@127.0.0.1:" + inbox.Port + ";transport=" + tr})
		through(t, s, "message", us["alice"], tr, Keys{"to": us["bob"].Address(), "text": "hello over " + tr})
		get(inbox.Log(soon, `message from sip:alice@localhost: hello over `+tr))(t)
		must(t, inbox.Done(soon))
	})
}

// A list that comes with the SUBSCRIBE: full state first, then what changes, and
// full state at the end.
func TestSippList(t *testing.T) {
	perTransport(t, func(t *testing.T, tr string) {
		s, us := launch(t, "alice", "bob")
		lets(t, s, us["alice"], us["bob"])
		w := get(s.Sipp("list", us["alice"], tr, Keys{"member": us["bob"].Address(), "UNTIL": "dm:note>lunch|note[^>]*>lunch"}))(t)
		t.Cleanup(w.Stop)
		get(w.Log(soon, `subscribed, eventlist, expires 600\s+notify 1 active[^\n]* fullState="true multipart/related`))(t)
		get(w.Message(soon, `uri="sip:nobody@localhost"><instance id="1" state="terminated" reason="noresource"/>`))(t)
		through(t, s, "state", us["bob"], tr, Keys{"basic": "open", "activity": "meal", "note": "lunch"})
		get(w.Log(soon, `notify 2 active[^\n]* fullState="false`))(t)
		get(w.Log(soon, `notify 3 terminated;reason=timeout fullState="true`))(t)
		must(t, w.Done(soon))
	})
}

// Who watches a user is told to the user: all at first, then what changes.
func TestSippWatcherInfo(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	w := get(s.Sipp("watch", alice, "udp", Keys{"to": alice.Address(), "event": "presence.winfo",
		"accept": "application/watcherinfo+xml", "UNTIL": "event=.timeout"}))(t)
	t.Cleanup(w.Stop)
	get(w.Message(soon, `<watcherinfo [^>]*version="0" state="full">\s*<watcher-list resource='sip:alice@localhost' package='presence'>\s*</watcher-list>`))(t)
	b := get(s.Sipp("watch", bob, "udp", Keys{"to": alice.Address(), "UNTIL": "active"}))(t)
	t.Cleanup(b.Stop)
	get(w.Message(soon, `version="1" state="partial">\s*<watcher-list [^>]*>\s*<watcher id='[a-z2-7]+' status='pending' event='subscribe'[^>]*>sip:bob@localhost</watcher>`))(t)
	chat := slix(t, s, alice, "chat")
	chat.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "bob@localhost"})
	chat.must(t, "subscribed", Fields{"to": "bob@localhost"})
	get(w.Message(soon, `status='active' event='approved'[^>]*>sip:bob@localhost</watcher>`))(t)
	must(t, b.Done(soon)) // it leaves
	get(w.Message(soon, `status='terminated' event='timeout'[^>]*>sip:bob@localhost</watcher>`))(t)
	must(t, w.Done(soon))
}

// A call of a user lights its lamp, and those who watch its presence see it on the
// phone.
func TestSippLamp(t *testing.T) {
	perTransport(t, func(t *testing.T, tr string) {
		s, us := launch(t, "alice")
		alice := us["alice"]
		lamp := get(s.Sipp("watch", alice, tr, Keys{"to": alice.Address(), "event": "dialog",
			"accept": "application/dialog-info+xml", "UNTIL": "remote.*terminated|terminated.*remote"}))(t)
		t.Cleanup(lamp.Stop)
		get(lamp.Message(soon, `<dialog-info [^>]*version="0" state="full" entity='sip:alice@localhost'>\s*<dialog id="none"><state>terminated</state></dialog>`))(t)
		icon := get(s.Sipp("watch", alice, tr, Keys{"to": alice.Address(), "UNTIL": "on-the-phone"}))(t)
		t.Cleanup(icon.Stop)
		get(icon.Log(soon, `notify \d+ active`))(t)
		through(t, s, "call", alice, tr, nil)
		for i, state := range []string{"early", "confirmed", "terminated"} {
			get(lamp.Message(soon, fmt.Sprintf(`version="%d" state="full"[^>]*>\s*<dialog id="\d+" [^>]*direction="recipient"><state>%s</state><remote><identity display="Carol">`, i+1, state)))(t)
		}
		must(t, icon.Done(soon))
		must(t, lamp.Done(soon))
	})
}

// What is in a mailbox is told to its owner.
func TestSippMailbox(t *testing.T) {
	perTransport(t, func(t *testing.T, tr string) {
		s, us := launch(t, "alice")
		alice := us["alice"]
		w := get(s.Sipp("watch", alice, tr, Keys{"to": alice.Address(), "event": "message-summary",
			"accept": "application/simple-message-summary", "UNTIL": "Waiting: yes"}))(t)
		t.Cleanup(w.Stop)
		get(w.Message(soon, `Content-Type: application/simple-message-summary[^\n]*\n[^\n]*\n\s*Messages-Waiting: no`))(t)
		through(t, s, "mailbox", alice, tr, Keys{"new": "2", "old": "3"})
		get(w.Message(soon, `Messages-Waiting: yes\s+Message-Account: sip:alice@localhost\s+Voice-Message: 2/3 \(0/0\)`))(t)
		must(t, w.Done(soon))
	})
}
