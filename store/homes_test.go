package store

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pharos/presence"
)

func crowd(n int) []presence.Entity {
	list := make([]presence.Entity, n)
	for i := range list {
		list[i] = presence.Entity{User: fmt.Sprintf("u%05d", i), Domain: "example.com"}
	}
	return list
}

func wishes(of []presence.Entity, node string) map[presence.Entity]string {
	m := make(map[presence.Entity]string, len(of))
	for _, e := range of {
		m[e] = node
	}
	return m
}

func settle(t testing.TB, s *Store, wish map[presence.Entity]string) map[presence.Entity]Home {
	t.Helper()
	got, err := s.Settle(t.Context(), wish)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func kill(t testing.TB, s *Store, m Member) {
	t.Helper()
	if err := s.Renew(t.Context(), m, noLease); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Bury(t.Context(), m.Name, m.Epoch); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func homesOf(t testing.TB, s *Store, node string, durable bool) []presence.Entity {
	t.Helper()
	list, err := s.HomesOf(t.Context(), node, durable)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSettle(t *testing.T) { onBoth(t, testSettle) }

func testSettle(t *testing.T, s *Store) {
	ctx := t.Context()
	enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	first := settle(t, s, map[presence.Entity]string{alice: "n1", bob: "n2"})
	if len(first) != 2 || first[alice].Node != "n1" || first[bob].Node != "n2" || first[alice].Epoch == 0 {
		t.Fatalf("%v", first)
	}
	// Who has a home keeps it.
	again := settle(t, s, map[presence.Entity]string{alice: "n2", carol: "n2"})
	if again[alice] != first[alice] || again[carol].Node != "n2" {
		t.Errorf("%v after %v", again, first)
	}
	got, err := s.Homes(ctx, []presence.Entity{alice, bob, carol, alice, {User: "nobody", Domain: "example.com"}})
	if want := (map[presence.Entity]Home{alice: first[alice], bob: first[bob], carol: again[carol]}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got := homesOf(t, s, "n2", false); !reflect.DeepEqual(got, []presence.Entity{bob, carol}) {
		t.Errorf("at n2: %v", got)
	}
	if got, err := s.Settle(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	// What is no text has no home, and is in nobody's way.
	odd := presence.Entity{User: "a\xff", Domain: "example.com"}
	if got := settle(t, s, map[presence.Entity]string{odd: "n1", {User: "\x00"}: "n1", alice: "n2"}); !maps.Equal(got, map[presence.Entity]Home{alice: first[alice]}) {
		t.Errorf("%v", got)
	}

	// Nobody settles where nobody is.
	dora := presence.Entity{User: "dora", Domain: "example.com"}
	enter(t, s, "n3", noLease)
	for _, node := range []string{"n3", "nowhere"} {
		if got := settle(t, s, map[presence.Entity]string{dora: node, alice: node}); !maps.Equal(got, map[presence.Entity]Home{alice: first[alice]}) {
			t.Errorf("at %s: %v", node, got)
		}
	}
}

// Of nodes that settle the same at once, one has its wish, and all hear of it.
func TestSettleAtOnce(t *testing.T) { onBoth(t, testSettleAtOnce) }

func testSettleAtOnce(t *testing.T, s *Store) {
	ctx := t.Context()
	const nodes = 3
	for n := range nodes {
		enter(t, s, fmt.Sprint("n", n), longLease)
	}
	all := crowd(100)
	var got [nodes][]map[presence.Entity]Home
	var wg sync.WaitGroup
	for n := range nodes {
		wg.Go(func() {
			for i := 0; i < len(all); i += 10 {
				part := all[i : i+10]
				if n == 1 { // from the other end
					part = all[len(all)-i-10 : len(all)-i]
				}
				m, err := s.Settle(ctx, wishes(part, fmt.Sprint("n", n)))
				if err != nil {
					t.Error(err)
				}
				got[n] = append(got[n], m)
			}
		})
	}
	wg.Wait()
	final, err := s.Homes(ctx, all)
	if err != nil || len(final) != len(all) {
		t.Fatalf("%d have a home, %v", len(final), err)
	}
	for n, answers := range got {
		heard := 0
		for _, m := range answers {
			for e, h := range m {
				heard++
				if h != final[e] {
					t.Errorf("n%d heard that %s is at %v, and it is at %v", n, e, h, final[e])
				}
			}
		}
		if heard != len(all) {
			t.Errorf("n%d heard of %d", n, heard)
		}
	}
}

func TestMoveHomes(t *testing.T) { onBoth(t, testMoveHomes) }

func testMoveHomes(t *testing.T, s *Store) {
	ctx := t.Context()
	enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	enter(t, s, "n3", noLease)
	have := settle(t, s, map[presence.Entity]string{alice: "n1", bob: "n1", carol: "n2"})
	moved, err := s.Move(ctx, "n1", "n2", map[presence.Entity]uint64{
		alice: have[alice].Epoch, bob: have[bob].Epoch + 1, carol: have[carol].Epoch, {User: "nobody"}: 1,
	})
	if err != nil || len(moved) != 1 || moved[alice].Node != "n2" || moved[alice].Epoch <= have[alice].Epoch {
		t.Fatalf("%v, %v", moved, err)
	}
	// Not a second time, and not to where nobody is.
	if again, err := s.Move(ctx, "n1", "n2", map[presence.Entity]uint64{alice: have[alice].Epoch}); len(again) != 0 || err != nil {
		t.Errorf("%v, %v", again, err)
	}
	if again, err := s.Move(ctx, "n1", "n3", map[presence.Entity]uint64{bob: have[bob].Epoch}); len(again) != 0 || err != nil {
		t.Errorf("%v, %v", again, err)
	}
	if got := homesOf(t, s, "n1", false); !slices.Equal(got, []presence.Entity{bob}) {
		t.Errorf("at n1: %v", got)
	}
}

// A home that is gone and comes back has a higher epoch than ever before.
func TestReleaseHomes(t *testing.T) { onBoth(t, testReleaseHomes) }

func testReleaseHomes(t *testing.T, s *Store) {
	ctx := t.Context()
	enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	last := uint64(0)
	for range 5 {
		h := settle(t, s, map[presence.Entity]string{alice: "n1", bob: "n1"})
		if h[alice].Epoch <= last {
			t.Fatalf("epoch %d after %d", h[alice].Epoch, last)
		}
		moved, err := s.Move(ctx, "n1", "n2", map[presence.Entity]uint64{alice: h[alice].Epoch})
		if err != nil || len(moved) != 1 {
			t.Fatal(moved, err)
		}
		last = moved[alice].Epoch
		// What has moved since is somebody's again, and stays.
		late := map[presence.Entity]uint64{alice: last - 1, bob: h[bob].Epoch, carol: 1}
		if err := s.Release(ctx, "n2", late); err != nil || len(homesOf(t, s, "n2", false)) != 1 {
			t.Fatalf("released with an old epoch: %v", err)
		}
		late[alice] = last
		if err := s.Release(ctx, "n2", late); err != nil {
			t.Fatal(err)
		}
		left, err := s.Homes(ctx, []presence.Entity{alice, bob})
		if err != nil || len(left) != 1 || left[bob].Node != "n1" {
			t.Fatalf("left: %v, %v", left, err)
		}
	}
}

// release deletes the homes of all that are at a node.
func release(t *testing.T, s *Store, node string, all []presence.Entity) {
	t.Helper()
	homes, err := s.Homes(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	of := map[presence.Entity]uint64{}
	for e, h := range homes {
		of[e] = h.Epoch
	}
	if err := s.Release(t.Context(), node, of); err != nil {
		t.Fatal(err)
	}
}

func TestInherit(t *testing.T) { onBoth(t, testInherit) }

func testInherit(t *testing.T, s *Store) {
	ctx := t.Context()
	m := enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	enter(t, s, "n3", longLease)
	four := enter(t, s, "n4", longLease)
	all := crowd(100)
	before := settle(t, s, wishes(all, "n1"))
	stays := settle(t, s, map[presence.Entity]string{alice: "n2"})
	heirs := map[string]int{"n1": 5, "n2": 3000, "n3": 1000, "n4": 50, "nobody": 7, "none": 0}

	// Not of the living.
	if got, err := s.Inherit(ctx, "n1", heirs); len(got) != 0 || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	kill(t, s, m)
	kill(t, s, four)
	if _, err := s.Inherit(ctx, "n1", map[string]int{"n4": 1, "n1": 1}); !errors.Is(err, ErrNoHeir) {
		t.Fatalf("nobody inherits: %v", err)
	}
	got, err := s.Inherit(ctx, "n1", heirs)
	if want := map[string]int{"n2": 75, "n3": 25}; err != nil || !maps.Equal(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	after, err := s.Homes(ctx, append(all, alice))
	if err != nil || after[alice] != stays[alice] {
		t.Fatalf("%v, %v", after[alice], err)
	}
	for _, e := range all {
		if after[e].Node == "n1" || after[e].Epoch <= before[e].Epoch {
			t.Fatalf("%s: %v after %v", e, after[e], before[e])
		}
	}
	// Again: nothing is left to inherit, and nothing changes.
	if got, err := s.Inherit(ctx, "n1", heirs); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if now, err := s.Homes(ctx, append(all, alice)); err != nil || !maps.Equal(now, after) {
		t.Errorf("changed by inheriting nothing: %v", err)
	}
}

// What Inherit reads grows as the homes do, whatever the planner was told of the node when it had none: it once looked through all
// homes of the node for each, and 5,000 took longer than a statement may.
func TestInheritLinear(t *testing.T) {
	const n = 2000
	s := openPostgresTest(t, postgresURL(t))
	one := enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	all := crowd(2 * n)
	settle(t, s, wishes(all[:n], "n2"))
	if err := s.registry(t.Context(), func(t *registryTx) error {
		_, err := t.exec(`ANALYZE homes`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	settle(t, s, wishes(all[n:], "n1"))
	kill(t, s, one)
	read := 0
	if err := s.registry(t.Context(), func(t *registryTx) error {
		update, args := inheritance("n1", []share{{"n2", 1}}, InheritMost)
		rows, err := t.query(`EXPLAIN ANALYZE `+update, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for read = 0; rows.Next(); {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			read += actualRows(line)
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	if left := homesOf(t, s, "n1", false); len(left) != 0 {
		t.Fatalf("%d are left", len(left))
	}
	if read < n || read > 20*n {
		t.Errorf("%d rows are read for %d homes", read, n)
	}
}

var actually = regexp.MustCompile(`actual time=\S+ rows=(\d+) loops=(\d+)`)
var removed = regexp.MustCompile(`Rows Removed by (?:Join )?Filter: (\d+)`)

// actualRows is how many rows a line of EXPLAIN ANALYZE has seen.
func actualRows(line string) int {
	if m := actually.FindStringSubmatch(line); m != nil {
		rows, _ := strconv.Atoi(m[1])
		loops, _ := strconv.Atoi(m[2])
		return rows * loops
	}
	if m := removed.FindStringSubmatch(line); m != nil {
		rows, _ := strconv.Atoi(m[1])
		return rows
	}
	return 0
}

// More homes than one portion: each is shared out, an heir that dies amid gets no more, and what it got is inherited
// from it; a node that enters again amid keeps the rest; who is asked for meanwhile settles.
func TestInheritPortions(t *testing.T) { onBoth(t, testInheritPortions) }

func testInheritPortions(t *testing.T, s *Store) {
	const most = 100
	ctx := t.Context()
	one := enter(t, s, "n1", longLease)
	two := enter(t, s, "n2", longLease)
	enter(t, s, "n3", longLease)
	all := crowd(2*most + 10)
	settle(t, s, wishes(all, "n1"))
	kill(t, s, one)
	heirs := map[string]int{"n2": 3, "n3": 1}
	got, err := s.inherit(ctx, "n1", heirs, most)
	if want := map[string]int{"n2": most * 3 / 4, "n3": most / 4}; err != nil || !maps.Equal(got, want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	left := homesOf(t, s, "n1", false)
	if len(left) != most+10 {
		t.Fatalf("%d are left", len(left))
	}
	if h := settle(t, s, map[presence.Entity]string{left[0]: "n3"})[left[0]]; h.Node != "n3" {
		t.Errorf("%v", h)
	}
	kill(t, s, two)
	if got, err = s.inherit(ctx, "n1", heirs, most); err != nil || !maps.Equal(got, map[string]int{"n3": most}) {
		t.Fatalf("%v, %v", got, err)
	}
	one = enter(t, s, "n1", longLease)
	if got, err = s.inherit(ctx, "n1", heirs, most); err != nil || len(got) != 0 {
		t.Fatalf("of the living: %v, %v", got, err)
	}
	if left := homesOf(t, s, "n1", false); len(left) != 9 {
		t.Errorf("%d are left", len(left))
	}
	kill(t, s, one)
	for _, dead := range []string{"n1", "n2"} {
		for got["n3"] = 1; len(got) > 0; {
			if got, err = s.inherit(ctx, dead, heirs, most); err != nil {
				t.Fatal(err)
			}
		}
	}
	if mine := homesOf(t, s, "n3", false); len(mine) != len(all) {
		t.Errorf("the last one has %d of %d", len(mine), len(all))
	}
}

// Few homes and large weights are shared all the same.
func TestInheritFew(t *testing.T) { onBoth(t, testInheritFew) }

func testInheritFew(t *testing.T, s *Store) {
	ctx := t.Context()
	m := enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	enter(t, s, "n3", longLease)
	settle(t, s, wishes(crowd(2), "n1"))
	if err := s.Leave(ctx, "n1", m.Epoch); err != nil {
		t.Fatal(err)
	}
	got, err := s.Inherit(ctx, "n1", map[string]int{"n2": 10_000, "n3": 10_000})
	if want := map[string]int{"n2": 1, "n3": 1}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// Whoever was to inherit and did not: a node that enters again has its homes, and
// a presentity that is asked for settles elsewhere.
func TestDeadWithoutHeirs(t *testing.T) { onBoth(t, testDeadWithoutHeirs) }

func testDeadWithoutHeirs(t *testing.T, s *Store) {
	ctx := t.Context()
	m := enter(t, s, "n1", longLease)
	enter(t, s, "n2", longLease)
	before := settle(t, s, map[presence.Entity]string{alice: "n1", bob: "n1"})
	kill(t, s, m)
	got := settle(t, s, map[presence.Entity]string{alice: "n2"})
	if got[alice].Node != "n2" || got[alice].Epoch <= before[alice].Epoch {
		t.Errorf("%v after %v", got, before)
	}
	enter(t, s, "n1", longLease)
	if got, err := s.Inherit(ctx, "n1", map[string]int{"n2": 1}); len(got) != 0 || err != nil {
		t.Errorf("inherited from the living: %v, %v", got, err)
	}
	if got := homesOf(t, s, "n1", false); !slices.Equal(got, []presence.Entity{bob}) {
		t.Errorf("at n1: %v", got)
	}
	if got := settle(t, s, map[presence.Entity]string{bob: "n2"}); got[bob] != before[bob] {
		t.Errorf("%v after %v", got, before)
	}
}

func TestHomesOfDurable(t *testing.T) { onBoth(t, testHomesOfDurable) }

func testHomesOfDurable(t *testing.T, s *Store) {
	enter(t, s, "n1", longLease)
	settle(t, s, map[presence.Entity]string{alice: "n1", bob: "n1", carol: "n1"})
	sub := benchSubscription(1)
	save(t, s,
		presence.Save{Presentity: alice, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub},
		presence.Save{Presentity: bob, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub},
		presence.Save{Presentity: presence.Entity{User: "dora", Domain: "example.com"}, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub})
	save(t, s, presence.Save{Presentity: bob, Kind: presence.SavedSubscription, Key: sub.ID, Delete: true})
	if got := homesOf(t, s, "n1", true); !slices.Equal(got, []presence.Entity{alice}) {
		t.Errorf("%v", got)
	}
	if got := homesOf(t, s, "n1", false); len(got) != 3 {
		t.Errorf("%v", got)
	}
	if got := homesOf(t, s, "n2", true); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// While a node's homes move away it dies: each home is moved or inherited, and
// none of both.
func TestMoveOrInherit(t *testing.T) { onBoth(t, testMoveOrInherit) }

func testMoveOrInherit(t *testing.T, s *Store) {
	ctx := t.Context()
	enter(t, s, "n2", longLease)
	enter(t, s, "n3", longLease)
	all := crowd(60)
	for range 5 {
		m := enter(t, s, "n1", longLease)
		have := settle(t, s, wishes(all, "n1"))
		if err := s.Renew(ctx, m, noLease); err != nil {
			t.Fatal(err)
		}
		moved := make(map[presence.Entity]Home)
		inherited := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; i < len(all); i += 5 {
				of := make(map[presence.Entity]uint64)
				for _, e := range all[i : i+5] {
					of[e] = have[e].Epoch
				}
				got, err := s.Move(ctx, "n1", "n2", of)
				if err != nil {
					t.Error(err)
				}
				maps.Copy(moved, got)
			}
		})
		wg.Go(func() {
			if ok, err := s.Bury(ctx, "n1", m.Epoch); !ok || err != nil {
				t.Error(ok, err)
			}
			got, err := s.Inherit(ctx, "n1", map[string]int{"n3": 1})
			if err != nil {
				t.Error(err)
			}
			inherited = got["n3"]
		})
		wg.Wait()
		final, err := s.Homes(ctx, all)
		if err != nil || len(final) != len(all) || len(moved)+inherited != len(all) {
			t.Fatalf("%d homes, %d moved, %d inherited, %v", len(final), len(moved), inherited, err)
		}
		for _, e := range all {
			want := "n3"
			if h, ok := moved[e]; ok {
				if want = "n2"; h != final[e] {
					t.Errorf("%s: %v, and was told %v", e, final[e], h)
				}
			}
			if final[e].Node != want {
				t.Errorf("%s: %v, want %s", e, final[e], want)
			}
		}
		for _, n := range []string{"n2", "n3"} {
			release(t, s, n, all)
		}
	}
}

// However a settling and a death fall together, no home stays with the dead.
func TestSettleOrBury(t *testing.T) { onBoth(t, testSettleOrBury) }

func testSettleOrBury(t *testing.T, s *Store) {
	ctx := t.Context()
	enter(t, s, "n2", longLease)
	all := crowd(40)
	for round := range 10 {
		m := enter(t, s, "n1", longLease)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; i < len(all); i += 4 {
				if _, err := s.Settle(ctx, wishes(all[i:i+4], "n1")); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			if err := s.Leave(ctx, "n1", m.Epoch); err != nil {
				t.Error(err)
			}
			if _, err := s.Inherit(ctx, "n1", map[string]int{"n2": 1}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := homesOf(t, s, "n1", false); len(got) != 0 {
			t.Fatalf("round %d: %d with the dead", round, len(got))
		}
		release(t, s, "n2", all)
	}
}
