package soak

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pharos/bench"
	"pharos/sip"
)

// documents reads and writes by XCAP.
type documents struct {
	hc http.Client
}

func newDocuments() *documents {
	return &documents{hc: http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 20 * time.Second}}}
}

// put writes a user's list, in a document beside his buddy list; false: it may or may not be done.
func (d *documents) put(ctx context.Context, at *bench.HostedNode, user string, n int) bool {
	status, _ := d.do(ctx, http.MethodPut, at, user, fmt.Sprintf(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="v%d"><entry uri="sip:friend%d@%s"/></list></resource-lists>`, n, n%7, bench.Domain))
	return status/100 == 2
}

// get is the number in it; false: nobody could say.
func (d *documents) get(ctx context.Context, at *bench.HostedNode, user string) (n int, known bool) {
	status, body := d.do(ctx, http.MethodGet, at, user, "")
	if status == http.StatusNotFound {
		return 0, true
	}
	_, rest, ok := strings.Cut(body, `<list name="v`)
	v, _, _ := strings.Cut(rest, `"`)
	n, err := strconv.Atoi(v)
	return n, status == http.StatusOK && ok && err == nil
}

// do is one request with digest; 0: no answer.
func (d *documents) do(ctx context.Context, method string, at *bench.HostedNode, user, body string) (status int, answer string) {
	url := "http://" + at.HTTP().String() + "/xcap/resource-lists/users/sip:" + user + "@" + bench.Domain + "/soak"
	auth := ""
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return 0, ""
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/resource-lists+xml")
		}
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		resp, err := d.hc.Do(req)
		if err != nil {
			return 0, ""
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return 0, ""
		}
		if resp.StatusCode != http.StatusUnauthorized {
			return resp.StatusCode, string(b)
		}
		ch := challenged(resp.Header.Values("WWW-Authenticate"))
		if ch == nil {
			return resp.StatusCode, ""
		}
		line := string(sip.AppendCredentials(nil, sip.HAuthorization, ch.digest(user, method, req.URL.RequestURI())))
		_, auth, _ = strings.Cut(strings.TrimSpace(line), ": ")
	}
	return http.StatusUnauthorized, ""
}
