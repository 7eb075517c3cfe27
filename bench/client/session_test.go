package client

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/markup"
)

const (
	header   = "<stream:stream from='example.com' id='1' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	features = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
	success  = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	bound    = "<iq type='result' id='b'/>"
)

// server says so for each that contains what comes first; it returns when the connection ends.
func server(conn net.Conn, lines ...[2]string) {
	var got strings.Builder
	b := make([]byte, 4096)
	for len(lines) > 0 {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		if got.Write(b[:n]); strings.Contains(got.String(), lines[0][0]) {
			got.Reset()
			if _, err := io.WriteString(conn, lines[0][1]); err != nil {
				return
			}
			lines = lines[1:]
		}
	}
}

func TestLogin(t *testing.T) {
	open := [2]string{"xmlns:stream=", header + features}
	auth := [2]string{"AGFsaWNlAHNlY3JldA==</auth>", success}
	bind := [2]string{"<resource>here</resource>", bound}
	for _, test := range []struct {
		name   string
		server [][2]string
		want   string // what the answer to the roster query has for type, or what the error says
	}{
		{"roster", [][2]string{open, auth, open, bind, {"jabber:iq:roster", "<presence from='x@example.com'/><iq type='result' id='r'><query xmlns='jabber:iq:roster'/></iq>"}}, "result"},
		{"no roster", [][2]string{open, auth, open, bind, {"jabber:iq:roster", "<iq type='error' id='r'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"}}, "error"},
		{"wrong password", [][2]string{open, {"</auth>", "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"}}, "failure: not-authorized"},
		{"not bound", [][2]string{open, auth, open, {"</bind>", "<iq type='error' id='b'><error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"}}, "iq: not-allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go server(far, test.server...)
				e, err := Login(near, markup.NewScanner(near, markup.Options{}), "example.com", "alice", "secret", "here")
				got := ""
				switch {
				case err != nil:
					got = err.Error()
				case e.Attr("id") != "r":
					t.Errorf("got %s", e.Local)
				default:
					got = e.Attr("type")
				}
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				near.Close()
				far.Close()
			})
		})
	}
}

// iq is one with an id.
func iq(t *testing.T, typ, id string) *markup.Element {
	t.Helper()
	e, err := markup.Parse(fmt.Appendf(nil, "<iq xmlns='jabber:client' type='%s' id='%s'/>", typ, id), markup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queries
		var sent []string
		send := func(s string) bool { sent = append(sent, s); return true }
		answered := make(chan *markup.Element, 1)
		ask := func() { answered <- q.Ask("get", "<x/>", 5*time.Second, send) }

		go ask()
		synctest.Wait()
		if len(sent) != 1 || sent[0] != "<iq type='get' id='q1'><x/></iq>" {
			t.Fatalf("sent %q", sent)
		}
		if q.Answered(iq(t, "set", "q1")) {
			t.Error("a request counts as an answer")
		}
		if !q.Answered(iq(t, "result", "q0")) || len(answered) > 0 {
			t.Error("an answer to nothing is not dropped")
		}
		q.Answered(iq(t, "error", "q1"))
		q.Answered(iq(t, "result", "q1")) // once more
		if e := <-answered; e == nil || e.Attr("type") != "error" {
			t.Errorf("answered %v", e)
		}

		from := time.Now()
		go ask()
		if <-answered != nil || time.Since(from) != 5*time.Second {
			t.Errorf("no answer after %v", time.Since(from))
		}

		from = time.Now()
		go ask()
		synctest.Wait()
		if q.End(); <-answered != nil || time.Since(from) != 0 {
			t.Errorf("the end is known after %v", time.Since(from))
		}

		if q.Ask("get", "", time.Second, func(string) bool { return false }) != nil || time.Since(from) != 0 {
			t.Error("waits for the answer to what was not sent")
		}
		if len(q.waiting) != 0 {
			t.Errorf("%d wait for ever", len(q.waiting))
		}
	})
}
