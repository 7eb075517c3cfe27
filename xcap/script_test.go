package xcap

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pharos/account"
	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
	"pharos/xdm"
)

// house is an Edge over a store of its own, for users of example.com and example.org.
type house struct {
	*Edge
	store    *store.Store
	docs     *xdm.Documents
	accounts *account.Accounts
}

const proxy = "192.0.2.7:4000" // whose word is taken in tests that are not about logging in

func newHouse(t testing.TB, users ...string) *house {
	t.Helper()
	st := storetest.Open(t)
	domains := []string{"example.com", "example.org"}
	h := &house{store: st, accounts: account.New(st, domains)}
	for _, u := range users {
		name, domain, _ := strings.Cut(u, "@")
		a, err := account.Derive(presence.Entity{User: name, Domain: domain}, "secret of "+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.PutAccounts(t.Context(), []store.Account{a}); err != nil {
			t.Fatal(err)
		}
	}
	docs := xdm.New(xdm.Config{Store: st, Limits: xdm.Limits{Documents: 12}})
	h.Edge = New(Config{
		Documents: docs, Accounts: h.accounts, Domains: domains,
		Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")},
		BuiltIn: func(uri string) bool { return strings.Contains(uri, "/buddies@") },
	})
	docs.Listen(h.Changed)
	h.docs = docs
	// Usages of RFC 4825's own examples, without grammars.
	for auid, space := range map[string]string{"plain": "", "test": "urn:test:default-namespace", "watcherinfo": "urn:ietf:params:xml:ns:watcherinfo"} {
		h.add(&Usage{AUID: auid, Space: space, Type: "application/xml"})
	}
	return h
}

// do sends one request as a user, by the word of the proxy.
func (h *house) do(as, method, target, contentType, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "xcap.example.com"
	r.RemoteAddr = proxy
	if as != "" {
		r.Header.Set("X-3GPP-Asserted-Identity", `"sip:`+as+`"`)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Scripts are RFC examples and other conversations: a request after ">", what has to
// come back after "<".
//
//	> PUT /AUID/users/sip:bill@example.com/index as bill@example.com
//	Field: value
//
//	body
//	< 201
//	Field: value        * is any value, - is no such field, $1 is remembered and then compared
//
//	body                nothing: not looked at; lines with "~ " before them: each is somewhere in it
//
// A target may go on in the next lines, each indented. Lines with # are comments.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			run(t, newHouse(t, "bill@example.com", "joe@example.com", "someone@example.com", "max@example.org"), string(b))
		})
	}
}

type section struct {
	line   int
	head   string
	fields [][2]string
	body   string
	given  bool // body
}

func sections(t *testing.T, script string) []section {
	var all []section
	lines := strings.Split(script, "\n")
	for i := 0; i < len(lines); {
		l := lines[i]
		if l == "" || strings.HasPrefix(l, "#") {
			i++
			continue
		}
		if !strings.HasPrefix(l, "> ") && !strings.HasPrefix(l, "< ") {
			t.Fatalf("line %d: %q", i+1, l)
		}
		s := section{line: i + 1, head: l}
		for i++; i < len(lines) && strings.HasPrefix(lines[i], "  "); i++ {
			s.head = strings.TrimRight(s.head, " ") + strings.TrimSpace(lines[i])
		}
		for ; i < len(lines) && lines[i] != "" && lines[i][0] != '#' && !strings.HasPrefix(lines[i], ">") && !strings.HasPrefix(lines[i], "< "); i++ {
			k, v, ok := strings.Cut(lines[i], ": ")
			if !ok {
				t.Fatalf("line %d: %q", i+1, lines[i])
			}
			s.fields = append(s.fields, [2]string{k, v})
		}
		var body []string
		for ; i < len(lines) && !strings.HasPrefix(lines[i], "> ") && !strings.HasPrefix(lines[i], "< "); i++ {
			if !strings.HasPrefix(lines[i], "#") {
				body = append(body, lines[i])
			}
		}
		s.body = strings.Trim(strings.Join(body, "\n"), "\n")
		s.given = s.body != ""
		all = append(all, s)
	}
	return all
}

var variable = regexp.MustCompile(`\$[0-9]`)

func run(t *testing.T, h *house, script string) {
	vars := map[string]string{}
	expand := func(s string) string {
		return variable.ReplaceAllStringFunc(s, func(v string) string { return vars[v] })
	}
	var w *httptest.ResponseRecorder
	for _, s := range sections(t, script) {
		if rest, ok := strings.CutPrefix(s.head, "> "); ok {
			rest, as, _ := strings.Cut(rest, " as ")
			method, target, _ := strings.Cut(rest, " ")
			var fields []string
			for _, f := range s.fields {
				fields = append(fields, f[0], expand(f[1]))
			}
			w = h.do(strings.TrimSpace(as), method, strings.TrimSpace(target), "", s.body, fields...)
			continue
		}
		if w == nil {
			t.Fatalf("line %d: an answer to nothing", s.line)
		}
		check(t, w, s, vars)
	}
}

func check(t *testing.T, w *httptest.ResponseRecorder, s section, vars map[string]string) {
	t.Helper()
	at := fmt.Sprintf("line %d", s.line)
	if want := strings.TrimSpace(s.head[2:]); strconv.Itoa(w.Code) != want {
		t.Errorf("%s: status %d, want %s\n%s", at, w.Code, want, w.Body)
		return
	}
	for _, f := range s.fields {
		have, ok := w.Header()[http.CanonicalHeaderKey(f[0])]
		got := strings.Join(have, ", ")
		switch v := f[1]; {
		case v == "-":
			if ok {
				t.Errorf("%s: %s: %s", at, f[0], got)
			}
		case v == "*":
			if got == "" {
				t.Errorf("%s: no %s", at, f[0])
			}
		case variable.MatchString(v) && vars[v] == "":
			if got == "" {
				t.Errorf("%s: no %s", at, f[0])
			}
			vars[v] = got
		default:
			if vars[v] != "" {
				v = vars[v]
			}
			if got != v {
				t.Errorf("%s: %s: %s, want %s", at, f[0], got, v)
			}
		}
	}
	if !s.given {
		return
	}
	body := w.Body.String()
	if strings.HasPrefix(s.body, "~ ") {
		for _, l := range strings.Split(s.body, "\n") {
			if !strings.Contains(body, strings.TrimPrefix(l, "~ ")) {
				t.Errorf("%s: not in the body: %s\n%s", at, l, body)
			}
		}
		return
	}
	if strings.Trim(body, "\n") != s.body {
		t.Errorf("%s: body\n%s\nwant\n%s", at, body, s.body)
	}
}
