package simple

import (
	"strings"
	"testing"

	"pharos/roster"
	"pharos/xdm"
)

// Elements and attributes are told with what they are (RFC 5875 §4.8).
func TestDiffNodes(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		doc := `<l:resource-lists xmlns:l="` + roster.ListsSpace + `" xmlns:b="urn:b"><l:list name="friends" b:id="7"><l:entry uri="sip:bob@example.com"/></l:list></l:resource-lists>`
		w.put(xdm.ResourceLists, "index", doc)
		entry := "resource-lists" + home + "index/~~/resource-lists/list%5b@name=%22friends%22%5d/entry%5b@uri=%22sip:bob@example.com%22%5d"
		attr := "resource-lists" + home + "index/~~/resource-lists/list/@q:id?xmlns(q=urn:b)"
		alice.watchDiff("xcap-diff", entry, attr, "resource-lists"+home+"index/~~/*/none", "resource-lists"+home+"index/~~/[", "resource-lists"+home+"other/~~/*")
		short := func(s string) string { return strings.ReplaceAll(s, "sip:alice@example.com", "ALICE") }
		m := alice.wantDiff(short(entry) + ` true <l:entry uri="sip:bob@example.com"/>, ` + short(attr) + " true 7")
		if x := diffOf(t, m).Elements[0]; len(x.Scope) == 0 || !strings.Contains(m.Body, `xmlns:l='`+roster.ListsSpace) {
			t.Errorf("where is the namespace? %s", m.Body)
		}
		w.put(xdm.ResourceLists, "index", strings.Replace(doc, "</l:list>", `<l:entry uri="sip:x@example.com"/></l:list>`, 1))
		alice.none()
		w.put(xdm.ResourceLists, "index", strings.Replace(doc, `b:id="7"`, `b:id="8"`, 1))
		alice.wantDiff(short(attr) + " true 8")
		w.put(xdm.ResourceLists, "index", strings.Replace(doc, "bob@example.com\"/>", `bob@example.com"><l:display-name>Bob</l:display-name></l:entry>`, 1))
		alice.wantDiff(short(entry) + ` true <l:entry uri="sip:bob@example.com"><l:display-name>Bob</l:display-name></l:entry>, ` + short(attr) + " true 7")
		w.put(xdm.ResourceLists, "index", "")
		alice.wantDiff(short(entry) + " false , " + short(attr) + " false ")
		w.put(xdm.ResourceLists, "other", "<r/>")
		alice.wantDiff("resource-lists/users/ALICE/other/~~/* true <r/>")
	})
}
