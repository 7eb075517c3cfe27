package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pharos/server"
)

// demoUser is one of two users for a first look. Their passwords are random
// and kept in the data folder, since the accounts hold derived keys only.
type demoUser struct{ Address, Password string }

func demoUsers(ctx context.Context, a *server.Admin, data, domain string) ([]demoUser, error) {
	path := filepath.Join(data, "demo-users.json")
	var users []demoUser
	b, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(b, &users); err != nil {
			return nil, fmt.Errorf("%s: %w; remove it to get new demo users", path, err)
		}
		// Those whose password was changed, or who were removed, are no demo users
		// any more.
		return slices.DeleteFunc(users, func(u demoUser) bool { return !a.Check(ctx, u.Address, u.Password) }), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, name := range []string{"alice", "bob"} {
		u := demoUser{name + "@" + domain, strings.ToLower(rand.Text()[:10])}
		if err := a.Add(ctx, u.Address, u.Password); err != nil && !errors.Is(err, server.ErrExists) {
			return nil, err
		} else if err != nil {
			continue // an account of that name is somebody's: leave it alone
		}
		users = append(users, u)
	}
	if b, err = json.MarshalIndent(users, "", "  "); err != nil {
		return nil, err
	}
	return users, os.WriteFile(path, b, 0o600)
}

// printBanner says what is listening where and what to type into which client.
func printBanner(w io.Writer, st server.Status, data string, demo []demoUser) {
	program := os.Args[0]
	fmt.Fprintf(w, "\nPharos %s serves %s.\n\n", st.Version, strings.Join(st.Domains, ", "))
	port := map[string]string{}
	for _, l := range st.Listen {
		u, err := url.Parse(l)
		if err != nil {
			continue
		}
		if port[u.Scheme] == "" {
			port[u.Scheme] = u.Port()
		}
		fmt.Fprintf(w, "  %-14s %s\n", u.Scheme, displayHost(u.Host))
	}
	if len(demo) > 0 {
		fmt.Fprintf(w, "\nDemo users (kept in %s):\n\n", filepath.Join(data, "demo-users.json"))
		for _, u := range demo {
			fmt.Fprintf(w, "  %-18s password %s\n", u.Address, u.Password)
		}
	}
	if len(demo) == 2 {
		printClients(w, port, data, demo[0], demo[1])
	}
	fmt.Fprintf(w, "\nCtrl-C ends it. In another shell:\n\n")
	fmt.Fprintf(w, "  %s status --data %s\n", program, data)
	if st.Cluster != nil {
		fmt.Fprintf(w, "  %s cluster status --data %s\n", program, data)
	}
	fmt.Fprintf(w, "  %s user add --data %s NAME@%s\n", program, data, st.Domains[0])
	if len(demo) == 2 {
		fmt.Fprintf(w, "  %s why --data %s %s %s\n", program, data, demo[1].Address, demo[0].Address)
	}
	fmt.Fprintln(w)
}

func displayHost(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || (host != "::" && host != "0.0.0.0" && host != "") {
		return hostport
	}
	return "*:" + port + "   (all addresses)"
}

func printClients(w io.Writer, port map[string]string, data string, sip, chat demoUser) {
	sipUser, domain, _ := strings.Cut(sip.Address, "@")
	if p := port["sip+udp"]; p != "" {
		fmt.Fprintf(w, "\nSIP phone (any): user %s, domain %s, proxy 127.0.0.1:%s, transport UDP, password %s\n", sipUser, domain, p, sip.Password)
		fmt.Fprintf(w, "  baresip (start it once and quit, it makes its files), in ~/.baresip/config, without #:\n    module_app presence.so\n  in ~/.baresip/accounts:\n    <sip:%s@%s>;auth_user=%s;auth_pass=%s;outbound=\"sip:127.0.0.1:%s\";pubint=600\n",
			sipUser, domain, sipUser, sip.Password, p)
		fmt.Fprintf(w, "  and in ~/.baresip/contacts:\n    \"bob\" <sip:%s>;presence=p2p\n", chat.Address)
	}
	if p := port["xmpp"]; p != "" {
		fmt.Fprintf(w, "\nXMPP client (any): address %s, server 127.0.0.1, port %s, password %s\n", chat.Address, p, chat.Password)
		fmt.Fprintf(w, "  profanity:  /connect %s server 127.0.0.1 port %s tls trust\n", chat.Address, p)
		fmt.Fprintf(w, "  then:       /sub allow %s            the phone has asked to see bob\n", sip.Address)
		fmt.Fprintf(w, "              /sub request %s          bob asks to see alice\n", sip.Address)
		fmt.Fprintf(w, "              /status set dnd \"in a meeting\"     (baresip: Busy; it shows away as Offline)\n")
		fmt.Fprintf(w, "  A phone cannot answer requests. Alice does it in a chat client too, once, password %s:\n", sip.Password)
		fmt.Fprintf(w, "              /connect %s server 127.0.0.1 port %s tls trust\n", sip.Address, p)
		fmt.Fprintf(w, "              /sub allow %s\n", chat.Address)
		fmt.Fprintf(w, "  The certificate is %s.\n", filepath.Join(data, "tls", "cert.pem"))
	}
	if p := port["https"]; p != "" {
		fmt.Fprintf(w, "\nWeb clients: wss://127.0.0.1:%s/xmpp (converse.js, strophe.js) and wss://127.0.0.1:%[1]s/sip (SIP.js, JsSIP)\n", p)
	}
}
