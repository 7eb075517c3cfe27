package store

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// Leases in these tests are either long or have run out when they are made, so that
// nothing waits for a clock.
const (
	longLease = time.Hour
	noLease   = -time.Second
)

func enter(t testing.TB, s *Store, name string, lease time.Duration) Member {
	t.Helper()
	m := Member{Name: name, State: "active"}
	var err error
	if m.Epoch, err = s.Enter(t.Context(), m, lease); err != nil {
		t.Fatal(err)
	}
	return m
}

func members(t testing.TB, s *Store) map[string]Member {
	t.Helper()
	list, err := s.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(list, func(a, b Member) int { return map[bool]int{true: -1, false: 1}[a.Name < b.Name] }) {
		t.Errorf("not in order: %v", list)
	}
	by := make(map[string]Member)
	for _, m := range list {
		by[m.Name] = m
	}
	return by
}

func TestMembers(t *testing.T) { onBoth(t, testMembers) }

func testMembers(t *testing.T, s *Store) {
	ctx := t.Context()
	want := Member{
		Name: "n1", State: "joining", Level: 12.5, Max: 100, Users: 7, Version: "1.2", Spare: true,
		Address: Address{Bus: "10.0.0.1:6222", SIP: "sip:10.0.0.1:5060", XMPP: "10.0.0.1:5222", HTTP: "https://10.0.0.1:8443"},
	}
	var err error
	if want.Epoch, err = s.Enter(ctx, want, longLease); err != nil || want.Epoch == 0 {
		t.Fatalf("epoch %d, %v", want.Epoch, err)
	}
	enter(t, s, "n2", noLease)
	check := func() {
		t.Helper()
		by := members(t, s)
		got := by["n1"]
		if d := time.Until(got.Expires); d < longLease-time.Minute || d > longLease {
			t.Errorf("expires in %v", d)
		}
		got.Expires = time.Time{}
		if got != want || len(by) != 2 {
			t.Errorf("got %+v of %d\nwant %+v", got, len(by), want)
		}
		if d := time.Until(by["n2"].Expires); d > 0 {
			t.Errorf("a lease that had run out has %v left", d)
		}
	}
	check()
	want.State, want.Level, want.Users, want.Address.SIP = "active", 0, 0, ""
	if err := s.Renew(ctx, want, longLease); err != nil {
		t.Fatal(err)
	}
	check()
	want.Spare = false
	if err := s.Renew(ctx, want, longLease); err != nil {
		t.Fatal(err)
	}
	check()
}

// A name belongs to who has entered last.
func TestEnterAgain(t *testing.T) { onBoth(t, testEnterAgain) }

func testEnterAgain(t *testing.T, s *Store) {
	ctx := t.Context()
	old := enter(t, s, "n1", longLease)
	now := enter(t, s, "n1", longLease)
	if now.Epoch <= old.Epoch {
		t.Errorf("epoch %d after %d", now.Epoch, old.Epoch)
	}
	if err := s.Renew(ctx, old, longLease); !errors.Is(err, ErrFenced) {
		t.Errorf("the one before renews: %v", err)
	}
	if err := s.Renew(ctx, now, longLease); err != nil {
		t.Error(err)
	}
	if err := s.Renew(ctx, Member{Name: "nobody", Epoch: 1}, longLease); !errors.Is(err, ErrFenced) {
		t.Errorf("who never entered renews: %v", err)
	}
}

func TestBury(t *testing.T) { onBoth(t, testBury) }

func testBury(t *testing.T, s *Store) {
	ctx := t.Context()
	m := enter(t, s, "n1", longLease)
	bury := func(epoch uint64, want bool) {
		t.Helper()
		if got, err := s.Bury(ctx, "n1", epoch); got != want || err != nil {
			t.Errorf("buried %v, %v", got, err)
		}
	}
	bury(m.Epoch, false) // alive
	if err := s.Renew(ctx, m, noLease); err != nil {
		t.Fatal(err)
	}
	bury(m.Epoch+1, false)
	bury(m.Epoch, true)
	bury(m.Epoch, false)
	bury(m.Epoch+1, false) // once is enough
	if got := members(t, s)["n1"]; got.State != "dead" || got.Epoch <= m.Epoch {
		t.Errorf("%+v", got)
	}
	if err := s.Renew(ctx, m, longLease); !errors.Is(err, ErrFenced) {
		t.Errorf("the dead renews: %v", err)
	}
	if got := enter(t, s, "n1", longLease); got.Epoch <= m.Epoch+1 {
		t.Errorf("entered with epoch %d after %d", got.Epoch, m.Epoch+1)
	}
	if got, err := s.Bury(ctx, "nobody", 1); got || err != nil {
		t.Errorf("buried nobody: %v, %v", got, err)
	}
}

func TestLeave(t *testing.T) { onBoth(t, testLeave) }

func testLeave(t *testing.T, s *Store) {
	ctx := t.Context()
	m, other := enter(t, s, "n1", longLease), enter(t, s, "n2", longLease)
	if _, _, err := s.Lead(ctx, "n1", m.Epoch, longLease); err != nil {
		t.Fatal(err)
	}
	if err := s.Leave(ctx, "n1", m.Epoch); err != nil {
		t.Fatal(err)
	}
	if got := members(t, s)["n1"]; got.State != "left" || got.Leader {
		t.Errorf("%+v", got)
	}
	if err := s.Renew(ctx, m, longLease); !errors.Is(err, ErrFenced) {
		t.Errorf("who has left renews: %v", err)
	}
	if got, err := s.Bury(ctx, "n1", m.Epoch+1); got || err != nil {
		t.Errorf("who has left was buried: %v, %v", got, err)
	}
	if leader, _, err := s.Lead(ctx, "n2", other.Epoch, longLease); leader != "n2" || err != nil {
		t.Errorf("%s leads, %v", leader, err)
	}
	again := enter(t, s, "n1", longLease)
	if err := s.Leave(ctx, "n1", m.Epoch); err != nil { // the one before, late
		t.Fatal(err)
	}
	if err := s.Renew(ctx, again, longLease); err != nil {
		t.Errorf("sent away by the one before: %v", err)
	}
}

func TestLead(t *testing.T) { onBoth(t, testLead) }

func testLead(t *testing.T, s *Store) {
	ctx := t.Context()
	one, two := enter(t, s, "n1", longLease), enter(t, s, "n2", longLease)
	lead := func(m Member, lease time.Duration, wantLeader string, wantTerm uint64) {
		t.Helper()
		leader, term, err := s.Lead(ctx, m.Name, m.Epoch, lease)
		if leader != wantLeader || term != wantTerm || err != nil {
			t.Fatalf("%s asks: %s leads in term %d, %v; want %s, %d", m.Name, leader, term, err, wantLeader, wantTerm)
		}
		by := members(t, s)
		for _, n := range []string{"n1", "n2"} {
			if want := n == wantLeader && (m.Name != n || lease > 0); by[n].Leader != want {
				t.Errorf("%s a leader: %v", n, by[n].Leader)
			}
		}
	}
	lead(one, longLease, "n1", 1)
	lead(one, longLease, "n1", 1)
	lead(two, longLease, "n1", 1)
	lead(one, noLease, "n1", 1)
	lead(two, longLease, "n2", 2) // it had run out
	lead(one, longLease, "n2", 2)

	// The leader's death ends its lease, whatever is left of it.
	if err := s.Renew(ctx, two, noLease); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Bury(ctx, "n2", two.Epoch); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, _, err := s.Lead(ctx, "n2", two.Epoch, longLease); !errors.Is(err, ErrFenced) {
		t.Errorf("the dead leads: %v", err)
	}
	lead(one, longLease, "n1", 3)
	// So does its new beginning, and the term shows that it was away.
	one = enter(t, s, "n1", longLease)
	if members(t, s)["n1"].Leader {
		t.Error("who has entered leads already")
	}
	lead(one, longLease, "n1", 4)
	// It led last, but the lease had run out: somebody may have thought so.
	lead(one, noLease, "n1", 4)
	lead(one, longLease, "n1", 5)
}

// A renewal in the last moment and a burial: exactly one of them is right.
func TestBuryOrRenew(t *testing.T) { onBoth(t, testBuryOrRenew) }

func testBuryOrRenew(t *testing.T, s *Store) {
	ctx := t.Context()
	m := enter(t, s, "n1", noLease)
	renewed, deaths := 0, 0
	for range 50 {
		var wg sync.WaitGroup
		var errRenew, errBury error
		var buried bool
		wg.Go(func() { errRenew = s.Renew(ctx, m, longLease) })
		wg.Go(func() { buried, errBury = s.Bury(ctx, m.Name, m.Epoch) })
		wg.Wait()
		if errBury != nil || errRenew != nil && !errors.Is(errRenew, ErrFenced) {
			t.Fatal(errBury, errRenew)
		}
		if buried != (errRenew != nil) {
			t.Fatalf("buried %v, renewed %v", buried, errRenew)
		}
		if buried {
			deaths++
			m = enter(t, s, "n1", noLease)
			continue
		}
		renewed++
		if err := s.Renew(ctx, m, noLease); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("renewed %d times, buried %d", renewed, deaths)
}

// Of many who want to lead one does.
func TestLeadAtOnce(t *testing.T) { onBoth(t, testLeadAtOnce) }

func testLeadAtOnce(t *testing.T, s *Store) {
	ctx := t.Context()
	var nodes []Member
	for _, n := range []string{"n1", "n2", "n3", "n4"} {
		nodes = append(nodes, enter(t, s, n, longLease))
	}
	for round := uint64(1); round <= 10; round++ {
		var wg sync.WaitGroup
		leaders, terms, errs := make([]string, len(nodes)), make([]uint64, len(nodes)), make([]error, len(nodes))
		for i, m := range nodes {
			wg.Go(func() { leaders[i], terms[i], errs[i] = s.Lead(ctx, m.Name, m.Epoch, longLease) })
		}
		wg.Wait()
		for i := range nodes {
			if errs[i] != nil || leaders[i] != leaders[0] || terms[i] != round {
				t.Fatalf("round %d: %v in %v, %v", round, leaders, terms, errs)
			}
		}
		for i, m := range nodes {
			if m.Name == leaders[0] {
				nodes[i] = enter(t, s, m.Name, longLease)
			}
		}
	}
}
