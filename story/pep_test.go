package story

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"pharos/markup"
)

const (
	nsInfo   = "http://jabber.org/protocol/disco#info"
	nsCaps   = "http://jabber.org/protocol/caps"
	nsPubSub = "http://jabber.org/protocol/pubsub"
	nsEvent  = "http://jabber.org/protocol/pubsub#event"
)

// node is the name of a node of XEP-0163 by its short one: "mood".
func nodeName(short string) string {
	if strings.Contains(short, ":") {
		return short
	}
	return "http://jabber.org/protocol/" + short
}

// features are what the client says of itself when it wants events, in order.
func (c *chatter) features() []string {
	f := []string{nsCaps, nsInfo}
	for _, n := range c.wants {
		f = append(f, nodeName(n)+"+notify")
	}
	slices.Sort(f)
	return f
}

// capabilities is <c/> for the client's presence (XEP-0115 §5.1); nothing for one
// that wants no events.
func (c *chatter) capabilities() string {
	if c.wants == nil {
		return ""
	}
	sum := sha1.Sum([]byte("client/pc//story<" + strings.Join(c.features(), "<") + "<"))
	return "<c xmlns='" + nsCaps + "' hash='sha-1' node='urn:story' ver='" + base64.StdEncoding.EncodeToString(sum[:]) + "'/>"
}

// info answers who asks what that stands for.
func (c *chatter) info(query *markup.Element) string {
	s := "<query xmlns='" + nsInfo + "'" + string(markup.AppendAttr(nil, "node", query.Attr("node"))) + "><identity category='client' type='pc' name='story'/>"
	for _, f := range c.features() {
		s += "<feature" + string(markup.AppendAttr(nil, "var", f)) + "/>"
	}
	return s + "</query>"
}

// publishItem publishes an item of a node of the user's own (XEP-0163 §3).
func (c *chatter) publishItem(name, payload string) error {
	return c.query("set", "<pubsub xmlns='"+nsPubSub+"'><publish node='"+nodeName(name)+"'><item id='current'>"+payload+"</item></publish></pubsub>")
}

// itemWords say what an event has: node=mood, and what any document has.
func itemWords(e *markup.Element) []string {
	items := e.Child(nsEvent, "event").Child(nsEvent, "items")
	if items == nil {
		return nil
	}
	words := []string{"node=" + strings.TrimPrefix(items.Attr("node"), "http://jabber.org/protocol/")}
	for it := range items.Children() {
		if it.Local != "item" {
			words = append(words, it.Local)
			continue
		}
		for x := range it.Children() {
			words = append(words, xmlWords(x)...)
		}
	}
	return words
}
