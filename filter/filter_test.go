package filter

import (
	"errors"
	"strings"
	"testing"

	"pharos/markup"
)

const (
	head = `<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><ns-bindings>` +
		`<ns-binding prefix="pidf" urn="urn:ietf:params:xml:ns:pidf"/>` +
		`<ns-binding prefix="rpid" urn="urn:ietf:params:xml:ns:pidf:rpid"/>` +
		`<ns-binding prefix="wi" urn="urn:ietf:params:xml:ns:watcherinfo"/></ns-bindings>`
	tail = `</filter-set>`

	pidfDoc = `<?xml version="1.0"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:p@example.com">
  <tuple id="a"><status><basic>open</basic></status><r:class>IM</r:class><contact priority="0.8">im:p@example.com</contact><note>hi</note></tuple>
  <tuple id="b"><status><basic>closed</basic><r:extra>x</r:extra></status><r:class>MMS</r:class></tuple>
  <tuple id="c"><status><basic>open</basic></status><r:class>voice</r:class></tuple>
  <note>whole</note>
</presence>`
)

func parse(t *testing.T, filters string) *Set {
	t.Helper()
	s, err := Parse([]byte(head + filters + tail))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// squeeze takes out the white space between elements.
func squeeze(b []byte) string {
	var out []string
	for _, l := range strings.Split(string(b), "\n") {
		out = append(out, strings.TrimSpace(l))
	}
	return strings.Join(out, "")
}

func TestApply(t *testing.T) {
	open := `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:p@example.com">`
	for _, c := range []struct{ name, what, want string }{
		{"RFC 4661 §6.1", `<include type="xpath"> /pidf:presence/pidf:tuple[rpid:class="IM" or rpid:class="SMS" or rpid:class="MMS"]/pidf:status/pidf:basic </include>`,
			open + `<tuple id="a"><status><basic>open</basic></status></tuple><tuple id="b"><status><basic>closed</basic></status></tuple></presence>`},
		{"RFC 4661 §6.4", `<include type="namespace">urn:ietf:params:xml:ns:pidf</include>`,
			open + `<tuple id="a"><status><basic>open</basic></status><contact priority="0.8">im:p@example.com</contact><note>hi</note></tuple>` +
				`<tuple id="b"><status><basic>closed</basic></status></tuple><tuple id="c"><status><basic>open</basic></status></tuple><note>whole</note></presence>`},
		{"RFC 4661 §6.6", `<include type="namespace">urn:ietf:params:xml:ns:pidf</include><exclude>/pidf:presence/pidf:tuple/pidf:note</exclude>`,
			open + `<tuple id="a"><status><basic>open</basic></status><contact priority="0.8">im:p@example.com</contact></tuple>` +
				`<tuple id="b"><status><basic>closed</basic></status></tuple><tuple id="c"><status><basic>open</basic></status></tuple><note>whole</note></presence>`},
		{"condition on a descendant by any name", `<include>//*[status/basic="closed"]</include>`,
			open + `<tuple id="b"><status><basic>closed</basic><r:extra>x</r:extra></status><r:class>MMS</r:class></tuple></presence>`},
		{"two conditions", `<include>//tuple[status/basic="open" and rpid:class='IM']/rpid:class</include>`,
			open + `<tuple id="a"><status></status><r:class>IM</r:class></tuple></presence>`},
		{"a condition on what is above", `<include>//basic[.="closed"]</include>`,
			open + `<tuple id="b"><status><basic>closed</basic></status></tuple></presence>`},
		{"numbers", `<include>//contact[@priority&gt;0.5]</include>`,
			open + `<tuple id="a"><status></status><contact priority="0.8">im:p@example.com</contact></tuple></presence>`},
		{"nothing is selected", `<include>/pidf:presence/pidf:nothing</include>`, open + `</presence>`},
		{"the status of a tuple stays, its content goes", `<include>//tuple[@id="b"]</include><exclude>//status</exclude><exclude>//rpid:class</exclude><exclude>//basic</exclude>`,
			open + `<tuple id="b"><status><r:extra>x</r:extra></status></tuple></presence>`},
		{"an attribute goes, an id stays", `<include>//tuple[@id="a"]/contact</include><exclude>//@priority</exclude><exclude>//@id</exclude>`,
			open + `<tuple id="a"><status></status><contact>im:p@example.com</contact></tuple></presence>`},
		{"an attribute is selected with its element", `<include>//contact/@priority</include>`,
			open + `<tuple id="a"><status></status><contact priority="0.8"></contact></tuple></presence>`},
		{"the root cannot go", `<exclude>/pidf:presence</exclude><exclude type="namespace">urn:ietf:params:xml:ns:pidf:rpid</exclude>`,
			strings.NewReplacer(`<r:class>IM</r:class>`, "", `<r:class>MMS</r:class>`, "", `<r:class>voice</r:class>`, "", `<r:extra>x</r:extra>`, "",
				`<?xml version="1.0"?>`, "").Replace(squeeze([]byte(pidfDoc)))},
	} {
		f := parse(t, `<filter id="1"><what>`+c.what+`</what></filter>`).Filters[0]
		got, err := f.Apply([]byte(pidfDoc))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if s := strings.TrimPrefix(squeeze(got), `<?xml version="1.0"?>`); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
	}
}

func TestApplyWithoutWhatCarriesTheDocument(t *testing.T) {
	f := parse(t, `<filter id="1"><trigger><added>//tuple</added></trigger></filter>`).Filters[0]
	doc := []byte(pidfDoc)
	got, err := f.Apply(doc)
	if err != nil || &got[0] != &doc[0] {
		t.Error("the document is not the one that was given", err)
	}
}

func TestFires(t *testing.T) {
	edit := func(old, now string) string {
		if !strings.Contains(pidfDoc, old) {
			t.Fatal(old)
		}
		return strings.Replace(pidfDoc, old, now, 1)
	}
	closed := edit(`<tuple id="a"><status><basic>open`, `<tuple id="a"><status><basic>closed`)
	const winfo = `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo"><watcher-list><watcher id="1" status="active"/>%</watcher-list></watcherinfo>`
	with := func(s string) string { return strings.Replace(winfo, "%", s, 1) }
	for _, c := range []struct {
		name, trigger, was, is string
		want                   bool
	}{
		{"RFC 4661 §6.2", `<changed from="CLOSED" to="OPEN">/pidf:presence/pidf:tuple/pidf:status/pidf:basic</changed>`, closed, pidfDoc, true},
		{"and the other way", `<changed from="CLOSED" to="OPEN">/pidf:presence/pidf:tuple/pidf:status/pidf:basic</changed>`, pidfDoc, closed, false},
		{"any change", `<changed>//basic</changed>`, pidfDoc, closed, true},
		{"no change", `<changed>//basic</changed>`, pidfDoc, pidfDoc, false},
		{"another tuple in its place is no change", `<changed from="closed">//basic</changed>`, pidfDoc,
			edit(`<tuple id="b"><status><basic>closed`, `<tuple id="x"><status><basic>open`), false},
		{"RFC 4661 §6.3", `<changed to="pending">/wi:watcherinfo/wi:watcher-list/wi:watcher/@status</changed>`,
			with(""), with(`<watcher id="2" status="pending"/>`), true},
		{"RFC 4661 §6.3, not that", `<changed to="pending">/wi:watcherinfo/wi:watcher-list/wi:watcher/@status</changed>`,
			with(""), with(`<watcher id="2" status="active"/>`), false},
		{"added", `<added>//tuple[rpid:class="voice"]</added>`, edit(`voice`, `fax`), pidfDoc, true},
		{"nothing added", `<added>//tuple</added>`, pidfDoc, closed, false},
		{"removed", `<removed>//contact</removed>`, pidfDoc, edit(`<contact priority="0.8">im:p@example.com</contact>`, ``), true},
		{"by enough", `<changed by="0.3">//contact/@priority</changed>`, pidfDoc, edit(`0.8`, `0.4`), true},
		{"by too little", `<changed by="0.3">//contact/@priority</changed>`, pidfDoc, edit(`0.8`, `0.7`), false},
		{"all of one trigger", `<changed>//basic</changed><added>//tuple</added>`, pidfDoc, closed, false},
		{"one of two triggers", `<added>//tuple</added></trigger><trigger><changed>//basic</changed>`, pidfDoc, closed, true},
	} {
		f := parse(t, `<filter id="1"><trigger>`+c.trigger+`</trigger></filter>`).Filters[0]
		got, err := f.Fires([]byte(c.was), []byte(c.is))
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	f := parse(t, `<filter id="1"><trigger><added>//tuple</added></trigger></filter>`).Filters[0]
	if ok, err := f.Fires(nil, []byte(pidfDoc)); !ok || err != nil {
		t.Error("the first document does not fire", err)
	}
}

func TestParseRefuses(t *testing.T) {
	deep := "/pidf:presence" + strings.Repeat("/*", MaxSteps)
	for _, c := range []struct{ body, want string }{
		{`<filter-set xmlns="x"/>`, "not filter-set"},
		{head + tail, "without filter"},
		{head + `<filter/>` + tail, "without id"},
		{head + `<filter id="a"/><filter id="a" uri="sip:b@example.com"/>` + tail, "two filters with id"},
		{head + `<filter id="a"/><filter id="b"/>` + tail, "same resource"},
		{head + `<filter id="a" uri="sip:b@example.com" domain="example.com"/>` + tail, "both uri and domain"},
		{head + `<filter id="a" enabled="perhaps"/>` + tail, "enabled"},
		{head + `<filter id="a"><what><include>presence</include></what></filter>` + tail, "syntax"},
		{head + `<filter id="a"><what><include>/x:presence</include></what></filter>` + tail, `prefix "x"`},
		{head + `<filter id="a"><what><include>/a[b]</include></what></filter>` + tail, "syntax"},
		{head + `<filter id="a"><what><include>/a[b="c]</include></what></filter>` + tail, "syntax"},
		{head + `<filter id="a"><what><include>/@a</include></what></filter>` + tail, "syntax"},
		{head + `<filter id="a"><what><include>` + deep + `</include></what></filter>` + tail, "steps"},
		{head + `<filter id="a"><what><include type="regexp">a</include></what></filter>` + tail, "neither xpath"},
		{head + `<filter id="a"><what><include type="namespace"/></what></filter>` + tail, "no namespace"},
		{head + `<filter id="a"><trigger/></filter>` + tail, "empty trigger"},
		{head + `<filter id="a"><trigger><changed by="-1">//a</changed></trigger></filter>` + tail, "no amount"},
		{head + strings.Repeat(" ", MaxBytes) + tail, "larger"},
		{head, "filter: "},
	} {
		_, err := Parse([]byte(c.body))
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(bad.Error(), c.want) {
			t.Errorf("%.80s: %v, want %q", c.body, err, c.want)
		}
	}
}

func TestFor(t *testing.T) {
	s := parse(t, `<filter id="d" domain="Example.com"/><filter id="u" uri="sip:bob@example.com"/><filter id="n"/><filter id="off" uri="sip:eve@example.com" enabled="0"/>`)
	is := func(uri string) func(string) bool { return func(u string) bool { return u == uri } }
	for _, c := range []struct {
		uri, domain string
		subscribed  bool
		want        string
	}{
		{"sip:bob@example.com", "example.com", false, "u"},
		{"sip:carol@example.com", "EXAMPLE.com", true, "d"},
		{"sip:dave@elsewhere.org", "elsewhere.org", false, ""},
		{"sip:list@elsewhere.org", "elsewhere.org", true, "n"},
		{"sip:eve@example.com", "example.com", false, ""}, // a disabled filter is not replaced by a wider one
	} {
		got := ""
		if f := s.For(is(c.uri), c.domain, c.subscribed); f != nil {
			got = f.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.uri, got, c.want)
		}
	}
	if (*Set)(nil).For(is("x"), "", true) != nil {
		t.Error("no set has a filter")
	}
}

// TestMerge is RFC 4660 §3.3.3: replaced, kept, removed.
func TestMerge(t *testing.T) {
	s, err := (*Set)(nil).Merge(parse(t, `<filter id="1"/><filter id="2" domain="a.org"/>`))
	if err != nil {
		t.Fatal(err)
	}
	s, err = s.Merge(parse(t, `<filter id="2" domain="b.org"/><filter id="3" domain="a.org"/>`))
	if err != nil || len(s.Filters) != 3 {
		t.Fatal(s, err)
	}
	if _, err := s.Merge(parse(t, `<filter id="4" domain="a.org"/>`)); err == nil {
		t.Error("two filters for one domain")
	}
	s, err = s.Merge(parse(t, `<filter id="1" remove="true"/><filter id="2" remove="1"/><filter id="3" remove="true"/>`))
	if s != nil || err != nil {
		t.Error(s, err)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(head+`<filter id="1"><what><include>//*[status/basic="open" and ..="x"]</include><exclude>//@id</exclude></what><trigger><changed by="2">//a/@b</changed></trigger></filter>`+tail, pidfDoc)
	f.Add(head+`<filter id="1"><what><include type="namespace">urn:ietf:params:xml:ns:pidf</include></what></filter>`+tail, `<a xmlns:p="x"><p:b p:c='1'/><![CDATA[x]]><!-- y --></a>`)
	f.Fuzz(func(t *testing.T, set, doc string) {
		s, err := Parse([]byte(set))
		if err != nil {
			return
		}
		for _, fl := range s.Filters {
			out, err := fl.Apply([]byte(doc))
			if err != nil {
				continue
			}
			if _, err := markup.Parse(out, markup.Options{Document: true}); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if ok, err := fl.Fires([]byte(doc), []byte(doc)); err == nil && ok && fl.Triggered() {
				t.Fatal("no change fires")
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	s, err := Parse([]byte(head + `<filter id="1"><what><include>//tuple[rpid:class="IM"]/pidf:status/pidf:basic</include></what></filter>` + tail))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Filters[0].Apply([]byte(pidfDoc)); err != nil {
			b.Fatal(err)
		}
	}
}
