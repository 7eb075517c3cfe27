package bench

import "testing"

// The mix has each type as often as the hour says, and spreads them.
func TestEvenly(t *testing.T) {
	order := evenly()
	count, gap := map[Stone]int{}, map[Stone]int{}
	last := map[Stone]int{}
	for i, k := range order {
		count[k]++
		gap[k] = max(gap[k], i-last[k])
		last[k] = i
	}
	total := 0
	for _, h := range hour {
		total += h.n
		if count[h.kind] != h.n {
			t.Errorf("%s: %d, want %d", h.kind, count[h.kind], h.n)
		}
		if most := 2 * 232 / h.n; gap[h.kind] > most {
			t.Errorf("%s: %d others in a row", h.kind, gap[h.kind])
		}
	}
	if len(order) != total || total != 232 {
		t.Errorf("%d requests, want %d", len(order), total)
	}
}

func TestDialogOf(t *testing.T) {
	for m, want := range map[string][3]int{
		"NOTIFY x\r\nCall-ID: s12-7\r\n\r\n": {12, 7, 1},
		"NOTIFY x\r\nCall-ID: d12\r\n\r\n":   {},
		"NOTIFY x\r\nCall-ID: s12\r\n\r\n":   {},
		"NOTIFY x\r\n\r\n":                   {},
	} {
		p, w, ok := dialogOf([]byte(m))
		if p != want[0] && ok || w != want[1] && ok || ok != (want[2] == 1) {
			t.Errorf("%q: %d, %d, %v", m, p, w, ok)
		}
	}
}
