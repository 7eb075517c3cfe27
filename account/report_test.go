package account

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// The operator reads who failed from where, and a flood is counted only.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var r report
		remote := netip.MustParseAddr("192.0.2.1")
		r.add("login failed", remote, presence.Entity{}) // without a log: nothing
		r.log = slog.New(slog.NewTextHandler(&b, nil))
		u := presence.Entity{User: strings.Repeat("x", 1000), Domain: "example.com"}
		for range 100 {
			r.add("login failed", remote, u)
		}
		if n := strings.Count(b.String(), "login failed"); n != reportBurst {
			t.Errorf("%d lines", n)
		}
		if !strings.Contains(b.String(), "…@example.com remote=192.0.2.1\n") || b.Len() > 200*reportBurst {
			t.Error(b.String())
		}
		b.Reset()
		time.Sleep(time.Minute)
		r.add("login failed", netip.Addr{}, presence.Entity{User: "bob", Domain: "example.com"})
		if got := b.String(); !strings.HasSuffix(got, "user=bob@example.com omitted=80\n") {
			t.Error(got)
		}
	})
}
