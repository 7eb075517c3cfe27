package server

import (
	"net/http"
	"net/url"

	"pharos/config"
	"pharos/load"
	"pharos/simple"
	"pharos/xcap"
)

// newXCAP wires the edge for XCAP clients.
func (s *Server) newXCAP(gate *load.Gate) (*xcap.Edge, error) {
	c := s.Config
	trusted, err := config.Prefixes(c.XCAP.Trusted)
	if err != nil {
		return nil, err
	}
	e := xcap.New(xcap.Config{
		Documents: s.docs, Accounts: s.accounts, Engine: s.engine, Gate: gate, Domains: c.Domains, Root: c.XCAP.Root, Trusted: trusted,
		BuiltIn: simple.IsBuddies, Limits: xcap.Limits{Body: c.XCAP.Body}, Log: s.Log.With("part", "xcap"),
	})
	s.docs.Listen(e.Changed)
	return e, nil
}

// xcapRoot is the XCAP root as this client has reached us: what users are to be given.
func (s *Server) xcapRoot(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: s.Config.XCAP.Root + "/"}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// publicRoot is the XCAP root of a domain's users as far as it can be known without
// a client: at the domain and the first http listener, one with TLS before one without.
func (s *Server) publicRoot(domain string) string {
	root := url.URL{Host: domain, Path: s.Config.XCAP.Root + "/"}
	for _, l := range s.listening() {
		u, err := url.Parse(l)
		if err != nil || u.Scheme != "https" && u.Scheme != "http+insecure" {
			continue
		}
		scheme, usual := "https", "443"
		if u.Scheme != "https" {
			scheme, usual = "http", "80"
		}
		if root.Scheme == "https" || root.Scheme == scheme {
			continue
		}
		if root.Scheme, root.Host = scheme, domain; u.Port() != usual {
			root.Host += ":" + u.Port()
		}
	}
	if root.Scheme == "" {
		root.Scheme = "https"
	}
	return root.String()
}
