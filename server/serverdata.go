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
	nsBlocking    = "urn:xmpp:blocking"
)

// readServerData reads users with password or SCRAM keys, their rosters and block
// lists. Users that come with SCRAM keys only can log in by XMPP with these keys or
// with PLAIN, which gives them all the others, SIP digest included.
func (m *material) readServerData(where string, b []byte) {
	root, err := markup.Parse(b, markup.Options{MaxBytes: MaxImport, MaxDepth: 32, MaxNodes: 20_000_000, Document: true})
	if err != nil {
		m.problem("%s%v", where, err)
		return
	}
	if root.Space != nsServerData || root.Local != "server-data" {
		m.problem("%sthe document is <%s xmlns=%q>, not <server-data> of XEP-0227", where, root.Local, root.Space)
		return
	}
	for host := range root.Children() {
		if host.Local != "host" || host.Space != nsServerData {
			continue
		}
		for user := range host.Children() {
			if user.Local == "user" && user.Space == nsServerData {
				addr := user.Attr("name") + "@" + host.Attr("jid")
				m.readUser(where+addr, addr, user)
			}
		}
	}
}

func (m *material) readUser(where, addr string, user *markup.Element) {
	n := m.user(addr, where)
	if n == nil {
		return
	}
	if password := user.Attr("password"); password != "" {
		m.account(n, typed(addr), password, nil, where)
	} else if !m.readKeys(where, n, addr, user) {
		return
	}
	for it := range user.Child(nsRoster, "query").Children() {
		if it.Space != nsRoster || it.Local != "item" {
			continue
		}
		item, err := readItem(it)
		if err != nil {
			m.problem("%s: roster: %v", where, err)
			return
		}
		n.contact(item)
	}
	for it := range user.Child(nsBlocking, "blocklist").Children() {
		if it.Is(nsBlocking, "item") {
			j, err := xmpp.ParseJID(it.Attr("jid"))
			if err != nil {
				m.problem("%s: block list: %v", where, err)
				return
			}
			n.blocks = append(n.blocks, j.String())
		}
	}
}

// readKeys reads SCRAM keys; false where there are none that can be used.
func (m *material) readKeys(where string, n *newcomer, addr string, user *markup.Element) bool {
	var sha1, sha256 store.Scram
	for c := range user.Children() {
		if c.Space != nsServerScram || c.Local != "scram-credentials" {
			continue
		}
		k, err := readScram(c)
		if err != nil {
			m.problem("%s: %v", where, err)
			return false
		}
		switch c.Attr("mechanism") {
		case "SCRAM-SHA-1":
			sha1 = k
		case "SCRAM-SHA-256":
			sha256 = k
		}
	}
	if sha1.StoredKey == nil && sha256.StoredKey == nil {
		m.problem("%s has neither a password nor SCRAM keys", n.user)
		return false
	}
	keys := account.FromScram(n.user, sha1, sha256)
	m.account(n, typed(addr), "", &keys, where)
	return true
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
