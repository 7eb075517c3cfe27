package simple

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// setAnswer changes how a phone answers requests.
func (p *phone) setAnswer(f func(req *sip.Message) (int, string)) {
	p.mu.Lock()
	p.answer = f
	p.mu.Unlock()
}

func silent(*sip.Message) (int, string) { return 0, "" }

func answerWith(status int, extra string) func(*sip.Message) (int, string) {
	return func(*sip.Message) (int, string) { return status, extra }
}

// cseqs are the numbers of different NOTIFYs, without retransmissions.
func cseqs(ms []*sip.Message) (ns []uint32) {
	for _, m := range ms {
		if len(ns) == 0 || ns[len(ns)-1] != m.CSeq() {
			ns = append(ns, m.CSeq())
		}
	}
	return ns
}

// One NOTIFY is under way at a time, and the newest state follows it.
func TestNewestWins(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.subscribe("alice", 600)
		bob.one()
		bob.setAnswer(silent)
		tag := alice.publish("open", "state 0", "")
		first := bob.one()
		for i := 1; i <= 20; i++ {
			tag = alice.publish("open", fmt.Sprintf("state %d", i), tag)
		}
		if ns := cseqs(bob.got()); len(ns) > 1 || len(ns) == 1 && ns[0] != first.CSeq() {
			t.Errorf("others under way: %v", ns)
		}
		bob.setAnswer(nil)
		bob.write(replyTo(first, 200, ""))
		n := bob.one()
		if !strings.Contains(n.Body, "state 20") || n.CSeq() != first.CSeq()+1 {
			t.Errorf("next:\n%s", n.Append(nil))
		}
		time.Sleep(time.Minute)
		bob.none()
	})
}

// RFC 6665 §4.2.2: these end the subscription, with nobody told.
func TestFatalAnswers(t *testing.T) {
	for _, code := range []int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604} {
		inWorld(t, Config{}, func(w *world) {
			alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
			s, _ := bob.subscribe("alice", 600)
			bob.one()
			bob.setAnswer(answerWith(code, ""))
			tag := alice.publish("open", "x", "")
			bob.one()
			alice.publish("open", "y", tag)
			bob.none()
			s.again(481, 600)
			if n := w.engine.Stats().Subscriptions; n != 0 {
				t.Errorf("after %d the presentity has %d subscriptions", code, n)
			}
		})
	}
}

// A phone that fails for a while is not dropped, and is told what is then true.
func TestPassingFailure(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*sip.Message) (int, string)
		until  time.Duration // by then it has been tried again
		before time.Duration // and not before
	}{
		{"500", answerWith(500, ""), 6 * time.Second, 4 * time.Second},
		{"503 with Retry-After", answerWith(503, "Retry-After: 60\r\n"), 61 * time.Second, 59 * time.Second},
		{"408", answerWith(408, ""), 6 * time.Second, 4 * time.Second},
		{"302", answerWith(302, "Contact: <sip:bob@192.0.2.77>\r\n"), 6 * time.Second, 4 * time.Second},
		{"603", answerWith(603, ""), 6 * time.Second, 4 * time.Second},
		{"none", silent, 38 * time.Second, 36 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
				s, _ := bob.subscribe("alice", 3000)
				bob.one()
				bob.setAnswer(c.answer)
				tag := alice.publish("open", "old", "")
				first := bob.got()[0]
				alice.publish("open", "new", tag)
				time.Sleep(c.before)
				if ns := cseqs(bob.got()); len(ns) > 1 || len(ns) == 1 && ns[0] != first.CSeq() {
					t.Errorf("tried again at once: %v", ns)
				}
				if i, _ := w.edge.Describe(s.tag); c.name != "none" && (!i.Retrying || i.Failures != 1) {
					t.Errorf("described as %+v", i)
				}
				bob.setAnswer(nil)
				time.Sleep(c.until - c.before)
				ms := bob.got()
				if len(ms) == 0 || !strings.Contains(ms[len(ms)-1].Body, "new") {
					t.Fatalf("then: %v", texts(ms))
				}
				if i, _ := w.edge.Describe(s.tag); i.Code != 200 || i.Failures != 0 || i.Retrying {
					t.Errorf("described as %+v", i)
				}
			})
		})
	}
}

// A phone that is gone for good is let go after a number of failures.
func TestGivingUp(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Failures: 3}}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.subscribe("alice", 3000)
		bob.one()
		bob.setAnswer(silent)
		alice.publish("open", "x", "")
		time.Sleep(3*32*time.Second + 5*time.Second + 10*time.Second + time.Second)
		if ns := cseqs(bob.got()); len(ns) != 3 {
			t.Errorf("tried as %v", ns)
		}
		if w.edge.Stats().Dialogs != 0 || w.edge.Stats().Lost != 1 || w.engine.Stats().Subscriptions != 0 {
			t.Errorf("left: %+v", w.edge.Stats())
		}
		time.Sleep(10 * time.Minute)
		bob.none()
	})
}

// The watcher refreshes while a NOTIFY is being repeated to where it was: it is
// answered at once.
func TestRefreshOvertakes(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 3000)
		bob.one()
		bob.close()
		alice.publish("open", "x", "")
		time.Sleep(10 * time.Second)
		moved := w.phone("bob", "192.0.2.50:5060")
		s.p, moved.cseq = moved, bob.cseq
		s.again(200, 3000)
		if n := moved.one(); !strings.Contains(n.Body, ">x<") || n.URI != moved.contact {
			t.Errorf("at the new place:\n%s", n.Append(nil))
		}
		time.Sleep(time.Minute) // the overtaken one times out
		moved.none()
		alice.publish("open", "y", "")
		moved.one()
	})
}

// A TCP client: NOTIFYs over its connection; when that has ended and nobody
// listens at its Contact, nothing is tried until it is back.
func TestConnectionLost(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.tcpPhone("bob", "192.0.2.11:50000")
		bob.contact = "sip:x@abc.invalid;transport=ws"
		contact := "Contact: <" + bob.contact + ">;reg-id=1" + instance + "\r\n"
		bob.want(200, out{method: "REGISTER", lines: "Supported: outbound\r\n" + contact})
		s, _ := bob.subscribe("alice", 3000)
		bob.one()
		tag := alice.publish("open", "one", "")
		bob.one()
		bob.close()
		tag = alice.publish("open", "two", tag)
		tag = alice.publish("open", "three", tag)
		time.Sleep(5 * time.Minute)
		if i, ok := w.edge.Describe(s.tag); !ok || !i.Stranded || i.Transport != "" {
			t.Errorf("described as %+v", i)
		}
		if st := w.edge.Stats(); st.Troubled != 1 || st.Notifies != 2 {
			t.Errorf("%+v", st)
		}
		// Back on a new connection: registering is enough.
		bob.addr = "192.0.2.11:50001"
		bob.connect()
		bob.want(200, out{method: "REGISTER", lines: "Supported: outbound\r\n" + contact})
		if n := bob.one(); !strings.Contains(n.Body, "three") {
			t.Errorf("back:\n%s", n.Body)
		}
		alice.publish("open", "four", tag)
		if n := bob.one(); !strings.Contains(n.Body, "four") {
			t.Errorf("back:\n%s", n.Body)
		}
		// Once more, and then a SUBSCRIBE.
		bob.close()
		alice.publish("open", "five", "")
		bob.addr = "192.0.2.11:50002"
		bob.connect()
		s.again(200, 3000)
		if n := bob.one(); !strings.Contains(n.Body, "five") {
			t.Errorf("back:\n%s", n.Body)
		}
		// And then never again: it ends when its time is up.
		bob.close()
		alice.publish("open", "six", "")
		time.Sleep(3001 * time.Second)
		if st := w.edge.Stats(); st.Troubled != 0 || st.Dialogs != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A TCP client that listens is connected to again.
func TestConnectionOpened(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.tcpPhone("bob", "192.0.2.11:50000")
		bob.contact = "sip:bob@192.0.2.11:5070;transport=tcp"
		bob.subscribe("alice", 3000)
		bob.one()
		bob.close()
		l := w.net.MustListen("192.0.2.11:5070")
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				bob.conn = conn
				bob.read(conn)
			}
		}()
		alice.publish("open", "one", "")
		time.Sleep(time.Second)
		if n := bob.one(); !strings.Contains(n.Body, "one") {
			t.Errorf("got:\n%s", n.Body)
		}
	})
}

// CSeq is reserved in blocks, saved before it is used; over a restart it only rises,
// and the watcher needs not subscribe again.
func TestRestart(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 100000)
		bob.one()
		tag := ""
		for i := range 5 {
			tag = alice.publish("open", fmt.Sprint("state ", i), tag)
		}
		last := bob.got()
		w.restart()
		time.Sleep(time.Second)
		n := bob.one() // what was committed and perhaps not told is told again
		if n.CSeq() <= last[len(last)-1].CSeq() || !strings.Contains(n.Body, "state 4") || n.URI != bob.contact || n.From().Tag() != s.tag {
			t.Errorf("after the restart:\n%s", n.Append(nil))
		}
		tag = alice.publish("open", "state 5", tag)
		if m := bob.one(); m.CSeq() != n.CSeq()+1 || !strings.Contains(m.Body, "state 5") {
			t.Errorf("after the restart:\n%s", m.Append(nil))
		}
		s.again(200, 1000)
		bob.one()
		w.restart()
		time.Sleep(time.Second)
		if m := bob.one(); m.CSeq() <= n.CSeq()+2 {
			t.Errorf("CSeq %d after the second restart", m.CSeq())
		}
		s.again(200, 0)
		bob.one()
		w.restart()
		time.Sleep(time.Second)
		alice.publish("closed", "", tag)
		bob.none()
	})
}

// Whoever waits for an answer over a restart is told so, since it may have become so just
// before and not have been heard; and is told the end: there is no subscription any more that a CSeq could be reserved in.
func TestRestartPending(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		w.rule("bob", "alice", presence.Confirm)
		bob.subscribe("alice", 60)
		first := bob.one()
		w.restart()
		time.Sleep(time.Second)
		if m := bob.one(); !strings.HasPrefix(state(m), "pending") || m.CSeq() <= first.CSeq() {
			t.Errorf("got %s", m.Append(nil))
		}
		time.Sleep(60 * time.Second)
		if m := bob.one(); state(m) != "terminated;reason=timeout" || m.CSeq() <= first.CSeq() {
			t.Errorf("got %s", m.Append(nil))
		}
		if n := w.edge.Stats().Dialogs; n != 0 {
			t.Errorf("%d dialogs", n)
		}
	})
}

// More NOTIFYs than one block of CSeq holds.
func TestCSeqBlocks(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 3000)
		bob.one()
		d := w.edge.dialogs.get(s.tag)
		tag := alice.publish("open", "x", "")
		want := bob.one().CSeq()
		for i := range 12 {
			d.mu.Lock()
			d.cseq += 99
			d.mu.Unlock()
			want += 100
			tag = alice.publish("open", fmt.Sprint(i), tag)
			if n := bob.one(); n.CSeq() != want {
				t.Fatalf("CSeq %d, want %d", n.CSeq(), want)
			}
			synctest.Wait()
			d.mu.Lock()
			state := d.load()
			if d.cseq > d.ceiling || d.ceiling > state.ceiling {
				t.Fatalf("CSeq %d, may go to %d, saved %d", d.cseq, d.ceiling, state.ceiling)
			}
			d.mu.Unlock()
		}
	})
}

// A client behind a NAT, whose Contact leads nowhere, is reached over its flow, also
// after a restart; the listeners may open a little later than the engine runs.
func TestRestartNAT(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.contact, bob.sentBy = "sip:bob@10.0.0.1:5060", "10.0.0.1:5060"
		bob.subscribe("alice", 3000)
		bob.one()
		tag := alice.publish("open", "one", "")
		bob.one()
		w.late = 3 * time.Second
		w.restart()
		time.Sleep(5 * time.Second)
		if n := bob.one(); n.URI != bob.contact || !strings.Contains(n.Body, "one") {
			t.Errorf("after the restart:\n%s", n.Append(nil))
		}
		alice.publish("open", "two", tag)
		bob.one()
	})
}

// A client whose connection has ended and who cannot be connected to is kept, and
// told when it registers on another; so is one whose UDP port has changed.
func TestReturned(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob, carol := w.phone("alice", "192.0.2.10:5060"), w.tcpPhone("bob", "192.0.2.11:50000"), w.phone("carol", "192.0.2.12:5060")
		bob.contact = "sip:bob@10.0.0.1:5070;transport=tcp"
		carol.contact, carol.sentBy = "sip:carol@10.0.0.2:5060", "10.0.0.2:5060"
		s, _ := bob.subscribe("alice", 10000)
		bob.one()
		carol.subscribe("alice", 10000)
		carol.one()
		bob.close()
		carol.close()
		tag := alice.publish("open", "one", "")
		time.Sleep(time.Minute) // carol has failed once
		moved := w.phone("carol", "192.0.2.12:6060")
		moved.cseq, moved.sentBy = carol.cseq, carol.sentBy
		moved.register(t, "Contact: <"+carol.contact+">\r\n")
		if n := moved.one(); !strings.Contains(n.Body, "one") {
			t.Errorf("carol is back:\n%s", n.Append(nil))
		}

		tag = alice.publish("open", "two", tag)
		if n := moved.one(); !strings.Contains(n.Body, "two") {
			t.Errorf("carol:\n%s", n.Append(nil))
		}
		time.Sleep(8 * time.Minute)
		if i, ok := w.edge.Describe(s.tag); !ok || !i.Stranded || i.Failures != 6 {
			t.Errorf("described as %+v", i)
		}
		// Another device of bob's does not help; the same one does.
		desk := w.phone("bob", "192.0.2.14:5060")
		desk.register(t, "Contact: <"+desk.contact+">\r\n")
		desk.none()
		bob.addr = "192.0.2.11:50001"
		bob.connect()
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		if n := bob.one(); !strings.Contains(n.Body, "two") || n.URI != bob.contact {
			t.Errorf("bob is back:\n%s", n.Append(nil))
		}
		alice.publish("open", "three", tag)
		bob.one()
		if st := w.edge.Stats(); st.Troubled != 0 || st.Lost != 0 {
			t.Errorf("%+v", st)
		}
	})
}
