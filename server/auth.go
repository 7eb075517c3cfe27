package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"pharos/account"
	"pharos/config"
	"pharos/presence"
	"pharos/sip"
	"pharos/xmpp"
)

// authenticator fits accounts to what the XMPP wire asks for.
type authenticator struct{ accounts *account.Accounts }

func (a authenticator) Plain(ctx context.Context, remote net.Addr, local, domain, password string) error {
	return wireError(a.accounts.Plain(ctx, ip(remote), presence.Entity{User: local, Domain: domain}, password))
}

func (a authenticator) Scram(ctx context.Context, remote net.Addr, local, domain, mechanism string) (xmpp.ScramKeys, error) {
	hash := "SHA-1"
	if mechanism == "SCRAM-SHA-256" {
		hash = "SHA-256"
	}
	k, err := a.accounts.Scram(ctx, ip(remote), presence.Entity{User: local, Domain: domain}, hash)
	return xmpp.ScramKeys(k), wireError(err)
}

func (a authenticator) Failed(remote net.Addr, local, domain string) {
	a.accounts.Failed(ip(remote), presence.Entity{User: local, Domain: domain})
}

func (a authenticator) Succeeded(remote net.Addr, local, domain string) {
	a.accounts.Succeeded(ip(remote), presence.Entity{User: local, Domain: domain})
}

// wireError maps the one error that the wire must know; others are temporary.
func wireError(err error) error {
	if errors.Is(err, account.ErrNotAuthorized) || errors.Is(err, account.ErrUnknown) {
		return xmpp.ErrNotAuthorized
	}
	return err
}

func ip(a net.Addr) netip.Addr { return addrPort(a).Addr() }

// sipLimits and xmppLimits hand on what is configurable; the rest keeps the
// wires' documented defaults.
func sipLimits(l config.Limits) sip.Limits {
	return sip.Limits{Connections: l.Connections, ConnectionsPerAddress: l.PerAddress}
}

func xmppLimits(l config.Limits) xmpp.Limits {
	return xmpp.Limits{
		MaxConns: l.Connections, MaxConnsPerAddress: l.PerAddress, MaxUnauthPerAddress: l.Unauthenticated,
		AuthTimeout: time.Duration(l.AuthenticateWithin),
	}
}
