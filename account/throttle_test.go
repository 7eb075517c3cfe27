package account

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allowances{burst: 5, every: time.Second, m: make(map[uint64]time.Time)}
		for i := range 5 {
			if a.spent(1, time.Now()) {
				t.Fatalf("spent after %d", i)
			}
			a.spend(1, time.Now())
		}
		for range 1000 { // failing on does not lengthen the wait
			a.spend(1, time.Now())
		}
		if !a.spent(1, time.Now()) || a.spent(2, time.Now()) {
			t.Error("not spent, or all are")
		}
		for range 3 {
			time.Sleep(time.Second)
			if a.spent(1, time.Now()) {
				t.Error("still spent after the wait")
			}
			a.spend(1, time.Now())
			if !a.spent(1, time.Now()) {
				t.Error("more than one for one wait")
			}
		}
		time.Sleep(5 * time.Second)
		for i := range 5 {
			if a.spent(1, time.Now()) {
				t.Errorf("after a long rest spent after %d", i)
			}
			a.spend(1, time.Now())
		}
	})
}

func TestThrottlePair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		n := 0
		for ; !th.refuse(home, alice); n++ {
			th.failed(home, alice)
		}
		if n != maxPairFailures {
			t.Errorf("refused after %d failures, want %d", n, maxPairFailures)
		}
		if th.refuse(home, bob) || th.refuse(netip.MustParseAddr("192.0.2.2"), alice) {
			t.Error("another user or another address is refused")
		}
		time.Sleep(minPairWait)
		if th.refuse(home, alice) {
			t.Error("still refused after the wait")
		}
	})
}

// A telephone with an old password tries again and again; its neighbours behind
// the same NAT, who have logged in before, do not suffer.
func TestThrottleNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		th.succeeded(home, bob)
		for range 10_000 {
			if !th.refuse(home, alice) {
				th.failed(home, alice)
			}
			th.failed(home, nobody)
			time.Sleep(100 * time.Millisecond)
		}
		if th.refuse(home, bob) {
			t.Error("a neighbour is shut out")
		}
		if !th.refuse(home, presence.Entity{User: "stranger", Domain: "example.com"}) {
			t.Error("a stranger is let in from an address that guesses")
		}
		time.Sleep(maxKnownTime)
		for range maxAddressFailures {
			th.failed(home, nobody)
		}
		if !th.refuse(home, bob) {
			t.Error("a login speaks for its pair for ever")
		}
	})
}

// Guessing one account from many addresses: strangers are refused, the owner at
// the usual place is not.
func TestThrottleManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		th.succeeded(home, alice)
		attempts := 0
		for i := range 1000 {
			from := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if !th.refuse(from, alice) {
				th.failed(from, alice)
				attempts++
			}
		}
		if attempts != maxUserFailures {
			t.Errorf("%d attempts, want %d", attempts, maxUserFailures)
		}
		if th.refuse(home, alice) {
			t.Error("the owner is shut out")
		}
		if th.refuse(home, bob) {
			t.Error("another user is shut out")
		}
	})
}

// One host has a whole /64; its attempts count together, a neighbour's do not.
func TestThrottleIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		for i := range maxAddressFailures {
			from := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i+1))
			th.failed(from, presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"})
		}
		for from, want := range map[string]bool{
			"2001:db8:1:2:ffff::1": true, "2001:db8:1:3::1": false, "::ffff:192.0.2.1": false, "192.0.2.1": false,
		} {
			if got := th.refuse(netip.MustParseAddr(from), bob); got != want {
				t.Errorf("%s: refused %v", from, got)
			}
		}
		for range maxAddressFailures {
			th.failed(netip.MustParseAddr("::ffff:192.0.2.1"), nobody)
		}
		if !th.refuse(netip.MustParseAddr("192.0.2.1"), bob) {
			t.Error("an IPv4 address counts twice")
		}
	})
}

// Without an address (a trusted proxy) only user and pair count.
func TestThrottleNoAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		for i := range 10_000 {
			th.failed(netip.Addr{}, presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"})
		}
		if th.refuse(netip.Addr{}, bob) {
			t.Error("all behind the proxy are shut out")
		}
		th.succeeded(netip.Addr{}, bob)
		for range maxUserFailures {
			th.failed(netip.Addr{}, bob)
		}
		if !th.refuse(netip.Addr{}, bob) {
			t.Error("not refused")
		}
	})
}

func TestThrottleBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		th.init()
		for range maxPairFailures {
			th.failed(home, alice)
		}
		for i := range 3 * maxThrottled {
			from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			u := presence.Entity{User: fmt.Sprint(i), Domain: "example.com"}
			th.failed(from, u)
			th.succeeded(from, u)
		}
		for what, n := range map[string]int{"address": len(th.address.m), "user": len(th.user.m), "pair": len(th.pair.m)} {
			if n > maxThrottled {
				t.Errorf("%s: %d entries", what, n)
			}
		}
		if len(th.known) > maxKnownPairs {
			t.Errorf("%d pairs known", len(th.known))
		}
	})
}

// All refuse by themselves; after SASL it is the caller who counts, each failure once.
func TestThrottled(t *testing.T) {
	a := withUsers(t)
	for range maxPairFailures {
		if err := a.Plain(t.Context(), home, alice, "wrong"); err != ErrNotAuthorized {
			t.Fatal(err)
		}
		a.Failed(home, alice)
	}
	if err := a.Plain(t.Context(), home, alice, "secret"); err != ErrThrottled {
		t.Errorf("Plain: %v", err)
	}
	if v := verify(a, answer("alice", "example.com", "secret", a.Nonce(), nil)); v.Err != ErrThrottled {
		t.Errorf("Verify: %+v", v)
	}
	if _, err := a.Scram(t.Context(), home, alice, "SHA-1"); err != ErrThrottled {
		t.Errorf("Scram: %v", err)
	}
	elsewhere := netip.MustParseAddr("192.0.2.2")
	if err := a.Plain(t.Context(), elsewhere, alice, "secret"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	for range maxPairFailures {
		a.Failed(elsewhere, bob)
	}
	if err := a.Plain(t.Context(), elsewhere, bob, "pässword x"); err != ErrThrottled {
		t.Errorf("after Failed: %v", err)
	}
}
