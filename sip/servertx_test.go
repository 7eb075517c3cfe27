package sip

import (
	"strings"
	"testing"
	"time"
)

// RFC 3261 §17.2.2: a retransmission gets the same octets again, and the handler
// hears of it once; after timer J the transaction is forgotten.
func TestServerRetransmission(t *testing.T) {
	calls := 0
	h := HandlerFunc(func(tx *ServerTx, _ *Message) {
		calls++
		tx.Respond(Response{Status: 200, Header: []byte("Expires: 600\r\n")})
	})
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone(phoneAddr)
		req := request("SUBSCRIBE", "z9hG4bK1")
		p.send(req)
		first := p.want("SIP/2.0 200 OK\r\n")
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
