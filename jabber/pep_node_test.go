package jabber

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/markup"
)

// A node is read back as it was stored, and a path is one node's.
func TestNodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zA-Z0-9<>&'"äß€😀 ._:/#-]{1,20}`)
		n := &node{Name: text.Draw(t, "name"), Created: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "created"), 0).UTC(), Config: nodeConfig{
			Access: rapid.SampledFrom([]access{accessPresence, accessOpen, accessWhitelist}).Draw(t, "access"),
			Max:    rapid.IntRange(1, MaxPEPItems).Draw(t, "max"), Persist: rapid.Bool().Draw(t, "persist"),
			Retract: rapid.Bool().Draw(t, "retract"), Last: rapid.SampledFrom([]string{lastNever, lastOnSub, lastOnPresence}).Draw(t, "last"),
		}}
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			payload, err := markup.Parse(append(markup.AppendText([]byte("<a xmlns='"+rapid.SampledFrom([]string{"x", "", nsStoredNode, nsPubSubEvent}).Draw(t, "space")+"'><b/>"),
				text.Draw(t, "text")), "</a>"...), markup.Options{})
			if err != nil {
				t.Fatal(err)
			}
			n.put(nodeItem{ID: text.Draw(t, "id"), Publisher: text.Draw(t, "publisher"), At: time.Unix(0, rapid.Int64Range(1, 1<<60).Draw(t, "at")).UTC(),
				Payload: string(payload.Append(nil, nsStoredNode))})
		}
		got, ok := readNode(appendNode(nil, n))
		if !ok || !reflect.DeepEqual(got, n) {
			t.Fatalf("%+v\n%+v", got, n)
		}
		// What is told means the same where the default namespace is another.
		for i := range n.Items {
			el, err := markup.ParseIn(appendItems(nil, n.Name, &n.Items[i]), []markup.Decl{{Space: nsPubSubEvent}}, markup.Options{})
			if err != nil {
				t.Fatal(err)
			}
			was, _ := markup.ParseIn([]byte(n.Items[i].Payload), []markup.Decl{{Space: nsStoredNode}}, markup.Options{})
			for p := range el.Child(nsPubSubEvent, "item").Children() {
				if p.Space != was.Space || p.Text() != was.Text() {
					t.Fatalf("%s is not %s", p.Source(), n.Items[i].Payload)
				}
			}
		}
		if name, ok := nodeName(nodePath(n.Name)); !ok || name != n.Name {
			t.Fatalf("%q came back as %q", n.Name, name)
		}
	})
}

func TestNodePut(t *testing.T) {
	n := &node{Config: nodeConfig{Max: 2}}
	ids := func() (s string) {
		for _, it := range n.Items {
			s += it.ID
		}
		return s
	}
	for _, c := range []struct{ put, want string }{{"a", "a"}, {"b", "ab"}, {"a", "ba"}, {"c", "ac"}} {
		if n.put(nodeItem{ID: c.put}); ids() != c.want {
			t.Errorf("%s, want %s", ids(), c.want)
		}
	}
}

func FuzzReadNode(f *testing.F) {
	n := &node{Name: "n", Config: defaultConfig, Items: []nodeItem{{ID: "i", Payload: "<a xmlns='x'/>"}}}
	f.Add(appendNode(nil, n))
	f.Add([]byte("<node xmlns='" + nsStoredNode + "' max='1'><item/></node>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := readNode(b)
		if !ok {
			return
		}
		again, ok := readNode(appendNode(nil, n))
		if !ok || len(again.Items) != len(n.Items) {
			t.Errorf("%q is not read back", b)
		}
	})
}
