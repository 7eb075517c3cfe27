package simple

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/patch"
	"pharos/presence"
	"pharos/roster"
	"pharos/sip"
	"pharos/xcapdiff"
	"pharos/xdm"
)

// xcapHere is the XCAP server of the tests.
var xcapHere = XCAP{
	Root: func(domain string) string { return "https://" + domain + ":8443/xcap/" },
	Space: func(auid string) (string, bool) {
		space, ok := map[string]string{
			xdm.ResourceLists: roster.ListsSpace, xdm.RLSServices: servicesSpace, xdm.Manipulation: "urn:ietf:params:xml:ns:pidf",
			xdm.PresRules: "urn:ietf:params:xml:ns:pres-rules", xdm.OMAPresRules: "urn:ietf:params:xml:ns:pres-rules",
		}[auid]
		return space, ok
	},
}

const home = "/users/sip:alice@example.com/"

// put changes or, with "", deletes a document of alice, and returns its entity-tag.
func (w *world) put(auid, path, xml string) string {
	w.t.Helper()
	_, after, err := w.docs.Update(context.Background(), xdm.Name{AUID: auid, User: presence.Entity{User: "alice", Domain: domain}, Path: path},
		func(*xdm.Document) ([]byte, error) {
			if xml == "" {
				return nil, nil
			}
			return []byte(xml), nil
		})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	if after == nil {
		return ""
	}
	return after.ETag
}

// watchDiff subscribes to documents; without uris to all.
func (p *phone) watchDiff(event string, uris ...string) *sub {
	p.w.t.Helper()
	s := &sub{p: p, to: p.user, callID: newID()}
	m := p.want(200, p.diffRequest(s, event, uris))
	s.tag = m.To().Tag()
	c, _, err := m.Contact()
	if err != nil {
		p.w.t.Fatal(err)
	}
	s.target = c.URI
	return s
}

func (p *phone) diffRequest(s *sub, event string, uris []string) out {
	o := out{method: "SUBSCRIBE", to: p.user, callID: s.callID, ctype: listType,
		lines: fmt.Sprintf("Event: %s\r\nContact: <%s>\r\nExpires: 3600\r\n", event, p.contact)}
	if s.tag != "" {
		o.uri, o.toTag = s.target, s.tag
	}
	if len(uris) > 0 {
		o.body = `<resource-lists xmlns="` + roster.ListsSpace + `"><list>`
		for _, u := range uris {
			o.body += `<entry uri="` + strings.NewReplacer("&", "&amp;", `"`, "&quot;").Replace(u) + `"/>`
		}
		o.body += "</list></resource-lists>"
	}
	return o
}

func diffOf(t testing.TB, m *sip.Message) *xcapdiff.Diff {
	t.Helper()
	if ct := get(m, sip.HContentType); ct != xcapdiff.Type {
		t.Fatalf("a body of %q", ct)
	}
	d, err := xcapdiff.Parse([]byte(m.Body))
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Body)
	}
	return d
}

// diffText writes a document as "sel was>now, ...", with * for patches, = for a body that
// is the same, and what nodes are.
func diffText(t testing.TB, m *sip.Message) string {
	t.Helper()
	d := diffOf(t, m)
	var parts []string
	for _, x := range d.Documents {
		s := x.Sel + " " + x.PreviousETag + ">" + x.NewETag
		if len(x.Ops) > 0 {
			s += "*"
		}
		if x.BodyNotChanged {
			s += "="
		}
		parts = append(parts, s)
	}
	for _, x := range d.Elements {
		parts = append(parts, fmt.Sprintf("%s %v %s", x.Sel, !x.Gone, x.Content))
	}
	for _, x := range d.Attributes {
		parts = append(parts, fmt.Sprintf("%s %v %s", x.Sel, !x.Gone, x.Value))
	}
	return strings.ReplaceAll(strings.Join(parts, ", "), "sip:alice@example.com", "ALICE")
}

func (p *phone) wantDiff(want string) *sip.Message {
	p.w.t.Helper()
	m := p.one()
	if got := diffText(p.w.t, m); got != want {
		p.w.t.Errorf("told %s\nwant %s", got, want)
	}
	return m
}

func named(names ...string) string {
	s := `<resource-lists xmlns="` + roster.ListsSpace + `">` + "\n  <list name=\"friends\">"
	for _, n := range names {
		s += "\n    <entry uri=\"sip:" + n + "@example.com\"><display-name>The well known " + n + "</display-name></entry>"
	}
	return s + "\n  </list>\n</resource-lists>"
}

// Without a body all documents are meant, as Blink wants them: created, changed,
// deleted; each is told once, and nothing that is kept for others than XCAP clients.
func TestDiffAll(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		w.put("private", "node", "<x/>")
		a := w.put(xdm.RLSServices, "index", "<a/>")
		s := alice.watchDiff("xcap-diff")
		m := alice.wantDiff("rls-services/users/ALICE/index >" + a)
		if d := diffOf(t, m); d.Root != xcapHere.Root(domain) || get(m, sip.HEvent) != "xcap-diff" || !strings.HasPrefix(state(m), "active;") {
			t.Errorf("got %s", m.Append(nil))
		}
		b := w.put(xdm.ResourceLists, "index", named("bob"))
		alice.wantDiff("resource-lists/users/ALICE/index >" + b)
		c := w.put(xdm.ResourceLists, "index", named("bob", "carol"))
		alice.wantDiff("resource-lists/users/ALICE/index " + b + ">" + c)
		w.put(xdm.ResourceLists, "index", named("bob", "carol")) // the same again
		w.put("private", "node", "<y/>")
		w.put(xdm.RLSServices, "index", "")
		alice.wantDiff("rls-services/users/ALICE/index " + a + ">")
		// A roster set is a change of the document.
		_, after, err := w.docs.Update(context.Background(), xdm.Name{AUID: xdm.ResourceLists, User: presence.Entity{User: "alice", Domain: domain}, Path: "index"},
			func(old *xdm.Document) ([]byte, error) {
				return roster.Splice(old.Body, roster.Contact{Entity: presence.Entity{User: "dave", Domain: domain}, Groups: []string{"friends"}})
			})
		if err != nil {
			t.Fatal(err)
		}
		alice.wantDiff("resource-lists/users/ALICE/index " + c + ">" + after.ETag)
		// A refresh tells all.
		alice.want(200, alice.diffRequest(s, "xcap-diff", nil))
		alice.wantDiff("resource-lists/users/ALICE/index >" + after.ETag)
		// It is not known what has reached the subscriber before: all is told.
		w.restart()
		time.Sleep(time.Second)
		alice.wantDiff("resource-lists/users/ALICE/index >" + after.ETag)
		last := w.put(xdm.ResourceLists, "index", named("dave"))
		alice.wantDiff("resource-lists/users/ALICE/index " + after.ETag + ">" + last)
		s.send(200, "xcap-diff", 0, "")
		alice.wantDiff("resource-lists/users/ALICE/index >" + last)
	})
}

// One document of presence rules has two names, under both of which clients look.
func TestDiffNames(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		alice.watchDiff("xcap-diff")
		alice.wantDiff("")
		const rules = `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"/>`
		a := w.put(xdm.OMAPresRules, xdm.OMAPath, rules)
		alice.wantDiff("org.openmobilealliance.pres-rules/users/ALICE/pres-rules >" + a + ", pres-rules/users/ALICE/index >" + a)
		bob := w.phone("alice", "192.0.2.11:5060")
		bob.watchDiff("xcap-diff;diff-processing=aggregate", "org.openmobilealliance.pres-rules/users/sip:alice@example.com/")
		bob.wantDiff("org.openmobilealliance.pres-rules/users/ALICE/pres-rules >" + a)
		b := w.put(xdm.PresRules, xdm.Index, strings.Replace(rules, "/>", "><!-- none --></ruleset>", 1))
		bob.wantDiff("org.openmobilealliance.pres-rules/users/ALICE/pres-rules " + a + ">" + b + "*")
		alice.wantDiff("org.openmobilealliance.pres-rules/users/ALICE/pres-rules " + a + ">" + b + ", pres-rules/users/ALICE/index " + a + ">" + b)
	})
}

// applied follows the patches of a NOTIFY from a version of a document.
func applied(t testing.TB, m *sip.Message, doc string) string {
	t.Helper()
	for _, x := range diffOf(t, m).Documents {
		b, err := patch.Apply([]byte(doc), x.Ops)
		if err != nil {
			t.Fatal(err)
		}
		doc = string(b)
	}
	return doc
}

// The three kinds of RFC 5875 §4.3, of changes that come one by one, and of those
// that come while a NOTIFY is under way.
func TestDiffProcessing(t *testing.T) {
	for _, mode := range []string{"", ";diff-processing=no-patching", ";diff-processing=aggregate", ";diff-processing=xcap-patching"} {
		t.Run(mode, func(t *testing.T) {
			inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
				alice := w.phone("alice", "192.0.2.10:5060")
				names := []string{"bob", "carol", "dave", "erin", "frank"}
				e := []string{w.put(xdm.ResourceLists, "index", named(names...))}
				alice.watchDiff("xcap-diff"+mode, "resource-lists"+home+"index")
				const sel = "resource-lists/users/ALICE/index "
				alice.wantDiff(sel + ">" + e[0])
				patched := strings.HasSuffix(mode, "aggregate") || strings.HasSuffix(mode, "xcap-patching")
				star := ""
				if patched {
					star = "*"
				}
				put := func(doc string) { e = append(e, w.put(xdm.ResourceLists, "index", doc)) }

				put(named("bob", "dave", "erin", "frank"))
				m := alice.wantDiff(sel + e[0] + ">" + e[1] + star)
				if got := applied(t, m, named(names...)); patched && got != named("bob", "dave", "erin", "frank") {
					t.Errorf("patched to %s", got)
				}
				put(strings.Replace(named("bob", "dave", "erin", "frank"), "list name=", "list  name=", 1))
				same := ""
				if patched {
					same = "="
				}
				alice.wantDiff(sel + e[1] + ">" + e[2] + same)

				release := alice.hold()
				put(named("bob", "dave", "erin", "frank", "grace"))
				put(named("bob", "erin", "frank", "grace"))
				put(named("bob", "erin", "frank", "grace", "heidi"))
				release()
				// The first was under way; the others have waited.
				want := sel + e[3] + ">" + e[5] + star
				if strings.HasSuffix(mode, "xcap-patching") {
					want = sel + e[3] + ">" + e[4] + star + ", " + sel + e[4] + ">" + e[5] + star
				}
				m = alice.wantDiff(want)
				if got := applied(t, m, named("bob", "dave", "erin", "frank", "grace")); patched && got != named("bob", "erin", "frank", "grace", "heidi") {
					t.Errorf("patched to %s", got)
				}
				// Gone and back meanwhile: the old version is no help.
				release = alice.hold()
				put(named("bob"))
				w.put(xdm.ResourceLists, "index", "")
				put(named("carol"))
				release()
				alice.wantDiff(sel + e[6] + ">" + e[7])
				// Nothing in common.
				put("<x/>")
				alice.wantDiff(sel + e[7] + ">" + e[8])
			})
		})
	}
}

func TestDiffRefusals(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		w.put(xdm.ResourceLists, "index", named("bob"))
		lines := func(p *phone) string {
			return "Event: xcap-diff\r\nContact: <" + p.contact + ">\r\nExpires: 600\r\n"
		}
		bob.want(403, out{method: "SUBSCRIBE", to: "alice", lines: lines(bob)})
		many := `<resource-lists xmlns="` + roster.ListsSpace + `"><list>`
		for i := range maxSelections + 1 {
			many += fmt.Sprintf(`<entry uri="a/%d"/>`, i)
		}
		many += "</list></resource-lists>"
		for _, c := range []struct {
			status      int
			ctype, body string
		}{
			{400, listType, "<resource-lists"}, {400, listType, "<x/>"}, {415, "application/xml", "<x/>"}, {403, listType, many},
			{400, listType, `<resource-lists xmlns="` + roster.ListsSpace + `"><list><entry uri="a&#10;b"/></list></resource-lists>`},
			{413, listType, strings.Repeat(" ", 20<<10) + "<x/>"},
		} {
			alice.want(c.status, out{method: "SUBSCRIBE", to: "alice", lines: lines(alice), ctype: c.ctype, body: c.body})
		}
		alice.want(489, out{method: "PUBLISH", to: "alice", lines: "Event: xcap-diff\r\nExpires: 60\r\n", ctype: xcapdiff.Type, body: "<x/>"})
		alice.none()
		bob.none()
		// Asked once.
		s := alice.watchDiff("xcap-diff")
		alice.got()
		s.send(200, "xcap-diff", 0, "")
		alice.got()
		m := alice.want(200, out{method: "SUBSCRIBE", to: "alice", lines: strings.Replace(lines(alice), "600", "0", 1)})
		if n := alice.one(); state(n) != "terminated;reason=timeout" || len(diffOf(t, n).Documents) != 1 {
			t.Errorf("%s", m.Append(nil))
		}
	})
}

// What would not fit into a NOTIFY is to be fetched.
func TestDiffLarge(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		var names []string
		for i := range 400 {
			names = append(names, fmt.Sprintf("somebody-%d", i))
		}
		a := w.put(xdm.ResourceLists, "index", named(names...))
		list := "resource-lists" + home + "index/~~/resource-lists/list"
		alice.watchDiff("xcap-diff;diff-processing=aggregate", "resource-lists"+home+"index", list)
		m := alice.one()
		if d := diffOf(t, m); len(d.Elements) != 1 || d.Elements[0].Gone || d.Elements[0].Content != "" || len(m.Body) > maxListDatagram {
			t.Errorf("%d octets, %+v", len(m.Body), d.Elements)
		}
		b := w.put(xdm.ResourceLists, "index", named(names[:200]...))
		m = alice.one()
		if d := diffOf(t, m); len(d.Documents) != 1 || d.Documents[0].PreviousETag != a || d.Documents[0].NewETag != b || len(d.Documents[0].Ops) != 0 || len(m.Body) > maxListDatagram {
			t.Errorf("%d octets, %+v", len(m.Body), d)
		}
	})
}

// While the phone is away versions are counted, and no more than so many held.
func TestDiffManyVersions(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		first := w.put(xdm.ResourceLists, "index", named("bob", "carol", "dave"))
		alice.watchDiff("xcap-diff;diff-processing=xcap-patching", "resource-lists"+home+"index")
		alice.wantDiff("resource-lists/users/ALICE/index >" + first)
		release := alice.hold()
		second := w.put(xdm.ResourceLists, "index", named("bob", "carol"))
		last := ""
		for i := range 3 * maxVersions {
			last = w.put(xdm.ResourceLists, "index", named("bob", "carol", fmt.Sprint("n", i)))
		}
		release()
		m := alice.one()
		ds := diffOf(t, m).Documents
		if len(ds) != maxVersions-1 || ds[0].PreviousETag != second || ds[len(ds)-1].NewETag != last {
			t.Errorf("%d steps: %s", len(ds), diffText(t, m))
		}
		if got := applied(t, m, named("bob", "carol")); got != named("bob", "carol", fmt.Sprint("n", 3*maxVersions-1)) {
			t.Errorf("patched to %s", got)
		}
		time.Sleep(time.Minute)
		alice.none()
		if w.edge.diffs.of(presence.Entity{User: "alice", Domain: domain})[0].versions != nil {
			t.Error("versions are held that nobody needs")
		}
	})
}

// Large documents are not held in many versions: they are to be fetched.
func TestDiffLargeVersions(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		doc := func(i int) string {
			return fmt.Sprintf("<d><e>%d</e><f>%s</f></d>", i, strings.Repeat("x", 300<<10))
		}
		e := []string{w.put(xdm.ResourceLists, "index", doc(0))}
		alice.watchDiff("xcap-diff;diff-processing=xcap-patching", "resource-lists"+home+"index")
		alice.got()
		e = append(e, w.put(xdm.ResourceLists, "index", doc(1)))
		alice.wantDiff("resource-lists/users/ALICE/index " + e[0] + ">" + e[1] + "*")
		release := alice.hold()
		for i := range 6 {
			e = append(e, w.put(xdm.ResourceLists, "index", doc(i+2)))
		}
		release()
		alice.wantDiff("resource-lists/users/ALICE/index " + e[2] + ">" + e[7])
	})
}
