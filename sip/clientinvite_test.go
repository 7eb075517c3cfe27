package sip

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// invite sends an INVITE by the stack; the channel gets its end.
func (w *world) invite(out OutRequest) (chan outcome, func()) {
	w.t.Helper()
	out.URI = "sip:alice@192.0.2.9"
	if out.NextHop == "" {
		out.NextHop = toPhone
	}
	out.Header = append(out.Header, "From: <sip:bob@example.com>;tag=b1\r\nTo: <sip:alice@example.com>\r\n"+
		"Call-ID: call-2@192.0.2.1\r\nCSeq: 5 INVITE\r\nContact: <sip:192.0.2.1:5060>\r\n"...)
	ended := make(chan outcome, 2)
	start := time.Now()
	cancel := w.stack.Invite(out, func(m *Message, err error) {
		o := outcome{err: err, after: time.Since(start)}
		if m != nil {
			o.status = m.Status
		}
		ended <- o
	})
	synctest.Wait()
	return ended, cancel
}

// tagged gives the To of a response a tag.
func tagged(response, tag string) string {
	return strings.Replace(response, "To: <sip:alice@example.com>", "To: <sip:alice@example.com>;tag="+tag, 1)
}

// RFC 3261 §17.1.1.2: timer A doubles without a bound, timer B ends it.
func TestInviteTimeout(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended, _ := w.invite(OutRequest{})
		at := p.arrivals(40 * time.Second)
		if want := []int{0, 500, 1500, 3500, 7500, 15500, 31500}; !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
		if o := w.wantOutcome(ended, 0, ErrTimeout); o.after < timerF || o.after > timerF+2*wheelTick {
			t.Errorf("ended after %v", o.after)
		}
		w.empty()
	})
}

// empty checks that no client transaction is left.
func (w *world) empty() {
	w.t.Helper()
	synctest.Wait()
	n := 0
	for i := range w.stack.client.shards {
		sh := &w.stack.client.shards[i]
		sh.mu.Lock()
		n += len(sh.tx)
		sh.mu.Unlock()
	}
	if s := w.stack.Stats(); n != 0 || s.Outstanding != 0 {
		w.t.Errorf("%d transactions left, %d outstanding", n, s.Outstanding)
	}
}

// §17.1.1.3: a refusal is acknowledged in the same transaction, each time that it comes,
// for 32 seconds (timer D).
func TestInviteRefused(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended, _ := w.invite(OutRequest{Header: []byte("Route: <sip:192.0.2.9;lr>\r\n")})
		invite := p.want("INVITE sip:alice@192.0.2.9 SIP/2.0")
		p.send(reply(invite, 180))
		time.Sleep(10 * time.Second)
		p.silent() // Proceeding: no retransmissions
		no := tagged(reply(invite, 486), "a7")
		p.send(no)
		w.wantOutcome(ended, 486, nil)
		ack := p.want("ACK sip:alice@192.0.2.9 SIP/2.0")
		for h, want := range map[Header]string{HVia: header(t, invite, HVia), HTo: "<sip:alice@example.com>;tag=a7", HFrom: header(t, invite, HFrom),
			HCallID: header(t, invite, HCallID), HCSeq: "5 ACK", HRoute: "<sip:192.0.2.9;lr>"} {
			if got := header(t, ack, h); got != want {
				t.Errorf("%v of the ACK: %q, want %q", h, got, want)
			}
		}
		time.Sleep(4 * time.Second)
		p.send(no)
		p.want("ACK")
		p.send(reply(invite, 200)) // a success after a refusal: nobody asked for it
		p.silent()
		time.Sleep(30 * time.Second)
		w.empty()
		p.send(no)
		p.silent()
		if len(ended) > 0 {
			t.Error("done called twice")
		}
	})
}

// §13.2.2.4, RFC 6026 §7.2: a 2xx is acknowledged in the dialog, each time that it
// comes, until timer M; one of another branch is ended with BYE.
func TestInviteEstablished(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p, q := w.phone(phoneAddr), w.phone("192.0.2.8:5070")
		ended, _ := w.invite(OutRequest{Header: []byte("Authorization: Digest username=\"a\"\r\n")})
		invite := p.want("INVITE")
		ok := tagged(reply(invite, 200, "Contact: <sip:x@192.0.2.8:5070>\r\n", "Record-Route: <sip:192.0.2.7;lr>, <sip:192.0.2.8:5070;lr>\r\n"), "a7")
		p.send(ok)
		w.wantOutcome(ended, 200, nil)
		ack := q.want("ACK sip:x@192.0.2.8:5070 SIP/2.0")
		m, err := Parse([]byte(ack))
		if err != nil {
			t.Fatal(err)
		}
		via, first := m.Via(), header(t, invite, HVia)
		if strings.Contains(first, via.Branch) {
			t.Error("the ACK to a 2xx has the branch of the INVITE")
		}
		if r := m.Values(HRoute); len(r) != 2 || r[0] != "<sip:192.0.2.8:5070;lr>" || m.To().Tag() != "a7" || m.CSeq() != 5 {
			t.Errorf("Route %v, To %v, CSeq %d", r, m.To(), m.CSeq())
		}
		if _, has := m.Get(HAuthorization); !has {
			t.Error("the ACK has no credentials (§22.1)")
		}
		p.send(ok)
		q.want("ACK")
		p.silent()
		// A fork.
		p.send(strings.Replace(ok, "tag=a7", "tag=other", 1))
		q.want("ACK")
		bye := q.want("BYE sip:x@192.0.2.8:5070 SIP/2.0")
		if header(t, bye, HCSeq) != "6 BYE" || !strings.Contains(header(t, bye, HTo), "tag=other") {
			t.Errorf("BYE %q", bye)
		}
		q.send(reply(bye, 200))
		time.Sleep(33 * time.Second)
		w.empty()
		p.send(ok)
		q.silent()
		if len(ended) > 0 {
			t.Error("done called twice")
		}
	})
}

// §9.1: CANCEL waits for a provisional response, goes in the INVITE's branch, and the
// 487 ends it.
func TestInviteGivenUp(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended, cancel := w.invite(OutRequest{})
		invite := p.want("INVITE")
		cancel()
		cancel()
		p.silent()
		p.send(reply(invite, 100))
		c := p.want("CANCEL sip:alice@192.0.2.9 SIP/2.0")
		if header(t, c, HVia) != header(t, invite, HVia) || header(t, c, HCSeq) != "5 CANCEL" || header(t, c, HTo) != "<sip:alice@example.com>" {
			t.Errorf("CANCEL %q", c)
		}
		time.Sleep(timerT1 + wheelTick)
		p.want("CANCEL") // lost: again
		p.send(reply(c, 200))
		p.send(reply(invite, 180))
		time.Sleep(10 * time.Second)
		p.silent()
		p.send(tagged(reply(invite, 487), "x"))
		p.want("ACK")
		w.wantOutcome(ended, 487, nil)
		time.Sleep(33 * time.Second)
		w.empty()
	})
}

// A 2xx may be faster than the CANCEL.
func TestInviteCancelledTooLate(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended, cancel := w.invite(OutRequest{})
		invite := p.want("INVITE")
		p.send(reply(invite, 100))
		cancel()
		p.want("CANCEL")
		p.send(tagged(reply(invite, 200, "Contact: <sip:192.0.2.9:5060>\r\n"), "x"))
		w.wantOutcome(ended, 200, nil)
		p.want("ACK sip:192.0.2.9:5060")
		time.Sleep(33 * time.Second)
		w.empty()
	})
}

// Who rings for ever is cancelled, and given up.
func TestInviteRinging(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended, _ := w.invite(OutRequest{})
		p.send(reply(p.want("INVITE"), 180))
		time.Sleep(inviteRinging + wheelTick)
		p.want("CANCEL")
		time.Sleep(timerF + 2*wheelTick)
		o := w.wantOutcome(ended, 0, ErrTimeout)
		if o.after > inviteRinging+timerF+100*time.Millisecond {
			t.Errorf("given up after %v", o.after)
		}
		w.empty()
	})
}

// RFC 3263 §4.3: 503 goes on to the next target, and is acknowledged where it came from.
func TestInviteNextTarget(t *testing.T) {
	targets := map[string][]Target{"example.com": {{Transport: "UDP", Addr: addrOf("192.0.2.8:5060")}, {Transport: "UDP", Addr: addrOf(phoneAddr)}}}
	inWorld(t, Config{Resolve: Override(targets, nil)}, func(w *world) {
		p, q := w.phone(phoneAddr), w.phone("192.0.2.8:5060")
		ended, _ := w.invite(OutRequest{NextHop: "sip:example.com"})
		first := q.want("INVITE")
		q.send(reply(first, 503))
		q.want("ACK")
		second := p.want("INVITE")
		if header(t, first, HVia) == header(t, second, HVia) {
			t.Error("the same branch at another target")
		}
		p.send(reply(second, 603))
		p.want("ACK")
		w.wantOutcome(ended, 603, nil)
		time.Sleep(33 * time.Second)
		w.empty()
	})
}

// Two stacks over TCP: INVITE, 200, ACK; Accept hears of the ACK.
func TestInviteBetweenStacks(t *testing.T) {
	var acked []error
	h := HandlerFunc(func(tx *ServerTx, m *Message) {
		tx.Accept(Response{Status: 200, Header: []byte("Contact: <sip:192.0.2.1:5060;transport=tcp>\r\n")}, func(err error) { acked = append(acked, err) })
	})
	inWorld(t, Config{Handler: h}, func(w *world) {
		other := NewStack(Config{Dial: w.net.Host("192.0.2.9").Dial, Resolve: Override(nil, nil)})
		defer other.Close()
		ended := make(chan outcome, 1)
		other.Invite(OutRequest{URI: "sip:192.0.2.1", NextHop: "sip:192.0.2.1;transport=tcp",
			Header: []byte("From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n")}, func(m *Message, err error) {
			ended <- outcome{status: m.Status, err: err}
		})
		w.wantOutcome(ended, 200, nil)
		if len(acked) != 1 || acked[0] != nil {
			t.Errorf("acked: %v", acked)
		}
		time.Sleep(40 * time.Second)
		if len(acked) != 1 || w.stack.server.entries.Load() != 0 {
			t.Errorf("acked: %v, %d transactions", acked, w.stack.server.entries.Load())
		}
	})
}
