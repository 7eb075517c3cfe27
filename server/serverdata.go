package server

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"pharos/account"
	"pharos/markup"
	"pharos/presence"
	"pharos/store"
	"pharos/xmpp"
)

// Namespaces of XEP-0227 (portable import/export of XMPP servers).
const (
	nsServerData  = "urn:xmpp:pie:0"
	nsServerScram = "urn:xmpp:pie:0#scram"
	nsRoster      = "jabber:iq:roster"
)

// readServerData reads users with password or SCRAM keys and their rosters.
// Users that come with SCRAM keys only can log in by XMPP with these keys or
// with PLAIN, which gives them all the others, SIP digest included.
func (a *Admin) readServerData(b []byte) (users []newcomer, problems []string) {
	root, err := markup.Parse(b, markup.Options{MaxBytes: MaxImport, MaxDepth: 32, MaxNodes: 20_000_000, Document: true})
	if err != nil {
		return nil, []string{err.Error()}
	}
	if root.Space != nsServerData || root.Local != "server-data" {
		return nil, []string{fmt.Sprintf("the document is <%s xmlns=%q>, not <server-data> of XEP-0227", root.Local, root.Space)}
	}
	seen := map[presence.Entity]bool{}
	for host := range root.Children() {
		if host.Local != "host" || host.Space != nsServerData {
			continue
		}
		for user := range host.Children() {
			if user.Local != "user" || user.Space != nsServerData {
				continue
			}
			addr := user.Attr("name") + "@" + host.Attr("jid")
			n, err := a.readUser(addr, user)
			switch {
			case err != nil:
				problems = append(problems, err.Error())
			case seen[n.user]:
				problems = append(problems, fmt.Sprintf("%s stands twice in the file", n.user))
			default:
				seen[n.user] = true
				users = append(users, n)
			}
		}
	}
	return users, problems
}

func (a *Admin) readUser(addr string, user *markup.Element) (newcomer, error) {
	u, err := a.Address(addr)
	if err != nil {
		return newcomer{}, err
	}
	n := newcomer{user: u, typed: typed(addr), password: user.Attr("password")}
	if n.password == "" {
		var sha1, sha256 store.Scram
		for c := range user.Children() {
			if c.Space != nsServerScram || c.Local != "scram-credentials" {
				continue
			}
			k, err := readScram(c)
			if err != nil {
				return newcomer{}, fmt.Errorf("%s: %w", u, err)
			}
			switch c.Attr("mechanism") {
			case "SCRAM-SHA-1":
				sha1 = k
			case "SCRAM-SHA-256":
				sha256 = k
			}
		}
		if sha1.StoredKey == nil && sha256.StoredKey == nil {
			return newcomer{}, fmt.Errorf("%s has neither a password nor SCRAM keys", u)
		}
		keys := account.FromScram(u, sha1, sha256)
		n.keys = &keys
	}
	for it := range user.Child(nsRoster, "query").Children() {
		if it.Space != nsRoster || it.Local != "item" {
			continue
		}
		item, err := readItem(it)
		if err != nil {
			return newcomer{}, fmt.Errorf("%s: roster: %w", u, err)
		}
		n.contacts = append(n.contacts, item)
	}
	return n, nil
}

func readScram(e *markup.Element) (k store.Scram, err error) {
	if k.Iterations, err = strconv.Atoi(e.Child(nsServerScram, "iter-count").Text()); err != nil || k.Iterations < 1 || k.Iterations > account.MaxIterations {
		return k, fmt.Errorf("scram-credentials: bad iter-count")
	}
	for name, to := range map[string]*[]byte{"salt": &k.Salt, "stored-key": &k.StoredKey, "server-key": &k.ServerKey} {
		b, err := base64.StdEncoding.DecodeString(e.Child(nsServerScram, name).Text())
		if err != nil || len(b) == 0 {
			return k, fmt.Errorf("scram-credentials: bad %s", name)
		}
		*to = b
	}
	return k, nil
}

func readItem(e *markup.Element) (store.Item, error) {
	j, err := xmpp.ParseJID(e.Attr("jid"))
	if err != nil {
		return store.Item{}, fmt.Errorf("%q: %w", e.Attr("jid"), err)
	}
	it := store.Item{
		Contact: presence.Entity{User: j.Local, Domain: j.Domain}, Name: e.Attr("name"), Visible: true,
		Ask: e.Attr("ask") == "subscribe", Approved: e.Attr("approved") == "true",
	}
	switch sub := e.Attr("subscription"); sub {
	case "to":
		it.To = true
	case "from":
		it.From = true
	case "both":
		it.To, it.From = true, true
	case "", "none":
	default:
		return store.Item{}, fmt.Errorf("%s: subscription %q", j, sub)
	}
	for g := range e.Children() {
		if g.Space == nsRoster && g.Local == "group" && g.Text() != "" && !slices.Contains(it.Groups, g.Text()) {
			it.Groups = append(it.Groups, g.Text())
		}
	}
	return it, nil
}
