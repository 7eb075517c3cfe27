package interop

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// soon is how long anything that ought to happen at once may take here: two
// loaded cores and the race detector included.
const soon = 15 * time.Second

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pharos-interop-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if binary, err = Build(dir, raceDetector); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// launch starts a server with users for one test, which runs beside others from
// then on. The test fails if the server reports a data race or an error of its
// own.
func launch(t *testing.T, users ...string) (*Server, map[string]User) {
	t.Helper()
	t.Parallel()
	s, err := StartServer(binary, t.TempDir())
	must(t, err)
	t.Cleanup(func() {
		s.Stop()
		log := s.Text()
		for _, bad := range []string{"DATA RACE", "panic:", "level=ERROR"} {
			if strings.Contains(log, bad) {
				t.Errorf("the server's log has %q:\n%s", bad, log)
				return
			}
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", log)
		}
	})
	us, err := s.AddUsers(users...)
	must(t, err)
	return s, us
}

// must ends the test at an error. A program that is missing skips it, unless
// PHAROS_INTEROP=require.
func must(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// get is must for a call that returns a value.
func get[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}
