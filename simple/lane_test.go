package simple

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pharos/sip"
)

// RFC 3428 §8: one MESSAGE is under way to a contact at a time, in order.
func TestMessagesOneAfterTheOther(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		desk := w.phone("bob", "192.0.2.12:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		desk.register(t, "Contact: <"+desk.contact+">\r\n")
		bob.setAnswer(silent)
		for i := range 3 {
			alice.want(200, out{method: "MESSAGE", to: "bob", body: fmt.Sprint(i), ctype: "text/plain"})
		}
		if got := bodies(desk.got()); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("the quick phone got %q", got)
		}
		first := bob.got()
		if got := bodies(first); len(got) == 0 || slices.Contains(got, "1") {
			t.Fatalf("the slow phone got %q", got)
		}
		bob.setAnswer(nil)
		bob.write(replyTo(first[0], 486, "")) // whatever it answers, it is there
		if got := bodies(bob.got()); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("then %q", got)
		}
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "3", ctype: "text/plain"})
		if got := bodies(bob.got()); !slices.Equal(got, []string{"3"}) {
			t.Errorf("then %q", got)
		}
		if len(w.edge.lanes.waiting) != 0 {
			t.Error("a lane is left")
		}
	})
}

// What waits for a phone that has gone is stored, in order, half a minute later.
func TestMessagesToAPhoneThatHasGone(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		bob.setAnswer(silent)
		for i := range 4 {
			alice.want(200, out{method: "MESSAGE", to: "bob", body: fmt.Sprint(i), ctype: "text/plain"})
		}
		time.Sleep(33 * time.Second)
		if n := w.mailbox.len(); n != 4 {
			t.Fatalf("%d messages stored, want 4", n)
		}
		bob.got()
		bob.setAnswer(nil)
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		time.Sleep(time.Second)
		if got := bodies(bob.got()); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
			t.Errorf("then %q", got)
		}
	})
}

func TestLaneBound(t *testing.T) {
	var l laneTable
	var got []int
	for i := range maxWaiting + 2 {
		l.enter("sip:a@b", func(free bool) {
			if free {
				got = append(got, i)
			} else {
				got = append(got, -i)
			}
		})
	}
	if !slices.Equal(got, []int{0, -maxWaiting - 1}) {
		t.Fatalf("got %v", got)
	}
	for i := range maxWaiting {
		l.leave("sip:a@b", true)
		if got[len(got)-1] != i+1 {
			t.Fatalf("got %v", got)
		}
	}
	l.leave("sip:a@b", true)
	if len(l.waiting) != 0 {
		t.Error("a lane is left")
	}
}

func bodies(ms []*sip.Message) (s []string) {
	for _, m := range ms {
		s = append(s, m.Body)
	}
	return s
}
