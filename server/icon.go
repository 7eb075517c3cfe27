package server

import (
	"net"
	"net/url"

	"pharos/config"
	"pharos/presence"
	"pharos/xdm"
)

// iconRoot is the XCAP root that presence documents name for status icons (RFC 4482
// §3.4): that of the users' own domain at the first https listener with a known
// port; "" when there is none.
func iconRoot(c *config.Config) func(domain string) string {
	for _, l := range c.Listen {
		at, err := config.ParseListener(l)
		if err != nil || at.Scheme != "https" {
			continue
		}
		_, port, err := net.SplitHostPort(at.Address)
		if err != nil || port == "0" {
			continue
		}
		return func(domain string) string {
			u := url.URL{Scheme: "https", Host: domain, Path: c.XCAP.Root}
			if port != "443" {
				u.Host = net.JoinHostPort(domain, port)
			}
			return u.String()
		}
	}
	return func(string) string { return "" }
}

// iconOf is where SIP clients get a user's status icon; "" for nowhere.
func (s *Server) iconOf(u presence.Entity) string {
	root := s.iconRoot(u.Domain)
	if root == "" {
		return ""
	}
	return root + "/" + xdm.PresContent + "/users/" + url.PathEscape("sip:"+u.String()) + "/oma_status-icon/index"
}
