package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pharos/bench"
)

// kamailio is Kamailio's presence with everything in memory, twice.
func kamailio() []Contender {
	const keeps = "nothing (memory only)"
	return []Contender{
		{Name: "Kamailio, as shipped", Of: "Kamailio", Keeps: keeps, Version: kamailioVersion, Launch: launchKamailio(kamailioShipped)},
		{Name: "Kamailio, tuned", Of: "Kamailio", Keeps: keeps, Version: kamailioVersion, Launch: launchKamailio(kamailioTuned, "-x", "tlsf", "-X", "tlsf", "-T", "-b", "8388608")},
	}
}

func kamailioVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "kamailio", "-v").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if err != nil {
		return "", err
	}
	mods, err := filepath.Glob("/usr/lib/*/kamailio/modules/presence_xml.so")
	if err != nil || len(mods) == 0 {
		return "", fmt.Errorf("%w: Kamailio's module presence_xml", ErrMissing)
	}
	var version string
	if _, err := fmt.Sscanf(string(out), "version: kamailio %s", &version); err != nil {
		return "", err
	}
	return "Kamailio " + version, nil
}

// kamailioMemory is -m and -M, in MB, and what it has where memory is measured: what Debian gives it holds three thousand
// subscriptions. What is touched in advance is no more than the fastest needs.
const kamailioMemory, kamailioWeighed, kamailioPrivate = "768", "3072", "32"

// kamailioShipped is the configuration that comes with it, with presence switched on as it
// says, storage in memory only, and digest where the measurement wants it. Its arguments are the address, the folder, and
// what is defined.
const kamailioShipped = `#!KAMAILIO
#!define WITH_PRESENCE
%[3]s
#!define DBURL "text://%[2]s"
listen=udp:%[1]s
listen=tcp:%[1]s
alias="localhost"
loadmodule "db_text.so"
include_file "/etc/kamailio/kamailio.cfg"
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
`

// kamailioTuned has the modules that presence needs and no others, as many workers as cost least on two processors, no
// statements that are not needed, tables for many users, memory touched before it is measured (which saves page faults:
// a sixth to a third of its processor time), and logs errors only. A database must be named, but is not asked. It keeps transactions: without them
// a refresh costs half, but a SUBSCRIBE that was sent again would make a second subscription, and a PUBLISH be refused.
const kamailioTuned = `#!KAMAILIO
%[3]s
#!ifdef WITH_TOUCHED_MEMORY
shm_force_alloc=yes
#!endif
debug=-1
log_stderror=yes
children=4
listen=udp:%[1]s
alias="localhost"
auto_aliases=no
dns=no
rev_dns=no
use_dns_cache=no
server_signature=no
sip_warning=no
loadmodule "db_text.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"
modparam("tm", "wt_timer", 1000)
modparam("auth", "nonce_expire", 3600)
modparam("presence", "db_url", "text://%[2]s")
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "subs_htable_size", 16)
modparam("presence", "pres_htable_size", 16)
modparam("presence", "pres_subs_mode", 0)
modparam("presence_xml", "db_url", "text://%[2]s")
modparam("presence_xml", "force_active", 1)
modparam("presence_xml", "integrated_xcap_server", 1)
modparam("presence_xml", "disable_winfo", 1)
modparam("presence_xml", "disable_xcapdiff", 1)
request_route {
	if (is_method("OPTIONS")) {
		sl_send_reply("200", "OK");
		exit;
	}
#!ifdef WITH_AUTH
	$var(pw) = "pw" + $(fU{s.substr,1,0});
	if (!pv_www_authenticate("localhost", "$var(pw)", "0")) {
		www_challenge("localhost", "1");
		exit;
	}
#!endif
	if (!t_newtran()) {
		sl_reply_error();
		exit;
	}
	if (is_method("PUBLISH")) {
		handle_publish();
	} else if (is_method("SUBSCRIBE")) {
		handle_subscribe();
	} else {
		t_reply("405", "Method Not Allowed");
	}
	t_release();
}
`

// The tables that the modules look for, though nothing is ever written to them; users are read from
// the last.
var kamailioTables = map[string]string{
	"version": "id(int,auto) table_name(string) table_version(int)\n" +
		"1:version:1\n2:presentity:5\n3:active_watchers:12\n4:watchers:3\n5:xcap:4\n6:subscriber:7\n",
	"presentity": "id(int,auto) username(string) domain(string) event(string) etag(string) expires(int) received_time(int) " +
		"body(string) sender(string) priority(int) ruid(string,null)\n",
	"active_watchers": "id(int,auto) presentity_uri(string) watcher_username(string) watcher_domain(string) to_user(string) " +
		"to_domain(string) event(string) event_id(string,null) to_tag(string) from_tag(string) callid(string) local_cseq(int) " +
		"remote_cseq(int) contact(string) record_route(string,null) expires(int) status(int) reason(string,null) version(int) " +
		"socket_info(string) local_contact(string) from_user(string) from_domain(string) updated(int) updated_winfo(int) " +
		"flags(int) user_agent(string)\n",
	"watchers": "id(int,auto) presentity_uri(string) watcher_username(string) watcher_domain(string) event(string) " +
		"status(int) reason(string,null) inserted_time(int)\n",
	"xcap":       "id(int,auto) username(string) domain(string) doc(string) doc_type(int) etag(string) source(int) doc_uri(string) port(int)\n",
	"subscriber": "id(int,auto) username(string) domain(string) password(string)\n",
}

// foreign is a server that we did not write.
type foreign struct {
	*bench.Process
	dir   string
	addrs map[string]string
}

func (f *foreign) Addr(scheme string) string { return f.addrs[scheme] }

// Stop ends it; whatever it says to that.
func (f *foreign) Stop() error {
	_ = f.Process.Stop()
	return os.RemoveAll(f.dir)
}

func launchKamailio(config string, args ...string) bench.Launch {
	return func(ctx context.Context, p bench.Population) (bench.Target, error) {
		dir, err := os.MkdirTemp("", "pharos-kamailio-")
		if err != nil {
			return nil, err
		}
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		var defines []string
		if !p.Trusted {
			defines = append(defines, "#!define WITH_AUTH")
		}
		memory := kamailioWeighed
		if !p.Weighed {
			memory = kamailioMemory
			defines = append(defines, "#!define WITH_TOUCHED_MEMORY")
		}
		files := map[string]string{"kamailio.cfg": fmt.Sprintf(config, addr, dir, strings.Join(defines, "\n"))}
		for name, text := range kamailioTables {
			files[name] = text
		}
		var b strings.Builder
		for i := range p.Users {
			fmt.Fprintf(&b, "%d:u%d:localhost:pw%d\n", i+1, i, i)
		}
		files["subscriber"] += b.String()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
		all := append([]string{"-f", filepath.Join(dir, "kamailio.cfg"), "-DD", "-E", "-Y", dir, "-w", dir, "-m", memory, "-M", kamailioPrivate}, args...)
		pr, err := bench.Run(ctx, filepath.Join(dir, "log"), nil, "kamailio", all...)
		if err != nil {
			return nil, err
		}
		f := &foreign{pr, dir, map[string]string{"sip+udp": addr, "sip+tcp": addr}}
		if err := f.answers(ctx, addr); err != nil {
			f.Stop()
			return nil, err
		}
		return f, nil
	}
}

// answers waits until the server answers OPTIONS.
func (f *foreign) answers(ctx context.Context, addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 2048)
	for i, until := 0, time.Now().Add(30*time.Second); time.Now().Before(until); i++ {
		fmt.Fprintf(c, "OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bKo%[3]d\r\nMax-Forwards: 70\r\nFrom: <sip:u0@localhost>;tag=o\r\n"+
			"To: <sip:%[1]s>\r\nCall-ID: o%[3]d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", addr, c.LocalAddr(), i)
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(buf); err == nil {
			return nil
		}
		select {
		case <-f.Ended():
			return fmt.Errorf("peers: the server has ended: %s", f.Log())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // nobody listens yet: the read failed at once
		}
	}
	return fmt.Errorf("peers: the server does not answer: %s", f.Log())
}

// freeAddr is an address of loopback that nobody listens on, for UDP and TCP.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		return "", err
	}
	defer u.Close()
	return l.Addr().String(), nil
}
