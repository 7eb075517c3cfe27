package simple

import (
	"strings"
	"testing"

	"pharos/presence"
	"pharos/xdm"
)

// Documents, collections and what is none of a user's, as clients write them
// (RFC 5875 §4.4).
func TestDiffSelections(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		a := w.put(xdm.ResourceLists, "index", named("bob"))
		b := w.put(xdm.ResourceLists, "dir/more list", named("bob"))
		c := w.put(xdm.RLSServices, "index", "<r/>")
		w.putDocument("bob", xdm.ResourceLists, named("alice"))
		more := "dir/more%20list"
		for _, x := range []struct {
			uri, want, root string
		}{
			{"resource-lists/", "resource-lists/users/ALICE/" + more + " >" + b + ", resource-lists/users/ALICE/index >" + a, ""},
			{"resource-lists/users/", "resource-lists/users/ALICE/" + more + " >" + b + ", resource-lists/users/ALICE/index >" + a, ""},
			{"resource-lists/users/alice@example.com/", "resource-lists/users/alice@example.com/" + more + " >" + b + ", resource-lists/users/alice@example.com/index >" + a, ""},
			{"resource-lists" + home + "dir/", "resource-lists/users/ALICE/" + more + " >" + b, ""},
			{"resource-lists/users/sip:Alice%40example.com/dir/more%20list", "resource-lists/users/sip:Alice%40example.com/dir/more%20list >" + b, ""},
			{"/rls-services" + home + "index", "rls-services/users/ALICE/index >" + c, ""},
			{"http://xcap.example.com:81/root/rls-services" + home + "index", "rls-services/users/ALICE/index >" + c, "http://xcap.example.com:81/root/"},
			{"https://xcap.example.com/rls-services/", "rls-services/users/ALICE/index >" + c, "https://xcap.example.com/"},
			{"https://xcap.example.com/root/", "resource-lists/users/ALICE/" + more + " >" + b + ", resource-lists/users/ALICE/index >" + a + ", rls-services/users/ALICE/index >" + c, ""},
			// Not the user's, not there, not XCAP's.
			{"resource-lists/users/sip:bob@example.com/index", "", ""},
			{"resource-lists/users/sip:bob@example.com/", "", ""},
			{"resource-lists/global/index", "", ""},
			{"resource-lists" + home + "none", "", ""},
			{"resource-lists", "", ""},
			{"private" + home + "node", "", ""},
			{"nonsense", "", ""},
			{"", "", ""},
		} {
			s := alice.watchDiff("xcap-diff", x.uri)
			if x.uri == "https://xcap.example.com/root/" {
				x.root = x.uri
			}
			m := alice.wantDiff(x.want)
			if x.root == "" {
				x.root = xcapHere.Root(domain)
			}
			if d := diffOf(t, m); d.Root != x.root {
				t.Errorf("%s: root %s, want %s", x.uri, d.Root, x.root)
			}
			s.send(200, "xcap-diff", 0, "")
			alice.got()
		}
		// Selected twice, told once.
		s := alice.watchDiff("xcap-diff", "rls-services"+home+"index", "rls-services/", "rls-services"+home+"index")
		alice.wantDiff("rls-services/users/ALICE/index >" + c)
		// A refresh may select other documents.
		alice.want(200, alice.diffRequest(s, "xcap-diff", []string{"resource-lists" + home + "index"}))
		alice.wantDiff("resource-lists/users/ALICE/index >" + a)
		d := w.put(xdm.RLSServices, "index", "<r2/>")
		alice.none()
		alice.want(200, alice.diffRequest(s, "xcap-diff", nil)) // as before
		alice.wantDiff("resource-lists/users/ALICE/index >" + a)
		_ = d
	})
}

func FuzzSelected(f *testing.F) {
	for _, s := range []string{"resource-lists/", "https://h/root/rls-services/users/sip:a@example.com/index/~~/*/a%5b1%5d?xmlns(p=u)", "resource-lists/users/a@example.com/d/"} {
		f.Add(s)
	}
	me := presence.Entity{User: "a", Domain: "example.com"}
	f.Fuzz(func(t *testing.T, uri string) {
		one, root, ok := xcapHere.selected(me, uri)
		if !ok {
			return
		}
		if one.auid == "" && !one.many || one.many && one.node != "" || !strings.HasSuffix(uri, one.sel) || !strings.HasPrefix(uri, root) {
			t.Fatalf("%q is read as %+v at %q", uri, one, root)
		}
		if n := (xdm.Name{AUID: one.auid, User: me, Path: one.path + "x"}); one.many && one.auid != "" {
			again, _, ok := xcapHere.selected(me, one.member(n))
			if !one.covers(n) || !ok || again.many || again.path != n.Path || again.auid != n.AUID {
				t.Fatalf("%q: %q is not in it: %+v", uri, one.member(n), again)
			}
		}
	})
}
