// Package jabber is the XMPP edge: sessions, rosters, presence and messages,
// between the xmpp wire and the engine.
package jabber

import (
	"context"
	"log/slog"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/store"
	"pharos/xmpp"
)

// Config of the edge.
type Config struct {
	Engine   *engine.Engine
	Accounts *account.Accounts
	Store    *store.Store
	Gate     *load.Gate
	Domains  []string
	Version  string // for XEP-0092
	Log      *slog.Logger
}

// Edge implements engine.Edge ("xmpp").
type Edge struct{}

func New(c Config) *Edge { panic("contract") }

// Features to advertise after SASL.
func (e *Edge) Features() []string { panic("contract") }

// Serve runs one authenticated stream until it ends: xmpp.Acceptor.Serve.
func (e *Edge) Serve(ctx context.Context, s *xmpp.Stream) { panic("contract") }

// Close ends all sessions with system-shutdown, hibernating ones included.
func (e *Edge) Close(ctx context.Context) error { panic("contract") }

func (e *Edge) Notify(n *presence.Notice)               { panic("contract") }
func (e *Edge) WatcherChanged(c presence.WatcherChange) { panic("contract") }
func (e *Edge) Deliver(m *engine.Message) bool          { panic("contract") }
