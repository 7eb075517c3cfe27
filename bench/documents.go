package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Documents measures XCAP and lists for phones on a server of this binary.
func Documents(ctx context.Context, bin string, scale float64, each func(Row)) error {
	for _, measure := range []func(context.Context, string, float64, func(Row)) error{elementPut, listOf200} {
		if err := measure(ctx, bin, scale, each); err != nil {
			return err
		}
	}
	return nil
}

// xcapClient asks over one kept connection, with Digest under one nonce.
type xcapClient struct {
	root, user, password string
	d                    *digester
	http                 http.Client
}

// do sends one request; kind and body are those of a PUT.
func (c *xcapClient) do(ctx context.Context, method, path, kind, body string) (status int, err error) {
	for range 2 {
		r, err := http.NewRequestWithContext(ctx, method, c.root+path, strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		r.Header.Set("Content-Type", kind)
		if c.d != nil {
			r.Header.Set("Authorization", c.d.credentials(c.user, c.password, method, r.URL.RequestURI()))
		}
		a, err := c.http.Do(r)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != http.StatusUnauthorized {
			return a.StatusCode, err
		}
		for _, v := range a.Header.Values("WWW-Authenticate") {
			if strings.Contains(v, "MD5") {
				c.d = &digester{nonce: strings.Trim(string(param([]byte(v), "nonce=")), `"`)}
			}
		}
	}
	return http.StatusUnauthorized, nil
}

// elementPut replaces one entry of a buddy list of 1,000, again and again.
func elementPut(ctx context.Context, bin string, scale float64, each func(Row)) error {
	s, err := Start(ctx, bin, Population{Users: 1, Trusted: true})
	if err != nil {
		return err
	}
	defer s.Stop()
	c := &xcapClient{root: "http://" + s.Addr("http+insecure") + "/xcap/resource-lists/users/sip:u0@localhost/", user: "u0", password: "pw0"}
	var list strings.Builder
	list.WriteString(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="friends">` + "\n")
	for i := range 1000 {
		fmt.Fprintf(&list, "  <entry uri=\"sip:contact%03d@example.com\">\n    <display-name>Contact %d</display-name>\n  </entry>\n", i, i)
	}
	list.WriteString("</list></resource-lists>\n")
	for _, path := range []string{"index", "other"} {
		if status, err := c.do(ctx, "PUT", path, "application/resource-lists+xml", list.String()); err != nil || status != 201 {
			return fmt.Errorf("bench: PUT of the list: %d, %w", status, err)
		}
	}
	for _, of := range []struct{ path, name string }{
		{"index", "XCAP PUT of one entry in a buddy list of 1,000 (HTTP, digest)"},
		{"other", "the same in a list that is no buddy list"},
	} {
		time.Sleep(time.Second) // what the last one set off
		row, err := measured(s, of.name, "", "", func() (int, error) {
			n := max(int(400*scale), 2)
			for i := range n {
				status, err := c.do(ctx, "PUT", of.path+"/~~/resource-lists/list/entry%5b@uri=%22sip:contact500@example.com%22%5d", "application/xcap-el+xml",
					fmt.Sprintf(`<entry uri="sip:contact500@example.com"><display-name>Contact, for the %d. time</display-name></entry>`, i))
				if err != nil || status != 200 {
					return i, fmt.Errorf("%d, %w", status, err)
				}
			}
			return n, nil
		})
		if err != nil {
			return err
		}
		each(row)
	}
	return nil
}

// credentials answers a challenge, as append does for SIP.
func (d *digester) credentials(user, password, method, uri string) string {
	return fmt.Sprintf(`Digest username="%s", realm="localhost", nonce="%s", uri="%s", response="%s", algorithm=MD5, qop=auth, cnonce="c", nc=00000001`,
		user, d.nonce, uri, d.response(user, password, method, uri))
}

// members is how many each list has.
const members = 200

// listOf200 subscribes users to lists of the same 200 users, and lets one of these
// change.
func listOf200(ctx context.Context, bin string, scale float64, each func(Row)) error {
	lists := max(int(100*scale), 2)
	l, err := newSIPLoad(ctx, Pharos(bin), members+lists, true)
	if err != nil {
		return err
	}
	defer l.stop()
	var failed atomic.Int64
	err = closed(members, 50, func(i int, done func()) { l.publish(i, pidfBody(fmt.Sprintf("u%d", i), 0), &failed, done) })
	if err != nil || failed.Load() > 0 {
		return fmt.Errorf("bench: %d failed, %w", failed.Load(), err)
	}
	told := make(chan error, lists)
	var watchers []*listWatcher
	defer func() {
		for _, w := range watchers {
			w.conn.Close()
		}
	}()
	row, err := measured(l.Target, "list of 200: SUBSCRIBE→200→first NOTIFY→200", "", "", func() (int, error) {
		for i := range lists {
			w, err := watchList(l.Addr("sip+tcp"), members+i, told)
			if err != nil {
				return i, err
			}
			watchers = append(watchers, w)
			if err := await(told); err != nil {
				return i, err
			}
		}
		return lists, nil
	})
	if err != nil {
		return err
	}
	each(row)
	time.Sleep(time.Second)
	row, err = measured(l.Target, "list of 200: NOTIFY+200 of one member's change, 100 lists", "", "", func() (int, error) {
		n := max(int(30*scale), 1)
		for i := range n {
			done := make(chan struct{})
			l.publish(i%members, pidfBody(fmt.Sprintf("u%d", i%members), i+1), &failed, func() { close(done) })
			<-done
			for range lists {
				if err := await(told); err != nil {
					return i, err
				}
			}
			time.Sleep(300 * time.Millisecond) // the server gathers changes for 250 ms
		}
		return n * lists, nil
	})
	if err == nil && failed.Load() > 0 {
		err = fmt.Errorf("bench: %d failed", failed.Load())
	}
	if err != nil {
		return err
	}
	each(row)
	return nil
}

func await(told chan error) error {
	select {
	case err := <-told:
		return err
	case <-time.After(20 * time.Second):
		return fmt.Errorf("bench: no NOTIFY of a list came for 20 s")
	}
}

// listWatcher is a phone on TCP, which lists need: they are too long for datagrams.
type listWatcher struct{ conn net.Conn }

// watchList subscribes a user to a list that the request carries (RFC 5367). Each
// NOTIFY is answered and said on told; an error ends the watcher.
func watchList(addr string, user int, told chan error) (*listWatcher, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	list.WriteString(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>`)
	for i := range members {
		fmt.Fprintf(&list, `<entry uri="sip:u%d@localhost"/>`, i)
	}
	list.WriteString(`</list></resource-lists>`)
	local := conn.LocalAddr().String()
	_, err = fmt.Fprintf(conn, "SUBSCRIBE sip:rls@localhost SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKl%d\r\nMax-Forwards: 70\r\nFrom: <sip:u%[2]d@localhost>;tag=l\r\n"+
		"To: <sip:rls@localhost>\r\nCall-ID: list%[2]d\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:u%[2]d@%[1]s;transport=tcp>\r\nEvent: presence\r\nExpires: 3600\r\n"+
		"Supported: eventlist\r\nRequire: recipient-list-subscribe\r\nAccept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n"+
		"Content-Disposition: recipient-list\r\nContent-Type: application/resource-lists+xml\r\nContent-Length: %[3]d\r\n\r\n%[4]s",
		local, user, list.Len(), list.String())
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		r := bufio.NewReaderSize(conn, 64<<10)
		for {
			head, err := listMessage(r)
			if err != nil {
				return // the end of the connection
			}
			switch {
			case bytes.HasPrefix(head, []byte("NOTIFY ")):
				out := []byte("SIP/2.0 200 OK\r\n")
				for _, h := range []string{"Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "} {
					out = append(append(append(out, h...), line(head, h)...), "\r\n"...)
				}
				conn.Write(append(out, "Content-Length: 0\r\n\r\n"...))
				told <- nil
			case !bytes.HasPrefix(head, []byte("SIP/2.0 2")):
				told <- fmt.Errorf("bench: list: %s", bytes.SplitN(head, []byte("\r\n"), 2)[0])
			}
		}
	}()
	return &listWatcher{conn}, nil
}

// listMessage reads one message and returns its head.
func listMessage(r *bufio.Reader) (head []byte, err error) {
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		l, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		head = append(head, l...)
	}
	n, err := strconv.Atoi(string(line(head, "Content-Length: ")))
	if err == nil {
		_, err = r.Discard(n)
	}
	return head, err
}
