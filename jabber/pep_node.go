package jabber

import (
	"strconv"
	"strings"
	"time"

	"pharos/markup"
)

// Namespaces of publish-subscribe.
const (
	nsPubSub       = "http://jabber.org/protocol/pubsub"
	nsPubSubOwner  = nsPubSub + "#owner"
	nsPubSubErrors = nsPubSub + "#errors"
	nsPubSubEvent  = nsPubSub + "#event"
	nsNodeConfig   = nsPubSub + "#node_config"
	nsPublishOpts  = nsPubSub + "#publish-options"
	nsMetaData     = nsPubSub + "#meta-data"
	nsData         = "jabber:x:data"

	// nsStoredNode is of the document in which a node is kept.
	nsStoredNode = "urn:pharos:pep:1"
)

// access is the access model of a node (XEP-0060 §4.5).
type access string

const (
	accessPresence  access = "presence"  // whoever may see the owner's presence; PEP's default (XEP-0163 §5)
	accessOpen      access = "open"      // whoever is not blocked
	accessWhitelist access = "whitelist" // the owner alone, since there are no other affiliations
)

// When the last item is sent (XEP-0060 §16.4.4, pubsub#send_last_published_item).
const (
	lastNever      = "never"
	lastOnSub      = "on_sub"
	lastOnPresence = "on_sub_and_presence"
)

// nodeConfig is what an owner may configure of a node.
type nodeConfig struct {
	Access  access
	Max     int  // items kept; MaxPEPItems for "max"
	Persist bool // false: only watchers are told, nothing is kept
	Retract bool // watchers are told of retractions
	Last    string
}

// defaultConfig is that of XEP-0163 §5: one item, which is what those who come are told.
var defaultConfig = nodeConfig{Access: accessPresence, Max: 1, Persist: true, Retract: true, Last: lastOnPresence}

// node is one leaf node of an account. A value made by readNode may be changed
// before it is stored.
type node struct {
	Name    string
	Config  nodeConfig
	Created time.Time
	Items   []nodeItem // the newest last
}

// nodeItem is one published item.
type nodeItem struct {
	ID        string
	Publisher string // full JID
	At        time.Time
	Payload   string // one element with its namespace declared; "" for none
}

func (n *node) find(id string) int {
	for i := range n.Items {
		if n.Items[i].ID == id {
			return i
		}
	}
	return -1
}

// last is the item published last; nil for none. Nil-safe.
func (n *node) last() *nodeItem {
	if n == nil || len(n.Items) == 0 {
		return nil
	}
	return &n.Items[len(n.Items)-1]
}

// put publishes an item: one with its id is overwritten (XEP-0060 §7.1.2), and
// the oldest go that are too many (§7.1.4).
func (n *node) put(it nodeItem) {
	if i := n.find(it.ID); i >= 0 {
		n.Items = append(n.Items[:i:i], n.Items[i+1:]...)
	}
	n.Items = append(n.Items, it)
	if over := len(n.Items) - n.Config.Max; over > 0 {
		n.Items = n.Items[over:]
	}
}

// appendNode writes the document of a node.
func appendNode(b []byte, n *node) []byte {
	b = append(b, "<node xmlns='"+nsStoredNode+"'"...)
	b = markup.AppendAttr(b, "name", n.Name)
	b = markup.AppendAttr(b, "access", string(n.Config.Access))
	b = markup.AppendAttr(b, "max", strconv.Itoa(n.Config.Max))
	b = markup.AppendAttr(b, "persist", strconv.FormatBool(n.Config.Persist))
	b = markup.AppendAttr(b, "retract", strconv.FormatBool(n.Config.Retract))
	b = markup.AppendAttr(b, "last", n.Config.Last)
	b = markup.AppendAttr(b, "created", n.Created.UTC().Format(time.RFC3339))
	b = append(b, '>')
	for i := range n.Items {
		it := &n.Items[i]
		b = markup.AppendAttr(append(b, "<item"...), "id", it.ID)
		b = markup.AppendAttr(b, "publisher", it.Publisher)
		b = markup.AppendAttr(b, "at", it.At.UTC().Format(time.RFC3339Nano))
		b = append(append(b, '>'), it.Payload...)
		b = append(b, "</item>"...)
	}
	return append(b, "</node>"...)
}

// storedOptions bound what we wrote ourselves; MaxPEPNode bounds what we write.
var storedOptions = markup.Options{MaxBytes: 2 * MaxPEPNode, MaxDepth: 72, MaxAttrs: 64, MaxNodes: MaxPEPNode / 4}

// readNode reads the document of a node; false for what we did not write.
func readNode(body []byte) (*node, bool) {
	el, err := markup.Parse(body, storedOptions)
	if err != nil || !el.Is(nsStoredNode, "node") {
		return nil, false
	}
	n := &node{Name: el.Attr("name"), Config: nodeConfig{
		Access: access(el.Attr("access")), Persist: el.Attr("persist") == "true",
		Retract: el.Attr("retract") == "true", Last: el.Attr("last"),
	}}
	if n.Config.Max, err = strconv.Atoi(el.Attr("max")); err != nil || n.Config.Max < 1 || n.Config.Max > MaxPEPItems {
		return nil, false
	}
	n.Created, _ = time.Parse(time.RFC3339, el.Attr("created"))
	for c := range el.Children() {
		it := nodeItem{ID: c.Attr("id"), Publisher: c.Attr("publisher")}
		it.At, _ = time.Parse(time.RFC3339Nano, c.Attr("at"))
		for p := range c.Children() {
			it.Payload = string(p.Append(nil, nsStoredNode))
			break
		}
		n.Items = append(n.Items, it)
	}
	return n, true
}

// nodePath is the path of a node's document: a document selector takes few
// characters (RFC 4825 §6.2), node names are often URIs with slashes.
func nodePath(name string) string {
	return escape(name, '_', func(c byte) bool { return c == '-' || c == ':' })
}

// nodeName is the node of a document's path; false for none that nodePath makes.
func nodeName(path string) (string, bool) {
	if strings.IndexByte(path, '_') < 0 {
		return path, path != ""
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '_' {
			b = append(b, path[i])
			continue
		}
		if i+2 >= len(path) {
			return "", false
		}
		c, err := strconv.ParseUint(path[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), true
}
