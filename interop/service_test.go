package interop

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// launchService starts three servers that are one. The logs of all are looked at, as launch does.
func launchService(t *testing.T, settings []string, users ...string) (*Service, map[string]User) {
	t.Helper()
	t.Parallel()
	s := get(StartService(binary, t.TempDir(), 3, settings...))(t)
	t.Cleanup(func() {
		must(t, s.Stop())
		for i, v := range s.Servers {
			log := v.Text()
			for _, bad := range []string{"DATA RACE", "panic:", "level=ERROR"} {
				if strings.Contains(log, bad) {
					t.Errorf("the log of %s has %q:\n%s", Name(i), bad, log)
				}
			}
			if t.Failed() {
				t.Logf("the log of %s:\n%s", Name(i), log)
			}
		}
	})
	return s, get(s.Servers[0].AddUsers(users...))(t)
}

// house has users live at one of the servers: the others do not take any while the users become
// friends, all of them with each other.
func (s *Service) house(t *testing.T, at int, users ...User) {
	t.Helper()
	only := func(state string) func(map[string]Node) bool {
		return func(nodes map[string]Node) bool {
			for i := range s.Servers {
				if i != at && nodes[Name(i)].State != state {
					return false
				}
			}
			return true
		}
	}
	for i := range s.Servers {
		if i != at {
			must(t, s.Servers[at].Command(nil, "cluster", "drain", Name(i)))
		}
	}
	must(t, s.Await(soon, func(nodes map[string]Node) bool { return only("standby")(nodes) || only("draining")(nodes) }))
	for i, u := range users {
		for _, w := range users[i+1:] {
			lets(t, s.Servers[at], u, w)
			lets(t, s.Servers[at], w, u)
		}
	}
	for i := range s.Servers {
		if i != at {
			must(t, s.Servers[at].Command(nil, "cluster", "undrain", Name(i)))
		}
	}
	must(t, s.Await(soon, only("active")))
}

// kill ends a server as kill -9 does, and waits until the others know.
func (s *Service) kill(t *testing.T, i int) {
	t.Helper()
	s.Servers[i].Kill()
	must(t, s.Await(soon, func(nodes map[string]Node) bool {
		n, there := nodes[Name(i)]
		return !there || n.State == "dead"
	}))
}

// A phone at one server, its buddy's chat client at another, both living at a third: they see
// each other, and go on when first the third server dies, and then the phone's own. The phone
// does nothing for that: it is not even registered again.
func TestServiceKilled(t *testing.T) {
	s, us := launchService(t, nil, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	s.house(t, 2, alice, bob)
	chat := slix(t, s.Servers[1], bob, "desk")
	p := phone(t, s.Servers[0], alice, "udp", bob)
	get(p.See(soon, `(?s)Subscription-State: active.*<basic>open</basic>`))(t)
	chat.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "available"})
	chat.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	must(t, p.Shows(soon, bob, "Busy"))
	must(t, p.Message("can you hear me?"))
	chat.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "can you hear me?"})

	s.kill(t, 2)
	chat.must(t, "presence", Fields{"show": "chat"})
	must(t, p.Shows(soon, bob, "Online"))
	chat.must(t, "message", Fields{"to": "alice@localhost", "body": "still there"})
	get(p.See(soon, `sip:bob@localhost: "still there"`))(t)
	must(t, s.Servers[2].Restart())
	must(t, s.Await(soon, func(nodes map[string]Node) bool { return nodes["n3"].State == "active" && nodes["n3"].Reached }))

	s.kill(t, 0)
	chat.must(t, "presence", Fields{"show": "dnd", "status": "writing again"})
	must(t, p.Shows(soon, bob, "Busy"))
	chat.must(t, "presence", Fields{"show": "chat"})
	must(t, p.Shows(soon, bob, "Online"))
	if n := strings.Count(p.Text(), "SUBSCRIBE sip:bob"); n != 2 { // without, and with credentials
		t.Errorf("the phone subscribed %d times", n)
	}
}

// A client that follows see-other-host is sent to the server at which its user lives; one that
// does not is served where it comes, and is tried once.
func TestServiceRedirected(t *testing.T) {
	s, us := launchService(t, []string{"redirect_xmpp = true"}, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	s.house(t, 2, alice, bob)
	host := s.Servers[0].host
	a := get(s.Servers[0].Node("xmppjs", "@xmpp/client", alice, "web", "xmpp://"+host+":5222"))(t)
	t.Cleanup(a.Stop)
	if n := get(s.Servers[2].sessions())(t); n != 1 {
		t.Errorf("%d sessions where alice lives, want hers", n)
	}
	counts := func(of string) (n uint64) {
		for _, v := range s.Servers {
			var st struct{ Redirects map[string]uint64 }
			must(t, v.Command(&st, "cluster", "status", "--json"))
			n += st.Redirects[of]
		}
		return n
	}
	for end := time.Now().Add(soon); counts("followed") != 1 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if n := counts("followed"); n != 1 {
		t.Errorf("%d followed, want 1", n)
	}
	if n := counts("redirected"); n != 1 {
		t.Errorf("%d redirected, want 1", n)
	}

	// slixmpp reads it and does not follow: it is served when it comes again.
	lost := get(s.Servers[0].slixmpp(bob, "desk"))(t)
	t.Cleanup(lost.Stop)
	lost.sees(t, Fields{"event": "stream_error", "condition": "see-other-host"})
	lost.Stop()
	b := slix(t, s.Servers[0], bob, "desk")
	if n := get(s.Servers[0].sessions())(t); n != 1 {
		t.Errorf("%d sessions where bob came, want his", n)
	}
	if n := counts("redirected"); n != 2 {
		t.Errorf("%d redirected, want 2", n)
	}
	a.must(t, "presence", Fields{"show": "away", "status": "lunch"})
	b.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "lunch"})
}

// A drained server is empty, its clients are where they were, and see each other.
func TestServiceDrained(t *testing.T) {
	s, us := launchService(t, nil, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	s.house(t, 1, alice, bob)
	a, b := slix(t, s.Servers[1], alice, "desk"), slix(t, s.Servers[0], bob, "desk")
	a.sees(t, Fields{"event": "presence", "from": "bob@localhost/desk", "type": "available"})
	must(t, s.Servers[0].Command(nil, "cluster", "drain", "n2"))
	must(t, s.Await(soon, func(nodes map[string]Node) bool {
		return nodes["n2"].Users == 0 && nodes["n1"].Users+nodes["n3"].Users >= 2
	}))
	a.must(t, "presence", Fields{"show": "away", "status": "moved"})
	b.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "moved"})
	b.must(t, "presence", Fields{"show": "dnd", "status": "moved too"})
	a.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "show": "dnd", "status": "moved too"})
}

// An observer's sipp is told of the whole service, and of what happens to it.
func TestServiceObserved(t *testing.T) {
	s, us := launchService(t, []string{`observers = ["noc@localhost"]`}, "noc", "alice")
	w := get(s.Servers[1].Sipp("watch", us["noc"], "tcp", Keys{"to": "service@localhost", "UNTIL": `svr-id=.n1. state=.gone`}))(t)
	t.Cleanup(w.Stop)
	get(w.Message(soon, `(?s)NOTIFY.*<lc:load-info version="0" state="full">.*</presence>`))(t)
	// The third may have joined just before: then it comes with the next document.
	for _, want := range []string{`svr-id='n1'[^>]*state='active'`, `svr-id='n2'[^>]*state='active'`, `svr-id='n3'[^>]*state='active'`, `<lc:server-count>3<`} {
		re := regexp.MustCompile(want)
		get(w.Messages.wait(soon, want, new(int), func(all []byte) ([]string, int) { return re.FindStringSubmatch(string(all)), 0 }))(t)
	}
	slix(t, s.Servers[2], us["alice"], "desk")
	get(w.Message(soon, `(?s)state="partial".*user-id='alice@localhost'`))(t)
	s.kill(t, 0)
	must(t, w.Done(soon))
	other := get(s.Servers[1].Sipp("watch", us["alice"], "tcp", Keys{"to": "service@localhost"}))(t)
	t.Cleanup(other.Stop)
	get(other.Message(soon, `SIP/2\.0 403 `))(t)
}

// sessions is how many XMPP sessions a server has.
func (s *Server) sessions() (int, error) {
	var st struct{ XMPP struct{ Sessions int } }
	err := s.Command(&st, "status", "--json")
	return st.XMPP.Sessions, err
}
