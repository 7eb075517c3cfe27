package server

import (
	"net/http"
	"net/url"

	"pharos/config"
	"pharos/load"
	"pharos/xcap"
)

// newXCAP wires the edge for XCAP clients.
func (s *Server) newXCAP(gate *load.Gate) (*xcap.Edge, error) {
	c := s.Config
	trusted, err := config.Prefixes(c.XCAP.Trusted)
	if err != nil {
		return nil, err
	}
	return xcap.New(xcap.Config{
		Documents: s.docs, Accounts: s.accounts, Gate: gate, Domains: c.Domains, Root: c.XCAP.Root, Trusted: trusted,
		Limits: xcap.Limits{Body: c.XCAP.Body}, Log: s.Log.With("part", "xcap"),
	}), nil
}

// xcapRoot is the XCAP root as this client has reached us: what users are to be given.
func (s *Server) xcapRoot(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: s.Config.XCAP.Root + "/"}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}
