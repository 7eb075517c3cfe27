package server

import (
	"context"
	"time"

	"pharos/engine"
	"pharos/simple"
	"pharos/store"
)

// Health tells how the database is.
type Health = store.Health

// Status is what 'pharos status' shows.
type Status struct {
	Ready   bool         `json:"ready"` // all listeners accept
	Running bool         `json:"running"`
	Version string       `json:"version"`
	Domains []string     `json:"domains"`
	Listen  []string     `json:"listen"` // with their real ports
	Started time.Time    `json:"started"`
	Uptime  float64      `json:"uptime_seconds"`
	Engine  engine.Stats `json:"engine"`
	SIP     simple.Stats `json:"sip"`
	XMPP    XMPPStats    `json:"xmpp"`
	Process Process      `json:"process"`
	Caches  Caches       `json:"caches"`
	// Database is how the database is, asked just now.
	Database store.Health `json:"database"`
	// Cluster is there where this server is one of several.
	Cluster *ClusterStatus `json:"cluster,omitempty"`
}

// XMPPStats counts sessions.
type XMPPStats struct {
	Sessions    int `json:"sessions"`
	Hibernating int `json:"hibernating"` // connection lost, may be resumed (XEP-0198)
}

// Caches counts what is in memory only so that it need not be asked for again. Each has a bound, up to which memory grows
// with the users that a server has to do with.
type Caches struct {
	engine.Kept
	Accounts  int `json:"accounts"`
	Rosters   int `json:"rosters"`
	Items     int `json:"roster_items"`
	Documents int `json:"document_bytes"`
}

func (s *Server) caches() Caches {
	st := s.store.Stats()
	return Caches{Kept: s.engine.Kept(), Accounts: s.accounts.Cached(), Rosters: st.CacheUsers, Items: st.CacheRows, Documents: st.CacheBytes}
}

// Status of a running server. It asks the database, and waits a second for it at most.
func (s *Server) Status(ctx context.Context) Status {
	st := Status{
		Running: true, Version: s.Version, Domains: s.Config.Domains, Listen: s.listening(),
		Started: s.started.UTC(), Uptime: time.Since(s.started).Seconds(), Engine: s.engine.Stats(), SIP: s.simple.Stats(),
		Database: s.store.Health(ctx),
	}
	if s.node != nil {
		c := s.clusterStatus(st.Database)
		st.Cluster = &c
	}
	st.XMPP.Sessions, st.XMPP.Hibernating = s.jabber.Count()
	select {
	case <-s.ready:
		st.Ready = !s.closing.Load()
	default:
	}
	st.Process, st.Caches = processNow(), s.caches()
	return st
}
