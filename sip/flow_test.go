package sip

import (
	"testing"
	"testing/synctest"
)

// A request over a flow reaches the address that the client's request came from,
// and the flow of a UDP client is found again after a restart (RFC 5626 §5.2).
func TestFlowUDP(t *testing.T) {
	h := new(hold)
	var token string
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone("192.0.2.9:61000")
		p.send(request("SUBSCRIBE", "z9hG4bK1"))
		f := h.txs[0].Flow()
		if f.Transport() != "UDP" || f.RemoteAddr().String() != "192.0.2.9:61000" || f.LocalAddr().String() != serverAddr || !f.Alive() {
			t.Errorf("flow %s %s %s", f.Transport(), f.RemoteAddr(), f.LocalAddr())
		}
		f.OnClose(func() { t.Error("a UDP flow ended") })()
		ended := w.ask(OutRequest{Flow: f, NextHop: "sip:alice@10.0.0.7"})
		p.send(reply(p.want("NOTIFY"), 200))
		w.wantOutcome(ended, 200, nil)
		token = f.Token()
	})
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("192.0.2.9:61000")
		f, ok := w.stack.FlowByToken(token)
		if !ok {
			t.Fatal("flow not found after a restart")
		}
		w.ask(OutRequest{Flow: f})
		p.want("NOTIFY")
		for _, bad := range []string{"", "u", "u.", "u..", "u.!.!", "u.AAAA.AAAA", "c.x.1", "c." + w.stack.instance + ".1", "c." + w.stack.instance + ".!", "x.1.1", token + "A", token[:len(token)-6]} {
			if f, ok := w.stack.FlowByToken(bad); ok && f.addr.String() == "192.0.2.9:61000" {
				t.Errorf("%q is a flow", bad)
			}
		}
	})
}

// The flow of a connection is known until it ends, and its end is told once.
func TestFlowConnection(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.call(t)
		p.write(request("SUBSCRIBE", "z9hG4bK1"))
		f := h.txs[0].Flow()
		if f.Transport() != "TCP" || f.RemoteAddr().String() != "192.0.2.9:61000" || f.LocalAddr().String() != serverAddr || !f.Alive() {
			t.Errorf("flow %s %s %s", f.Transport(), f.RemoteAddr(), f.LocalAddr())
		}
		if g, ok := w.stack.FlowByToken(f.Token()); !ok || g != f {
			t.Error("token does not lead to the flow")
		}
		told, cancelled := 0, 0
		f.OnClose(func() { told++ })
		f.OnClose(func() { cancelled++ })()
		// RFC 5626 §5.3: in-dialog requests come over the client's connection.
		ended := w.ask(OutRequest{Flow: f, NextHop: "sip:abc@x.invalid;transport=ws"})
		p.write(reply(p.read(), 200))
		w.wantOutcome(ended, 200, nil)
		ended = w.ask(OutRequest{Flow: f})
		p.nc.Close()
		w.wantOutcome(ended, 0, ErrTransport)
		if told != 1 || cancelled != 0 || f.Alive() {
			t.Errorf("told %d times, the cancelled %d; alive %t", told, cancelled, f.Alive())
		}
		late := 0
		f.OnClose(func() { late++ })
		synctest.Wait()
		if late != 1 {
			t.Error("OnClose of a flow that has ended")
		}
		if _, ok := w.stack.FlowByToken(f.Token()); ok {
			t.Error("token of an ended flow")
		}
		// A dead flow: the next hop, where there is one.
		w.wantOutcome(w.ask(OutRequest{Flow: f}), 0, ErrTransport)
		phone := w.phone(phoneAddr)
		w.ask(OutRequest{Flow: f, NextHop: toPhone})
		phone.want("NOTIFY")
	})
}

// Responses go over the connection that the request came on, or, that being
// gone, over one to sent-by (RFC 3261 §18.2.2).
func TestResponseAfterClose(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.call(t)
		p.write(request("SUBSCRIBE", "z9hG4bK1"))
		p.write(request("PUBLISH", "z9hG4bK2"))
		h.txs[0].Respond(Response{Status: 202})
		if got := p.read(); got[:11] != "SIP/2.0 202" {
			t.Errorf("got %q", got)
		}
		p.nc.Close()
		synctest.Wait()
		l := w.net.MustListen(phoneAddr)
		h.txs[1].Respond(Response{Status: 200})
		if got := called(t, l).read(); got[:11] != "SIP/2.0 200" {
			t.Errorf("got %q", got)
		}
	})
}
