package client

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pharos/sip"
)

// Challenge is what a server wants to be answered, with how often that was done. One goroutine has it at a time.
type Challenge struct {
	of    sip.Credentials
	count uint32
}

// Challenged is that with MD5 of the values of WWW-Authenticate; nil: there is none.
func Challenged(values iter.Seq[string]) *Challenge {
	for v := range values {
		if x, ok := sip.ParseCredentials(v); ok && x.IsDigest() && (x.Algorithm == "" || strings.EqualFold(x.Algorithm, sip.MD5)) {
			return &Challenge{of: x}
		}
	}
	return nil
}

// Authorization is the header field that answers it (RFC 7616 §3.4), with its name and the end of the line; "" without a challenge.
func (c *Challenge) Authorization(user, password, method, uri string) string {
	if c == nil {
		return ""
	}
	c.count++
	x := c.of
	x.Username, x.URI, x.QOP, x.CNonce, x.NC = user, uri, "auth", "0a4f113b", c.count
	nc := strconv.FormatUint(uint64(1)<<32|uint64(c.count), 16)[1:]
	x.Response = sum(sum(user+":"+x.Realm+":"+password) + ":" + x.Nonce + ":" + nc + ":" + x.CNonce + ":auth:" + sum(method+":"+uri))
	return string(sip.AppendCredentials(nil, sip.HAuthorization, x))
}

func sum(s string) string {
	h := md5.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

// XCAP reads a document, or writes it where it has a body, as a user (RFC 4825 §8). The status is 0 where nothing came, or not the
// whole of it: then it is not known whether it had its effect. Of an answer 1 MiB is read.
func XCAP(ctx context.Context, hc *http.Client, method, url, user, password, body string) (status int, answer string) {
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
		resp, err := hc.Do(req)
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
		line := Challenged(slices.Values(resp.Header.Values("WWW-Authenticate"))).Authorization(user, password, method, req.URL.RequestURI())
		_, auth, _ = strings.Cut(strings.TrimSpace(line), ": ")
	}
	return http.StatusUnauthorized, ""
}
