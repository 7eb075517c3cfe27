package soak

import (
	"maps"
	"strings"
	"testing"
)

// Stacks are laid to the first function of the program's own, and add up.
func TestReadTraces(t *testing.T) {
	const traces = `File: pharos
Type: inuse_space
-----------+-------------------------------------------------------
     bytes:  5.25kB
    19218B   pharos/sip.(*keptResponses).add (inline)
             pharos/sip.(*serverShard).answered
-----------+-------------------------------------------------------
      1024B   internal/stringslite.Clone (inline)
             strings.Clone
             pharos/presence.Entity.Clone
             pharos/engine.(*shard).setTerm
-----------+-------------------------------------------------------
         0   pharos/sip.(*keptResponses).add
-----------+-------------------------------------------------------
    782B   pharos/presence/transfer.list[go.shape.struct { ID string; Rich pharos/presence.Rich }]
             pharos/presence/transfer.(*image).view
-----------+-------------------------------------------------------
    3e+06B   time.goFunc
-----------+-------------------------------------------------------
`
	got, err := readTraces(strings.NewReader(traces))
	want := map[string]float64{"sip.(*keptResponses).add": 19218, "presence.Entity.Clone": 1024, "presence/transfer.list": 782, "time.goFunc": 3e6, AllFunctions: 3021024}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "File: pharos\n", "-----\n  many  pharos/sip.x\n"} {
		if m, err := readTraces(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is %v", bad, m)
		}
	}
}

// What is told adds up to all.
func TestWriteHeap(t *testing.T) {
	r := &Result{Heap: []Grower{{AllFunctions, 10 << 20, 5 << 20, 1 << 20}}}
	for i := range mostGrowers + 3 {
		r.Heap = append(r.Heap, Grower{"f" + string(rune('a'+i)), 1 << 19, 1 << 18, 1 << 17})
	}
	var b strings.Builder
	writeHeap(&b, r)
	got := b.String()
	for _, want := range []string{"10.0 MiB on average", "grows by 5.00 ± 1.00 MiB", "| `fa` | 0.50 MiB | +0.25 ± 0.12 MiB |", "| 3 others together | 2.50 MiB | +1.25 MiB |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
