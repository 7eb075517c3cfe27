package cluster

import (
	"bytes"
	"slices"
	"testing"
)

func sealers(t *testing.T, secret string) (*sealer, *sealer) {
	t.Helper()
	a, err := newSealer(secretOf(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newSealer(secretOf(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestSeal(t *testing.T) {
	a, b := sealers(t, ours)
	plain := []byte("alice is away")
	sealed := a.seal("a", "n.b", plain)
	if bytes.Contains(sealed, plain) {
		t.Error("not sealed")
	}
	open := func(l *sealer, from, to string, b []byte) bool {
		got, process, err := l.open(from, to, slices.Clone(b))
		if err == nil && (!bytes.Equal(got, plain) || process != a.self) {
			t.Errorf("%q by %x", got, process)
		}
		return err == nil
	}
	if open(b, "c", "n.b", sealed) || open(b, "a", "all", sealed) {
		t.Error("opened under other names")
	}
	for i := range sealed {
		bad := slices.Clone(sealed)
		bad[i] ^= 1
		if open(b, "a", "n.b", bad) || open(b, "a", "n.b", sealed[:i]) {
			t.Errorf("opened with byte %d changed or missing", i)
		}
	}
	if _, other := sealers(t, theirs); open(other, "a", "n.b", sealed) {
		t.Error("opened with another secret")
	}
	if !open(b, "a", "n.b", sealed) {
		t.Error("not opened")
	}
	if open(b, "a", "n.b", sealed) {
		t.Error("opened twice")
	}
	if again := a.seal("a", "n.b", plain); bytes.Equal(again[sealHead:], sealed[sealHead:]) || !open(b, "a", "n.b", again) {
		t.Error("the same is sealed to the same")
	}
	if len(b.peers) != 1 {
		t.Errorf("%d processes are remembered", len(b.peers))
	}
}

// What others overtake is taken, once; what is very late is not.
func TestSealWindow(t *testing.T) {
	var p sealPeer
	for _, c := range []struct {
		n    uint64
		want bool
	}{{1, true}, {1, false}, {3, true}, {2, true}, {2, false}, {3, false}, {1000, true}, {5, true}, {5, false}, {1026, true},
		{2, false}, {3, false}, {4, true}, {1025, true}, {5000, true}, {4000, true}, {3977, true}, {3976, false}, {4000, false}, {4999, true}, {1 << 60, true}, {5000, false}} {
		if got := p.fresh(c.n); got != c.want {
			t.Errorf("%d: %v", c.n, got)
		}
	}
}

func FuzzSeal(f *testing.F) {
	f.Add([]byte{}, "a")
	f.Add(make([]byte, sealHead+sealTag), "a")
	f.Add(append([]byte{sealVersion}, make([]byte, 100)...), "b")
	f.Fuzz(func(t *testing.T, b []byte, from string) {
		_, l := sealers(t, ours)
		if _, _, err := l.open(from, "n.b", b); err == nil {
			t.Fatal("opened what nobody has sealed")
		}
		if len(l.peers) != 0 {
			t.Fatal("remembers strangers")
		}
	})
}
