package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// dnsClient asks the servers of resolv.conf for NAPTR and SRV, which package
// net cannot ask for or hides the parts of; addresses come from package net, so
// that /etc/hosts holds. Answers are remembered for their time to live.
type dnsClient struct {
	file string

	mu     sync.Mutex
	config *dns.ClientConfig
	read   time.Time
	cache  map[dnsQuestion]dnsAnswer
}

type dnsQuestion struct {
	name string
	kind uint16
}

type dnsAnswer struct {
	records []dns.RR
	ips     []netip.Addr
	until   time.Time
}

const (
	maxAnswers = 4096             // remembered at one time; beyond it all are asked for again
	maxTTL     = time.Hour        // an operator's mistake is forgotten after that
	noneTTL    = 30 * time.Second // for "no such record", and for addresses
)

var system = sync.OnceValue(func() *dnsClient {
	return &dnsClient{file: "/etc/resolv.conf", cache: make(map[dnsQuestion]dnsAnswer)}
})

// systemDNS is shared: it holds nothing but a cache.
func systemDNS() DNS { return system() }

// NAPTR asks for the NAPTR records of a domain.
func (d *dnsClient) NAPTR(ctx context.Context, name string) (out []NAPTR, err error) {
	records, err := d.ask(ctx, name, dns.TypeNAPTR)
	for _, rr := range records {
		if n, ok := rr.(*dns.NAPTR); ok {
			out = append(out, NAPTR{n.Order, n.Preference, n.Flags, n.Service, n.Replacement})
		}
	}
	return out, err
}

// SRV asks for the SRV records of a name.
func (d *dnsClient) SRV(ctx context.Context, name string) (out []SRV, err error) {
	records, err := d.ask(ctx, name, dns.TypeSRV)
	for _, rr := range records {
		if s, ok := rr.(*dns.SRV); ok {
			out = append(out, SRV{s.Priority, s.Weight, s.Port, s.Target})
		}
	}
	return out, err
}

// IP asks for the addresses of a host.
func (d *dnsClient) IP(ctx context.Context, host string) ([]netip.Addr, error) {
	q := dnsQuestion{host, dns.TypeA}
	if a, ok := d.known(q); ok {
		return a.ips, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var failed *net.DNSError
	if errors.As(err, &failed) && failed.IsNotFound {
		err = nil
	}
	if err == nil {
		d.remember(q, dnsAnswer{ips: ips, until: time.Now().Add(noneTTL)})
	}
	return ips, err
}

// ask sends one question to the servers of resolv.conf, in their order.
func (d *dnsClient) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	q := dnsQuestion{dns.CanonicalName(name), kind}
	if _, ok := dns.IsDomainName(q.name); !ok {
		return nil, ErrNoTarget
	}
	if a, ok := d.known(q); ok {
		return a.records, nil
	}
	config, err := d.servers()
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	m.SetQuestion(q.name, kind)
	m.SetEdns0(1232, false)
	timeout := time.Duration(max(config.Timeout, 1)) * time.Second / 2
	err = errors.New("sip: no DNS server")
	for range max(config.Attempts, 1) {
		for _, server := range config.Servers {
			var answer *dns.Msg
			if answer, err = exchange(ctx, m, net.JoinHostPort(server, config.Port), timeout); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				continue
			}
			switch answer.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				return d.keep(q, answer.Answer), nil
			}
			err = errors.New("sip: DNS answers " + dns.RcodeToString[answer.Rcode])
		}
	}
	return nil, err
}

// exchange asks one server, by TCP when the answer was cut short.
func exchange(ctx context.Context, m *dns.Msg, server string, timeout time.Duration) (*dns.Msg, error) {
	c := dns.Client{Timeout: timeout, UDPSize: 1232}
	answer, _, err := c.ExchangeContext(ctx, m, server)
	if err == nil && answer.Truncated {
		c.Net = "tcp"
		answer, _, err = c.ExchangeContext(ctx, m, server)
	}
	return answer, err
}

// keep remembers an answer.
func (d *dnsClient) keep(q dnsQuestion, records []dns.RR) []dns.RR {
	ttl := noneTTL
	for i, rr := range records {
		t := min(time.Duration(rr.Header().Ttl)*time.Second, maxTTL)
		if i == 0 || t < ttl {
			ttl = t
		}
	}
	d.remember(q, dnsAnswer{records: records, until: time.Now().Add(ttl)})
	return records
}

func (d *dnsClient) known(q dnsQuestion) (dnsAnswer, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.cache[q]
	return a, ok && time.Now().Before(a.until)
}

func (d *dnsClient) remember(q dnsQuestion, a dnsAnswer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.cache) >= maxAnswers {
		clear(d.cache)
	}
	d.cache[q] = a
}

// servers reads resolv.conf again when it has changed, at most every 10 s.
func (d *dnsClient) servers() (*dns.ClientConfig, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.config != nil && time.Since(d.read) < 10*time.Second {
		return d.config, nil
	}
	config, err := dns.ClientConfigFromFile(d.file)
	switch {
	case err == nil:
		d.config, d.read = config, time.Now()
	case d.config == nil && os.IsNotExist(err): // as package net does without one
		return &dns.ClientConfig{Servers: []string{"127.0.0.1", "::1"}, Port: "53", Timeout: 5, Attempts: 2}, nil
	case d.config == nil:
		return nil, err
	}
	return d.config, nil
}
