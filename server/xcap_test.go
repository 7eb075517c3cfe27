package server

import (
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pharos/config"
)

var fenced = regexp.MustCompile("(?s)```sh\n(.*?)```\n```text\n(.*?)```")

// The manual's sections on XCAP and lists are typed as they stand, one block after another, with
// a real curl; what it says comes out.
func TestManualOfXCAP(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl on this machine")
	}
	b, err := os.ReadFile("../docs/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks [][]string
	for _, title := range []string{"XCAP", "Lists for phones"} {
		_, section, _ := strings.Cut(string(b), "\n## "+title+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		of := fenced.FindAllStringSubmatch(section, -1)
		if len(of) == 0 {
			t.Fatalf("no blocks under %s", title)
		}
		blocks = append(blocks, of...)
	}
	s := run(t, func(o *Options) { o.Config.Domains = []string{"example.com"} })
	for _, u := range []string{"alice", "bob"} {
		if err := s.Admin().Add(context.Background(), u+"@example.com", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	_, port, err := net.SplitHostPort(s.addr("https"))
	if err != nil {
		t.Fatal(err)
	}
	rc := "connect-to = example.com:8443:127.0.0.1:" + port + "\ncacert = " + filepath.Join(s.Data, "tls", "cert.pem") + "\n"
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	script := ""
	for i, block := range blocks {
		// Variables of earlier blocks stay.
		sh := exec.Command("sh", "-e")
		sh.Dir, sh.Stdin = dir, strings.NewReader(script+block[1])
		sh.Env = append(os.Environ(), "CURL_HOME="+dir, "HOME="+dir)
		out, err := sh.CombinedOutput()
		if err != nil || string(out) != block[2] {
			t.Errorf("block %d: %v\n%s\ngives\n%s\nand not\n%s", i+1, err, block[1], out, block[2])
		}
		for line := range strings.Lines(block[1]) {
			if strings.HasPrefix(line, "export ") {
				script += line
			}
		}
	}
}

// Where no client has said how it reaches us, the listeners and the domain do.
func TestPublicRoot(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
	}{
		{nil, "https://example.com/xcap/"},
		{[]string{"sips://[::]:5061", "http+insecure://127.0.0.1:80"}, "http://example.com/xcap/"},
		{[]string{"http+insecure://127.0.0.1:8080", "https://[::]:8443", "https://[::]:9443"}, "https://example.com:8443/xcap/"},
		{[]string{"https://[::]:443", "http+insecure://[::]:8080"}, "https://example.com/xcap/"},
	} {
		s := &Server{Options: Options{Config: config.Defaults()}}
		for _, l := range c.listen {
			s.open = append(s.open, open{uri: l})
		}
		if got := s.publicRoot("example.com"); got != c.want {
			t.Errorf("%q: %s, want %s", c.listen, got, c.want)
		}
	}
}

// xcaplib, which Blink uses, is Python's urllib: Digest by the first challenge, raw quotes in
// the target and in the credentials, and documents without a content type of
// their own.
const byUrllib = `
import json, ssl, sys, urllib.request as u
root, user, password, realm = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
passwords = u.HTTPPasswordMgr()
passwords.add_password(realm, root, user, password)
opener = u.build_opener(u.HTTPSHandler(context=context), u.HTTPDigestAuthHandler(passwords), u.HTTPBasicAuthHandler(passwords))
def ask(method, path, body=None, **headers):
    r = u.Request(root + path, data=body, headers=headers, method=method)
    try:
        a = opener.open(r)
    except u.HTTPError as e:
        a = e
    return [a.status, a.read().decode()]
doc = "resource-lists/users/sip:alice@example.com/index"
node = doc + '/~~/resource-lists/list[@name="x"]'
print(json.dumps([
    ask("PUT", doc, b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="x"/></resource-lists>'),
    ask("GET", node),
    ask("PUT", node + "/entry", b'<entry uri="sip:bob@example.com"/>', **{"Content-Type": "application/xcap-el+xml"}),
    ask("GET", node + "/entry/@uri"),
    ask("GET", "xcap-caps/global/index/~~/xcap-caps/extensions"),
    ask("DELETE", doc),
    ask("GET", doc),
]))
`

func TestXCAPByUrllib(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine")
	}
	s := run(t, func(o *Options) { o.Config.Domains = []string{"example.com"} })
	if err := s.Admin().Add(context.Background(), "alice@example.com", "secret"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", byUrllib, "https://"+s.addr("https")+"/xcap/", "alice", "secret", "example.com").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got [][2]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := [][2]any{{201.0, ""}, {200.0, `<list name="x"/>`}, {201.0, ""}, {200.0, `"sip:bob@example.com"`}, {200.0, "<extensions/>"}, {200.0, ""}, {404.0, "there is no such document\n"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// The mux does not touch selectors, and those who leave the root out are told.
func TestXCAPRoutes(t *testing.T) {
	s := run(t, func(o *Options) { o.Config.XCAP.Root = "/documents" })
	for path, want := range map[string]string{
		`/documents/resource-lists/users/sip:a@localhost/index/~~//x[@y="http://z/../"]`: "401 log in",
		"/documents": "404 this is an XCAP root",
		"/documents/documents/resource-lists/users/x/i":    "404 the application usage \"documents\" is unknown; ROOT/xcap-caps/global/index lists those that this server knows; the XCAP root comes twice",
		"/resource-lists/users/sip:alice@localhost/index":  "404 the XCAP root of this server is /documents/",
		"/xcap/resource-lists/users/sip:a@localhost/index": "404 404 page not found",
		"/documentsx": "404 404 page not found",
	} {
		resp, body := get(t, "https://"+s.addr("https")+path)
		if got := strconv.Itoa(resp.StatusCode) + " " + body; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// XCAP clients may not make services of what phones subscribe to as buddy lists.
func TestServicesOfBuddyLists(t *testing.T) {
	s := run(t, func(o *Options) { o.Config.XCAP.Trusted = []string{"192.0.2.7/32"} })
	if err := s.admin.Add(t.Context(), "alice@localhost", "secret"); err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"sip:alice/buddies@localhost":         "buddy list",
		"sips:Bob%2FBuddies@localhost":        "buddy list",
		"sip:alice/buddies@elsewhere.example": "buddy list",
		"sip:friends@elsewhere.example":       "elsewhere.example, which is not served here",
		"sip:friends@localhost":               "",
	} {
		r := httptest.NewRequest("PUT", s.Config.XCAP.Root+"/rls-services/users/sip:alice@localhost/index",
			strings.NewReader(`<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="`+uri+`"><list/></service></rls-services>`))
		r.RemoteAddr = "192.0.2.7:4000"
		r.Header.Set("X-3GPP-Asserted-Identity", `"sip:alice@localhost"`)
		r.Header.Set("Content-Type", "application/rls-services+xml")
		w := httptest.NewRecorder()
		s.xcap.ServeHTTP(w, r)
		switch refused := w.Code == 409 && strings.Contains(w.Body.String(), "constraint-failure"); {
		case want == "" && w.Code != 201, want != "" && (!refused || !strings.Contains(w.Body.String(), want)):
			t.Errorf("%s: %d %s", uri, w.Code, w.Body)
		}
	}
}
