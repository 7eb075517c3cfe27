package simple

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// splitRelated takes a multipart/related body apart (RFC 2387), with another
// make's reader: the root, and the others by Content-ID.
func splitRelated(contentType, body string) (root string, parts map[string]string, err error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/related" || params["type"] != "application/rlmi+xml" {
		return "", nil, errors.Join(err, errors.New("Content-Type: "+contentType))
	}
	parts = make(map[string]string)
	r := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", nil, err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return "", nil, err
		}
		id := strings.Trim(p.Header.Get("Content-ID"), "<>")
		if _, twice := parts[id]; twice || id == "" {
			return "", nil, errors.New("Content-ID twice or missing: " + id)
		}
		if n == 0 {
			if params["start"] != "<"+id+">" {
				return "", nil, errors.New("the first part is not the root")
			}
			root = string(b)
			continue
		}
		parts[id] = string(bytes.Clone(b))
	}
	return root, parts, nil
}
