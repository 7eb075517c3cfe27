package jabber

import (
	"fmt"
	"strings"
	"testing"

	"pharos/presence"
)

// Bounds of nodes, each with the error that XEP-0060 names.
func TestPEPBounds(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		a := w.login("alice", "a")
		publish := func(node, id, payload string) string {
			a.send("<iq type='set' id='p'><pubsub xmlns='" + nsPubSub + "'><publish node='" + node + "'><item id='" + id + "'>" + payload + "</item></publish></pubsub></iq>")
			el := a.await("iq")
			if el.Attr("type") == "result" {
				return ""
			}
			var conditions []string
			for c := range el.Child(nsClient, "error").Children() {
				conditions = append(conditions, c.Local)
			}
			return strings.Join(conditions, " ")
		}
		x := "<x xmlns='x'/>"
		if got := publish(strings.Repeat("n", MaxNodeName+1), "i", x); got != "not-acceptable" {
			t.Errorf("name: %q", got)
		}
		if got := publish("n", strings.Repeat("i", MaxItemID+1), x); got != "not-acceptable" {
			t.Errorf("id: %q", got)
		}
		// All items of a node together: the oldest do not go silently.
		a.send("<iq type='set' id='c'><pubsub xmlns='" + nsPubSub + "'><create node='full'/><configure><x xmlns='jabber:x:data' type='submit'>" +
			"<field var='FORM_TYPE'><value>" + nsNodeConfig + "</value></field><field var='pubsub#max_items'><value>max</value></field></x></configure></pubsub></iq>")
		a.await("iq")
		got := ""
		big := "<x xmlns='x'>" + strings.Repeat("b", 100<<10) + "</x>"
		for i := 0; got == "" && i < 10; i++ {
			got = publish("full", fmt.Sprint(i), big)
		}
		if got != "resource-constraint" {
			t.Errorf("a full node: %q", got)
		}
		// As many nodes as a user may have documents.
		for i := 0; i < 300; i++ {
			if got = publish(fmt.Sprint("n", i), "i", x); got != "" {
				break
			}
		}
		if got != "not-allowed max-nodes-exceeded" {
			t.Errorf("too many nodes: %q", got)
		}
		// Of those contacts are notified of no more than the bound, and of what SIP knows in any case.
		if got := publish("n0", "i", "<x xmlns='y'/>"); got != "" {
			t.Errorf("a node that is there: %q", got)
		}
		view, err := w.edge.look(w.ctx, entity("alice"), entity("alice"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, src := range view.Sources {
			if src.ID.Kind == presence.Extended {
				n++
			}
		}
		if n != MaxPEPSources {
			t.Errorf("%d sources", n)
		}
	})
}

// What is too large for contacts' notifications is still there for who asks.
func TestPEPLargeItem(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		w.befriend("alice", "bob")
		a, b := w.login("alice", "a"), w.login("bob", "b")
		payload := "<x xmlns='x'>" + strings.Repeat("b", MaxPEPSource) + "</x>"
		a.send("<iq type='set' id='p'><pubsub xmlns='" + nsPubSub + "'><publish node='large'><item id='i'>" + payload + "</item></publish></pubsub></iq>")
		a.await("iq")
		view, err := w.edge.look(w.ctx, entity("alice"), entity("bob"))
		if err != nil || len(view.Sources) != 0 {
			t.Errorf("%v, %v", view, err)
		}
		b.send("<iq type='get' id='g' to='alice@localhost'><pubsub xmlns='" + nsPubSub + "'><items node='large'/></pubsub></iq>")
		if el := b.await("iq"); el.Attr("type") != "result" || !strings.Contains(el.Source(), payload) {
			t.Errorf("%.200s", el.Source())
		}
	})
}

// A source whose item a crash has parted from it goes when its owner asks again.
func TestPEPSettles(t *testing.T) {
	inWorld(t, []string{"alice"}, func(w *world) {
		native := presence.Payload{Type: ItemType, Bytes: appendItems(nil, nodeMood, &nodeItem{ID: "i", Payload: "<mood xmlns='" + nodeMood + "'><sad/></mood>"})}
		doc, _ := RestoreItem(native, "")
		if _, err := w.engine.Step(w.ctx, entity("alice"), presence.Publish{ID: sourceID(nodeMood), Native: native, Doc: doc}); err != nil {
			t.Fatal(err)
		}
		a := w.login("alice", "a")
		a.send("<iq type='set' id='r'><pubsub xmlns='" + nsPubSub + "'><retract node='" + nodeMood + "'><item id='i'/></retract></pubsub></iq>")
		if el := a.await("iq"); el.Child(nsClient, "error").Child(nsStanzas, "item-not-found") == nil {
			t.Error(el.Source())
		}
		if view, err := w.edge.look(w.ctx, entity("alice"), entity("alice")); err != nil || len(view.Sources) != 0 {
			t.Errorf("%v, %v", view.Sources, err)
		}
	})
}
