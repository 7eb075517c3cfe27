package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestServer(t *testing.T) {
	s, err := Start()
	if MaySkip(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, end := range []func() error{s.Stop, s.Crash} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if s.answers() {
			t.Fatal("answers when it was stopped")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if !s.answers() {
			t.Fatal("does not answer")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
}

func TestMaySkip(t *testing.T) {
	missing := fmt.Errorf("a service of three: %w", ErrMissing)
	t.Setenv("PHAROS_INTEROP", "")
	if !MaySkip(missing) || MaySkip(errors.New("another")) || MaySkip(nil) {
		t.Error("not for what is missing, or for something else")
	}
	t.Setenv("PHAROS_INTEROP", "require")
	if MaySkip(missing) {
		t.Error("although it is required")
	}
}
