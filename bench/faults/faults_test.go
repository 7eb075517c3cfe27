package faults

import (
	"context"
	"flag"
	"testing"
	"time"

	"pharos/store/postgrestest"
)

var faulty = flag.Bool("faults", false, "hurt a service of three nodes: a short form of what 'make faults' does")

// TestFaults is the short set: what needs no rights, with few users.
func TestFaults(t *testing.T) {
	if !*faulty {
		t.Skip("it takes a minute and the whole machine: go test ./bench/faults -faults")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	rs, err := Run(ctx, Options{
		Dir: t.TempDir(), Only: []string{"kill -9 of the leader", "SIGSTOP", "PostgreSQL restarted", "rolling"},
		Phones: 8, Chats: 8, Watch: 3, Settle: 6 * time.Second, Loopback: true, Log: t.Output(),
	})
	if postgrestest.MaySkip(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != 4 {
		t.Errorf("%d faults were done", len(rs))
	}
	for _, r := range rs {
		if !r.OK() {
			t.Error(r)
		}
	}
}
