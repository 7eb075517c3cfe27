package jabber

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pharos/markup"
	"pharos/presence"
	"pharos/redirect"
)

const nsCaps = "http://jabber.org/protocol/caps"

// notifySuffix of a feature asks for the events of a node (XEP-0163 §4.2).
const notifySuffix = "+notify"

// capability is what a client has told of itself, as far as it counts here: the
// nodes whose events it wants, and whether it goes where it is told. Immutable.
type capability struct {
	notify   map[string]struct{}
	redirect bool // takes the redirect IQ
}

// redirects is nil-safe.
func (c *capability) redirects() bool { return c != nil && c.redirect }

// wants is nil-safe: who has told nothing is notified of nothing.
func (c *capability) wants(node string) bool {
	if c == nil {
		return false
	}
	_, ok := c.notify[node]
	return ok
}

func (c *capability) silent() bool { return c == nil || len(c.notify) == 0 }

// capsKey names a set of capabilities (XEP-0115 §5): whoever has the same has
// told the same, since ver is a hash of it.
type capsKey struct{ hash, ver string }

// hashes that XEP-0115 §5.1 lets clients use, by their registered names (XEP-0300).
var hashes = map[string]func() hash.Hash{
	"sha-1": sha1.New, "sha-224": sha256.New224, "sha-256": sha256.New, "sha-384": sha512.New384, "sha-512": sha512.New,
}

// capsCache holds verified capabilities. When it is full the older half goes.
type capsCache struct {
	mu         sync.Mutex
	young, old map[capsKey]*capability
}

func (cc *capsCache) get(k capsKey) *capability {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if c := cc.young[k]; c != nil {
		return c
	}
	c := cc.old[k]
	if c != nil {
		cc.add(k, c)
	}
	return c
}

func (cc *capsCache) put(k capsKey, c *capability) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.add(k, c)
}

func (cc *capsCache) add(k capsKey, c *capability) {
	if len(cc.young) >= MaxCaps/2 {
		cc.old, cc.young = cc.young, nil
	}
	if cc.young == nil {
		cc.young = make(map[capsKey]*capability)
	}
	cc.young[k] = c
}

// capsOf reads <c/> of a presence. False: none, or one of before XEP-0115 1.4,
// whose ver is no hash; such clients are not notified.
func capsOf(el *markup.Element) (k capsKey, node string, ok bool) {
	c := el.Child(nsCaps, "c")
	k = capsKey{c.Attr("hash"), c.Attr("ver")}
	node = c.Attr("node")
	ok = k.hash != "" && k.ver != "" && len(k.hash)+len(k.ver) <= MaxCapsKey && len(node) <= MaxNodeName
	return k, node, ok
}

// learn looks at the capabilities in a presence that the client broadcasts; an
// unknown set is asked for. It is called by the reader.
func (s *session) learn(ctx context.Context, el *markup.Element) {
	k, node, ok := capsOf(el)
	if !ok {
		s.setCaps(ctx, capsKey{}, nil)
		return
	}
	s.mu.Lock()
	same := s.capsKey == k
	s.mu.Unlock()
	if same {
		return // known, or asked
	}
	if c := s.edge.caps.get(k); c != nil {
		s.setCaps(ctx, k, c)
		return
	}
	s.mu.Lock()
	s.capsKey = k
	s.capsAsked = "caps-" + strconv.FormatUint(s.edge.seq.Add(1), 36)
	id := s.capsAsked
	s.mu.Unlock()
	b := markup.AppendAttr([]byte("<iq type='get'"), "id", id)
	b = markup.AppendAttr(b, "from", s.user.entity.Domain)
	b = append(markup.AppendAttr(b, "to", s.full), "><query xmlns='"+nsInfo+"'"...)
	b = markup.AppendAttr(b, "node", node+"#"+k.ver)
	s.send(append(b, "/></iq>"...))
}

// learned takes the answer to that; false when the IQ is none.
func (s *session) learned(ctx context.Context, el *markup.Element) bool {
	s.mu.Lock()
	mine := s.capsAsked != "" && el.Attr("id") == s.capsAsked
	k := s.capsKey
	if mine {
		s.capsAsked = ""
	}
	s.mu.Unlock()
	if !mine {
		return false
	}
	info := el.Child(nsInfo, "query")
	if el.Attr("type") != "result" || info == nil {
		return true
	}
	c := capabilityOf(info)
	// XEP-0115 §5.4: what does not hash to ver, or by an unknown function, is
	// believed of this client alone.
	if verify(info, k) {
		s.edge.caps.put(k, c)
		if s.edge.many {
			s.edge.passAll(newCall(callCaps).entity(presence.Entity{}).capability(k, c)) // no other node need ask
		}
	}
	s.setCaps(ctx, k, c)
	return true
}

func capabilityOf(info *markup.Element) *capability {
	c := &capability{}
	for f := range info.Children() {
		if !f.Is(nsInfo, "feature") {
			continue
		}
		if f.Attr("var") == redirect.Feature {
			c.redirect = true
			continue
		}
		node, ok := strings.CutSuffix(f.Attr("var"), notifySuffix)
		if !ok || node == "" || len(node) > MaxNodeName || len(c.notify) >= MaxNotify {
			continue
		}
		if c.notify == nil {
			c.notify = make(map[string]struct{})
		}
		c.notify[strings.Clone(node)] = struct{}{}
	}
	return c
}

// verify computes the verification string anew (XEP-0115 §5.1, §5.4).
func verify(info *markup.Element, k capsKey) bool {
	h := hashes[k.hash]
	if h == nil {
		return false
	}
	s, ok := verification(info)
	if !ok {
		return false
	}
	sum := h()
	sum.Write([]byte(s))
	return base64.StdEncoding.EncodeToString(sum.Sum(nil)) == k.ver
}

// verification is the string that is hashed; false for an ill-formed response.
func verification(info *markup.Element) (string, bool) {
	var identities, features []string
	type form struct{ name, text string }
	var forms []form
	for c := range info.Children() {
		switch {
		case c.Is(nsInfo, "identity"):
			identities = append(identities, c.Attr("category")+"/"+c.Attr("type")+"/"+lang(c)+"/"+c.Attr("name"))
		case c.Is(nsInfo, "feature"):
			features = append(features, c.Attr("var"))
		case c.Is(nsData, "x"):
			name, text, ok := formString(c)
			if !ok {
				return "", false
			}
			if name != "" {
				forms = append(forms, form{name, text})
			}
		}
	}
	slices.Sort(identities)
	slices.Sort(features)
	slices.SortFunc(forms, func(a, b form) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for i, v := range identities {
		if i > 0 && v == identities[i-1] || strings.IndexByte(v, '<') >= 0 {
			return "", false
		}
		b.WriteString(v + "<")
	}
	for i, v := range features {
		if i > 0 && v == features[i-1] || strings.IndexByte(v, '<') >= 0 {
			return "", false
		}
		b.WriteString(v + "<")
	}
	for i, f := range forms {
		if i > 0 && f.name == forms[i-1].name {
			return "", false
		}
		b.WriteString(f.text)
	}
	return b.String(), true
}

// formString is the part of one form (XEP-0128); without a hidden FORM_TYPE
// it is passed over, and name is "".
func formString(x *markup.Element) (name, text string, ok bool) {
	var fields []field
	for c := range x.Children() {
		if !c.Is(nsData, "field") {
			continue
		}
		f := field{name: c.Attr("var")}
		for v := range c.Children() {
			if v.Is(nsData, "value") {
				f.values = append(f.values, v.Text())
			}
		}
		if f.name != "FORM_TYPE" {
			fields = append(fields, f)
			continue
		}
		for _, v := range f.values {
			if v != f.values[0] {
				return "", "", false
			}
		}
		if c.Attr("type") == "hidden" && len(f.values) > 0 {
			name = f.values[0]
		}
	}
	if name == "" {
		return "", "", true
	}
	slices.SortStableFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString(name + "<")
	for _, f := range fields {
		b.WriteString(f.name + "<")
		slices.Sort(f.values)
		for _, v := range f.values {
			b.WriteString(v + "<")
		}
	}
	return name, b.String(), true
}

// setCaps makes c what the session wants, and sends the last items of the nodes
// that it had not wanted before (XEP-0163 §4.3.3): those of contacts out of what the
// session has been shown of them, the user's own out of the store.
func (s *session) setCaps(ctx context.Context, k capsKey, c *capability) {
	s.mu.Lock()
	was := s.caps
	s.capsKey, s.caps = k, c
	if k == (capsKey{}) {
		s.capsAsked = ""
	}
	fresh := &capability{notify: make(map[string]struct{})}
	if c != nil {
		for node := range c.notify {
			if !was.wants(node) {
				fresh.notify[node] = struct{}{}
			}
		}
	}
	if !s.notified() {
		fresh = nil
	}
	// In one piece with the above, so that each item is told once.
	s.sendLast(fresh)
	s.mu.Unlock()
	s.ownItems(ctx, fresh)
	if c.redirects() && !was.redirects() {
		s.announcedRedirect(ctx)
	}
}

// sendLast sends the last items of contacts' nodes that the session has not been told
// of. mu is held.
func (s *session) sendLast(fresh *capability) {
	if fresh.silent() {
		return
	}
	for of, view := range s.watches {
		if h := s.held[of]; h != nil {
			h.renew = true
		} else if view != nil {
			s.tellEvents(of, fresh, changesOf(nil, view, nil))
		}
	}
}

// notified tells whether the session gets events at all: one that is available with a
// priority that is not negative, and has asked for some (XEP-0163 §4.3.2). mu is held.
func (s *session) notified() bool { return !s.ended && !s.caps.silent() && s.prio.Load() >= 0 }

// forgetCaps: a session that is not available is notified of nothing, and is
// told the last items when it comes back. mu is held.
func (s *session) forgetCaps() { s.capsKey, s.caps, s.capsAsked = capsKey{}, nil, "" }

// ownItems sends the last items of the user's own nodes that are not sources. It blocks.
func (s *session) ownItems(ctx context.Context, wanted *capability) {
	if wanted.silent() {
		return
	}
	e, u := s.edge, s.user.entity
	names, err := e.nodeNames(ctx, u)
	if err != nil {
		s.log().Error("nodes not listed", "err", err)
		return
	}
	for _, name := range names {
		if !wanted.wants(name) {
			continue
		}
		n, err := e.node(ctx, u, name)
		if err != nil {
			s.log().Error("node not read", "node", name, "err", err)
			continue
		}
		if last := n.last(); last != nil && n.Config.Last == lastOnPresence && !n.isSource(last) {
			s.send(appendEvent(nil, u, s.full, appendItems(nil, name, last)))
		}
	}
}

// tellOwn tells a user's own clients of a node that is no source, if they want it
// (XEP-0163 §4, case 3).
func (e *Edge) tellOwn(u presence.Entity, name string, event []byte) {
	e.tellOwnHere(u, name, event)
	if e.many {
		e.pass(u, newCall(callEvent).entity(u).str(name).bytes(event))
	}
}

func (e *Edge) tellOwnHere(u presence.Entity, name string, event []byte) {
	for _, s := range e.reg.user(u).list() {
		s.mu.Lock()
		wants := s.notified() && s.caps.wants(name)
		s.mu.Unlock()
		if wants {
			s.send(appendEvent(nil, u, s.full, event))
		}
	}
}
