package client

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"pharos/markup"
)

// Namespaces of what clients say and are told.
const (
	NSClient = "jabber:client"
	NSStream = "http://etherx.jabber.org/streams"
	NSRoster = "jabber:iq:roster"
)

// Login is until a resource is bound (RFC 6120 §7) and the server has answered the query for the roster, which is the result: the iq,
// of whichever type. Nothing bounds its time but the deadline of the connection. What comes before that answer is dropped.
func Login(conn net.Conn, sc *markup.Scanner, domain, user, password, resource string) (roster *markup.Element, err error) {
	open := func() error {
		fmt.Fprintf(conn, "<stream:stream to='%s' version='1.0' xmlns='%s' xmlns:stream='%s'>", domain, NSClient, NSStream)
		if _, err := sc.Header(); err != nil {
			return err
		}
		_, err := sc.Next() // features
		return err
	}
	if err := open(); err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>",
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	e, err := sc.Next()
	if err != nil {
		return nil, err
	}
	if e.Local != "success" {
		return nil, Refusal(e)
	}
	sc.Restart()
	if err := open(); err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>", resource)
	if e, err = sc.Next(); err != nil {
		return nil, err
	}
	if e.Attr("type") != "result" {
		return nil, Refusal(e)
	}
	fmt.Fprintf(conn, "<iq type='get' id='r'><query xmlns='%s'/></iq>", NSRoster)
	for {
		if e, err = sc.Next(); err != nil || e.Attr("id") == "r" {
			return e, err
		}
	}
}

// Refusal is what a server says with an error or a failure: the name of the element, and the condition in it.
func Refusal(e *markup.Element) error {
	for x := range e.Children() {
		if x.Local != "error" {
			return errors.New(e.Local + ": " + x.Local)
		}
		for y := range x.Children() {
			return errors.New(e.Local + ": " + y.Local)
		}
	}
	return errors.New(e.Local)
}

// Queries are the iqs of a client that wait for their answers. The zero value has none.
type Queries struct {
	mu      sync.Mutex
	n       int
	waiting map[string]chan *markup.Element // by id
}

// Ask sends an iq and waits for its answer. nil: it could not be sent, no answer came within that time, or the connection has ended;
// it may or may not have had its effect.
func (q *Queries) Ask(typ, payload string, within time.Duration, send func(stanza string) bool) *markup.Element {
	w := make(chan *markup.Element, 1)
	q.mu.Lock()
	if q.waiting == nil {
		q.waiting = map[string]chan *markup.Element{}
	}
	q.n++
	id := "q" + strconv.Itoa(q.n)
	q.waiting[id] = w
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.waiting, id)
		q.mu.Unlock()
	}()
	if !send("<iq type='" + typ + "' id='" + id + "'>" + payload + "</iq>") {
		return nil
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case e := <-w:
		return e
	case <-t.C:
		return nil
	}
}

// Answered gives an iq to who waits for it; false: it is no answer, and wants one (RFC 6120 §8.2.3).
func (q *Queries) Answered(e *markup.Element) bool {
	if t := e.Attr("type"); t != "result" && t != "error" {
		return false
	}
	q.mu.Lock()
	w := q.waiting[e.Attr("id")]
	delete(q.waiting, e.Attr("id"))
	q.mu.Unlock()
	if w != nil {
		w <- e
	}
	return true
}

// End tells all who wait that the connection has ended. From before it on nothing may be sent.
func (q *Queries) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, w := range q.waiting {
		close(w)
		delete(q.waiting, id)
	}
}
