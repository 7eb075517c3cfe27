package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClusterChecks(t *testing.T) {
	good := Defaults()
	good.Store.URL = "postgres://pharos:word@192.0.2.1/pharos"
	good.Cluster.Node, good.Cluster.Secret, good.Cluster.Listen = "n1", "0123456789abcdef", "192.0.2.2:6222"
	good.Cluster.Peers = []string{"192.0.2.3:6222", "[2001:db8::1]:6222"}
	good.Cluster.Standby, good.Cluster.Observers = []string{"sip:192.0.2.9;transport=tcp ssh n9 start"}, []string{"noc@example.com"}
	good.Cluster.RedirectSIP = []string{"SUBSCRIBE,PUBLISH:Phone"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(*Config)
	}{
		{"store.url: several servers need", func(c *Config) { c.Store.URL = "" }},
		{"store.url: must be as", func(c *Config) { c.Store.URL = "mysql://x/y" }},
		{"store.url: must be as", func(c *Config) { c.Store.URL = "postgres://x" }},
		{"set cluster.node", func(c *Config) { c.Cluster.Node = "" }},
		{"cluster.node: ", func(c *Config) { c.Cluster.Node = "n.1" }},
		{"cluster.secret: must have at least 16", func(c *Config) { c.Cluster.Secret = "short" }},
		{"cluster.listen: the other servers", func(c *Config) { c.Cluster.Listen = "" }},
		{"cluster.listen: ", func(c *Config) { c.Cluster.Listen = "192.0.2.2" }},
		{"cluster.peers: ", func(c *Config) { c.Cluster.Peers = []string{":6222"} }},
		{"cluster.nats: with a NATS service", func(c *Config) { c.Cluster.NATS = "nats://192.0.2.4" }},
		{"cluster.nats: must be", func(c *Config) { c.Cluster.NATS, c.Cluster.Listen, c.Cluster.Peers = "192.0.2.4", "", nil }},
		{"cluster.sip: ", func(c *Config) { c.Cluster.SIP = "192.0.2.2" }},
		{"cluster.xmpp: ", func(c *Config) { c.Cluster.XMPP = "192.0.2.2" }},
		{"cluster.standby: ", func(c *Config) { c.Cluster.Standby = []string{"ssh n9 start"} }},
		{"cluster.observers: ", func(c *Config) { c.Cluster.Observers = []string{"noc"} }},
		{"cluster.redirect_sip: ", func(c *Config) { c.Cluster.RedirectSIP = []string{"Phone"} }},
		{"cluster.max: ", func(c *Config) { c.Cluster.Max = 0 }},
		{"cluster.user_weight and", func(c *Config) { c.Cluster.Users, c.Cluster.Records = 0, 0 }},
		{"cluster.low: ", func(c *Config) { c.Cluster.Low = 1 }},
		{"cluster.band: ", func(c *Config) { c.Cluster.Band = 0 }},
		{"cluster.moves: ", func(c *Config) { c.Cluster.Moves = 0 }},
	} {
		bad := good
		c.change(&bad)
		err := bad.Check()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) && !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one error with %q, have %v", c.want, err)
		}
		if err != nil && strings.Contains(err.Error(), "pharos:word@") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	external := good
	external.Cluster.NATS, external.Cluster.Listen, external.Cluster.Peers = "tls://192.0.2.4", "", nil
	if err := external.Check(); err != nil {
		t.Error(err)
	}
}

func TestClusterSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(s string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	c := Cluster{Secret: "@" + file}
	if _, err := c.ReadSecret(); err == nil {
		t.Error("no file, and no error")
	}
	write("0123456789abcdef\n", 0o644)
	if _, err := c.ReadSecret(); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("everybody can read it: %v", err)
	}
	write("0123456789abcdef\n", 0o600)
	if s, err := c.ReadSecret(); err != nil || s != "0123456789abcdef" {
		t.Errorf("%q, %v", s, err)
	}
	write("0123456789\n", 0o600)
	if _, err := c.ReadSecret(); err == nil {
		t.Error("a short secret, and no error")
	}
	c.Secret = "0123456789abcdef0"
	if s, err := c.ReadSecret(); err != nil || s != c.Secret {
		t.Errorf("%q, %v", s, err)
	}
}
