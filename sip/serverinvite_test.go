package sip

import (
	"strings"
	"testing"
	"time"
)

// ack acknowledges a response to an INVITE that was not successful.
func ack(invite, response string, t *testing.T) string {
	to := header(t, response, HTo)
	a := strings.Replace(invite, "INVITE sip:", "ACK sip:", 1)
	a = strings.Replace(a, "7 INVITE", "7 ACK", 1)
	return strings.Replace(a, "To: <sip:bob@example.com>", "To: "+to, 1)
}

// RFC 3261 §17.2.1: a refusal is retransmitted at T1, 2*T1, ... T2 (timer G)
// until timer H.
func TestInviteWithoutACK(t *testing.T) {
	inWorld(t, Config{Handler: respond(405)}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("INVITE", "z9hG4bK1"))
		start := time.Now()
		p.want("SIP/2.0 405")
		var at []time.Duration
		for time.Since(start) < 40*time.Second {
			time.Sleep(wheelTick)
			if p.got() != "" {
				at = append(at, time.Since(start).Round(100*time.Millisecond))
			}
		}
		want := []time.Duration{500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500}
		if len(at) != len(want) {
			t.Fatalf("retransmitted at %v", at)
		}
		for i := range want {
			if at[i] != want[i]*time.Millisecond {
				t.Errorf("retransmission %d at %v, want %v", i, at[i], want[i]*time.Millisecond)
			}
		}
		if n := w.stack.server.entries.Load(); n != 0 {
			t.Errorf("%d transactions after timer H", n)
		}
	})
}

func TestInviteACK(t *testing.T) {
	for _, branch := range []string{"z9hG4bK1", "1"} { // RFC 3261 and RFC 2543
		calls := 0
		h := HandlerFunc(func(tx *ServerTx, _ *Message) { calls++; tx.Respond(Response{Status: 405}) })
		inWorld(t, Config{Handler: h}, func(w *world) {
			p := w.phone(phoneAddr)
			invite := request("INVITE", branch)
			p.send(invite)
			no := p.want("SIP/2.0 405")
			p.send(invite) // Completed: the response again
			p.want("SIP/2.0 405")
			p.send(ack(invite, no, t))
			p.silent()
			time.Sleep(4900 * time.Millisecond)
			p.send(ack(invite, no, t)) // Confirmed: absorbed
			p.send(invite)
			p.silent()
			if n := w.stack.server.entries.Load(); n != 1 {
				t.Errorf("%d transactions before timer I", n)
			}
			time.Sleep(200 * time.Millisecond)
			if n := w.stack.server.entries.Load(); n != 0 {
				t.Errorf("%d transactions after timer I", n)
			}
			time.Sleep(time.Minute)
			p.silent()
			if calls != 1 {
				t.Errorf("handler called %d times", calls)
			}
		})
	}
}

// §17.2.1: 100 after 200 ms; §9.2: CANCEL gets 200, and the INVITE 487.
func TestInviteCancel(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		invite := request("INVITE", "z9hG4bK1")
		p.send(invite)
		p.silent()
		time.Sleep(200*time.Millisecond + wheelTick)
		p.want("SIP/2.0 100")
		h.txs[0].Respond(Response{Status: 180})
		p.want("SIP/2.0 180")
		p.send(invite)
		p.want("SIP/2.0 180")
		p.send(request("CANCEL", "z9hG4bK1"))
		ok := p.want("SIP/2.0 200")
		no := p.want("SIP/2.0 487")
		if a, b := header(t, ok, HTo), header(t, no, HTo); a != b {
			t.Errorf("To of the 200 %q, of the 487 %q", a, b)
		}
		p.send(ack(invite, no, t))
		h.txs[0].Respond(Response{Status: 200})
		p.silent()
	})
}

// RFC 6026 §7.1: after a 2xx retransmissions are absorbed, and the 2xx of the
// handler pass.
func TestInviteAccepted(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		invite := request("INVITE", "z9hG4bK1")
		p.send(invite)
		h.txs[0].Respond(Response{Status: 200})
		ok := p.want("SIP/2.0 200")
		p.send(invite)
		p.silent()
		h.txs[0].Respond(Response{Status: 200})
		p.want("SIP/2.0 200")
		h.txs[0].Respond(Response{Status: 500})
		p.send(ack(invite, ok, t))
		p.silent()
		if len(h.txs) != 1 {
			t.Errorf("%d requests handled", len(h.txs))
		}
		time.Sleep(33 * time.Second) // timer L
		if n := w.stack.server.entries.Load(); n != 0 {
			t.Errorf("%d transactions after timer L", n)
		}
	})
}

// A handler that never answers does not hold an INVITE for ever.
func TestInviteForgotten(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("INVITE", "z9hG4bK1"))
		time.Sleep(inviteHandling + time.Second)
		p.want("SIP/2.0 100")
		if s := w.stack.Stats(); s.Unanswered != 0 || w.stack.server.entries.Load() != 0 {
			t.Errorf("still held: %+v", s)
		}
		h.txs[0].Respond(Response{Status: 200})
		p.silent()
	})
}
