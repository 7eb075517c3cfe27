package server

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/url"
	"path"
	"strings"
)

// isTar tells by the magic of POSIX (ustar) at its place; a tar file of nothing is
// two blocks of zeros.
func isTar(b []byte) bool {
	return len(b) > 262 && string(b[257:262]) == "ustar" || len(b) >= 1024 && string(b[:1024]) == string(make([]byte, 1024))
}

// readTar reads a folder: XCAP documents by their path, AUID/users/XUI/document, at
// any depth; of what is not in such a place, dumps, CSV and XEP-0227 files.
func (m *material) readTar(b []byte) {
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			m.problem("tar: %v", err)
			return
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			m.problem("%s: %v", h.Name, err)
			return
		}
		if m.readTreeFile(h.Name, body) {
			continue
		}
		switch path.Ext(h.Name) {
		case ".csv", ".sql", ".xml":
			m.read(h.Name, body)
		default:
			m.ignore(h.Name)
		}
	}
}

// readTreeFile takes a document of a tree as OpenXCAP and other servers keep it.
// "index.xml" stands for index.
func (m *material) readTreeFile(name string, body []byte) bool {
	parts := strings.Split(path.Clean(name), "/")
	at := -1
	for i, p := range parts {
		if p == "users" && i > 0 && i+2 < len(parts) {
			at = i
		}
		if p == "global" && i > 0 && i+1 < len(parts) && usageOf(parts[i-1]) {
			m.ignore(name + ": a document for all users")
			return true
		}
	}
	if at < 0 || !usageOf(parts[at-1]) {
		return false
	}
	xui, err := url.PathUnescape(parts[at+1])
	if err != nil {
		m.problem("%s: %v", name, err)
		return true
	}
	m.document(xui, parts[at-1], strings.Join(parts[at+2:], "/"), body, name)
	return true
}

// usageOf tells whether a name is that of an application usage that we keep.
func usageOf(auid string) bool {
	for _, u := range importUsages {
		if u.auid == auid {
			return true
		}
	}
	return false
}

// importUsages are the application usages that are taken over, each with the root
// element of its documents, by which those in a database are known.
var importUsages = []struct{ auid, root, path string }{
	{"resource-lists", "resource-lists", "index"},
	{"rls-services", "rls-services", "index"},
	{"pres-rules", "ruleset", "index"},
	{"org.openmobilealliance.pres-rules", "ruleset", "pres-rules"},
	{"pidf-manipulation", "presence", "index"},
	{"org.openmobilealliance.pres-content", "content", "oma_status-icon/index"},
}

// document adds a document of a user. One that stands twice is the later one.
func (m *material) document(xui, auid, docPath string, body []byte, where string) {
	n := m.user(xui, where)
	if n == nil {
		return
	}
	if docPath == "index.xml" {
		docPath = "index"
	}
	d := importDocument{auid: auid, path: docPath, body: body, where: where}
	for i := range n.documents {
		if o := &n.documents[i]; o.auid == auid && o.path == docPath {
			*o = d
			return
		}
	}
	n.documents = append(n.documents, d)
}
