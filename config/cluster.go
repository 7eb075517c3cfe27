package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// MinSecret is how many characters the secret of a cluster has at least.
const MinSecret = 16

// check finds what cannot work in [store].
func (s *Store) check() error {
	if s.URL == "" {
		return nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Path == "/" || u.Path == "" {
		return errors.New("store.url: must be as postgres://user:password@host/database") // what there is may hold a password
	}
	return nil
}

// check finds what cannot work in [cluster].
func (c *Cluster) check(st *Store) error {
	if c.Node == "" {
		if c.Secret != "" || c.Listen != "" || len(c.Peers) > 0 || c.NATS != "" || c.Standing {
			return errors.New("cluster.node: there is more in [cluster], but this server has no name among the others: set cluster.node, another one on each")
		}
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("cluster."+format, args...)) }
	if !nodeName(c.Node) {
		bad("node: %q is not 1 to 63 letters, digits and '-'", c.Node)
	}
	if st.URL == "" {
		errs = append(errs, errors.New("store.url: several servers need a database that they share, as in url = \"postgres://pharos@db.example.com/pharos\""))
	}
	if _, file := strings.CutPrefix(c.Secret, "@"); !file && len(c.Secret) < MinSecret {
		bad("secret: must have at least %d characters, the same on all servers; make one with 'openssl rand -hex 16'", MinSecret)
	}
	switch {
	case c.NATS != "":
		if u, err := url.Parse(c.NATS); err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" {
			bad("nats: must be as nats://user:password@host or tls://host")
		}
		if c.Listen != "" || len(c.Peers) > 0 {
			bad("nats: with a NATS service of its own neither cluster.listen nor cluster.peers is used; leave them out")
		}
	case c.Listen == "":
		bad("listen: the other servers must reach this one: set it to an address of this machine, as in listen = \"10.0.0.1:6222\"")
	}
	if c.Listen != "" && !hostPort(c.Listen, true) {
		bad("listen: %q is not host:port", c.Listen)
	}
	for _, p := range c.Peers {
		if !hostPort(p, false) {
			bad("peers: %q is not host:port", p)
		}
	}
	if c.SIP != "" && !strings.HasPrefix(c.SIP, "sip:") && !strings.HasPrefix(c.SIP, "sips:") {
		bad("sip: %q is not a URI as sip:host:port;transport=tcp", c.SIP)
	}
	if c.XMPP != "" && !hostPort(c.XMPP, false) {
		bad("xmpp: %q is not host:port", c.XMPP)
	}
	for _, s := range c.Standby {
		if uri, _, _ := strings.Cut(s, " "); !strings.HasPrefix(uri, "sip:") && !strings.HasPrefix(uri, "sips:") {
			bad("standby: %q does not begin with a SIP URI", s)
		}
	}
	for _, o := range c.Observers {
		if user, domain, ok := strings.Cut(o, "@"); !ok || user == "" || domain == "" {
			bad("observers: %q is not user@domain", o)
		}
	}
	for _, r := range c.RedirectSIP {
		if methods, agent, ok := strings.Cut(r, ":"); !ok || methods == "" || agent == "" || methods != strings.ToUpper(methods) {
			bad("redirect_sip: %q is not as 'SUBSCRIBE,PUBLISH:part of the User-Agent'", r)
		}
	}
	if !(c.Max > 0) {
		bad("max: must be above 0")
	}
	if !(c.Users >= 0) || !(c.Records >= 0) || c.Users+c.Records == 0 {
		bad("user_weight and resource_weight: none may be below 0, and one must be above")
	}
	if !(c.Low >= 0 && c.Low < 1) {
		bad("low: must be from 0 to below 1")
	}
	if !(c.Band > 0 && c.Band <= 1) {
		bad("band: must be above 0, and 1 at most")
	}
	if c.Moves <= 0 {
		bad("moves: must be above 0")
	}
	return errors.Join(errs...)
}

func nodeName(s string) bool {
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 63
}

// hostPort tells whether s is host:port; any: the host may be empty, and the port 0.
func hostPort(s string, any bool) bool {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && (any || host != "" && n > 0)
}

// ReadSecret is the secret itself, also where the configuration names a file that holds it.
func (c *Cluster) ReadSecret() (string, error) {
	name, file := strings.CutPrefix(c.Secret, "@")
	if !file {
		return c.Secret, nil
	}
	st, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("cluster.secret: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("cluster.secret: others may read %s; run: chmod 600 %s", name, name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("cluster.secret: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if len(secret) < MinSecret {
		return "", fmt.Errorf("cluster.secret: what %s holds has %d characters, and must have %d", name, len(secret), MinSecret)
	}
	return secret, nil
}
