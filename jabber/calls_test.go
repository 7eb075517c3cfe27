package jabber

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/xmpp"
)

// packed is a session with a bit of everything.
func packed(e *Edge) []byte {
	u := entity("alice")
	s := &session{edge: e, user: &user{entity: u, bare: "alice@localhost"}, resource: "phone", full: "alice@localhost/phone", handle: "alice@localhost/phone#1.a",
		since: time.Unix(1e9, 5).UTC(), far: &far{version: 7}, interested: true, carbons: true, wantsBlocks: true, noPhoto: true,
		capsKey: capsKey{"sha-1", "v"}, caps: &capability{notify: map[string]struct{}{"mood": {}}, redirect: true}, capsAsked: "caps-1"}
	s.prio.Store(-7)
	s.in.Store(12)
	at := time.Unix(1e9, 0).UTC()
	s.far.said = &presence.Publish{ID: s.source(), Native: presence.Payload{Type: nsClient, Bytes: []byte("<show>away</show>")}, From: "xmpp x", Said: at}
	s.directed = map[xmpp.JID]*presence.Direct{{Local: "bob", Domain: "localhost"}: {
		Source: &presence.Source{ID: s.source(), Native: s.far.said.Native, Updated: at}, Watcher: entity("bob"), Available: true}}
	src := &presence.Source{ID: presence.SourceID{Kind: presence.Session, Key: "desk"}, Native: s.far.said.Native, Doc: &presence.Document{}}
	item := &presence.Source{ID: sourceID("mood"), Native: presence.Payload{Type: ItemType, Bytes: []byte("<items node='mood'/>")}, Doc: &presence.Document{}}
	s.watches = map[presence.Entity]*presence.View{entity("bob"): {Presentity: entity("bob"), Sources: []*presence.Source{src, item}}}
	s.hold(entity("carol"), &presence.View{Presentity: entity("carol"), Sources: []*presence.Source{src}}).view = nil
	s.sm = &management{token: "t", lifetime: time.Minute, acked: 3}
	s.sm.keep(nil, [][]byte{[]byte("<iq/>")})
	s.sm.keep(e.newDuty(&engine.Message{From: entity("bob"), To: u, ID: "m", Body: "hi", Sent: at}, 1), [][]byte{[]byte("<message>"), []byte("</message>")})
	return s.pack(nil)
}

// What is packed comes back as it was.
func TestPack(t *testing.T) {
	amongNodes(t, []string{"a"}, nil, nil, func(ns *nodes) {
		e := ns.worlds["a"].edge
		b := packed(e)
		s := e.unpack(entity("alice"), newUnpacker(b))
		if s == nil {
			t.Fatal("cannot be read")
		}
		s.user = &user{entity: entity("alice"), bare: "alice@localhost"}
		s.edge = e
		again := s.pack(nil)
		sorted := func(b []byte) []byte { return slices.Sorted(slices.Values(b)) }
		if !bytes.Equal(sorted(again), sorted(b)) { // contacts are in no order
			t.Errorf("packed again it is\n%q, was\n%q", again, b)
		}
		if s.prio.Load() != -7 || s.in.Load() != 12 || s.sm.duties != 1 || s.sm.bytes != len("<iq/><message></message>") || !s.caps.wants("mood") {
			t.Errorf("%+v", s)
		}
		v := s.watches[entity("bob")]
		if got := difference(entity("bob"), v, nil, nil); len(got) != 1 {
			t.Errorf("%d sources were told", len(got))
		}
		for i := range b {
			if e.unpack(entity("alice"), newUnpacker(b[:i])) != nil {
				t.Fatalf("read from %d bytes of %d", i, len(b))
			}
		}
	})
}

// FuzzCall reads what no node has written.
func FuzzCall(f *testing.F) {
	ns := startNodes(f, []string{"a"}, nil, nil)
	f.Cleanup(ns.close)
	w := ns.worlds["a"]
	e := w.edge
	f.Add(packed(e))
	f.Add([]byte(newCall(callConflict).entity(entity("alice")).str("r").bool(true).time(time.Now()).str("h")))
	f.Add([]byte(packQueue(nil, []sent{{parts: [3][]byte{[]byte("<a/>")}}})))
	f.Add([]byte(packer(nil).said(entity("bob"), &presence.View{})))
	f.Fuzz(func(t *testing.T, b []byte) {
		e.unpack(entity("alice"), newUnpacker(b))
		e.unpackQueue(newUnpacker(b))
		newUnpacker(b).said()
		newUnpacker(b).capability()
		if kind, in := openCall(b); callees[kind] != nil {
			u := in.Entity()
			answered := 0
			if kind != callEnd && kind != callTurn {
				callees[kind](e, w.ctx, u, in, func([]byte) { answered++ })
			}
		}
	})
}
