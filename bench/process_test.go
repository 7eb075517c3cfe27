package bench

import (
	"path/filepath"
	"testing"
	"time"
)

// Processor time and memory of a shell with children: those that run, and those
// that have ended.
func TestProcessTree(t *testing.T) {
	const work = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
	p, err := Run(t.Context(), filepath.Join(t.TempDir(), "log"), nil, "/bin/sh", "-c", "("+work+"); echo done; ("+work+"; sleep 60) & wait")
	if err != nil {
		t.Fatal(err)
	}
	var cpu time.Duration
	pids := 0
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until) && (cpu < 40*time.Millisecond || pids < 2); time.Sleep(20 * time.Millisecond) {
		if cpu, err = p.CPU(); err != nil {
			t.Fatal(err)
		}
		pids = 0
		if err := p.tree(func(int, []string) error { pids++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if cpu < 40*time.Millisecond || pids < 2 {
		t.Errorf("one child has worked and another lives: %v, %d processes", cpu, pids)
	}
	if m, err := p.Memory(); err != nil || m < 10<<10 || m > 100<<20 {
		t.Errorf("memory %d, %v", m, err)
	}
	if err := p.Stop(); err == nil {
		t.Error("a shell ends by a signal: no error")
	}
	if _, err := p.CPU(); err == nil {
		t.Error("the processor time of one who has ended")
	}
}
