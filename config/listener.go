package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Listener is one parsed listen URI.
type Listener struct {
	URI     string // as configured
	Scheme  string // sip+udp, sip+tcp, sips, xmpp, xmpps, xmpp+insecure, https, http+insecure
	Network string // tcp or udp
	Address string // host:port for net.Listen
}

var defaultPorts = map[string]string{
	"sip+udp": "5060", "sip+tcp": "5060", "sips": "5061", "xmpp": "5222", "xmpps": "5223",
	"xmpp+insecure": "5222", "https": "8443", "http+insecure": "8080",
}

// ParseListener reads a listen URI; the port defaults to the protocol's own.
func ParseListener(s string) (Listener, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	port, known := defaultPorts[scheme]
	if name, _, _ := strings.Cut(s, ":"); !ok && defaultPorts[name] != "" {
		return Listener{}, fmt.Errorf("listen: %q is not scheme://host:port", s)
	}
	if !ok || !known {
		hint := "the scheme must be sip+udp, sip+tcp, sips, xmpp, xmpps, xmpp+insecure, https or http+insecure"
		if scheme == "xmpp-server" {
			hint = "server-to-server XMPP is not in this version; leave it out"
		}
		return Listener{}, fmt.Errorf("listen: %q: %s", s, hint)
	}
	u, err := url.Parse("x://" + rest)
	if err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return Listener{}, fmt.Errorf("listen: %q is not scheme://host:port", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.Atoi(port); err != nil || n > 65535 {
		return Listener{}, fmt.Errorf("listen: %q: the port must be 0 to 65535", s)
	}
	network := "tcp"
	if scheme == "sip+udp" {
		network = "udp"
	}
	return Listener{URI: s, Scheme: scheme, Network: network, Address: net.JoinHostPort(u.Hostname(), port)}, nil
}
