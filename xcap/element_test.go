package xcap

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/markup"
	"pharos/xdm"
)

func newRequest(target string) *http.Request {
	r := httptest.NewRequest("PUT", "/", nil)
	r.RequestURI = target
	return r
}

// operation is one on a document in memory, without grammar.
func operation(e *Edge, selector, doc, fragment string, remove bool) (change, *nodeSelector, error) {
	n, err := parseNode(selector, "xmlns(p=urn:p)", "")
	if err != nil {
		return change{}, nil, err
	}
	r := request{Request: newRequest("/plain/users/a@example.com/index"), edge: e, usage: &Usage{AUID: "plain"}, sel: inPlain(n)}
	old := &xdm.Document{Body: []byte(doc)}
	if remove {
		c, err := r.deleteNode(old)
		return c, n, err
	}
	c, err := r.putNode(old, []byte(fragment))
	return c, n, err
}

func inPlain(n *nodeSelector) selector {
	return selector{auid: "plain", path: "index", doc: "/plain/users/a@example.com/index", node: n}
}

// What every change must be: GET(PUT(x)) is x, nothing else has moved, what was
// refused was refused for a reason that RFC 4825 knows.
func checkOperation(t interface {
	Fatalf(string, ...any)
}, e *Edge, selector, doc, fragment string) {
	root, err := markup.Parse([]byte(doc), e.options())
	if err != nil {
		return
	}
	c, n, err := operation(e, selector, doc, fragment, false)
	if err != nil {
		var f *failure
		if !errors.As(err, &f) || f.status != 400 && f.status != 404 && f.status != 409 && f.status != 413 {
			t.Fatalf("%s into %s: %v", fragment, doc, err)
		}
		return
	}
	got, _, err := n.read(c.root, c.body)
	if err != nil || n.terminal == element && string(got) != strings.Trim(fragment, " \t\r\n") {
		t.Fatalf("PUT %s of %q into %s: GET gives %s, %v", selector, fragment, doc, got, err)
	}
	if n.terminal != element {
		return
	}
	if !c.created {
		was, _, err := n.read(root, []byte(doc))
		if err != nil || !replaced(doc, string(c.body), string(was), string(got)) {
			t.Fatalf("PUT %s of %q into %s has moved more: %s", selector, fragment, doc, c.body)
		}
		// A second time it is the same (RFC 4825 §7).
		if again, _, err := operation(e, selector, string(c.body), fragment, false); err != nil || string(again.body) != string(c.body) {
			t.Fatalf("PUT %s of %q twice into %s: %s, %v", selector, fragment, doc, again.body, err)
		}
		return
	}
	gone, _, err := operation(e, selector, string(c.body), "", true)
	if err != nil {
		var f *failure
		if errors.As(err, &f) && f.conflict != nil && f.conflict.condition == cannotDelete {
			return // by position only
		}
		t.Fatalf("DELETE %s from %s: %v", selector, c.body, err)
	}
	if back := string(gone.body); back != doc && !strings.Contains(doc, "/>") {
		t.Fatalf("PUT %s of %q into %s, and DELETE, leaves %s", selector, fragment, doc, back)
	}
}

// replaced tells whether now is doc with one was replaced by got, wherever: either may stand in
// several places.
func replaced(doc, now, was, got string) bool {
	for i := 0; i+len(was) <= len(doc); i++ {
		if strings.HasPrefix(doc[i:], was) && doc[:i]+got+doc[i+len(was):] == now {
			return true
		}
	}
	return false
}

func TestElementOperations(t *testing.T) {
	e := New(Config{Domains: []string{"example.com"}})
	names := []string{"a", "b", "p:a", "*"}
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		count := 0
		var build func(depth int)
		build = func(depth int) {
			q := rapid.SampledFrom(names[:3]).Draw(t, "name")
			b.WriteString("<" + q)
			if rapid.Bool().Draw(t, "id") {
				b.WriteString(` id="` + string(rune('0'+count%10)) + `"`)
			}
			count++
			if rapid.IntRange(0, 4).Draw(t, "closed") == 0 {
				b.WriteString("/>")
				return
			}
			b.WriteString(">")
			for range rapid.IntRange(0, 3).Draw(t, "children") {
				b.WriteString(rapid.SampledFrom([]string{"", " ", "\n  ", "text", "<!-- c -->", "<?pi x?>"}).Draw(t, "between"))
				if depth > 0 && count < 30 {
					build(depth - 1)
				}
			}
			b.WriteString(rapid.SampledFrom([]string{"", "\n"}).Draw(t, "tail") + "</" + q + ">")
		}
		b.WriteString(`<r xmlns:p="urn:p">`)
		for range rapid.IntRange(0, 4).Draw(t, "roots") {
			build(2)
		}
		b.WriteString("</r>")
		selector := "/r"
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			selector += "/" + rapid.SampledFrom(names).Draw(t, "step")
			if rapid.Bool().Draw(t, "by position") {
				selector += "[" + rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "position") + "]"
			}
			if rapid.Bool().Draw(t, "by attribute") {
				selector += `[@id="` + rapid.SampledFrom([]string{"0", "1", "2", "x"}).Draw(t, "value") + `"]`
			}
		}
		fragment := "<" + rapid.SampledFrom(names[:3]).Draw(t, "new") + ` id="` + rapid.SampledFrom([]string{"0", "1", "2", "x"}).Draw(t, "new id") + `"/>`
		checkOperation(t, e, selector, b.String(), fragment)
	})
}

func FuzzOperation(f *testing.F) {
	f.Add("/r/a[2]", "<r><a/> <a>x</a><!-- y --></r>", "<a b='c'/>")
	f.Add("/r/*[1][@id='x']", "<r/>", "<p:a xmlns:p='urn:p' id='x'/>")
	f.Add("/r/a/@b", "<r><a  c='d'/></r>", "'e'")
	f.Add("/r/p:a", "<r xmlns:p='urn:p' xmlns='urn:q'></r>", "<p:a/>")
	f.Add("/r", "<?xml version='1.0'?><!-- a --><r/>", "<r>\n</r>")
	e := New(Config{Domains: []string{"example.com"}})
	f.Fuzz(func(t *testing.T, selector, doc, fragment string) {
		checkOperation(t, e, selector, doc, fragment)
		_, _, _ = operation(e, selector, doc, "", true)
	})
}
