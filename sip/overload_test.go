package sip

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func viaOf(t *testing.T, params string) *Via {
	t.Helper()
	m, err := Parse([]byte(strings.Replace(request("OPTIONS", "z9hG4bK1"), "branch=z9hG4bK1", "branch=z9hG4bK1"+params, 1)))
	if err != nil {
		t.Fatal(err)
	}
	v := m.Via()
	return &v
}

func TestOverloadParams(t *testing.T) {
	loss := 0
	o := &overload{loss: func() int { return loss }}
	a, now := netip.MustParseAddr("192.0.2.9"), time.UnixMilli(1_300_000_000_500)
	for _, tc := range []struct {
		params string
		loss   int
		want   string
	}{
		{"", 30, ""}, // RFC 7339 §5.2: not to a client that does not know of it
		{";oc;oc-algo=\"loss,A\"", 0, ";oc=0;oc-algo=\"loss\";oc-validity=2000;oc-seq=1300000000.500"},
		{";oc;oc-algo=\"loss\"", 30, ";oc=30;oc-algo=\"loss\";oc-validity=2000;oc-seq=1300000000.501"},
		{";oc", 130, ";oc=100;oc-algo=\"loss\";oc-validity=2000;oc-seq=1300000000.502"},
		{";oc=3;oc-algo=\"rate,loss\"", 0, ";oc=0;oc-algo=\"rate\";oc-validity=0;oc-seq=1300000000.503"},
	} {
		loss = tc.loss
		if got := o.params(viaOf(t, tc.params), a, now); got != tc.want {
			t.Errorf("%q at %d %%: %q, want %q", tc.params, tc.loss, got, tc.want)
		}
	}
	var none *overload
	if got := none.params(viaOf(t, ";oc"), a, now); got != "" {
		t.Errorf("without overload control: %q", got)
	}
}

// A client that asks for a rate is told a share of its own, and is not cut down again by
// what it holds back already.
func TestOverloadRate(t *testing.T) {
	loss := 0
	o := &overload{loss: func() int { return loss }}
	a, now := netip.MustParseAddr("192.0.2.9"), time.Unix(1000, 0)
	via := viaOf(t, ";oc;oc-algo=\"rate\"")
	told := ""
	send := func(n int) {
		for range n {
			now = now.Add(time.Second / time.Duration(n))
			told = o.params(via, a, now)
		}
	}
	send(100)
	send(100)
	loss = 40
	send(100)
	if !strings.HasPrefix(told, ";oc=60;oc-algo=\"rate\";oc-validity=2000;") {
		t.Errorf("told %q", told)
	}
	send(60) // it obeys
	if !strings.HasPrefix(told, ";oc=60;") {
		t.Errorf("obeying, told %q", told)
	}
	loss = 0
	send(60)
	if !strings.Contains(told, "oc-validity=0") {
		t.Errorf("at the end, told %q", told)
	}
	for i := range maxMeters + 5 {
		o.params(via, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(o.meters) > maxMeters {
		t.Errorf("%d meters", len(o.meters))
	}
}

func answeredVia(t *testing.T, raw string) Via {
	t.Helper()
	m, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m.Via()
}

// The response carries it in the topmost Via, in the place of what the client wrote.
func TestOverloadInResponse(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h, Overload: func() int { return 25 }}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(strings.Replace(request("SUBSCRIBE", "z9hG4bK1"), "branch=z9hG4bK1", "branch=z9hG4bK1;oc;oc-algo=\"loss\"", 1))
		h.txs[0].Respond(Response{Status: 200})
		if v := answeredVia(t, p.want("SIP/2.0 200")); v.Params.Has("oc-seq") {
			got, _ := v.Params.Get("oc")
			if got != "25" || strings.Count(string(v.Params), "oc-algo") != 1 {
				t.Errorf("Via %q", v.Params)
			}
		} else {
			t.Errorf("Via %q", v.Params)
		}
		p.send(request("MESSAGE", "z9hG4bK2"))
		h.txs[1].Respond(Response{Status: 200})
		if v := answeredVia(t, p.want("SIP/2.0 200")); v.Params.Has("oc") {
			t.Errorf("told to one who has not asked: %q", v.Params)
		}
	})
}
