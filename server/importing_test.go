package server

import (
	"context"
	"strings"
	"testing"

	"pharos/markup"
	"pharos/policy"
	"pharos/presence"
	"pharos/roster"
	"pharos/xdm"
)

const kamailioDump = "CREATE TABLE `subscriber` (`id` int, `username` text, `domain` text, `password` text, `ha1` text, PRIMARY KEY (`id`));\n" +
	"INSERT INTO `subscriber` VALUES (1,'dora','localhost','pw',''),(2,'emil','localhost','','0123456789abcdef0123456789abcdef');\n" +
	"INSERT INTO `xcap` (`username`,`domain`,`doc`,`doc_type`,`doc_uri`) VALUES " +
	`('dora','localhost','<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="l"><entry uri="sip:emil@localhost"/><entry uri="tel:+1"/></list></resource-lists>',4,'/xcap-root/resource-lists/users/sip:dora@localhost/index'),` +
	`('dora','localhost','<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="a"><conditions><identity><one id="sip:fritz@localhost"/></identity></conditions><actions><pr:sub-handling>block</pr:sub-handling></actions><transformations/></rule></ruleset>',32,'x');` + "\n" +
	"INSERT INTO `watchers` (`presentity_uri`,`watcher_username`,`watcher_domain`,`event`,`status`,`reason`) VALUES ('sip:dora@localhost','emil','localhost','presence',1,''),('sip:dora@localhost','gerd','localhost','presence',2,'');\n"

// What comes out of a dump is what both worlds then see: one list, one policy.
func TestImportOfDump(t *testing.T) {
	ctx := context.Background()
	a, err := OpenAdmin(t.TempDir(), "", []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 2 { // the second time changes nothing
		im, err := a.Import(ctx, strings.NewReader(kamailioDump), false, nil)
		if err != nil || im.Accounts != 2 || im.Documents != 2 || im.Rules != 2 {
			t.Fatalf("%+v, %v", im, err)
		}
	}
	dora := presence.Entity{User: "dora", Domain: "localhost"}
	items, _, err := a.store.Roster(ctx, dora)
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for i := range items {
		if it := &items[i]; it.Visible && !it.Removed {
			shown = append(shown, it.Contact.User+"/"+strings.Join(it.Groups, ","))
		}
	}
	if strings.Join(shown, " ") != "emil/l" {
		t.Errorf("roster: %v", shown)
	}
	doc, err := a.docs.Get(ctx, xdm.Name{AUID: xdm.ResourceLists, User: dora, Path: xdm.Index})
	if err != nil {
		t.Fatal(err)
	}
	root, err := markup.Parse(doc.Body, markup.File)
	if err != nil || len(roster.Contacts(root)) != 1 || !strings.Contains(string(doc.Body), "tel:+1") {
		t.Errorf("%v: %s", err, doc.Body)
	}
	p, err := (&policy.Loader{Store: a.store, Default: presence.Confirm}).Policy(ctx, dora)
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]presence.Handling{"emil": presence.Allow, "fritz": presence.Block, "gerd": presence.Confirm, "hans": presence.Confirm} {
		d := presence.Decide(p, dora, presence.Entity{User: user, Domain: "localhost"}, presence.Circumstances{})
		if d.Class.Handling != want {
			t.Errorf("%s: %s by %s, want %s", user, d.Class.Handling, d.Rule, want)
		}
	}
	if len(p.Waiting) != 1 || p.Waiting[0].Watcher.User != "gerd" {
		t.Errorf("waiting: %v", p.Waiting)
	}
}

// What cannot be read is told in words that lead on, and never as done.
func TestImportOfNothing(t *testing.T) {
	a, err := OpenAdmin(t.TempDir(), "", []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	const compressed, nothing = "the file is compressed; unpack it first", "there is nothing in it that could be imported"
	for body, want := range map[string]string{
		"":                              nothing,
		"# nobody\n":                    nothing,
		string(make([]byte, 1024)):      nothing, // a tar file of an empty folder
		"\x1f\x8b\x08\x00rest\nof,it\n": compressed,
		"PK\x03\x04rest":                compressed,
	} {
		im, err := a.Import(t.Context(), strings.NewReader(body), false, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "1 problem in the file") || im.Done || len(im.Problems) != 1 || im.Problems[0] != want {
			t.Errorf("%.20q: %+v, %v; want %q", body, im, err, want)
		}
	}
}
