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
	st.Process = processNow()
	return st
}
