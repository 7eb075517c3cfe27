package sip

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Target is one way to reach a next hop.
type Target struct {
	Transport string // UDP, TCP or TLS
	Addr      netip.AddrPort
	Host      string // the domain that was asked for: what a TLS certificate has to show (RFC 5922 §4)

	explicit bool // the transport stood in the URI
}

// Resolver finds next hops (RFC 3263 §4), in the order in which they are to be
// tried. It is asked for names only: a numeric host needs no resolving.
type Resolver interface {
	Resolve(ctx context.Context, uri URI) ([]Target, error)
}

// ResolverFunc is a function as a Resolver.
type ResolverFunc func(ctx context.Context, uri URI) ([]Target, error)

// Resolve calls f.
func (f ResolverFunc) Resolve(ctx context.Context, uri URI) ([]Target, error) { return f(ctx, uri) }

// Override resolves the hosts in targets by this table, others by next; with
// next nil they are not found. Host names in the table are in lower case.
func Override(targets map[string][]Target, next Resolver) Resolver {
	return ResolverFunc(func(ctx context.Context, uri URI) ([]Target, error) {
		if t, ok := targets[uri.Host]; ok {
			return slices.Clone(t), nil
		}
		if next == nil {
			return nil, ErrNoTarget
		}
		return next.Resolve(ctx, uri)
	})
}

// DNS is what the resolver asks. A name that does not exist, or has no such
// records, gives none and no error.
type DNS interface {
	NAPTR(ctx context.Context, name string) ([]NAPTR, error)
	SRV(ctx context.Context, name string) ([]SRV, error)
	IP(ctx context.Context, host string) ([]netip.Addr, error)
}

// NAPTR is a naming authority pointer (RFC 3403 §4).
type NAPTR struct {
	Order, Preference           uint16
	Flags, Service, Replacement string
}

// SRV is a service record (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	Target                 string
}

// lookupTime bounds the resolving of one next hop.
const lookupTime = 10 * time.Second

// NewResolver resolves by RFC 3263 over dns; nil is the system's DNS.
func NewResolver(dns DNS) Resolver {
	if dns == nil {
		dns = systemDNS()
	}
	return &resolver{dns}
}

type resolver struct{ dns DNS }

// service is a way to speak SIP that DNS can name, in the order of our choice.
type service struct{ naptr, srv, transport string }

var services = []service{
	{"SIPS+D2T", "_sips._tcp.", "TLS"},
	{"SIP+D2U", "_sip._udp.", "UDP"},
	{"SIP+D2T", "_sip._tcp.", "TCP"},
}

func defaultPort(transport string) uint16 {
	switch transport {
	case "TLS":
		return 5061
	case "WS":
		return 80
	case "WSS":
		return 443
	}
	return 5060
}

// Resolve follows RFC 3263 §4.1 and §4.2.
func (r *resolver) Resolve(ctx context.Context, u URI) ([]Target, error) {
	host, transport, explicit, ok := nextHost(u)
	if !ok || unresolvable(host) {
		return nil, ErrNoTarget
	}
	if ip, ok := numericHost(host); ok {
		return []Target{{transport, netip.AddrPortFrom(ip, portOf(u, transport)), host, explicit}}, nil
	}
	if u.Port != 0 { // §4.2: a port means no SRV
		return r.hosts(ctx, nil, host, transport, uint16(u.Port), host, explicit)
	}
	var targets []Target
	var err error
	if explicit { // the transport is settled: only its SRV
		for _, s := range services {
			if s.transport == transport {
				targets, err = r.srv(ctx, nil, s.srv+host, s.transport, host, true)
			}
		}
	} else {
		targets, err = r.choose(ctx, host, u.Scheme == "sips")
	}
	if len(targets) > 0 {
		return targets, nil
	}
	if errors.Is(err, errNoService) {
		return nil, ErrNoTarget
	}
	// No SRV at all: the host itself, at the default port.
	return r.hosts(ctx, nil, host, transport, defaultPort(transport), host, explicit)
}

// choose finds transport and server where the URI settles neither (§4.1).
func (r *resolver) choose(ctx context.Context, host string, secure bool) ([]Target, error) {
	records, err := r.dns.NAPTR(ctx, host)
	if err != nil {
		records = nil // an old DNS server; SRV may still work
	}
	slices.SortStableFunc(records, func(a, b NAPTR) int {
		if a.Order != b.Order {
			return int(a.Order) - int(b.Order)
		}
		return int(a.Preference) - int(b.Preference)
	})
	var targets []Target
	for _, n := range records {
		s, ok := serviceOf(n.Service)
		if !ok || secure && s.transport != "TLS" || !strings.EqualFold(n.Flags, "s") {
			continue
		}
		if targets, err = r.srv(ctx, targets, n.Replacement, s.transport, host, false); err != nil {
			return targets, err
		}
	}
	if len(targets) > 0 {
		return targets, nil
	}
	// §4.1: without NAPTR, ask for the SRV of each transport. UDP goes first for
	// sip: what the host has said nothing about defaults to it as well.
	for _, s := range []service{services[1], services[2], services[0]} {
		if secure && s.transport != "TLS" {
			continue
		}
		if targets, err = r.srv(ctx, targets, s.srv+host, s.transport, host, false); err != nil {
			return targets, err
		}
	}
	return targets, nil
}

func serviceOf(naptr string) (service, bool) {
	for _, s := range services {
		if strings.EqualFold(naptr, s.naptr) {
			return s, true
		}
	}
	return service{}, false
}

var errNoService = errors.New("sip: service decidedly not available") // RFC 2782: target "."

// srv appends the targets of one SRV name, ordered by priority and drawn by
// weight (RFC 2782).
func (r *resolver) srv(ctx context.Context, to []Target, name, transport, domain string, explicit bool) ([]Target, error) {
	records, err := r.dns.SRV(ctx, name)
	if err != nil {
		return to, err
	}
	if len(records) == 1 && strings.Trim(records[0].Target, ".") == "" {
		if explicit {
			return to, errNoService
		}
		return to, nil
	}
	for _, s := range orderSRV(records) {
		if len(to) >= maxTargets {
			break
		}
		// A target without an address does not spoil the others.
		to, _ = r.hosts(ctx, to, strings.TrimSuffix(s.Target, "."), transport, s.Port, domain, explicit)
	}
	return to, nil
}

// orderSRV sorts by priority, and within one draws by weight.
func orderSRV(records []SRV) []SRV {
	rest := slices.Clone(records)
	slices.SortStableFunc(rest, func(a, b SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return int(a.Weight) - int(b.Weight) // zeros first, as RFC 2782 wants
	})
	for at := 0; at < len(rest); {
		end, sum := at, 0
		for end < len(rest) && rest[end].Priority == rest[at].Priority {
			sum += int(rest[end].Weight)
			end++
		}
		for ; at < end-1; at++ {
			pick, run := rand.IntN(sum+1), 0
			for i := at; i < end; i++ {
				if run += int(rest[i].Weight); run >= pick {
					s := rest[i]
					copy(rest[at+1:i+1], rest[at:i])
					rest[at] = s
					sum -= int(s.Weight)
					break
				}
			}
		}
		at = end
	}
	return rest
}

// hosts appends a target for each address of a host.
func (r *resolver) hosts(ctx context.Context, to []Target, host, transport string, port uint16, domain string, explicit bool) ([]Target, error) {
	ips, err := r.dns.IP(ctx, host)
	if err != nil {
		return to, err
	}
	for _, ip := range ips {
		if len(to) >= maxTargets {
			break
		}
		to = append(to, Target{transport, netip.AddrPortFrom(ip.Unmap(), port), domain, explicit})
	}
	return to, nil
}

// nextHost reads from a URI the host that is to be found and the transport as
// far as the URI settles it; ok is false for a URI that we cannot send to.
func nextHost(u URI) (host, transport string, explicit, ok bool) {
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return "", "", false, false
	}
	host, transport = u.Host, "UDP"
	if m, ok := u.Params.Get("maddr"); ok { // RFC 3261 §19.1.1
		host = lower(m)
	}
	if u.Scheme == "sips" {
		transport = "TLS"
	}
	t, explicit := u.Params.Get("transport")
	switch {
	case !explicit:
	case equalFold(t, "udp") && u.Scheme == "sip":
	case equalFold(t, "tcp"):
		if u.Scheme == "sip" { // sips with tcp is TLS (§26.2.2)
			transport = "TCP"
		}
	case equalFold(t, "tls"): // deprecated, yet what is written everywhere
		transport = "TLS"
	default: // ws and wss: clients cannot be reached but over their flow (RFC 7118 §5)
		return "", "", false, false
	}
	return host, transport, explicit, host != ""
}

func portOf(u URI, transport string) uint16 {
	if u.Port > 0 && u.Port < 65536 {
		return uint16(u.Port)
	}
	return defaultPort(transport)
}

// numericTarget is the target of a URI whose host is an address, for which
// there is nothing to ask.
func numericTarget(uri string) (Target, bool) {
	u, err := ParseURI(uri)
	if err != nil {
		return Target{}, false
	}
	host, transport, explicit, ok := nextHost(u)
	if !ok {
		return Target{}, false
	}
	ip, ok := numericHost(host)
	if !ok {
		return Target{}, false
	}
	return Target{transport, netip.AddrPortFrom(ip, portOf(u, transport)), host, explicit}, true
}

// unresolvable names are never looked up: those of WebSocket clients
// (RFC 7118 §5, RFC 6761 §6.4).
func unresolvable(host string) bool {
	host = lower(strings.TrimSuffix(host, "."))
	return host == "" || host == "invalid" || strings.HasSuffix(host, ".invalid")
}
