// Package simple is the SIP edge: REGISTER, PUBLISH, SUBSCRIBE/NOTIFY and
// MESSAGE, between the sip wire and the engine.
package simple

import (
	"log/slog"
	"net/netip"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
)

// Config of the edge.
type Config struct {
	Engine   *engine.Engine
	Accounts *account.Accounts
	Store    *store.Store
	Gate     *load.Gate
	Domains  []string
	Trusted  []netip.Prefix           // front proxies and PBXes whose identity is believed (RFC 3325)
	Contact  func(f *sip.Flow) string // hostport that clients behind this flow can reach us at
	Log      *slog.Logger
}

// Edge implements sip.Handler and engine.Edge ("sip").
type Edge struct{}

func New(c Config) *Edge { panic("contract") }

// Use gives the edge its stack, before it is run.
func (e *Edge) Use(s *sip.Stack) { panic("contract") }

// Restore loads registrations and dialogs after a restart, before listeners open.
func (e *Edge) Restore(subs []*presence.Subscription) error { panic("contract") }

func (e *Edge) ServeSIP(tx *sip.ServerTx, req *sip.Message) { panic("contract") }
func (e *Edge) Notify(n *presence.Notice)                   { panic("contract") }
func (e *Edge) WatcherChanged(c presence.WatcherChange)     { panic("contract") }
func (e *Edge) Deliver(m *engine.Message) bool              { panic("contract") }
