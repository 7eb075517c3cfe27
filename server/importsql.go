package server

import (
	"strconv"
	"strings"

	"pharos/account"
	"pharos/markup"
	"pharos/sqldump"
	"pharos/store"
)

// Tables of Kamailio, OpenSIPS and OpenXCAP that are read.
const (
	tableSubscriber = "subscriber" // accounts
	tableXCAP       = "xcap"       // documents
	tableWatchers   = "watchers"   // who may watch, where no rule document says so
)

// readDump reads accounts, XCAP documents and decisions about watchers. What lives
// for an hour or so (presentity, active_watchers, location) comes anew from the phones.
func (m *material) readDump(where string, b []byte) {
	err := sqldump.Read(b, func(table string) bool {
		switch table {
		case tableSubscriber, tableXCAP, tableWatchers:
			return true
		}
		m.ignore(where + "table " + table)
		return false
	}, func(r *sqldump.Row) error {
		at := where + "line " + strconv.Itoa(r.Line)
		switch r.Table {
		case tableSubscriber:
			m.subscriber(r, at)
		case tableXCAP:
			m.xcapRow(r, at)
		case tableWatchers:
			m.watcherRow(r, at)
		}
		return nil
	})
	if err != nil {
		m.problem("%s%v", where, err)
	}
}

// subscriber is an account: with a password, or with its digest key only.
func (m *material) subscriber(r *sqldump.Row, at string) {
	addr := r.Get("username") + "@" + r.Get("domain")
	n := m.user(addr, at)
	if n == nil {
		return
	}
	if pw := r.Get("password"); pw != "" {
		m.account(n, typed(addr), pw, nil, at)
		return
	}
	if r.Get("ha1") == "" {
		m.problem("%s: %s has neither password nor ha1", at, n.user)
		return
	}
	keys, err := account.FromDigest(n.user, r.Get("ha1"), r.Get("ha1_sha256"), r.Get("ha1_sha512t256"))
	if err != nil {
		m.problem("%s: %v", at, err)
		return
	}
	m.account(n, typed(addr), "", &keys, at)
}

// xcapRow is a document. Its usage stands in doc_uri, or can be told by its root
// element; the number in doc_type is not the same in all servers.
func (m *material) xcapRow(r *sqldump.Row, at string) {
	xui, body := r.Get("username")+"@"+r.Get("domain"), []byte(r.Get("doc"))
	uri := strings.Split(strings.Trim(r.Get("doc_uri"), "/"), "/")
	for i, p := range uri {
		if i > 0 && i+2 < len(uri) && p == "users" && usageOf(uri[i-1]) {
			m.document(xui, uri[i-1], strings.Join(uri[i+2:], "/"), body, at)
			return
		}
	}
	root, err := markup.Parse(body, markup.Options{MaxBytes: len(body) + 1, Document: true})
	if err != nil {
		m.problem("%s: document of %s: %v", at, xui, err)
		return
	}
	for _, u := range importUsages {
		if u.root == root.Local {
			m.document(xui, u.auid, u.path, body, at)
			return
		}
	}
	m.ignore("documents <" + root.Local + "> in table xcap")
}

// watcherRow is a decision about one watcher: status 1 is active, 2 pending, 3
// terminated, 4 waiting.
func (m *material) watcherRow(r *sqldump.Row, at string) {
	if r.Get("event") != "presence" {
		m.ignore("watchers of " + r.Get("event"))
		return
	}
	n := m.user(r.Get("presentity_uri"), at)
	who, ok := m.address(at, r.Get("watcher_username")+"@"+r.Get("watcher_domain"))
	if n == nil || !ok || who == n.user {
		return
	}
	switch r.Get("status") {
	case "1":
		n.contact(store.Item{Contact: who, Approved: true})
	case "2", "4":
		n.contact(store.Item{Contact: who, PendingIn: true})
	case "3":
		if r.Get("reason") == "rejected" {
			n.blocks = append(n.blocks, who.String())
		}
	}
}
