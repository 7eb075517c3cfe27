package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The described file is a valid configuration with the same values.
func TestDescribeParsesBack(t *testing.T) {
	c := Defaults()
	c.SIP.Trusted = []string{"192.0.2.0/24", "::1"}
	c.XCAP.Trusted = []string{"192.0.2.7"}
	c.Store.URL = "postgres://192.0.2.1/pharos"
	c.Cluster.Node, c.Cluster.Secret, c.Cluster.Listen = "n1", "0123456789abcdef", "192.0.2.2:6222"
	c.Cluster.Peers, c.Cluster.Observers = []string{"192.0.2.8:6222"}, []string{"noc@example.com"}
	c.Cluster.Standby, c.Cluster.RedirectSIP = []string{"sip:192.0.2.9"}, []string{"SUBSCRIBE:x"}
	c.Limits.AuthenticateWithin = Duration(90 * time.Second)
	var b strings.Builder
	if err := Describe(&b, c); err != nil {
		t.Fatal(err)
	}
	got, err := Parse([]byte(b.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v\nwant %+v", got, c)
	}
}

// Every key says what it is for.
func TestEveryKeyIsDocumented(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Tag.Get("toml") == "" || len(f.Tag.Get("doc")) < 8 {
				t.Errorf("%s%s has no toml name or no doc", path, f.Name)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, path+f.Name+".")
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func TestThreeLinesSuffice(t *testing.T) {
	c, err := Parse([]byte("domains = [\"example.com\"]\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Domains[0] != "example.com" || c.Policy.Default != "confirm" || len(c.Listen) != 6 {
		t.Errorf("%+v", c)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"domain = [\"x\"]", `line 1: unknown key "domain"`},
		{"\n[sip]\ntrust = []", `line 3: unknown key "sip.trust"`},
		{"domains = []", "at least one is needed"},
		{"domains = [\"Example.com\"]", "lower case"},
		{"listen = [\"sip://:5060\"]", "sip+udp"},
		{"listen = [\"xmpp-server://:5269\"]", "not in this version"},
		{"listen = [\"xmpp://:99999\"]", "65535"},
		{"listen = [\"xmpp://:5222/x\"]", "scheme://host:port"},
		{"listen = [\"sips:127.0.0.1:5061\"]", "scheme://host:port"},
		{"[tls]\ncert = \"x\"", "go together"},
		{"[policy]\ndefault = \"maybe\"", "none of confirm, allow, block"},
		{"[sip]\ntrusted = [\"nowhere\"]", "sip.trusted"},
		{"[limits]\nconnections = 0", "limits.connections"},
		{"[limits]\nauthenticate_within = \"soon\"", "line 2"},
		{"domains = ", "line 1"},
		{"domains = \"example.com\"", `line 1, column 11: domains: a string where a list such as ["one", "two"] is wanted`},
		{"[limits]\nconnections = \"many\"", "limits.connections: a string where a number without quotes is wanted"},
		{"[policy]\ndefault = 1", "policy.default: a number where a string in quotes is wanted"},
		{"sip = \"x\"", "sip: a string where a table is wanted"},
	} {
		if _, err := Parse([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: got %v, want it to contain %q", tc.in, err, tc.want)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(until time.Time) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: until, DNSNames: []string{"example.com"}}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
		if err != nil {
			t.Fatal(err)
		}
		kder, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kder}} {
			if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c := Defaults()
	check := func(want string) {
		t.Helper()
		err := c.CheckFiles()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	check("") // none: self-signed
	c.Domains, c.TLS = []string{"example.com"}, TLS{cert, key}
	check("no such file")
	write(time.Now().Add(time.Hour))
	check("")
	c.Domains = append(c.Domains, "example.org")
	check("not for the domain example.org")
	write(time.Now().Add(-time.Hour))
	check("has expired")
}

func TestParseListener(t *testing.T) {
	for in, want := range map[string]Listener{
		"sip+udp://":                 {Scheme: "sip+udp", Network: "udp", Address: ":5060"},
		"xmpps://:0":                 {Scheme: "xmpps", Network: "tcp", Address: ":0"},
		"https://[::1]:8443":         {Scheme: "https", Network: "tcp", Address: "[::1]:8443"},
		"xmpp+insecure://127.0.0.1":  {Scheme: "xmpp+insecure", Network: "tcp", Address: "127.0.0.1:5222"},
		"sips://sip.example.com:443": {Scheme: "sips", Network: "tcp", Address: "sip.example.com:443"},
	} {
		want.URI = in
		if got, err := ParseListener(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
}

func TestDiffers(t *testing.T) {
	a, b := Defaults(), Defaults()
	b.Log.Level, b.SIP.Trusted = "debug", []string{"::1"}
	if got := strings.Join(a.Differs(b), " "); got != "sip.trusted log.level" {
		t.Errorf("got %q", got)
	}
}

func TestXCAPKeys(t *testing.T) {
	for text, want := range map[string]string{
		`root = "/xcap"`:            "",
		`root = "/a/b-c"`:           "",
		`root = ""`:                 "is not a path",
		`root = "/"`:                "is not a path",
		`root = "xcap"`:             "is not a path",
		`root = "/xcap/"`:           "is not a path",
		`root = "/x%20"`:            "is not a path",
		`root = "/~~"`:              "is not a path",
		`root = "/sip/x"`:           "something else's",
		`root = "/metrics"`:         "something else's",
		`trusted = ["192.0.2.300"]`: "xcap.trusted",
		`documents = 0`:             "xcap.documents",
		`bytes = -1`:                "xcap.bytes",
		`body = 0`:                  "xcap.body",
		`body = 2000000`:            "xcap.body: must not be above 1048576",
	} {
		_, err := Parse([]byte("[xcap]\n" + text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
