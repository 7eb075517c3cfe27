package faults

import (
	"context"
	"flag"
	"strings"
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

// The table says what was broken, not only that a limit was exceeded.
func TestTable(t *testing.T) {
	good := Result{Name: "kill", Limit: 5 * time.Second, Worst: time.Second, Linear: "yes"}
	bad := good
	bad.Name, bad.Wrong, bad.Breaches = "cut", []string{"a is told nothing"}, []string{"a CSeq went back"}
	if s := Table([]Result{good}); strings.Contains(s, "not as it has to be") {
		t.Error(s)
	}
	if s := Table([]Result{good, bad}); !strings.Contains(s, "\ncut: not as it has to be: a is told nothing; a CSeq went back\n") {
		t.Error(s)
	}
}
