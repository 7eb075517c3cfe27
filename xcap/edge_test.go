package xcap

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/load"
	"pharos/presence"
)

const (
	listsType = "application/resource-lists+xml"
	billsList = "/resource-lists/users/sip:bill@example.com/index"
	noLists   = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`
)

// Of fifty clients that all say which document they mean to change, one wins each
// round, and nothing that won is lost.
func TestOneWins(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	w := h.do("bill@example.com", "PUT", billsList, listsType, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="l"/></resource-lists>`)
	if w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	const clients, rounds = 50, 4
	tag := w.Header().Get("ETag")
	for round := range rounds {
		var won atomic.Int32
		var next atomic.Value
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				uri := fmt.Sprintf("sip:c%d-%d@example.com", round, i)
				w := h.do("bill@example.com", "PUT", billsList+"/~~/resource-lists/list/entry%5b@uri=%22"+uri+"%22%5d", elementType,
					`<entry uri="`+uri+`"/>`, "If-Match", tag)
				switch w.Code {
				case 201:
					won.Add(1)
					next.Store(w.Header().Get("ETag"))
				case 412, 503:
				default:
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d have won", round, won.Load())
		}
		tag = next.Load().(string)
	}
	w = h.do("bill@example.com", "GET", billsList, "", "")
	if n := strings.Count(w.Body.String(), "<entry"); n != rounds || w.Header().Get("ETag") != tag {
		t.Errorf("%d entries, tag %s, want %s", n, w.Header().Get("ETag"), tag)
	}
}

// Without conditions all of them have their way.
func TestAllAreKept(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	if w := h.do("bill@example.com", "PUT", billsList, listsType, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="l"/></resource-lists>`); w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	var wg sync.WaitGroup
	const clients = 40
	for i := range clients {
		wg.Go(func() {
			uri := fmt.Sprintf("sip:c%d@example.com", i)
			if w := h.do("bill@example.com", "PUT", billsList+"/~~/resource-lists/list/entry%5b@uri=%22"+uri+"%22%5d", elementType, `<entry uri="`+uri+`"/>`); w.Code != 201 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(h.do("bill@example.com", "GET", billsList, "", "").Body.String(), "<entry"); n != clients {
		t.Errorf("%d entries", n)
	}
}

// Two users who want the same service URI at once: one gets it.
func TestOneServiceURI(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com")
	var won atomic.Int32
	var wg sync.WaitGroup
	for _, u := range []string{"bill", "joe"} {
		wg.Go(func() {
			w := h.do(u+"@example.com", "PUT", "/rls-services/users/sip:"+u+"@example.com/index", "application/rls-services+xml",
				`<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:us@example.com"><list/></service></rls-services>`)
			if w.Code == 201 {
				won.Add(1)
			} else if w.Code != 409 || !strings.Contains(w.Body.String(), "uniqueness-failure") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have it", won.Load())
	}
}

// The URIs of a user who is gone are free.
func TestServicesOfTheRemoved(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com")
	put := func(u string) int {
		return h.do(u+"@example.com", "PUT", "/rls-services/users/sip:"+u+"@example.com/index", "application/rls-services+xml",
			`<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="sip:us@example.com"><list/></service></rls-services>`).Code
	}
	if a, b := put("joe"), put("bill"); a != 201 || b != 409 {
		t.Fatal(a, b)
	}
	joe := presence.Entity{User: "joe", Domain: "example.com"}
	if err := h.store.RemoveAccount(context.Background(), joe); err != nil {
		t.Fatal(err)
	}
	h.accounts.Changed(joe)
	if b := put("bill"); b != 201 {
		t.Error(b)
	}
}

func TestBounds(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	h.Limits.Body, h.Limits.URI = 2000, 300
	fits := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="l"><entry uri="sip:x@y"/></list><!--` + strings.Repeat("x", 1850) + `--></resource-lists>`
	for _, c := range []struct {
		name, target, kind, body string
		status                   int
	}{
		{"a long URI", billsList + strings.Repeat("x", 300), listsType, noLists, 414},
		{"a long body", billsList, listsType, fits + strings.Repeat(" ", 100), 413},
		{"what fits", billsList, listsType, fits, 201},
		{"an element too many", billsList + "/~~/resource-lists/list/entry%5b2%5d", elementType, `<entry uri="sip:long` + strings.Repeat("x", 200) + `@example.com"/>`, 413},
		{"deep", "/plain/users/sip:bill@example.com/index", "application/xml", strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100), 413},
		{"many steps", "/plain/users/bill/index/~~" + strings.Repeat("/a", 70), elementType, "<a/>", 400},
	} {
		if w := h.do("bill@example.com", "PUT", c.target, c.kind, c.body); w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
}

// A document with more services than that would keep all others waiting.
func TestManyServices(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	for n, want := range map[int]int{maxServices: 201, maxServices + 1: 413} {
		body := `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">`
		for i := range n {
			body += fmt.Sprintf(`<service uri="sip:s%d@example.com"><list/></service>`, i)
		}
		target := fmt.Sprintf("/rls-services/users/bill@example.com/doc%d", n)
		if n > maxServices {
			body = strings.ReplaceAll(body, "sip:s", "sip:t")
		}
		if w := h.do("bill@example.com", "PUT", target, "application/rls-services+xml", body+`</rls-services>`); w.Code != want {
			t.Errorf("%d: %d %s", n, w.Code, w.Body)
		}
	}
}

// As long as all places for changes are taken, others are asked to come again;
// who reads is not.
func TestTooManyChanges(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	for range cap(h.changes) {
		h.changes <- struct{}{}
	}
	w := h.do("bill@example.com", "PUT", billsList, listsType, noLists)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := h.do("bill@example.com", "GET", billsList, "", ""); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range cap(h.changes) {
		<-h.changes
	}
	if w := h.do("bill@example.com", "PUT", billsList, listsType, noLists); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// What a browser gets is no page of ours.
func TestNoPages(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	for range 2 { // 404, then 200
		w := h.do("bill@example.com", "GET", billsList, "", "")
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "sandbox") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%d: %v", w.Code, w.Header())
		}
		h.do("bill@example.com", "PUT", billsList, listsType, noLists)
	}
}

// Only so many have a tree in memory at once; whole documents need none.
func TestDesks(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	h.Limits.Transfer = 50 * time.Millisecond
	if w := h.do("bill@example.com", "PUT", billsList, listsType, noLists); w.Code != 201 {
		t.Fatal(w.Code)
	}
	want := func(get, node, put int) {
		t.Helper()
		a := h.do("bill@example.com", "GET", billsList, "", "").Code
		b := h.do("bill@example.com", "GET", billsList+"/~~/resource-lists", "", "").Code
		c := h.do("bill@example.com", "PUT", billsList, listsType, noLists).Code
		if a != get || b != node || c != put {
			t.Errorf("%d %d %d, want %d %d %d", a, b, c, get, node, put)
		}
	}
	for range cap(h.desks) {
		h.desks <- struct{}{}
	}
	want(200, 503, 503)
	for range cap(h.desks) {
		<-h.desks
	}
	want(200, 200, 200)
}

// A user whose bodies never come takes no places but his own.
func TestSlowBodies(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com")
	h.Limits.Transfer = 300 * time.Millisecond
	var wg sync.WaitGroup
	bodies := make([]*io.PipeWriter, 2*cap(h.changes))
	codes := make(chan int, len(bodies))
	for i := range bodies {
		body, w := io.Pipe()
		bodies[i] = w
		wg.Go(func() {
			hr := httptest.NewRequest("PUT", billsList, body)
			hr.RemoteAddr = proxy
			hr.Header.Set("X-3GPP-Asserted-Identity", `"sip:bill@example.com"`)
			hr.Header.Set("Content-Type", listsType)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, hr)
			codes <- rec.Code
		})
	}
	// Those that wait have waited enough after a time; the others hold their places.
	for range len(bodies) - h.Limits.User {
		if code := <-codes; code != 503 {
			t.Errorf("a change that had no turn: %d", code)
		}
	}
	if n := len(h.changes); n > h.Limits.User {
		t.Errorf("%d places are taken", n)
	}
	if w := h.do("joe@example.com", "PUT", "/resource-lists/users/sip:joe@example.com/index", listsType, noLists); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, w := range bodies {
		_ = w.Close()
	}
	wg.Wait()
	if w := h.do("bill@example.com", "PUT", billsList, listsType, noLists); w.Code != 201 || len(h.turns.of) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Under load changes go first, then reading.
func TestGate(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	full := 0.0
	h.Gate = load.NewGate(func() float64 { return full })
	for _, c := range []struct {
		full     float64
		put, get int
	}{{0.5, 201, 200}, {0.93, 503, 200}, {1, 503, 503}} {
		full = c.full
		put := h.do("bill@example.com", "PUT", billsList, listsType, noLists)
		get := h.do("bill@example.com", "GET", billsList, "", "")
		if put.Code != c.put || get.Code != c.get {
			t.Errorf("%v: PUT %d, GET %d", c.full, put.Code, get.Code)
		}
	}
}

// Over a real connection: bodies that stop, and requests as clients write them.
func TestConnection(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = proxy
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	defer srv.Client().CloseIdleConnections()
	send := func(method, target, body string, kind string) (int, string) {
		r, err := http.NewRequest(method, srv.URL+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-3GPP-Asserted-Identity", "sip:bill@example.com")
		r.Header.Set("Content-Type", kind)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	if code, body := send("PUT", billsList, noLists, formType); code != 201 {
		t.Fatal(code, body)
	}
	if code, body := send("GET", billsList, "", ""); code != 200 || body != noLists {
		t.Error(code, body)
	}
	if code, body := send("HEAD", billsList, "", ""); code != 200 || body != "" {
		t.Error(code, body)
	}
	if code, body := send("HEAD", billsList+"x", "", ""); code != 404 || body != "" {
		t.Error(code, body)
	}
}

// Bytes that are not UTF-8 have a condition of their own wherever they come.
func TestNotUTF8(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	if w := h.do("bill@example.com", "PUT", billsList, listsType, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="l"/></resource-lists>`); w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	for _, c := range [][3]string{
		{billsList, listsType, "\xff\xfe<\x00r\x00"},
		{billsList + "/~~/resource-lists/list/entry", elementType, "<entry uri='\xe9'/>"},
		{billsList + "/~~/resource-lists/list/@name", attributeType, "\"\xe9\""},
	} {
		w := h.do("bill@example.com", "PUT", c[0], c[1], c[2])
		if w.Code != 409 || !strings.Contains(w.Body.String(), "<not-utf-8") || w.Header().Get("Content-Type") != "application/xcap-error+xml" {
			t.Errorf("%s: %d %s", c[0], w.Code, w.Body)
		}
	}
}
