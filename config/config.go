// Package config is the configuration file: documented structs, strict
// parsing, checking, and a description printed from the structs themselves.
package config

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// Config is the whole file. Defaults gives values that work.
type Config struct {
	Domains []string `toml:"domains" doc:"Domains that this server answers for. A user is user@domain in SIP and in XMPP. The first one names the service."`
	Listen  []string `toml:"listen" doc:"Where to listen, as URIs: sip+udp://, sip+tcp://, sips:// (TLS), xmpp:// (STARTTLS), xmpps:// (direct TLS), https:// (XCAP at /xcap/, WebSockets at /xmpp and /sip, host-meta, /metrics). Unsafe ones say so: xmpp+insecure:// (passwords without TLS), http+insecure://. Host empty: all addresses, IPv4 and IPv6. Port 0: a free one, which 'pharos status' tells."`
	SIP     SIP      `toml:"sip" doc:"The SIP side."`
	TLS     TLS      `toml:"tls" doc:"Certificate for sips, xmpp, xmpps and https. Without one a self-signed certificate is made in the data folder. SIGHUP reads the files again."`
	Policy  Policy   `toml:"policy" doc:"Privacy."`
	HTTP    HTTP     `toml:"http" doc:"The http listeners."`
	XCAP    XCAP     `toml:"xcap" doc:"Documents of users by XCAP, on the http listeners: buddy lists, presence rules, icons."`
	Log     Log      `toml:"log" doc:"Logging, to standard error. SIGHUP reads the level again."`
	Store   Store    `toml:"store" doc:"Where everything is kept."`
	Cluster Cluster  `toml:"cluster" doc:"Several servers that are one service. docs/cluster.md tells how."`
	Limits  Limits   `toml:"limits" doc:"What one address or user may cost. docs/limits.md lists the fixed bounds too."`
}

// SIP settings.
type SIP struct {
	Trusted []string `toml:"trusted" doc:"Addresses (CIDR) of front proxies and PBXes whose identity headers (P-Asserted-Identity, else From) are believed without digest. Whoever can send from there can act as anybody."`
	Contact string   `toml:"contact" doc:"host or host:port that clients can reach this server at, for Contact headers. Empty: the local address that the request came in on."`
}

// TLS settings.
type TLS struct {
	Cert string `toml:"cert" doc:"PEM file with the certificate chain."`
	Key  string `toml:"key" doc:"PEM file with the private key."`
}

// Policy settings.
type Policy struct {
	Default string `toml:"default" doc:"What a watcher gets whom the user has not spoken of: confirm (the user is asked), allow, or block."`
}

// HTTP settings.
type HTTP struct {
	Metrics []string `toml:"metrics" doc:"Addresses (CIDR) that may read /metrics."`
	Origins []string `toml:"origins" doc:"Web origins whose pages may open the WebSockets; * for any."`
}

// XCAP settings.
type XCAP struct {
	Root      string   `toml:"root" doc:"Path of the XCAP root. Clients are given the whole URI, such as https://example.com:8443/xcap/."`
	Trusted   []string `toml:"trusted" doc:"Addresses (CIDR) of authentication proxies whose X-3GPP-Asserted-Identity is believed without a password. Whoever can send from there can act as anybody."`
	Documents int      `toml:"documents" doc:"Documents per user."`
	Bytes     int      `toml:"bytes" doc:"Bytes of all documents of a user together."`
	Body      int      `toml:"body" doc:"Bytes of one document."`
}

// Store settings.
type Store struct {
	URL string `toml:"url" doc:"postgres://user:password@host/database for several servers. Empty: SQLite in the data folder."`
}

// Cluster settings.
type Cluster struct {
	Node         string   `toml:"node" doc:"Name of this server among the others: letters, digits and '-'. Empty: this server is alone."`
	Secret       string   `toml:"secret" doc:"What all servers of the service share, at least 16 characters: from it come the certificates by which they know each other. A value that begins with @ names a file that holds it."`
	Listen       string   `toml:"listen" doc:"host:port at which the other servers reach this one's bus."`
	Peers        []string `toml:"peers" doc:"host:port of the other servers' buses. One that answers is enough to find the rest."`
	NATS         string   `toml:"nats" doc:"URL of a NATS service to be used instead of the servers' own bus: nats://user:password@host or tls://host."`
	SIP          string   `toml:"sip" doc:"URI at which SIP clients and the other servers reach this one, for redirects and between servers: sip:host:port;transport=tcp. Empty: made of the listeners, where they name an address."`
	XMPP         string   `toml:"xmpp" doc:"host:port at which XMPP clients reach this server, for redirects. Empty: made of the listeners."`
	Max          float64  `toml:"max" doc:"Level that this server may reach before newcomers are sent elsewhere."`
	Users        float64  `toml:"user_weight" doc:"What one user adds to the level."`
	Records      float64  `toml:"resource_weight" doc:"What one registered presence resource (a publication, a session, a subscription) adds to the level."`
	Low          float64  `toml:"low" doc:"Share of the maximum below which the service gives up a server: the emptiest drains to standby. 0: never."`
	Band         float64  `toml:"band" doc:"How far levels may lie apart before users are moved, as a share of the maximum."`
	Moves        int      `toml:"moves" doc:"Users moved a second, at most."`
	Standby      []string `toml:"standby" doc:"Servers that may be added when all are full, in this order, each as the URI to which INVITE goes, such as sip:10.0.0.3:5060;transport=tcp, and, after a blank, the command that starts it if it does not run."`
	Standing     bool     `toml:"start_standby" doc:"This server waits to be added, and takes no users before."`
	Observers    []string `toml:"observers" doc:"Addresses of users who may subscribe to the system's presence (the extended presence document): operators, monitors."`
	RedirectSIP  []string `toml:"redirect_sip" doc:"SIP clients that are sent to the server of their own by 302, each as methods and a part of the User-Agent: 'SUBSCRIBE,PUBLISH:name'. All others are served where they are."`
	RedirectXMPP bool     `toml:"redirect_xmpp" doc:"XMPP clients of which nothing is known are tried with see-other-host after they have logged in. Those that announce the feature get the redirect IQ in any case."`
	Learn        bool     `toml:"redirect_learn" doc:"What a client did with its last redirect decides whether it gets another."`
}

// Log settings.
type Log struct {
	Level  string `toml:"level" doc:"debug, info, warn or error."`
	Format string `toml:"format" doc:"text or json."`
}

// Limits settings; each has a default that suits a single machine.
type Limits struct {
	Connections        int      `toml:"connections" doc:"Connections in all, SIP and XMPP each."`
	PerAddress         int      `toml:"per_address" doc:"Connections from one address, SIP and XMPP each."`
	Unauthenticated    int      `toml:"unauthenticated" doc:"XMPP connections from one address that have not logged in yet."`
	AuthenticateWithin Duration `toml:"authenticate_within" doc:"Time to log in on an XMPP connection."`
	OfflineMessages    int      `toml:"offline_messages" doc:"Stored messages per user."`
}

// Duration is a time.Duration written as "30s".
type Duration time.Duration

// UnmarshalText reads "1m30s".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Defaults is the configuration of 'pharos serve' without a file.
func Defaults() Config {
	return Config{
		Domains: []string{"localhost"},
		Listen:  []string{"sip+udp://:5060", "sip+tcp://:5060", "sips://:5061", "xmpp://:5222", "xmpps://:5223", "https://:8443"},
		Policy:  Policy{Default: "confirm"},
		HTTP:    HTTP{Metrics: []string{"127.0.0.0/8", "::1/128"}, Origins: []string{"*"}},
		XCAP:    XCAP{Root: "/xcap", Documents: 200, Bytes: 4 << 20, Body: 512 << 10},
		Log:     Log{Level: "info", Format: "text"},
		Cluster: Cluster{Max: 10_000, Users: 1, Records: 0.05, Low: 0.2, Band: 0.1, Moves: 1000, Learn: true},
		Limits: Limits{Connections: 100_000, PerAddress: 10_000, Unauthenticated: 200,
			AuthenticateWithin: Duration(30 * time.Second), OfflineMessages: 1000},
	}
}

// MaxFile bounds a configuration file, in bytes.
const MaxFile = 1 << 20

// MaxDocument bounds xcap.body, in bytes: larger documents are not parsed.
const MaxDocument = 1 << 20

// Load reads and checks a file; keys that are not set keep their defaults.
// Unknown keys are errors that name the line.
func Load(path string) (Config, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if st.Size() > MaxFile {
		return Config{}, fmt.Errorf("config: %s has %d bytes; at most %d are read", path, st.Size(), MaxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return Config{}, fmt.Errorf("config: %s: %w", path, err)
	}
	return c, nil
}

// Parse is Load on bytes.
func Parse(b []byte) (Config, error) {
	c := Defaults()
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		err = explain(err)
		if strings.Contains(err.Error(), "unknown key") {
			err = fmt.Errorf("%w ('pharos config describe' lists all)", err)
		}
		return Config{}, err
	}
	return c, c.Check()
}

// explain turns the decoder's errors into one line each, with the place.
func explain(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var all []error
		for _, e := range strict.Errors {
			row, _ := e.Position()
			all = append(all, fmt.Errorf("line %d: unknown key %q", row, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		row, col := de.Position()
		text := strings.TrimPrefix(de.Error(), "toml: ")
		if have, typ, ok := strings.Cut(text, " into struct field "); ok { // in Go's words
			_, typ, _ = strings.Cut(typ, " of type ")
			have = strings.NewReplacer("cannot decode TOML ", "a ", "integer", "number", "array", "list").Replace(have)
			text = strings.Join(de.Key(), ".") + ": " + have + " where " + wanted(typ) + " is wanted"
		}
		return fmt.Errorf("line %d, column %d: %s", row, col, text)
	}
	return err
}

// wanted is a Go type in an operator's words.
func wanted(typ string) string {
	switch typ {
	case "[]string":
		return `a list such as ["one", "two"]`
	case "int":
		return "a number without quotes"
	case "string":
		return "a string in quotes"
	}
	return "a table"
}

// CheckFiles finds what is wrong with the files that the configuration names.
// Serving does so by itself; it is for those who want to know before.
func (c Config) CheckFiles() error {
	return errors.Join(c.checkTLS(), c.checkSecret())
}

func (c Config) checkSecret() error {
	if c.Cluster.Node == "" {
		return nil
	}
	_, err := c.Cluster.ReadSecret()
	return err
}

func (c Config) checkTLS() error {
	if c.TLS.Cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	var errs []error
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		errs = append(errs, fmt.Errorf("tls: %s has expired on %s", c.TLS.Cert, pair.Leaf.NotAfter.Format(time.DateOnly)))
	}
	for _, d := range c.Domains {
		if err := pair.Leaf.VerifyHostname(d); err != nil {
			errs = append(errs, fmt.Errorf("tls: %s is not for the domain %s, which clients look for in it", c.TLS.Cert, d))
		}
	}
	return errors.Join(errs...)
}

// Check finds what cannot work, all at once.
func (c Config) Check() error {
	var errs []error
	if len(c.Domains) == 0 {
		errs = append(errs, errors.New(`domains: at least one is needed, as in domains = ["example.com"]`))
	}
	for _, d := range c.Domains {
		if d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, "@/: \t\"<>") {
			errs = append(errs, fmt.Errorf("domains: %q is not a domain name in lower case", d))
		}
	}
	if len(c.Listen) == 0 {
		errs = append(errs, errors.New("listen: at least one URI is needed"))
	}
	for _, l := range c.Listen {
		if _, err := ParseListener(l); err != nil {
			errs = append(errs, err)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	errs = append(errs,
		oneOf("policy.default", c.Policy.Default, "confirm", "allow", "block"),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "text", "json"),
		cidrs("sip.trusted", c.SIP.Trusted),
		cidrs("http.metrics", c.HTTP.Metrics),
		rooted(c.XCAP.Root),
		cidrs("xcap.trusted", c.XCAP.Trusted),
		positive("xcap.documents", int64(c.XCAP.Documents)),
		positive("xcap.bytes", int64(c.XCAP.Bytes)),
		positive("xcap.body", int64(c.XCAP.Body)),
		atMost("xcap.body", int64(c.XCAP.Body), MaxDocument),
		positive("limits.connections", int64(c.Limits.Connections)),
		positive("limits.per_address", int64(c.Limits.PerAddress)),
		positive("limits.unauthenticated", int64(c.Limits.Unauthenticated)),
		positive("limits.authenticate_within", int64(c.Limits.AuthenticateWithin)),
		positive("limits.offline_messages", int64(c.Limits.OfflineMessages)),
		c.Store.check(),
		c.Cluster.check(&c.Store))
	return errors.Join(errs...)
}

func oneOf(key, v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			return nil
		}
	}
	return fmt.Errorf("%s: %q is none of %s", key, v, strings.Join(allowed, ", "))
}

func cidrs(key string, list []string) error {
	if _, err := Prefixes(list); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// rooted wants an XCAP root of its own, as no path of the WebSockets' is below it.
func rooted(root string) error {
	if len(root) < 2 || root[0] != '/' || strings.Contains(root, "//") || strings.ContainsAny(root, "?#% \t\"<>~") || strings.TrimSuffix(root, "/") != root {
		return fmt.Errorf("xcap.root: %q is not a path such as /xcap", root)
	}
	for _, taken := range []string{"/sip", "/xmpp", "/metrics", "/.well-known"} {
		if root == taken || strings.HasPrefix(root, taken+"/") {
			return fmt.Errorf("xcap.root: %s is something else's", root)
		}
	}
	return nil
}

func atMost(key string, n, most int64) error {
	if n > most {
		return fmt.Errorf("%s: must not be above %d", key, most)
	}
	return nil
}

func positive(key string, n int64) error {
	if n <= 0 {
		return fmt.Errorf("%s: must be above 0", key)
	}
	return nil
}

// Prefixes parses CIDRs; a bare address stands for itself.
func Prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("%q is not an address or CIDR such as 192.0.2.0/24", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Differs lists the keys in which two configurations differ, as "sip.trusted".
func (c Config) Differs(o Config) []string {
	var keys []string
	var walk func(a, b reflect.Value, prefix string)
	walk = func(a, b reflect.Value, prefix string) {
		for i := range a.NumField() {
			key := prefix + a.Type().Field(i).Tag.Get("toml")
			if a.Field(i).Kind() == reflect.Struct {
				walk(a.Field(i), b.Field(i), key+".")
			} else if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				keys = append(keys, key)
			}
		}
	}
	walk(reflect.ValueOf(c), reflect.ValueOf(o), "")
	return keys
}
