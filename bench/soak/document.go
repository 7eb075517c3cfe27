package soak

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pharos/bench"
	"pharos/bench/client"
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

// do is one request; 0: no answer.
func (d *documents) do(ctx context.Context, method string, at *bench.HostedNode, user, body string) (status int, answer string) {
	url := "http://" + at.HTTP().String() + "/xcap/resource-lists/users/sip:" + user + "@" + bench.Domain + "/soak"
	return client.XCAP(ctx, &d.hc, method, url, user, bench.Password, body)
}
