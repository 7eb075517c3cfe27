package simple

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

// What is saved comes back, whatever is in it.
func TestDialogState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s dialogState
		s.ceiling, s.remoteCSeq = rapid.Uint32().Draw(t, "ceiling"), rapid.Uint32().Draw(t, "cseq")
		for i := range s.part {
			s.part[i] = rapid.StringN(0, 300, 2000).Draw(t, "part")
		}
		b := s.encode()
		if len(b) != cap(b) {
			t.Errorf("%d octets in %d", len(b), cap(b))
		}
		var back dialogState
		if err := back.decode(b); err != nil || back != s {
			t.Fatalf("%v: %+v, want %+v", err, back, s)
		}
		n := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if err := back.decode(b[:n]); err == nil {
			t.Errorf("taken when cut off after %d of %d", n, len(b))
		}
	})
}

// A later version may have added parts.
func TestDialogStateLater(t *testing.T) {
	var s dialogState
	s.part[partCallID] = "call"
	b := s.encode()
	b[9]++ // one part more, and its length after the others
	b = append(b[:10+dialogParts:10+dialogParts], append([]byte{3}, append([]byte("call"), "new"...)...)...)
	var back dialogState
	if err := back.decode(b); err != nil || back.part[partCallID] != "call" {
		t.Errorf("%v: %+v", err, back)
	}
}

func FuzzDialogState(f *testing.F) {
	var s dialogState
	s.part[partTarget] = "sip:bob@192.0.2.1"
	f.Add(s.encode())
	f.Add([]byte{dialogVersion, 0, 0, 0, 0, 0, 0, 0, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, back dialogState
		if s.decode(b) != nil {
			return
		}
		if err := back.decode(s.encode()); err != nil || back != s {
			t.Errorf("%v: %+v, want %+v", err, back, s)
		}
	})
}

func TestBindingsState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var bs []*binding
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			b := &binding{
				cseq: rapid.Uint32().Draw(t, "cseq"), regID: rapid.Uint32().Draw(t, "regID"),
				expires: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "expires"), 0),
				updated: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "updated"), 0),
			}
			for _, s := range b.strings() {
				*s = rapid.String().Draw(t, "string")
			}
			bs = append(bs, b)
		}
		v := appendBindings(nil, bs)
		back, err := decodeBindings(v)
		if err != nil || len(back) != len(bs) || !bytes.Equal(appendBindings(nil, back), v) {
			t.Fatalf("%v: %d of %d", err, len(back), len(bs))
		}
		for i := range bs {
			if bs[i].contact != back[i].contact || !bs[i].expires.Equal(back[i].expires) || bs[i].agent != back[i].agent {
				t.Errorf("%+v, want %+v", back[i], bs[i])
			}
		}
		if _, err := decodeBindings(v[:len(v)-1]); err == nil {
			t.Error("taken when cut off")
		}
	})
}

func FuzzBindingsState(f *testing.F) {
	f.Add(appendBindings(nil, []*binding{{contact: "sip:a@b", expires: time.Unix(1, 0), updated: time.Unix(1, 0)}}))
	f.Fuzz(func(t *testing.T, v []byte) {
		bs, err := decodeBindings(v)
		if err == nil {
			if _, err = decodeBindings(appendBindings(nil, bs)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFirstRoute(t *testing.T) {
	for _, c := range [][3]string{
		{"<sip:a;lr>", "<sip:a;lr>", ""},
		{"<sip:a;lr>, <sip:b;lr>,<sip:c>", "<sip:a;lr>", "<sip:b;lr>,<sip:c>"},
		{"<sip:a,b@c;lr>,  <sip:d>", "<sip:a,b@c;lr>", "<sip:d>"},
		{"", "", ""},
	} {
		if first, rest := firstRoute(c[0]); first != c[1] || rest != c[2] {
			t.Errorf("%q: %q and %q", c[0], first, rest)
		}
	}
}

// The presentity's bookkeeping by watcher is even after any order of things.
func TestDialogTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table dialogTable
		table.init()
		watchers := []presence.Entity{aliceHere, bobHere}
		var in []*dialog
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				d := &dialog{id: newID(), pkg: presencePackage, watcher: rapid.SampledFrom(watchers).Draw(t, "watcher")}
				if table.reserve(d.watcher, 5) {
					table.add(d)
					in = append(in, d)
				}
			},
			"strand": func(t *rapid.T) {
				if len(in) > 0 {
					table.waitFor(rapid.SampledFrom(in).Draw(t, "dialog"))
				}
			},
			"return": func(t *rapid.T) { table.returned(rapid.SampledFrom(watchers).Draw(t, "watcher")) },
			"remove": func(t *rapid.T) {
				if len(in) > 0 {
					i := rapid.IntRange(0, len(in)-1).Draw(t, "dialog")
					table.drop(in[i])
					table.drop(in[i]) // once counts
					in = append(in[:i], in[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				n := 0
				for _, c := range table.byWatcher {
					if *c > 5 || *c < 1 {
						t.Fatalf("count %d", *c)
					}
					n += *c
				}
				if n != len(in) || table.count(map[string]int{}) != len(in) {
					t.Fatalf("%d counted, %d in the table, want %d", n, table.count(map[string]int{}), len(in))
				}
				for _, ds := range table.troubled {
					for _, d := range ds {
						if d.ended {
							t.Fatal("one that has ended is waited for")
						}
					}
				}
			},
		})
	})
}

func TestEntity(t *testing.T) {
	for _, c := range []struct {
		uri  string
		want presence.Entity
		ok   bool
	}{
		{"sip:alice@example.com", aliceHere, true},
		{"sips:Alice:pw@Example.COM:5061;transport=tcp?x=y", aliceHere, true},
		{"pres:alice@example.com", aliceHere, true},
		{"im:alice@example.com", aliceHere, true},
		{"sip:%61lice@example.com", aliceHere, true},
		{"sip:example.com", presence.Entity{Domain: "example.com"}, true},
		{"sip:M%C3%9CLLER@example.com", presence.Entity{User: "müller", Domain: domain}, true},
		{"sip:%ff@example.com", presence.Entity{}, false},
		{"tel:+49", presence.Entity{}, false},
		{"mailto:alice@example.com", presence.Entity{}, false},
		{"nonsense", presence.Entity{}, false},
	} {
		if got, ok := entityOf(c.uri); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v; want %v", c.uri, got, ok, c.want)
		}
	}
	// The way to the store and back.
	for _, e := range []presence.Entity{aliceHere, {User: "a b/c@d", Domain: domain}, {User: "müller", Domain: "2001:db8::1"}} {
		if got, ok := entityOf("sip:" + escapeUser(e.String())); !ok || got != e {
			t.Errorf("%v came back as %v", e, got)
		}
	}
}

// BenchmarkDecode is what each NOTIFY begins with.
func BenchmarkDecode(b *testing.B) {
	var s dialogState
	for i := range s.part {
		s.part[i] = strings.Repeat("x", 3*i)
	}
	state := s.encode()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.decode(state); err != nil {
			b.Fatal(err)
		}
	}
}
