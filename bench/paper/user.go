package paper

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"pharos/account"
	"pharos/presence"
	"pharos/store"
)

// password is everybody's.
const password = "of all of them"

func entity(name string) presence.Entity { return presence.Entity{User: name, Domain: "localhost"} }

// makeAccounts are for all services: to derive keys takes long.
func makeAccounts(names []string) ([]store.Account, error) {
	one, err := account.Derive(entity("one"), password)
	if err != nil {
		return nil, err
	}
	one.Logins = nil
	list := make([]store.Account, len(names))
	for i, name := range names {
		list[i] = one // SCRAM's keys do not know the name
		secret := []byte(name + ":localhost:" + password)
		m, s, t := md5.Sum(secret), sha256.Sum256(secret), sha512.Sum512_256(secret)
		list[i].User, list[i].MD5, list[i].SHA256, list[i].SHA512256 = entity(name), hex.EncodeToString(m[:]), hex.EncodeToString(s[:]), hex.EncodeToString(t[:])
	}
	return list, nil
}

// user has some presence resources: devices that each publish a document about him. By his client, a
// phone or a chat program, he registers for the presence of all of them; for a chat program, it
// is itself one of them.
type user struct {
	name      string
	chats     bool
	resources int
	pad       int // octets in each document, beside its elements
	phone     *phone
	chat      *chat
	sub       *call
	subs      int
	devices   []*call
	tags      []string  // entity-tags of the publications
	sent      time.Time // the last registration or change

	mu    sync.Mutex
	token []byte          // that is waited for; nil: any NOTIFY
	seen  map[string]bool // resources of which the chat program was told; nil: it is not waited for
	came  chan time.Time
}

func newUser(name string, chats bool, resources, pad int, n *nonce) *user {
	u := &user{name: name, chats: chats, resources: resources, pad: pad, came: make(chan time.Time, 1)}
	u.phone = newPhone(name, n, u.told)
	if chats {
		u.chat = &chat{user: name, heard: u.heard}
	}
	return u
}

func (u *user) close() {
	u.phone.close()
	if u.chats {
		u.chat.close()
	}
}

// document is what a device publishes.
func (u *user) document(device, state int) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:%s@localhost"><tuple id="d%d"><status><basic>open</basic></status><contact>sip:%[1]s-%[2]d@127.0.0.1</contact><note>state %d%s</note></tuple></presence>`,
		u.name, device, state, padding(u.pad))
}

func padding(n int) string {
	const words = " of a text as long as it takes"
	return strings.Repeat(words, n/len(words)+1)[:n]
}

// arrive comes to the main server: the devices publish, then the client registers.
func (u *user) arrive(main *server) error {
	if err := u.phone.connect(fmt.Sprintf("%s:%d", main.ip, portSIP)); err != nil {
		return err
	}
	devices := u.resources
	if u.chats {
		devices-- // the session is the last one
	}
	for d := range devices {
		u.devices = append(u.devices, u.phone.newCall(fmt.Sprintf("p%d", d)))
		u.tags = append(u.tags, "")
		if err := u.publish(d, 0); err != nil {
			return err
		}
	}
	if !u.chats {
		return u.subscribe(3600)
	}
	u.phone.close() // the publications stay
	return u.login(main)
}

// login is the chat program's, as often as it takes: newcomers are asked to wait while a server is added.
func (u *user) login(main *server) error {
	var err error
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(time.Second) {
		if err = u.chat.connect(fmt.Sprintf("%s:%d", main.ip, portXMPP)); err == nil {
			return u.chat.write(available("here", ""))
		}
	}
	return err
}

func (u *user) publish(device, state int) error {
	header := "Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\n"
	if t := u.tags[device]; t != "" {
		header += "SIP-If-Match: " + t + "\r\n"
	}
	m, err := u.phone.request(u.devices[device], "PUBLISH", header, u.document(device, state))
	if err == nil {
		u.tags[device] = string(line(m, "SIP-ETag"))
	}
	return err
}

// subscribe begins a subscription, or goes on with it.
func (u *user) subscribe(expires int) error {
	if u.sub == nil {
		u.subs++
		u.sub = u.phone.newCall(fmt.Sprintf("s%d", u.subs))
	}
	m, err := u.phone.request(u.sub, "SUBSCRIBE", fmt.Sprintf("Event: presence\r\nExpires: %d\r\nAccept: application/pidf+xml\r\n", expires), "")
	if err != nil {
		return err
	}
	u.sub.tag = string(param(line(m, "To"), "tag="))
	u.sub.uri = contact(m)
	return nil
}

// moves goes to the main server anew, which sends him to his own.
func (u *user) moves(main *server) error {
	if u.chats {
		return u.login(main)
	}
	if err := u.subscribe(0); err != nil {
		return err
	}
	u.sub = nil
	if err := u.phone.connect(fmt.Sprintf("%s:%d", main.ip, portSIP)); err != nil {
		return err
	}
	return u.subscribe(3600)
}

// server is where his client is connected.
func (u *user) server() string {
	at := ""
	if u.chats {
		at = u.chat.server()
	} else {
		at = u.phone.server()
	}
	ip, _, _ := strings.Cut(at, ":")
	return ip
}

func (u *user) await(token []byte, seen map[string]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.token, u.seen = token, seen
	select {
	case <-u.came: // of what was not asked for
	default:
	}
}

func (u *user) hasCome() {
	select {
	case u.came <- time.Now():
	default:
	}
}

// told is of a NOTIFY.
func (u *user) told(m []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.token == nil || bytes.Contains(m, u.token) {
		u.hasCome()
	}
}

// heard is of a presence stanza.
func (u *user) heard(e []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	head := e[:bytes.IndexByte(e, '>')+1]
	if attr(head, "type") != "" {
		return
	}
	switch {
	case u.seen != nil:
		from := attr(head, "from")
		if u.seen[from] {
			return
		}
		if u.seen[from] = true; len(u.seen) == u.resources {
			u.hasCome()
		}
	case u.token != nil && bytes.Contains(e, u.token):
		u.hasCome()
	}
}

func (u *user) wait() (time.Time, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case at := <-u.came:
		return at, nil
	case <-t.C:
		u.mu.Lock()
		defer u.mu.Unlock()
		return time.Time{}, fmt.Errorf("%w: %s was told nothing (%d resources seen)", errSilent, u.name, len(u.seen))
	}
}

// register is the paper's registration: a SUBSCRIBE, answered and followed by the NOTIFY with the
// presence of all resources; or initial presence (RFC 6121 §4.2), until the presence of all of
// them has come. It returns how long it took.
func (u *user) register(k int) (time.Duration, error) {
	if u.chats {
		u.await(nil, map[string]bool{})
		from := time.Now()
		u.sent = from
		if err := u.chat.write("<presence type='unavailable'/>" + available(fmt.Sprintf("state %d", k), "")); err != nil {
			return 0, err
		}
		at, err := u.wait()
		return at.Sub(from), err
	}
	u.await(nil, nil)
	from := time.Now()
	u.sent = from
	if err := u.subscribe(3600); err != nil {
		return 0, err
	}
	answered := time.Now()
	at, err := u.wait()
	if at.Before(answered) {
		at = answered
	}
	return at.Sub(from), err
}

// change is new presence of one of the resources, until the client was told of it: with 50 kB.
func (u *user) change(k int) (time.Duration, error) {
	u.await(fmt.Appendf(nil, "state %d ", k), nil)
	from := time.Now()
	u.sent = from
	var err error
	if u.chats {
		more := "<x xmlns='urn:pharos:paper'>" + padding(u.pad*u.resources) + "</x>"
		err = u.chat.write(available(fmt.Sprintf("state %d ", k), more))
	} else {
		err = u.publish(k%len(u.devices), k)
	}
	if err != nil {
		return 0, err
	}
	at, err := u.wait()
	return at.Sub(from), err
}
