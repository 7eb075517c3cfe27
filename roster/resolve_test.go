package roster

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pharos/markup"
)

// server is what XCAP has, by document; the selector is evaluated as a lookup of
// the real server does.
type server map[string]string

func (s server) lookup(uri string) (*markup.Element, error) {
	uri = strings.TrimPrefix(uri, "http://xcap.example.com/")
	path, node, _ := strings.Cut(uri, "/~~/")
	doc, ok := s[path]
	if !ok {
		return nil, errors.New("404")
	}
	root, err := markup.Parse([]byte(doc), markup.File)
	if err != nil {
		return nil, err
	}
	node, _ = unescape(node)
	ts, err := markup.Select(root, node, []markup.Decl{{Space: ListsSpace}})
	if err != nil || len(ts) != 1 {
		return nil, fmt.Errorf("404 %d %v", len(ts), err)
	}
	return ts[0].Element(), nil
}

func (l *ResolvedList) String() string {
	var parts []string
	for _, m := range l.Members {
		s := m.URI
		if m.List != nil {
			s = m.List.String()
		}
		for _, n := range m.Names {
			s += "=" + n.Text
		}
		parts = append(parts, s)
	}
	return l.Name + "(" + strings.Join(parts, " ") + ")"
}

const rl = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">`

func TestResolve(t *testing.T) {
	s := server{
		// RFC 4826 §3.3, somewhat shortened.
		"resource-lists/users/sip:bill@example.com/index": rl + `<list name="friends">
			<entry uri="sip:bill@example.com"><display-name>Bill Doe</display-name></entry>
			<entry-ref ref="resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list%5b@name=%22list1%22%5d/entry%5b@uri=%22sip:petri@example.com%22%5d"><display-name>My Petri</display-name></entry-ref>
			<list name="close-friends"><display-name>Close Friends</display-name>
				<entry uri="sip:joe@example.com"/><entry uri="tel:+1555"/>
				<external anchor="http://xcap.example.com/resource-lists/users/sip:a@example.com/foo/~~/resource-lists/list%5b@name=%22mkting%22%5d"><display-name>Marketing</display-name></external>
			</list>
			<entry uri="sip:joe@example.com"/>
			<list name="empty"/>
			</list><list name="list1"><entry uri="sip:petri@example.com"><display-name xml:lang="fi">Petri</display-name></entry></list></resource-lists>`,
		"resource-lists/users/sip:a@example.com/foo": rl + `<list name="mkting"><entry uri="sip:m@example.com"/><entry uri="sip:bill@example.com"/></list></resource-lists>`,
		"loop": rl + `<list><entry uri="sip:x@example.com"/><external anchor="http://xcap.example.com/loop/~~/*/list"/></list></resource-lists>`,
		"bad": rl + `<list><entry uri="sip:x@example.com"/><external anchor="http://xcap.example.com/none/~~/*/list"/>
			<entry-ref ref="loop/~~/*/list"/><external anchor="http://xcap.example.com/loop/~~/*/list/entry"/></list></resource-lists>`,
	}
	first := func(doc string) *markup.Element {
		return parse(t, []byte(s[doc])).Child(ListsSpace, "list")
	}
	l, err := Resolve(first("resource-lists/users/sip:bill@example.com/index"), s.lookup)
	const want = `friends(sip:bill@example.com=Bill Doe sip:petri@example.com=My Petri=Petri close-friends(sip:joe@example.com tel:+1555 mkting(sip:m@example.com)=Marketing)=Close Friends)`
	if err != nil || l.String() != want {
		t.Errorf("%v\n got %s\nwant %s", err, l, want)
	}
	if m := l.Members[1]; !m.Known || m.Entity.User != "petri" || m.Names[1].Lang != "fi" {
		t.Errorf("%+v", m)
	}
	if l, err = Resolve(first("loop"), s.lookup); !errors.Is(err, ErrCycle) || l.String() != "(sip:x@example.com)" {
		t.Errorf("a loop: %v %s", err, l)
	}
	l, err = Resolve(first("bad"), s.lookup)
	if !errors.Is(err, ErrNoEntry) || !errors.Is(err, ErrNoList) || !strings.Contains(err.Error(), "404") || l.String() != "(sip:x@example.com)" {
		t.Errorf("broken references: %v %s", err, l)
	}
	if l, err = Resolve(first("loop"), nil); err == nil || len(l.Members) != 1 {
		t.Errorf("without a server: %v %s", err, l)
	}
}

func TestResolveBounds(t *testing.T) {
	var b strings.Builder
	for i := range MaxMembers + 5 {
		fmt.Fprintf(&b, `<entry uri="sip:u%d@example.com"/>`, i)
	}
	list := parse(t, []byte(rl+"<list>"+b.String()+"</list></resource-lists>")).Child(ListsSpace, "list")
	if l, err := Resolve(list, nil); !errors.Is(err, ErrTooLong) || len(l.Members) != MaxMembers {
		t.Errorf("%d members, %v", len(l.Members), err)
	}
	b.Reset()
	for i := range MaxReferences + 5 {
		fmt.Fprintf(&b, `<entry-ref ref="%d"/>`, i)
	}
	list = parse(t, []byte(rl+"<list>"+b.String()+"</list></resource-lists>")).Child(ListsSpace, "list")
	calls := 0
	_, err := Resolve(list, func(string) (*markup.Element, error) {
		calls++
		return nil, nil
	})
	if !errors.Is(err, ErrTooManyRefs) || calls != MaxReferences {
		t.Errorf("%d references followed, %v", calls, err)
	}
	// Each external list leads to a new one.
	depth := 0
	l, err := Resolve(parse(t, []byte(rl+`<list><external anchor="0"/></list></resource-lists>`)).Child(ListsSpace, "list"), func(string) (*markup.Element, error) {
		depth++
		return parse(t, fmt.Appendf(nil, `%s<list><entry uri="sip:u%d@x"/><external anchor="%d"/></list></resource-lists>`, rl, depth, depth)).Child(ListsSpace, "list"), nil
	})
	if !errors.Is(err, ErrTooManyRefs) || depth != MaxReferenceDepth || l == nil {
		t.Errorf("%d deep, %v", depth, err)
	}
}
