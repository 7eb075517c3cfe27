package postgrestest

import (
	"errors"
	"os"
	"testing"
)

func TestServer(t *testing.T) {
	s, err := Start()
	if errors.Is(err, ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require" {
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
