package store

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PHAROS_STORE_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(tests{m})
}

type tests struct{ m *testing.M }

// Run ends what the tests have started.
func (t tests) Run() int {
	code := t.m.Run()
	if postgresServer != nil {
		postgresServer.Close()
	}
	return code
}
