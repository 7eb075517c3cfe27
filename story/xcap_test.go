package story

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/markup"
	"pharos/sip"
)

// client is an XCAP client (RFC 4825) with the user's password.
type client struct {
	w    *world
	node *node
	name string
	user string
	http *http.Client

	mu     sync.Mutex
	etag   map[string]string // by document, as last heard
	events []event
	each   func(method, doc, sent string, resp *http.Response, body []byte) // hears each answer; may be nil
}

func newClient(w *world, at *node, name, user string, from netip.Addr) *client {
	c := &client{w: w, node: at, name: name, user: user, etag: map[string]string{}}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return w.net.Host(from.String()).Dial(ctx, network, c.node.at(httpPort).String())
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	return c
}

// does puts, gets and deletes PATH: AUID/document[/~~/node selector], in the user's
// own tree unless of= says whose.
func (c *client) does(verb string, a *args) error {
	method := map[string]string{"puts": "PUT", "gets": "GET", "deletes": "DELETE", "heads": "HEAD"}[verb]
	if method == "" {
		return fmt.Errorf("an XCAP client cannot %q", verb)
	}
	path := a.next()
	auid, rest, _ := strings.Cut(path, "/")
	of := c.w.address(a.get("of", c.user))
	doc, node, isNode := strings.Cut(auid+"/users/sip:"+of+"/"+rest, "/~~/")
	if a.flag("global") {
		doc = auid + "/global/" + rest
	}
	target := "/xcap/" + doc
	kind := a.get("type", "")
	if isNode {
		target += "/~~/" + node
		if kind == "" {
			kind = "application/xcap-el+xml"
			if i := strings.LastIndexByte(node, '/'); strings.HasPrefix(node[i+1:], "@") {
				kind = "application/xcap-att+xml"
			}
		}
	} else if kind == "" {
		kind = documentTypes[auid]
	}
	body := ""
	if method == "PUT" {
		text := a.next()
		if strings.HasPrefix(text, "<") || strings.HasSuffix(kind, "att+xml") {
			body = text
		} else {
			var err error
			if body, err = c.w.document(text); err != nil {
				return err
			}
		}
	}
	header := http.Header{}
	if v := a.get("if-match", ""); v != "" {
		if v == "last" {
			v = c.etag[doc]
		}
		header.Set("If-Match", v)
	}
	if v := a.get("if-none-match", ""); v != "" {
		if v == "last" {
			v = c.etag[doc]
		}
		header.Set("If-None-Match", v)
	}
	// All servers are one service with one name, the first one's address.
	u := &url.URL{Scheme: "http", Host: c.w.nodes[0].at(httpPort).String(), Path: target}
	for _, v := range strings.FieldsFunc(a.get("xmlns", ""), func(r rune) bool { return r == ',' }) { // prefix:namespace
		prefix, space, _ := strings.Cut(v, ":")
		u.RawQuery += "xmlns(" + prefix + "=" + url.QueryEscape(space) + ")"
	}
	return c.send(method, u, doc, kind, body, header)
}

var documentTypes = map[string]string{
	"resource-lists":                      typeLists,
	"rls-services":                        "application/rls-services+xml",
	"pres-rules":                          "application/auth-policy+xml",
	"pidf-manipulation":                   "application/pidf+xml",
	"org.openmobilealliance.pres-rules":   "application/auth-policy+xml",
	"org.openmobilealliance.pres-content": "application/vnd.oma.pres-content+xml",
}

// send asks, answers a challenge once, and notes what was got.
func (c *client) send(method string, u *url.URL, doc, kind, body string, header http.Header) error {
	auth := ""
	for try := 0; ; try++ {
		req, err := http.NewRequest(method, u.String(), strings.NewReader(body))
		if err != nil {
			return err
		}
		for k, v := range header {
			req.Header[k] = v
		}
		if method == "PUT" {
			req.Header.Set("Content-Type", kind)
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			c.record(false, err.Error(), method, "unanswered")
			return nil
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode == 401 && try == 0 {
			if auth = c.credentials(resp, method, u.RequestURI()); auth != "" {
				continue
			}
		}
		if c.each != nil {
			c.each(method, doc, body, resp, b)
		}
		c.answered(method, doc, resp, b)
		return nil
	}
}

func (c *client) answered(method, doc string, resp *http.Response, b []byte) {
	words := []string{method, strconv.Itoa(resp.StatusCode)}
	if t := resp.Header.Get("ETag"); t != "" {
		if t == c.etag[doc] {
			words = append(words, "same-etag")
		}
		c.etag[doc] = t
	}
	if ct := resp.Header.Get("Content-Type"); strings.HasSuffix(strings.SplitN(ct, ";", 2)[0], "+xml") {
		if root, err := markup.Parse(withPrefixes(ct, b), markup.Options{Document: true}); err == nil {
			if root.Local == "xcap-error" { // RFC 4825 §11.2: its child says which
				for x := range root.Children() {
					words = append(words, x.Local)
				}
			}
			words = append(words, xmlWords(root)...)
		} else {
			words = append(words, "content="+string(b))
		}
	}
	raw := resp.Status + "\n" + string(b)
	c.record(resp.StatusCode < 300 && method != "GET", raw, words...)
}

var prefix = regexp.MustCompile(`[</\s]([\w.-]+):[\w.-]+[\s=/>]`)

// withPrefixes declares what an element of a document leaves to the document
// (RFC 4825 §7.8), in an element around it.
func withPrefixes(ct string, b []byte) []byte {
	if !strings.HasPrefix(ct, "application/xcap-el+xml") {
		return b
	}
	around := "<fragment"
	seen := map[string]bool{"xml": true, "xmlns": true}
	for _, m := range prefix.FindAllSubmatch(b, -1) {
		if p := string(m[1]); !seen[p] {
			seen[p] = true
			around += " xmlns:" + p + "='urn:of-the-document:" + p + "'"
		}
	}
	return []byte(around + ">" + string(b) + "</fragment>")
}

func (c *client) record(quiet bool, raw string, words ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, event{words: words, quiet: quiet, raw: raw})
}

// credentials answers the first challenge of MD5 (RFC 7616 §3.4).
func (c *client) credentials(resp *http.Response, method, uri string) string {
	for _, v := range resp.Header.Values("WWW-Authenticate") {
		x, ok := sip.ParseCredentials(v)
		if !ok || x.Algorithm != "" && !strings.EqualFold(x.Algorithm, "MD5") {
			continue
		}
		user, _, _ := strings.Cut(c.user, "@")
		sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
		x.Username, x.URI, x.QOP, x.CNonce, x.NC = user, uri, "auth", "0a4f113b", 1
		x.Response = sum(sum(user+":"+x.Realm+":"+password) + ":" + x.Nonce + ":00000001:" + x.CNonce + ":auth:" + sum(method+":"+uri))
		line := string(sip.AppendCredentials(nil, sip.HAuthorization, x))
		_, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		return value
	}
	return ""
}

func (c *client) drain() []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.events
	c.events = nil
	return got
}
