package sip

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func addrOf(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// accepting accepts every INVITE and collects what came of it.
type accepting struct{ ends []error }

func (a *accepting) ServeSIP(tx *ServerTx, m *Message) {
	tx.Accept(Response{Status: 200, ToTag: "b1", Header: []byte("Contact: <sip:192.0.2.1:5060>\r\n")}, func(err error) { a.ends = append(a.ends, err) })
}

// RFC 3261 §13.3.1.4: a 2xx is sent again at T1, doubling to T2, until the ACK.
func TestAcceptWithoutACK(t *testing.T) {
	a := &accepting{}
	inWorld(t, Config{Handler: a}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("INVITE", "z9hG4bK1"))
		at := p.arrivals(40 * time.Second)
		if want := []int{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500}; !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
		synctest.Wait()
		if len(a.ends) != 1 || !errors.Is(a.ends[0], ErrTimeout) {
			t.Errorf("ended with %v", a.ends)
		}
		w.acceptedNone()
	})
}

func (w *world) acceptedNone() {
	w.t.Helper()
	synctest.Wait()
	for i := range w.stack.server.shards {
		sh := &w.stack.server.shards[i]
		sh.mu.Lock()
		if n := len(sh.accepted); n != 0 {
			w.t.Errorf("%d INVITEs wait for an ACK", n)
		}
		sh.mu.Unlock()
	}
	if n := w.stack.server.entries.Load(); n != 0 {
		w.t.Errorf("%d transactions", n)
	}
}

func TestAccept(t *testing.T) {
	for _, branch := range []string{"z9hG4bKother", "z9hG4bK1"} { // of the ACK: its own by §13.2.2.4; some repeat the INVITE's
		a := &accepting{}
		inWorld(t, Config{Handler: a}, func(w *world) {
			p := w.phone(phoneAddr)
			invite := request("INVITE", "z9hG4bK1")
			p.send(invite)
			ok := p.want("SIP/2.0 200")
			time.Sleep(timerT1 + wheelTick)
			p.want("SIP/2.0 200")
			good := strings.Replace(ack(invite, ok, t), "z9hG4bK1", branch, 1)
			if branch != "z9hG4bK1" {
				for _, bad := range []string{strings.Replace(good, "tag=b1", "tag=b2", 1), strings.Replace(good, "7 ACK", "8 ACK", 1)} {
					p.send(bad)
					if len(a.ends) > 0 {
						t.Fatalf("taken: %q", bad)
					}
				}
			}
			p.send(good)
			p.send(good)
			if len(a.ends) != 1 || a.ends[0] != nil {
				t.Fatalf("ended with %v", a.ends)
			}
			p.send(invite) // absorbed until timer L
			time.Sleep(33 * time.Second)
			p.silent()
			w.acceptedNone()
			if len(a.ends) != 1 {
				t.Errorf("ended with %v", a.ends)
			}
		})
	}
}

// A CANCEL that was faster: there is nothing to accept.
func TestAcceptCancelled(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("INVITE", "z9hG4bK1"))
		p.send(request("CANCEL", "z9hG4bK1"))
		p.want("SIP/2.0 200")
		p.want("SIP/2.0 487")
		var ends []error
		h.txs[0].Accept(Response{Status: 200}, func(err error) { ends = append(ends, err) })
		p.silent()
		if len(ends) != 1 || !errors.Is(ends[0], ErrEnded) {
			t.Errorf("ended with %v", ends)
		}
		time.Sleep(33 * time.Second)
		w.acceptedNone()
	})
}
