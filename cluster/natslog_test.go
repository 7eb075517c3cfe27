package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What NATS says about routes is told once for each server, in words.
func TestNATSLog(t *testing.T) {
	var out bytes.Buffer
	l := &natsLog{log: slog.New(slog.NewTextHandler(&out, nil)), fatal: make(chan error, 1), said: map[string]time.Time{}}
	for _, at := range []string{"192.0.2.1:6222", "192.0.2.2:6222", "192.0.2.1:6222"} {
		l.Errorf("Error trying to connect to route (attempt %d): dial tcp %s: connect: connection refused", 1, at)
	}
	l.Errorf("%s", "Error trying to connect to route (attempt 1): lookup x: no such host")
	said := out.String()
	if n := strings.Count(said, "the bus does not reach a server yet"); n != 3 || !strings.Contains(said, "server=192.0.2.2:6222") {
		t.Errorf("%d times:\n%s", n, said)
	}
	out.Reset()
	l.Errorf("rid:8 - Remote server has a duplicate name: %q", "a")
	if !strings.Contains(out.String(), twinMessage) {
		t.Errorf("%s", out.String())
	}
}
