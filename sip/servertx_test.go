package sip

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 3261 §17.2.2: a retransmission gets the same octets again, and the handler
// hears of it once; after timer J the transaction is forgotten.
func TestServerRetransmission(t *testing.T) {
	calls := 0
	h := HandlerFunc(func(tx *ServerTx, _ *Message) {
		calls++
		tx.Respond(Response{Status: 200, Header: []byte("Expires: 600\r\n")})
		tx.Respond(Response{Status: 500}) // a second final response is ignored
	})
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		req := request("SUBSCRIBE", "z9hG4bK1")
		p.send(req)
		first := p.want("SIP/2.0 200 OK\r\n")
		p.silent()
		for range 3 {
			time.Sleep(10 * time.Second)
			p.send(req)
			if again := p.want("SIP/2.0 200"); again != first {
				t.Errorf("got %q again, first %q", again, first)
			}
		}
		if calls != 1 {
			t.Fatalf("handler called %d times", calls)
		}
		time.Sleep(3 * time.Second) // 33 s after the answer
		if n := w.stack.Stats().Kept; n != 0 {
			t.Errorf("%d octets kept after timer J", n)
		}
		p.send(req)
		p.want("SIP/2.0 200")
		if calls != 2 {
			t.Errorf("handler called %d times after timer J, want 2", calls)
		}
		if !strings.Contains(header(t, first, HTo), ";tag=") {
			t.Errorf("no To tag in %q", first)
		}
	})
}

// hold keeps transactions for the test to answer.
type hold struct{ txs []*ServerTx }

func (h *hold) ServeSIP(tx *ServerTx, _ *Message) { h.txs = append(h.txs, tx) }

// RFC 4320 §4.1: no 1xx but a 100, and that when timer E of the client has
// reached T2; §4.2: no 408, and nothing after the client has given up.
func TestServerProvisional(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		req := request("PUBLISH", "z9hG4bK1")
		p.send(req)
		tx := h.txs[0]
		tx.Respond(Response{Status: 180})
		tx.Respond(Response{Status: 100})
		tx.Respond(Response{Status: 408})
		p.send(req)
		p.silent()
		time.Sleep(3499 * time.Millisecond)
		p.silent()
		time.Sleep(sweepInterval)
		trying := p.want("SIP/2.0 100 Trying")
		if strings.Contains(header(t, trying, HTo), "tag=") {
			t.Error("100 with a To tag")
		}
		p.send(req) // §17.2.2: a retransmission gets the 100 again
		if again := p.want("SIP/2.0 100"); again != trying {
			t.Errorf("got %q, want %q", again, trying)
		}
		time.Sleep(29 * time.Second)
		if n := w.stack.Stats().Unanswered; n != 0 {
			t.Errorf("%d unanswered after timer F of the client", n)
		}
		tx.Respond(Response{Status: 200})
		p.silent()
	})
}

// libpurple repeats a refused request with credentials under the same CSeq and
// another branch; a merged request looks alike but meets an unanswered one
// (RFC 3261 §8.2.2.2).
func TestMerged(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("REGISTER", "z9hG4bK1"))
		p.send(request("REGISTER", "z9hG4bK2"))
		p.want("SIP/2.0 482")
		h.txs[0].Respond(Response{Status: 401})
		p.want("SIP/2.0 401")
		p.send(request("REGISTER", "z9hG4bK3", "Authorization: Digest x=\"y\"\r\n"))
		if len(h.txs) != 2 {
			t.Fatalf("%d requests handled, want 2", len(h.txs))
		}
		h.txs[1].Respond(Response{Status: 200})
		p.want("SIP/2.0 200")
	})
}

// libpurple also repeats a refused request with credentials under a new CSeq and
// the old branch: that is no retransmission.
func TestServerSameBranch(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		req := request("PUBLISH", "z9hG4bK1")
		p.send(req)
		h.txs[0].Respond(Response{Status: 401})
		p.want("SIP/2.0 401")
		p.send(req)
		p.want("SIP/2.0 401")
		p.send(strings.Replace(req, "CSeq: 7", "CSeq: 8", 1))
		if len(h.txs) != 2 {
			t.Fatalf("%d requests handled, want 2", len(h.txs))
		}
		h.txs[1].Respond(Response{Status: 200})
		p.want("SIP/2.0 200")
	})
}

// Requests without the magic cookie are told apart by the rules of RFC 2543
// (RFC 3261 §17.2.3).
func TestServerWithoutCookie(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		req := request("SUBSCRIBE", "1")
		p.send(req)
		h.txs[0].Respond(Response{Status: 200})
		first := p.want("SIP/2.0 200")
		p.send(req)
		if again := p.want("SIP/2.0 200"); again != first {
			t.Error("another answer to a retransmission")
		}
		p.send(strings.Replace(req, "CSeq: 7", "CSeq: 8", 1))
		if len(h.txs) != 2 {
			t.Errorf("%d requests handled, want 2", len(h.txs))
		}
	})
}

func TestServerOverload(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h, Limits: Limits{Unanswered: 3}}, func(w *world) {
		p := w.phone(phoneAddr)
		for i := range 5 {
			p.send(strings.Replace(request("SUBSCRIBE", fmt.Sprint("z9hG4bK", i)), "call-1", fmt.Sprint("call-", i), 1))
		}
		for range 2 {
			if after := header(t, p.want("SIP/2.0 503"), HRetryAfter); after == "" {
				t.Error("503 without Retry-After")
			}
		}
		if len(h.txs) != 3 {
			t.Fatalf("%d requests handled, want 3", len(h.txs))
		}
		h.txs[0].Respond(Response{Status: 200})
		p.want("SIP/2.0 200")
		p.send(strings.Replace(request("SUBSCRIBE", "z9hG4bK9"), "call-1", "call-9", 1))
		if len(h.txs) != 4 {
			t.Errorf("no room after an answer")
		}
		if n := w.stack.Stats().Refused; n != 2 {
			t.Errorf("refused %d, want 2", n)
		}
	})
}

// Kept responses are bounded: the oldest go first.
func TestServerKept(t *testing.T) {
	const room = serverShards * 1500
	inWorld(t, Config{Handler: respond(200), Limits: Limits{Kept: room}}, func(w *world) {
		p := w.phone(phoneAddr)
		for i := range 2000 {
			p.send(request("SUBSCRIBE", fmt.Sprint("z9hG4bK", i)))
			p.want("SIP/2.0 200")
		}
		// All have one Call-ID, so they are in one shard.
		if n := w.stack.Stats().Kept; n < 1000 || n > room/serverShards {
			t.Errorf("%d octets kept, want up to %d", n, room/serverShards)
		}
		p.send(request("SUBSCRIBE", "z9hG4bK1999"))
		p.want("SIP/2.0 200")
		if n := w.stack.Stats(); n.Retransmitted != 1 || n.Requests != 2000 {
			t.Errorf("the newest was forgotten: %+v", n)
		}
	})
}

// What cannot be a request is answered where it can be, and leaves nothing.
func TestServerGarbage(t *testing.T) {
	inWorld(t, Config{Handler: respond(200)}, func(w *world) {
		p := w.phone(phoneAddr)
		good := request("SUBSCRIBE", "z9hG4bK1")
		for _, c := range []struct{ name, msg, want string }{
			{"no SIP", "hello", ""},
			{"empty lines", "\r\n\r\n", ""},
			{"nothing", "", ""},
			{"zeros", "\x00\x00\x00\x00", ""},
			{"bad CSeq", strings.Replace(good, "CSeq: 7", "CSeq: x", 1), "SIP/2.0 400 "},
			{"other version", strings.Replace(good, " SIP/2.0\r\n", " SIP/7.0\r\n", 1), "SIP/2.0 505 "},
			{"stray ACK", request("ACK", "z9hG4bK5"), ""},
			{"bad ACK", strings.Replace(request("ACK", "z9hG4bK5"), "CSeq: 7", "CSeq: x", 1), ""},
			{"stray response", reply(good, 200), ""},
			{"CANCEL of nothing", request("CANCEL", "z9hG4bK6"), "SIP/2.0 481 "},
		} {
			p.send(c.msg)
			if got := p.got(); c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
		if n := w.stack.server.entries.Load(); n != 0 {
			t.Errorf("%d transactions kept", n)
		}
	})
}

func TestServerPanic(t *testing.T) {
	h := HandlerFunc(func(*ServerTx, *Message) { panic("fault") })
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("SUBSCRIBE", "z9hG4bK1"))
		p.want("SIP/2.0 500")
	})
}

// What a response takes from its request (RFC 3261 §8.2.6, §12.1.1).
func TestRespondCopies(t *testing.T) {
	h := HandlerFunc(func(tx *ServerTx, _ *Message) {
		tx.Respond(Response{Status: 200, ToTag: "mine", Header: []byte("Contact: <sip:x>\r\n"), Body: []byte("body")})
	})
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(request("SUBSCRIBE", "z9hG4bK1;rport",
			"v: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKp, SIP/2.0/TCP 192.0.2.7;branch=z9hG4bKq\r\n",
			"Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n", "Timestamp: 54\r\n"))
		want := "SIP/2.0 200 OK\r\n" +
			"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;received=192.0.2.9;rport=5060\r\n" +
			"From: <sip:alice@example.com>;tag=a1\r\n" +
			"To: <sip:bob@example.com>;tag=mine\r\n" +
			"Call-ID: call-1@192.0.2.9\r\n" +
			"CSeq: 7 SUBSCRIBE\r\n" +
			"Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKp, SIP/2.0/TCP 192.0.2.7;branch=z9hG4bKq\r\n" +
			"Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n" +
			"Timestamp: 54\r\n" +
			"Contact: <sip:x>\r\n" +
			"Content-Length: 4\r\n\r\nbody"
		if got := p.got(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		// With a To tag of the request's own, and without Record-Route outside of dialogs.
		p.send(strings.Replace(request("PUBLISH", "z9hG4bK2", "Record-Route: <sip:p1;lr>\r\n"),
			"To: <sip:bob@example.com>", "To: <sip:bob@example.com;tag=no>;tag=yours", 1))
		got := p.want("SIP/2.0 200")
		if to := header(t, got, HTo); to != "<sip:bob@example.com;tag=no>;tag=yours" {
			t.Errorf("To: %s", to)
		}
		if rr := header(t, got, HRecordRoute); rr != "" {
			t.Errorf("Record-Route: %s", rr)
		}
	})
}

// Answers can come later, from any goroutine, and the 200 of one request does
// not wait for another's.
func TestRespondLater(t *testing.T) {
	h := HandlerFunc(func(tx *ServerTx, m *Message) {
		go func() {
			time.Sleep(time.Duration(m.CSeq()) * time.Second)
			tx.Respond(Response{Status: 200})
		}()
	})
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		slow := strings.Replace(request("SUBSCRIBE", "z9hG4bK1"), "CSeq: 7", "CSeq: 3", 1)
		quick := strings.Replace(request("SUBSCRIBE", "z9hG4bK2"), "CSeq: 7", "CSeq: 1", 1)
		p.send(slow)
		p.send(quick)
		time.Sleep(time.Second)
		if got := header(t, p.want("SIP/2.0 200"), HCSeq); got != "1 SUBSCRIBE" {
			t.Errorf("CSeq %s first", got)
		}
		time.Sleep(2 * time.Second)
		p.want("SIP/2.0 200")
	})
}

// Two readers share one socket.
func TestSharedSocket(t *testing.T) {
	inWorld(t, Config{Handler: respond(200)}, func(w *world) {
		ended := make(chan error, 1)
		go func() { ended <- w.stack.ServePacket(w.socket) }()
		synctest.Wait()
		if n := len(w.stack.sockets); n != 1 {
			t.Errorf("%d sockets", n)
		}
		p := w.phone(phoneAddr)
		p.send(request("OPTIONS", "z9hG4bK1"))
		p.want("SIP/2.0 200")
		w.stack.Close()
		if err := <-ended; err != ErrClosed {
			t.Errorf("ServePacket: %v", err)
		}
		if err := w.stack.ServePacket(w.net.MustListenPacket("192.0.2.1:5070")); err != ErrClosed {
			t.Errorf("ServePacket after Close: %v", err)
		}
	})
}

// A response without rport goes to the port of sent-by, not where the request
// came from (RFC 3261 §18.2.2).
func TestResponseRouting(t *testing.T) {
	inWorld(t, Config{Handler: respond(200)}, func(w *world) {
		source, listening := w.phone("192.0.2.9:33333"), w.phone(phoneAddr)
		source.send(request("OPTIONS", "z9hG4bK1"))
		source.silent()
		listening.want("SIP/2.0 200")
		source.send(request("OPTIONS", "z9hG4bK2;rport"))
		listening.silent()
		source.want("SIP/2.0 200")
	})
}
