package peers

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pharos/bench"
)

// prosodyCommon is what both configurations need here: a folder, a port, PLAIN before TLS, and
// no limits of rate, which would measure only themselves.
const prosodyCommon = `run_as_root = true
data_path = %[1]q
pidfile = %[1]q .. "/prosody.pid"
certificates = %[1]q
ssl = { certificate = %[1]q .. "/cert.pem"; key = %[1]q .. "/cert.pem" }
interfaces = { "127.0.0.1" }
c2s_ports = { %[2]d }
c2s_direct_tls_ports = {}
s2s_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
admin_socket = %[1]q .. "/prosody.sock"
`

// prosodyShipped is what Debian's configuration sets otherwise.
const prosodyShipped = `modules_enabled = {
	"disco"; "roster"; "saslauth"; "tls"; "blocklist"; "bookmarks"; "carbons"; "dialback"; "limits"; "pep"; "private";
	"smacks"; "vcard4"; "vcard_legacy"; "csi_simple"; "invites"; "invites_adhoc"; "invites_register"; "ping"; "register";
	"time"; "uptime"; "version"; "admin_adhoc"; "admin_shell"; "posix";
}
authentication = "internal_hashed"
log = { info = "prosody.log"; error = "prosody.err" }
VirtualHost "localhost"
`

// prosodyTuned has what presence and messages need, passwords as they are, no log of logins, the
// collector by generations, and writes at once instead of in the next round.
const prosodyTuned = `modules_enabled = { "roster"; "saslauth"; "tls" }
modules_disabled = { "s2s"; "s2s_auth_certs"; "offline"; "http"; "http_errors" }
authentication = "internal_plain"
network_backend = "epoll"
network_settings = { opportunistic_writes = true; tcp_backlog = 4096 }
gc = { mode = "generational" }
log = { warn = "prosody.log" }
VirtualHost "localhost"
`

// prosodyIterations is mod_auth_internal_hashed's default.
const prosodyIterations = 10000

// Prosody launches Prosody, as shipped by Debian or tuned.
func Prosody(tuned bool) bench.Launch {
	return func(ctx context.Context, p bench.Population) (bench.Target, error) {
		bin, err := exec.LookPath("prosody")
		if err != nil {
			return nil, missing("prosody")
		}
		t, err := newChatPeer()
		if err != nil {
			return nil, err
		}
		conf := prosodyShipped
		if tuned {
			conf = prosodyTuned
		}
		err = errors.Join(
			os.WriteFile(t.path("prosody.cfg.lua"), fmt.Appendf(nil, prosodyCommon+conf, t.dir, t.port), 0o600),
			prosodyUsers(t.path("localhost"), p, !tuned),
			os.WriteFile(t.path("ready"), nil, 0o600)) // the port says when it is
		if err != nil {
			return nil, errors.Join(err, t.Stop())
		}
		return t.run(ctx, nil, bin, "-F", "--config", t.path("prosody.cfg.lua"))
	}
}

// prosodyUsers writes the files of its internal storage.
func prosodyUsers(dir string, p bench.Population, hashed bool) error {
	accounts, rosters := filepath.Join(dir, "accounts"), filepath.Join(dir, "roster")
	if err := errors.Join(os.MkdirAll(accounts, 0o700), os.MkdirAll(rosters, 0o700)); err != nil {
		return err
	}
	var keys []scramKeys
	if hashed {
		keys = scramOf(p.Users, prosodyIterations)
	}
	for i := range p.Users {
		account := fmt.Sprintf("return {\n\t[\"password\"] = %q;\n};\n", bench.PasswordOf(i))
		if hashed {
			k := keys[i]
			account = fmt.Sprintf("return {\n\t[\"iteration_count\"] = %d;\n\t[\"salt\"] = %q;\n\t[\"server_key\"] = %q;\n\t[\"stored_key\"] = %q;\n};\n",
				k.iterations, k.salt, hex.EncodeToString(k.server), hex.EncodeToString(k.stored))
		}
		var b strings.Builder
		b.WriteString("return {\n\t[false] = { [\"version\"] = 1 };\n")
		for _, j := range p.Roster(i) {
			fmt.Fprintf(&b, "\t[\"u%d@localhost\"] = { [\"subscription\"] = \"both\"; [\"groups\"] = { [\"Team\"] = true }; [\"name\"] = \"User %d\" };\n", j, j)
		}
		b.WriteString("};\n")
		file := bench.User(i) + ".dat"
		if err := errors.Join(os.WriteFile(filepath.Join(accounts, file), []byte(account), 0o600),
			os.WriteFile(filepath.Join(rosters, file), []byte(b.String()), 0o600)); err != nil {
			return err
		}
	}
	return nil
}
