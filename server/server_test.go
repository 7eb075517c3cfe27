package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pharos/config"
	"pharos/engine"
	"pharos/presence"
	"pharos/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a server on free loopback ports and ends it with the test.
func run(t *testing.T, change func(*Options)) *Server {
	t.Helper()
	c := config.Defaults()
	c.Listen = []string{"sip+udp://127.0.0.1:0", "xmpp://127.0.0.1:0", "https://127.0.0.1:0", "http+insecure://127.0.0.1:0"}
	o := Options{Config: c, Data: t.TempDir(), Version: "test", Level: new(slog.LevelVar)}
	if change != nil {
		change(&o)
	}
	s, end := start(t, o)
	t.Cleanup(end)
	return s
}

// start runs a server until end is called.
func start(t *testing.T, o Options) (s *Server, end func()) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatalf("ended before it was ready: %v", err)
	}
	return s, func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func (s *Server) addr(scheme string) string {
	for _, l := range s.listening() {
		if rest, ok := strings.CutPrefix(l, scheme+"://"); ok {
			return rest
		}
	}
	return ""
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestHTTP(t *testing.T) {
	s := run(t, func(o *Options) { o.Config.HTTP.Origins = []string{"https://chat.example.com"} })
	web, plain := "https://"+s.addr("https"), "http://"+s.addr("http+insecure")
	for _, tc := range []struct {
		url    string
		header []string
		status int
		want   string
	}{
		{web + "/.well-known/host-meta", nil, 200, `rel="urn:xmpp:alt-connections:websocket" href="wss://` + s.addr("https") + `/xmpp"`},
		{web + "/.well-known/host-meta.json", nil, 200, `"href":"wss://` + s.addr("https") + `/xmpp"`},
		{plain + "/.well-known/host-meta.json", nil, 200, `"href":"ws://`},
		{plain + "/metrics", nil, 200, "pharos_xmpp_sessions 0"},
		{web + "/", nil, 200, "Pharos test"},
		{web + "/", []string{"Accept", "text/html,*/*"}, 200, "<code>wss://" + s.addr("https") + "/xmpp</code>"},
		{web + "/nothing", nil, 404, ""},
		{web + "/xmpp", []string{"Origin", "https://evil.example"}, 403, "http.origins"},
		{web + "/sip", []string{"Origin", "https://evil.example"}, 403, "http.origins"},
		{web + "/xmpp", []string{"Origin", "https://chat.example.com"}, 426, "subprotocol xmpp"}, // no upgrade asked for
		{plain + "/sip", nil, 426, "SIP phones"},
	} {
		resp, body := get(t, tc.url, tc.header...)
		if resp.StatusCode != tc.status || tc.status == 426 && resp.Header.Get("Upgrade") != "websocket" || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %s %q, want %d with %q", tc.url, resp.Status, body, tc.status, tc.want)
		}
	}
	if resp, _ := get(t, web+"/.well-known/host-meta"); resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("host-meta is not readable for web pages (XEP-0156 §3.2)")
	}
}

func TestMetricsAreNotForEverybody(t *testing.T) {
	s := run(t, func(o *Options) { o.Config.HTTP.Metrics = []string{"192.0.2.0/24"} })
	if resp, _ := get(t, "http://"+s.addr("http+insecure")+"/metrics"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", resp.Status)
	}
}

// The certificate is swapped under living listeners; a broken one changes nothing.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pharos.toml")
	s := run(t, func(o *Options) { o.ConfigFile = file })
	serial := func() string {
		c, err := tls.Dial("tcp", s.addr("https"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := serial()
	write("[log]\nlevel = \"debug\"\n[tls]\ncert = \"" + dir + "/cert.pem\"\nkey = \"" + dir + "/key.pem\"\n")
	if err := s.Reload(); err == nil || serial() != before {
		t.Errorf("a certificate that is not there: %v", err)
	}
	if err := selfSign(dir, []string{"example.com"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err != nil || serial() == before {
		t.Errorf("not reloaded: %v", err)
	}
	if s.Level.Level() != slog.LevelDebug {
		t.Errorf("level is %v", s.Level.Level())
	}
	write("nonsense")
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "nothing changed") {
		t.Errorf("got %v", err)
	}
}

func TestControl(t *testing.T) {
	s := run(t, nil)
	ctx := context.Background()
	c, err := Dial(s.Data)
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.CloseIdleConnections()
	for _, u := range []string{"alice@localhost", "bob@localhost"} {
		if err := c.Post(ctx, "/users/add", u, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Post(ctx, "/users/add", "Alice@localhost", "secret"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("got %v", err)
	}
	var st Status
	if err := c.Get(ctx, "/status", &st); err != nil || !st.Ready || len(st.Listen) != 4 {
		t.Errorf("%+v %v", st, err)
	}

	alice := presence.Entity{User: "alice", Domain: "localhost"}
	publish := func(note string) {
		doc := &presence.Document{Tuples: []presence.Tuple{{ID: "t", Basic: presence.Open, Priority: -1, Notes: []presence.Note{{Text: note}}}}}
		_, err := s.engine.Step(ctx, alice, presence.Publish{
			ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, NewTag: "tag" + note, Doc: doc, Lifetime: time.Hour,
			Native: presence.Payload{Type: "application/pidf+xml", Bytes: []byte(note)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("one")

	// watch tells the state at once, then each change.
	seen, enough := 0, errors.New("enough")
	err = c.Lines(ctx, "GET", "/watch?user=alice@localhost", nil, func(b json.RawMessage) error {
		var v Seen
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		if seen++; seen == 1 {
			if v.Presence != "open" || v.Sources[0].Summary != `open, "one"` {
				t.Errorf("first: %+v", v)
			}
			publish("two")
			return nil
		}
		if v.Sources[0].Summary != `open, "two"` || !strings.Contains(v.Document, "<basic>open</basic>") {
			t.Errorf("second: %+v", v)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Errorf("watch: %v", err)
	}

	var w Why
	if err := c.Get(ctx, "/why?watcher=bob@localhost&presentity=alice@localhost", &w); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.Answer, "has not asked to see alice@localhost") {
		t.Errorf("why: %+v", w)
	}
	if err := c.Get(ctx, "/why?watcher=bob&presentity=alice@localhost", &w); err == nil {
		t.Error("an address without a domain was taken")
	}
	// With the account goes what it had open.
	if err := c.Post(ctx, "/users/remove", "alice@localhost", ""); err != nil {
		t.Error(err)
	}
	if x, err := s.engine.Explain(ctx, alice, alice); err != nil || len(x.Sources) != 0 {
		t.Errorf("after the removal: %+v %v", x.Sources, err)
	}
}

// Two processes never share a data folder.
func TestFolderIsTaken(t *testing.T) {
	s := run(t, nil)
	if _, err := New(Options{Config: config.Defaults(), Data: s.Data}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

func TestListenErrorSaysWhatToDo(t *testing.T) {
	s := run(t, nil)
	c := config.Defaults()
	c.Listen = []string{"xmpp://" + s.addr("xmpp")}
	o, err := New(Options{Config: c, Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "another program has this port") {
		t.Errorf("got %v", err)
	}
}

func admin(t *testing.T) *Admin {
	t.Helper()
	a, err := OpenAdmin(t.TempDir(), "", []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

const serverData = `<?xml version='1.0'?>
<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>
 <user name='a' password='p'><query xmlns='jabber:iq:roster'>
  <item jid='b@localhost' name='B' subscription='from' ask='subscribe'><group>x</group><group>y</group><group>x</group></item>
 </query></user>
 <user name='b'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>
  <iter-count>4096</iter-count><salt>QSXCR+Q6sek8bf92</salt><server-key>D+CSWLOshSulAsxiupA+qs2/fTE=</server-key><stored-key>6dlGYMOdZcOPutkcNY8U2g7vK9Y=</stored-key>
 </scram-credentials></user>
</host></server-data>`

func TestImportServerData(t *testing.T) {
	a, ctx := admin(t), context.Background()
	im, err := a.Import(ctx, strings.NewReader(serverData), false, nil)
	if err != nil || im.Accounts != 2 || im.Contacts != 1 {
		t.Fatalf("%+v %v", im, err)
	}
	b, err := a.store.Account(ctx, presence.Entity{User: "b", Domain: "localhost"})
	if err != nil || b.Sha1.Iterations != 4096 || len(b.Sha1.StoredKey) != 20 {
		t.Errorf("%+v %v", b, err)
	}
	items, _, err := a.store.Roster(ctx, presence.Entity{User: "a", Domain: "localhost"})
	if err != nil || len(items) != 1 {
		t.Fatalf("%+v %v", items, err)
	}
	it := items[0]
	if !it.From || it.To || !it.Ask || it.Name != "B" || fmt.Sprint(it.Groups) != "[x y]" || !it.Visible {
		t.Errorf("%+v", it)
	}
}

// A phone whose owner types the name with capitals can log in.
func TestNamesAsTyped(t *testing.T) {
	a, ctx := admin(t), context.Background()
	if err := a.Add(ctx, "sip:JohnDoe@localhost", "p"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Import(ctx, strings.NewReader("McAdam@localhost,p\n"), false, nil); err != nil {
		t.Fatal(err)
	}
	for user, name := range map[string]string{"johndoe": "JohnDoe", "mcadam": "McAdam"} {
		acct, err := a.store.Account(ctx, presence.Entity{User: user, Domain: "localhost"})
		if err != nil || !slices.ContainsFunc(acct.Logins, func(l store.Login) bool { return l.Username == name }) {
			t.Errorf("%s: %+v %v", name, acct.Logins, err)
		}
	}
}

// With any problem nothing is imported, and every problem is named.
func TestImportProblems(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"a@localhost,p\nb@localhost\n", "line 2: want"},
		{"a@localhost,p\nA@localhost,q\n", "line 2: a@localhost is in line 1 already"},
		{"a@localhost,\n", "line 1: want"},
		{"a@elsewhere,p\n", "answers for localhost"},
		{"\"a@localhost,p\n", "line"},
		{"<server-data/>", "not <server-data> of XEP-0227"},
		{"<server-data xmlns='urn:xmpp:pie:0'><host", ""},
		{strings.Replace(serverData, "4096", "x", 1), "bad iter-count"},
		{strings.Replace(serverData, "'from'", "'sideways'", 1), "sideways"},
		{strings.Replace(serverData, "name='b'", "name='a'", 1), "stands twice"},
	} {
		a := admin(t)
		im, err := a.Import(context.Background(), strings.NewReader(tc.in), false, nil)
		if err == nil || !strings.Contains(strings.Join(im.Problems, "\n"), tc.want) || len(im.Problems) == 0 {
			t.Errorf("%q: %v %q, want %q", tc.in, err, im.Problems, tc.want)
		}
		err = a.List(context.Background(), func(u User) error { t.Errorf("%q: %s was imported", tc.in, u.Address); return nil })
		if err != nil {
			t.Error(err)
		}
	}
}

func TestMailbox(t *testing.T) {
	a, ctx := admin(t), context.Background()
	m := mailbox{st: a.store, max: 2}
	to := presence.Entity{User: "a", Domain: "localhost"}
	for i := range 2 {
		err := m.Put(ctx, &engine.Message{To: to, Body: fmt.Sprint(i), Native: presence.Payload{Type: "x", Bytes: []byte{0, 255}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Put(ctx, &engine.Message{To: to}); !errors.Is(err, engine.ErrMailboxFull) {
		t.Errorf("got %v", err)
	}
	remove := func(ms ...engine.Stored) {
		t.Helper()
		var numbers []int64
		for _, x := range ms {
			numbers = append(numbers, x.Number)
		}
		if err := m.Remove(ctx, to, numbers); err != nil {
			t.Fatal(err)
		}
	}
	ms, err := m.List(ctx, to)
	if err != nil || len(ms) != 2 || ms[0].Body != "0" || !bytes.Equal(ms[1].Native.Bytes, []byte{0, 255}) {
		t.Fatalf("%+v %v", ms, err)
	}
	if again, _ := m.List(ctx, to); len(again) != 2 {
		t.Error("messages are gone before they were removed")
	}
	remove(ms[0], engine.Stored{Number: 99}) // one after the other, and what is not there
	if ms, _ := m.List(ctx, to); len(ms) != 1 || ms[0].Body != "1" {
		t.Errorf("left: %+v", ms)
	}
	remove(ms[1])
	if ms, _ := m.List(ctx, to); len(ms) != 0 {
		t.Errorf("%d messages are left", len(ms))
	}
	// Messages that are too old to be told are gone without a word (RFC 3428 §7).
	for _, e := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(time.Hour)} {
		if err := m.Put(ctx, &engine.Message{To: to, Body: "x", Expires: e}); err != nil {
			t.Fatal(err)
		}
	}
	if ms, err = m.List(ctx, to); err != nil || len(ms) != 1 || !ms[0].Expires.After(time.Now()) {
		t.Fatalf("%+v %v", ms, err)
	}
	remove(ms...)
	if err := m.Put(ctx, &engine.Message{To: to, Body: "x", Expires: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if ms, err = m.List(ctx, to); err != nil || len(ms) != 0 {
		t.Errorf("%+v %v", ms, err)
	}
	if rows, err := a.store.Offline(ctx, to); err != nil || len(rows) != 0 {
		t.Errorf("%d are left, %v", len(rows), err)
	}
}
