package xcap

import (
	"errors"
	"net/url"
	"reflect"
	"testing"
)

func TestParseNode(t *testing.T) {
	const ns = "urn:d"
	n := func(local string) name { return name{ns, local} }
	for _, c := range []struct {
		selector, query string
		want            *nodeSelector
		status          int
	}{
		{selector: "/a", want: &nodeSelector{steps: []step{{name: n("a"), text: "a"}}}},
		{selector: "a/b", want: &nodeSelector{steps: []step{{name: n("a"), text: "a"}, {name: n("b"), text: "b"}}}},
		{selector: "/*/*[2]", want: &nodeSelector{steps: []step{{any: true, text: "*"}, {any: true, pos: 2, text: "*[2]"}}}},
		{selector: `/a[@x="1"]`, want: &nodeSelector{steps: []step{{name: n("a"), attr: &test{name{"", "x"}, "1"}, text: `a[@x="1"]`}}}},
		{selector: `/a%5b@x='"'%5d`, want: &nodeSelector{steps: []step{{name: n("a"), attr: &test{name{"", "x"}, `"`}, text: `a[@x='"']`}}}},
		{selector: `/a[3][@x="]/["]/@y`, want: &nodeSelector{terminal: attribute, attr: name{"", "y"},
			steps: []step{{name: n("a"), pos: 3, attr: &test{name{"", "x"}, "]/["}, text: `a[3][@x="]/["]`}}}},
		{selector: `/a[@x="&lt;&#65;&amp;b"]`, want: &nodeSelector{steps: []step{{name: n("a"), attr: &test{name{"", "x"}, "<A&b"}, text: `a[@x="&lt;&#65;&amp;b"]`}}}},
		{selector: `/a[@x="R&D"]`, want: &nodeSelector{steps: []step{{name: n("a"), attr: &test{name{"", "x"}, "R&D"}, text: `a[@x="R&D"]`}}}},
		{selector: "/a/namespace::*", want: &nodeSelector{terminal: namespaces, steps: []step{{name: n("a"), text: "a"}}}},
		{selector: "/p:a/@q:b", query: "xmlns(p=urn:p)xmlns(q=urn:q)", want: &nodeSelector{terminal: attribute, attr: name{"urn:q", "b"},
			steps: []step{{name: name{"urn:p", "a"}, text: "p:a"}}}},
		{selector: "/a/@xml:lang", want: &nodeSelector{terminal: attribute, attr: name{"http://www.w3.org/XML/1998/namespace", "lang"},
			steps: []step{{name: n("a"), text: "a"}}}},
		{selector: "/a[0]", want: &nodeSelector{steps: []step{{name: n("a"), pos: -1, text: "a[0]"}}}},
		{selector: "/a[007]", want: &nodeSelector{steps: []step{{name: n("a"), pos: 7, text: "a[007]"}}}},
		{selector: "/%C3%A9", want: &nodeSelector{steps: []step{{name: n("é"), text: "é"}}}},

		{selector: "", status: 400},
		{selector: "/", status: 400},
		{selector: "/@a", status: 400},
		{selector: "/namespace::*", status: 400},
		{selector: "/p:a", status: 400},
		{selector: "/xmlns:a", status: 400},
		{selector: "/a%zz", status: 400},
		{selector: "/a%ff", status: 400},
		{selector: "/a", query: "xmlns(p=urn:p", status: 400},
		{selector: "/a", query: "xmlns(=urn:p)", status: 400},
		{selector: "/a", query: "p=urn:p", status: 400},

		{selector: "//a", status: 404},
		{selector: "/a/", status: 404},
		{selector: "/a[]", status: 404},
		{selector: "/a[-1]", status: 404},
		{selector: "/a[1", status: 404},
		{selector: "/a]", status: 404},
		{selector: "/a[1]b", status: 404},
		{selector: "/a[1][2]", status: 404},
		{selector: `/a[@x="1"][1]`, status: 404},
		{selector: `/a[@x="1"][@y="2"]`, status: 404},
		{selector: `/a[@x=1]`, status: 404},
		{selector: `/a[@x="1']`, status: 404},
		{selector: `/a[@x]`, status: 404},
		{selector: `/a[b="1"]`, status: 404},
		{selector: "/a/text()", status: 404},
		{selector: "/a/..", status: 404},
		{selector: "/1a", status: 404},
		{selector: "/a:b:c", status: 404},
		{selector: "/@a/b", status: 404},
		{selector: "/namespace::*/b", status: 404},
	} {
		got, err := parseNode(c.selector, c.query, ns)
		var f *failure
		switch {
		case c.want != nil && (err != nil || !reflect.DeepEqual(got, c.want)):
			t.Errorf("%s: %+v, %v", c.selector, got, err)
		case c.want == nil && (!errors.As(err, &f) || f.status != c.status):
			t.Errorf("%s: %v, want %d", c.selector, err, c.status)
		}
	}
}

// Whatever is accepted says the same when it is written anew from its steps.
func FuzzParseNode(f *testing.F) {
	for _, s := range []string{"/a", `/*[2][@x="a/b"]/@p:c`, "/a/namespace::*", "%2Fa%5B1%5D", `/a[@x='&quot;&#x20;']`, "/a[99999999999999999999]", "//", "/a[@b=\"\"]"} {
		f.Add(s, "xmlns(p=urn:p)")
	}
	f.Add("/p:a", "element(/1)xmlns(p=a^(b^)^^)")
	f.Fuzz(func(t *testing.T, s, query string) {
		n, err := parseNode(s, query, "urn:d")
		if err != nil {
			var f *failure
			if !errors.As(err, &f) || f.status != 400 && f.status != 404 {
				t.Fatalf("%v", err)
			}
			return
		}
		again := ""
		for _, st := range n.steps {
			again += "/" + escape(st.text)
		}
		switch n.terminal {
		case attribute:
			again += "/@x"
		case namespaces:
			again += "/namespace::*"
		}
		m, err := parseNode(again, query, "urn:d")
		if err != nil {
			t.Fatalf("%q became %q: %v", s, again, err)
		}
		m.attr = n.attr
		if !reflect.DeepEqual(m, n) {
			t.Fatalf("%q became %q: %+v, %+v", s, again, n, m)
		}
	})
}

// Any URI gets an answer, and none of the wrong kind.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/resource-lists/users/sip:a@example.com/index", "/x/~~/y", "/xcap-caps/global/index/%7e~/a", "/a//~~//b?c", "/%", "/resource-lists/users//~~"} {
		f.Add(s)
	}
	e := New(Config{Domains: []string{"example.com"}})
	f.Fuzz(func(t *testing.T, s string) {
		doc, node, found := cutSeparator(s)
		if len(s) > 0 && s[0] == '/' && found && len(doc)+len(node) >= len(s) {
			t.Fatalf("%q, %q", doc, node)
		}
		r := request{edge: e}
		r.Request = newRequest(s)
		if err := r.document(doc); err != nil {
			var f *failure
			if !errors.As(err, &f) || f.status != 400 && f.status != 404 {
				t.Fatal(err)
			}
			return
		}
		if r.sel.path == "" || r.usage == nil || !r.sel.global && r.sel.user.User == "" {
			t.Fatalf("%q: %+v", s, r.sel)
		}
		// What was read is written as a URI that reads the same.
		tree := "users/sip:" + url.PathEscape(url.PathEscape(r.sel.user.User)) + "@" + r.sel.user.Domain
		if r.sel.global {
			tree = "global"
		}
		q := request{Request: r.Request, edge: e}
		if err := q.document("/" + r.sel.auid + "/" + tree + "/" + escape(r.sel.path)); err != nil || q.sel.user != r.sel.user || q.sel.path != r.sel.path {
			t.Fatalf("%q: %+v, then %+v, %v", s, r.sel, q.sel, err)
		}
	})
}
