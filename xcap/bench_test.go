package xcap

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pharos/xdm"
)

// thousand is a buddy list as clients indent it.
func thousand() string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\n  <list name=\"friends\">\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "    <entry uri=\"sip:contact%03d@example.com\">\n      <display-name>Contact %d</display-name>\n    </entry>\n", i, i)
	}
	b.WriteString("  </list>\n</resource-lists>\n")
	return b.String()
}

// One entry of a thousand is replaced: parse, splice, parse again, check against the
// grammar; then with the store, and everything that hangs on the buddy list.
func BenchmarkElementPut(b *testing.B) {
	target := "/~~/resource-lists/list%5b@name=%22friends%22%5d/entry%5b@uri=%22sip:contact500@example.com%22%5d"
	entry := func(i int) string {
		return fmt.Sprintf(`<entry uri="sip:contact500@example.com"><display-name>Contact, for the %d. time</display-name></entry>`, i)
	}
	for _, path := range []string{"index", "other"} {
		b.Run(path, func(b *testing.B) {
			h := newHouse(b, "bill@example.com")
			doc := "/resource-lists/users/sip:bill@example.com/" + path
			if w := h.do("bill@example.com", "PUT", doc, listsType, thousand()); w.Code != 201 {
				b.Fatal(w.Code, w.Body)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if w := h.do("bill@example.com", "PUT", doc+target, elementType, entry(i)); w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}

// inMemory holds one document, to measure the edge alone.
type inMemory struct {
	Documents
	doc xdm.Document
}

func (m *inMemory) Update(_ context.Context, _ xdm.Name, fn func(*xdm.Document) ([]byte, error)) (before, after *xdm.Document, err error) {
	old := m.doc
	body, err := fn(&old)
	if err == nil {
		m.doc.Body = body
	}
	return &old, &m.doc, err
}

// What of that is the edge's.
func BenchmarkElementPutAlone(b *testing.B) {
	h := newHouse(b, "bill@example.com")
	h.Edge.Documents = &inMemory{doc: xdm.Document{Body: []byte(thousand()), ETag: "x"}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := h.do("bill@example.com", "PUT", billsList+"/~~/resource-lists/list/entry%5b@uri=%22sip:contact500@example.com%22%5d", elementType,
			fmt.Sprintf(`<entry uri="sip:contact500@example.com"><display-name>%d</display-name></entry>`, i))
		if w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}

func BenchmarkElementGet(b *testing.B) {
	h := newHouse(b, "bill@example.com")
	if w := h.do("bill@example.com", "PUT", billsList, listsType, thousand()); w.Code != 201 {
		b.Fatal(w.Code, w.Body)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if w := h.do("bill@example.com", "GET", billsList+"/~~/resource-lists/list/entry%5b500%5d", "", ""); w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
