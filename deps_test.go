// Package pharos holds the shape of the house: who may import whom.
package pharos

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the import table. Arrows point at presence; wires know nothing
// of it; an edge never knows another edge; only server knows everybody.
// "*" allows all.
var mayImport = map[string]string{
	"presence": "", "presence/transfer": "presence", "fields": "presence", "markup": "", "crowd": "", "load": "", "config": "", "sip": "",
	"xmpp":            "markup crowd",
	"pidf":            "presence markup patch",
	"roster":          "presence markup",
	"store":           "fields presence",
	"store/storetest": "store",
	"account":         "presence store",
	"sqldump":         "",
	"patch":           "markup",
	"schema":          "markup",
	"policy":          "presence roster store markup",
	"xdm":             "presence roster policy store markup",
	"engine":          "presence presence/transfer load crowd",
	// Codecs of the event packages.
	"watcherinfo": "presence markup",
	"dialoginfo":  "presence markup",
	"summary":     "presence",
	"rlmi":        "presence markup",
	"xcapdiff":    "patch markup",
	"filter":      "presence markup",
	"simple":      "fields sip redirect pidf roster account load store engine presence crowd xdm patch markup watcherinfo dialoginfo summary rlmi xcapdiff filter",
	"jabber":      "fields xmpp redirect markup roster account load store engine presence crowd xdm",
	"xcap":        "xdm schema markup policy roster pidf account load store engine presence",
	// Of the tests.
	"memnet": "",
	// Several nodes.
	"balance":     "presence",
	"loaddoc":     "presence markup",
	"redirect":    "",
	"cluster":     "fields presence engine store balance",
	"loadcontrol": "sip loaddoc balance presence account markup",
	"server":      "*",
	"simulate":    "balance load redirect",
	"cmd/pharos":  "server config simulate",
	// Clients of the program: they speak to it over its wires.
	"story":            "*",
	"interop":          "server config store/postgrestest",
	"interop/demo":     "interop",
	"bench":            "server config sip xmpp markup presence account store store/postgrestest",
	"bench/run":        "bench",
	"bench/peers":      "bench",
	"bench/peers/run":  "bench bench/peers",
	"bench/paper":      "bench presence account store store/postgrestest simulate",
	"bench/paper/run":  "bench bench/paper",
	"bench/client":     "sip markup",
	"bench/faults":     "bench bench/client sip markup store/postgrestest",
	"bench/faults/run": "bench/faults",
	"bench/soak":       "bench bench/client sip markup",
	"bench/soak/run":   "bench bench/soak bench/peers",
}

// onlyIn names dependencies that one package keeps from all others.
var onlyIn = map[string]string{
	"database/sql":                 "store",
	"modernc.org/sqlite":           "store",
	"github.com/jackc/pgx":         "store",
	"github.com/nats-io":           "cluster",
	"github.com/prometheus":        "server",
	"github.com/alecthomas/kong":   "cmd/pharos",
	"github.com/pelletier/go-toml": "config",
}

type listed struct {
	ImportPath, Doc string
	Imports         []string
	GoFiles         []string
	Dir             string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", "./...")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var ps []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			ps = append(ps, p)
		}
	}
}

func short(path string) string { return strings.TrimPrefix(path, "pharos/") }

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := short(p.ImportPath)
		allowed, known := mayImport[name]
		if !known {
			top, _, _ := strings.Cut(name, "/")
			if allowed, known = mayImport[top]; !known {
				t.Errorf("%s is not in the import table", name)
				continue
			}
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "pharos/") {
				if allowed != "*" && !slices.Contains(strings.Fields(allowed), short(imp)) && !strings.HasPrefix(short(imp), name+"/") {
					t.Errorf("%s may not import %s", name, short(imp))
				}
				if name != "cmd/pharos" && short(imp) == "server" && allowed != "*" && name != "bench" && !strings.HasPrefix(name, "interop") {
					t.Errorf("%s may not know server", name)
				}
				continue
			}
			for dep, owner := range onlyIn {
				if name != owner && (imp == dep || strings.HasPrefix(imp, dep+"/")) {
					t.Errorf("%s imports %s, which is kept in %s", name, imp, owner)
				}
			}
		}
	}
}

// Pure packages do no I/O and see no clock.
func TestPure(t *testing.T) {
	for _, p := range packages(t) {
		switch short(p.ImportPath) {
		case "presence", "presence/transfer", "fields", "roster", "markup", "balance", "redirect", "loaddoc", "simulate":
		default:
			continue
		}
		for _, imp := range p.Imports {
			if short(p.ImportPath) == "simulate" && (imp == "context" || imp == "math/rand/v2") {
				continue // it may be given up, and has a seed
			}
			switch imp {
			case "os", "net", "net/http", "context", "math/rand", "math/rand/v2", "crypto/rand", "log/slog":
				t.Errorf("%s imports %s", short(p.ImportPath), imp)
			}
		}
		if p := short(p.ImportPath); p != "presence" && p != "simulate" {
			continue
		}
		for _, f := range p.GoFiles {
			b, err := os.ReadFile(p.Dir + "/" + f)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []string{"time.Now(", "time.Since(", "time.After", "time.NewTimer", "go func"} {
				if strings.Contains(string(b), call) {
					t.Errorf("%s/%s: %s) in the pure domain", short(p.ImportPath), f, call)
				}
			}
		}
	}
}

// Every package says what it is for, and files stay small enough to read at
// one sitting.
func TestReadable(t *testing.T) {
	const maxLines = 650
	for _, p := range packages(t) {
		if len(p.Doc) < 20 {
			t.Errorf("%s has no package comment", short(p.ImportPath))
		}
		for _, f := range p.GoFiles {
			b, err := os.ReadFile(p.Dir + "/" + f)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(b, []byte("\n")); n > maxLines {
				t.Errorf("%s/%s has %d lines; split it by concept (%d)", short(p.ImportPath), f, n, maxLines)
			}
		}
	}
}
