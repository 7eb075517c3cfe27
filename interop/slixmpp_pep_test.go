package interop

import (
	"strings"
	"testing"
)

const (
	mood     = "http://jabber.org/protocol/mood"
	activity = "http://jabber.org/protocol/activity"
	geoloc   = "http://jabber.org/protocol/geoloc"
	tune     = "http://jabber.org/protocol/tune"
	nick     = "http://jabber.org/protocol/nick"
	metadata = "urn:xmpp:avatar:metadata"
)

// XEP-0163, XEP-0115: moods and the like reach contacts and the user's own clients that
// ask for them, and those who come later; nobody else.
func TestSlixmppPersonalEventing(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := slix(t, s, us["alice"], "desk", "pep"), slix(t, s, us["bob"], "phone", "pep")
	plain := slix(t, s, us["bob"], "plain")
	befriend(t, bob, alice)
	info := alice.ask(t, "disco", Fields{"to": "alice@localhost"})
	if got := strings.Join(texts(info["identities"]), " "); !strings.Contains(got, "pubsub/pep") {
		t.Errorf("identities %s", got)
	}

	alice.ask(t, "mood", Fields{"value": "happy", "text": "sunshine"})
	for _, c := range []*Client{alice, bob} {
		c.sees(t, Fields{"event": "pep", "from": "alice@localhost", "node": mood, "value": "happy", "text": "sunshine"})
	}
	alice.ask(t, "activity", Fields{"value": "relaxing", "specific": "partying"})
	alice.ask(t, "place", Fields{"lat": 45.44, "lon": 12.33, "locality": "Venice"})
	alice.ask(t, "tune", Fields{"artist": "Finzi", "title": "Intro"})
	alice.ask(t, "nick", Fields{"nick": "Ally"})
	all := []Fields{
		{"event": "pep", "node": activity, "value": "relaxing/partying"},
		{"event": "pep", "node": geoloc, "value": "45.4412.33Venice"},
		{"event": "pep", "node": tune, "value": "FinziIntro"},
		{"event": "pep", "node": nick, "value": "Ally"},
	}
	bob.seesAll(t, all...)
	if nodes := strings.Join(texts(bob.ask(t, "nodes", Fields{"to": "alice@localhost"})["items"]), " "); nodes != strings.Join([]string{activity, geoloc, mood, nick, tune}, " ") {
		t.Errorf("nodes %s", nodes)
	}

	// The last items, at login.
	must(t, bob.Quit())
	bob = slix(t, s, us["bob"], "phone", "pep")
	bob.seesAll(t, append(all, Fields{"event": "pep", "node": mood, "value": "happy"})...)

	alice.ask(t, "no mood", nil)
	bob.sees(t, Fields{"event": "pep", "node": mood, "kind": "publish", "value": nil})
	alice.ask(t, "retract", Fields{"node": nick, "id": "current"})
	bob.sees(t, Fields{"event": "pep", "node": nick, "kind": "retract"})
	alice.ask(t, "delete node", Fields{"node": tune})
	bob.sees(t, Fields{"event": "pep", "node": tune, "kind": "delete"})
	if strings.Contains(plain.Text(), `"event": "pep"`) {
		t.Error("a client that did not ask for events got some")
	}
}

// XEP-0060 §7.1.5, XEP-0223: options make a private node, which contacts do not see.
func TestSlixmppPrivateNode(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := slix(t, s, us["alice"], "desk", "pep"), slix(t, s, us["bob"], "phone", "pep")
	befriend(t, bob, alice)
	private := Fields{"pubsub#access_model": "whitelist", "pubsub#persist_items": "true", "pubsub#max_items": "max"}
	for _, id := range []string{"one", "two"} {
		alice.ask(t, "publish", Fields{"node": "urn:xmpp:bookmarks:1", "id": id, "xml": "<conference xmlns='urn:xmpp:bookmarks:1'/>", "options": private})
	}
	if got := strings.Join(texts(alice.ask(t, "get items", Fields{"to": "alice@localhost", "node": "urn:xmpp:bookmarks:1"})["items"]), " "); got != "one two" {
		t.Errorf("items %s", got)
	}
	if c := alice.ask(t, "configuration", Fields{"node": "urn:xmpp:bookmarks:1"}); c["access_model"] != "whitelist" {
		t.Errorf("configuration %v", c)
	}
	alice.must(t, "publish", Fields{"node": "urn:xmpp:bookmarks:1", "id": "three", "xml": "<x xmlns='x'/>", "options": Fields{"pubsub#access_model": "open"}})
	alice.sees(t, Fields{"event": "failed", "what": "publish", "condition": "conflict"})
	bob.must(t, "get items", Fields{"to": "alice@localhost", "node": "urn:xmpp:bookmarks:1"})
	bob.sees(t, Fields{"event": "failed", "what": "get items", "condition": "not-allowed"})
	if nodes := texts(bob.ask(t, "nodes", Fields{"to": "alice@localhost"})["items"]); len(nodes) > 0 {
		t.Errorf("bob sees %q", nodes)
	}
	alice.ask(t, "keep", Fields{"xml": "<prefs xmlns='exodus:prefs'>dark</prefs>"})
	if got := alice.ask(t, "kept", Fields{"xml": "<prefs xmlns='exodus:prefs'/>"}); got["text"] != "dark" {
		t.Errorf("kept %v", got)
	}
}

// XEP-0084, XEP-0054, XEP-0153, XEP-0398: one picture, however it is set and read.
func TestSlixmppAvatar(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := slix(t, s, us["alice"], "desk", "pep"), slix(t, s, us["bob"], "phone", "pep")
	befriend(t, bob, alice)
	id := alice.ask(t, "avatar", Fields{"data": "a picture"})["id"]
	bob.seesAll(t, Fields{"event": "pep", "node": metadata, "value": id}, Fields{"event": "presence", "from": "alice@localhost/desk", "photo": id})
	if got := bob.ask(t, "get avatar", Fields{"to": "alice@localhost", "id": id}); got["data"] != "a picture" {
		t.Errorf("avatar %v", got)
	}
	if got := bob.ask(t, "get vcard", Fields{"to": "alice@localhost"}); got["photo"] != "a picture" {
		t.Errorf("vCard %v", got)
	}

	alice.ask(t, "vcard", Fields{"name": "Alice", "photo": "another"})
	e := bob.sees(t, Fields{"event": "pep", "node": metadata})
	if got := bob.ask(t, "get avatar", Fields{"to": "alice@localhost", "id": e["value"]}); got["data"] != "another" {
		t.Errorf("avatar %v", got)
	}
	if got := bob.ask(t, "get vcard", Fields{"to": "alice@localhost"}); got["photo"] != "another" || got["name"] != "Alice" {
		t.Errorf("vCard %v", got)
	}
}

// Moods and activities across: a chat client's at a phone, a phone's in a chat client.
// What was published outlives the server's death.
func TestSlixmppEventsAndSIP(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	lets(t, s, us["bob"], us["alice"])
	bob := slix(t, s, us["bob"], "desk", "pep")
	r := through(t, s, "state", us["alice"], "udp", Keys{"basic": "open", "activity": "on-the-phone", "note": "n",
		"more": "<rpid:mood><rpid:excited/></rpid:mood>"})
	tag := get(r.Log(soon, `published (\S+)`))(t)[1]
	bob.seesAll(t, Fields{"event": "pep", "from": "alice@localhost", "node": mood, "value": "excited"},
		Fields{"event": "pep", "from": "alice@localhost", "node": activity, "value": "talking/on_the_phone"})
	unpublish(t, s, us["alice"], "udp", tag)
	bob.seesAll(t, Fields{"event": "pep", "node": mood, "kind": "retract"}, Fields{"event": "pep", "node": activity, "kind": "retract"})

	alice := slix(t, s, us["alice"], "desk", "pep")
	alice.ask(t, "mood", Fields{"value": "amorous", "text": "spring"})
	alice.ask(t, "activity", Fields{"value": "working", "specific": "in_a_meeting"})
	w := get(s.Sipp("watch", us["bob"], "udp", Keys{"to": "alice@localhost", "UNTIL": ">the end<"}))(t)
	t.Cleanup(w.Stop)
	get(w.Message(soon, `<rpid:activities><rpid:meeting/></rpid:activities>.*<rpid:mood><rpid:note>spring</rpid:note><rpid:other>amorous</rpid:other></rpid:mood>`))(t)

	s.Kill()
	must(t, s.Restart())
	bob = slix(t, s, us["bob"], "again", "pep")
	bob.seesAll(t, Fields{"event": "pep", "from": "alice@localhost", "node": mood, "value": "amorous", "text": "spring"},
		Fields{"event": "pep", "from": "alice@localhost", "node": activity, "value": "working/in_a_meeting"})
}
