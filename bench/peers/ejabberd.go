package peers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pharos/bench"
)

// ejabberdShipped are the settings of Debian's ejabberd.yml that matter to a chat client, but
// without limits of rate, which would measure only themselves, with PLAIN before TLS, without a ban for the address from
// which all come when logins fail that it is too busy to check, and with room for
// more than the 5 that may wait for accept: with 64 who connect at a time some waited more than 20 s.
const ejabberdShipped = `loglevel: info
hosts: [localhost]
certfiles: [%[1]q]
auth_password_format: scram
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
listen:
  - port: %[2]d
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    starttls: true
    backlog: 4096
    protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1, cipher_server_preference, no_compression]
acl:
  local: {user_regexp: ""}
access_rules:
  local: {allow: local}
  c2s: {allow: all}
shaper_rules:
  max_user_sessions: 10
  max_user_offline_messages: 100
modules:
  mod_adhoc: {}
  mod_admin_extra: {}
  mod_announce: {}
  mod_avatar: {}
  mod_blocking: {}
  mod_bosh: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_configure: {}
  mod_disco: {}
  mod_fail2ban: {c2s_max_auth_failures: 1000000}
  mod_http_api: {}
  mod_last: {}
  mod_mqtt: {}
  mod_muc: {}
  mod_muc_admin: {}
  mod_offline: {access_max_user_messages: max_user_offline_messages}
  mod_ping: {}
  mod_pres_counter: {count: 5, interval: 60}
  mod_privacy: {}
  mod_private: {}
  mod_pubsub: {plugins: [flat, pep]}
  mod_push: {}
  mod_push_keepalive: {}
  mod_roster: {versioning: true}
  mod_s2s_dialback: {}
  mod_shared_roster: {}
  mod_sic: {}
  mod_stream_mgmt: {resend_on_timeout: if_offline}
  mod_vcard: {search: false}
  mod_vcard_xupdate: {}
  mod_version: {}
`

// ejabberdTuned has what presence and messages need, passwords as they are and no log of logins.
const ejabberdTuned = `loglevel: error
hosts: [localhost]
certfiles: [%[1]q]
auth_password_format: plain
listen:
  - port: %[2]d
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    starttls: true
    backlog: 4096
modules:
  mod_roster: {}
`

// The virtual machine as ejabberdctl starts it, and without schedulers that spin while they wait
// and with heaps that are collected whole, which the manual names for small memory.
var (
	beamShipped = []string{"+K", "true", "+P", "250000"}
	beamTuned   = []string{"+K", "true", "+P", "250000", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none", "-env", "ERL_FULLSWEEP_AFTER", "0"}
)

// ejabberdFill has the node put the records of a file into its tables, once it runs, and end.
// It is no node of a network, so it starts no epmd and nobody can speak to it otherwise. Tables are
// filled in memory; %s is where they stay then.
const ejabberdFill = `{ok, B} = file:read_file("users"),
[{atomic, ok} = mnesia:change_table_copy_type(T, node(), disc_copies) || T <- [passwd, roster]],
mnesia:activity(async_dirty, fun() -> lists:foreach(fun mnesia:write/1, binary_to_term(B)) end),
[mnesia:change_table_copy_type(T, node(), %s) || T <- [passwd, roster]],
init:stop().`

// ejabberdReady has a node say that it runs. It is another than the one that was filled, whose memory was made
// large by that, so that sessions would seem to need none.
const ejabberdReady = `ok = file:write_file("ready", "").`

// Ejabberd launches ejabberd, as shipped by Debian or tuned.
func Ejabberd(tuned bool) bench.Launch {
	return func(ctx context.Context, p bench.Population) (bench.Target, error) {
		erl, err := exec.LookPath("erl")
		if err != nil {
			return nil, missing("erl")
		}
		if found, _ := filepath.Glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app"); len(found) == 0 { // the pattern is good
			return nil, missing("ejabberd")
		}
		t, err := newChatPeer()
		if err != nil {
			return nil, err
		}
		conf, args, table := ejabberdShipped, beamShipped, "disc_only_copies"
		if tuned {
			conf, args, table = ejabberdTuned, beamTuned, "disc_copies"
		}
		err = errors.Join(
			os.WriteFile(t.path("ejabberd.yml"), fmt.Appendf(nil, conf, t.path("cert.pem"), t.port), 0o600),
			os.WriteFile(t.path("users"), ejabberdUsers(p, !tuned), 0o600))
		if err != nil {
			return nil, errors.Join(err, t.Stop())
		}
		libs, err := filepath.Glob("/usr/lib/*-linux-gnu")
		if err != nil {
			return nil, errors.Join(err, t.Stop())
		}
		env := []string{"HOME=" + t.dir, "ERL_LIBS=" + strings.Join(libs, ":"), "EJABBERD_CONFIG_PATH=" + t.path("ejabberd.yml"), "EJABBERD_LOG_PATH=" + t.path("ejabberd.log"),
			"ERL_MAX_PORTS=65536", "ERL_MAX_ETS_TABLES=1400", "ERL_CRASH_DUMP_BYTES=0", "ERL_EPMD_ADDRESS=127.0.0.1"}
		args = append(append([]string(nil), args...), "-noinput", "-mnesia", "dir", fmt.Sprintf("%q", t.path("mnesia")), "-s", "ejabberd", "-eval")
		if err := t.finish(ctx, env, erl, append(args[:len(args):len(args)], fmt.Sprintf(ejabberdFill, table))...); err != nil {
			return nil, errors.Join(err, t.Stop())
		}
		return t.run(ctx, env, erl, append(args, ejabberdReady)...)
	}
}

// ejabberdUsers are records of the tables passwd and roster, as a list in Erlang's external format.
func ejabberdUsers(p bench.Population, scrammed bool) []byte {
	var keys []scramKeys
	if scrammed {
		keys = scramOf(p.Users, 4096)
	}
	n, terms := 0, []byte(nil)
	for i := range p.Users {
		b64 := base64.StdEncoding.EncodeToString
		n++
		terms = etfAtom(etfTuple(terms, 3), "passwd")
		terms = etfUser(terms, i, 2)
		if scrammed {
			k := keys[i]
			terms = etfAtom(etfTuple(terms, 6), "scram")
			terms = etfBinary(etfBinary(etfBinary(terms, b64(k.stored)), b64(k.server)), b64(k.salt))
			terms = etfInt(etfAtom(terms, "sha"), k.iterations)
		} else {
			terms = etfBinary(terms, bench.PasswordOf(i))
		}
		for _, j := range p.Roster(i) {
			n++
			terms = etfAtom(etfTuple(terms, 10), "roster")
			terms = etfUser(etfTuple(terms, 3), i, 0)
			terms = etfUser(terms, j, 3)
			terms = etfUser(terms, i, 2)
			terms = etfUser(terms, j, 3)
			terms = etfBinary(terms, fmt.Sprintf("User %d", j))
			terms = etfAtom(etfAtom(terms, "both"), "none")
			terms = etfNil(etfBinary(etfList(terms, 1), "Team"))
			terms = etfNil(etfBinary(terms, ""))
		}
	}
	return etfNil(append(etfList([]byte{131}, n), terms...))
}

// etfUser is user i as a tuple of user and server, of three with an empty resource, or with 0 without the tuple.
func etfUser(b []byte, i, size int) []byte {
	if size > 0 {
		b = etfTuple(b, size)
	}
	b = etfBinary(etfBinary(b, bench.User(i)), "localhost")
	if size == 3 {
		b = etfBinary(b, "")
	}
	return b
}
