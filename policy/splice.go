package policy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

// Change is what XMPP says of the policy at one time. Of an address that is in
// two of them the one that shows less counts.
type Change struct {
	Approve, Withdraw []presence.Entity // into Approved; out of it (and, where the other rules still allow, into Cancelled)
	Forget            []presence.Entity // out of Approved and no more: not by the user's word
	Block, Unblock    []string          // block list addresses; those with a resource have no place in the document
}

// Empty tells that nothing is said.
func (c *Change) Empty() bool {
	return len(c.Approve)+len(c.Withdraw)+len(c.Forget)+len(c.Block)+len(c.Unblock) == 0
}

// skeleton is the document of a user who has said nothing.
const skeleton = `<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="` + PresRulesSpace + `" xmlns:cr="` + CommonPolicySpace + `">
</cr:ruleset>
`

// Generate makes the document of a user who has none, from roster rows and
// blocked addresses: CompileRules of it decides as Compile did before.
func Generate(items []store.Item, blocks []string) []byte {
	c := Change{Block: blocks}
	for i := range items {
		if it := &items[i]; !it.Removed && (it.From || it.Approved) {
			c.Approve = append(c.Approve, it.Contact)
		}
	}
	doc, err := Splice([]byte(skeleton), c)
	if err != nil {
		return []byte(skeleton) // cannot be: the skeleton has nothing to go wrong
	}
	return doc
}

// Splice writes a change into the reserved rules, which are made when they are
// missing, and taken out when nobody is left in them. Everything else stays byte
// for byte. doc is not changed; the same slice comes back when nothing is to be changed.
// The error is a *markup.SyntaxError, an *Error of Parse, or that an address cannot
// be written as an identity.
func Splice(doc []byte, c Change) ([]byte, error) {
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		return nil, err
	}
	r, err := parse(root, doc, nil)
	if err != nil {
		return nil, err
	}
	want := r.wanted(root, c)
	for k := range want {
		for _, a := range want[k].in {
			if !expressible(k, a) {
				return nil, fmt.Errorf("policy: no identity stands for %q", a)
			}
		}
	}
	s := splicer{root: root, edit: markup.NewEdit(root), ids: r.ids}
	for k := range kinds {
		s.write(k, r.have[k], want[k])
	}
	if !s.edit.Changed() {
		return doc, nil
	}
	return s.edit.Bytes()
}

// wishes are what is to be true of one reserved set; what is in neither stays as it is.
type wishes struct {
	in  []string // in the order in which they are to be added
	out map[string]bool
}

// wanted works out what a change means for each reserved set.
func (r *reader) wanted(root *markup.Element, c Change) (want [len(kinds)]wishes) {
	for k := range want {
		want[k].out = map[string]bool{}
	}
	approved, blocked, cancelled := &want[0], &want[1], &want[2]
	for _, w := range c.Withdraw {
		approved.out[w.String()] = true
	}
	for _, w := range c.Forget {
		approved.out[w.String()] = true
	}
	for _, w := range c.Approve {
		if a := w.String(); !approved.out[a] {
			approved.in = append(approved.in, a)
			cancelled.out[a] = true
		}
	}
	if len(c.Withdraw) > 0 {
		allows := r.othersAllow(root, c.Withdraw)
		for _, w := range c.Withdraw {
			if allows(w) {
				cancelled.in = append(cancelled.in, w.String())
			}
		}
	}
	keep := map[string]bool{}
	for _, a := range c.Block {
		if a != "" && !strings.Contains(a, "/") {
			keep[a] = true
			blocked.in = append(blocked.in, a)
		}
	}
	for _, a := range c.Unblock {
		if !keep[a] {
			blocked.out[a] = true
		}
	}
	return want
}

// othersAllow tells whom the rules that are not reserved may allow at some time.
// Members of external lists are not known here: somebody may be in all, or in none.
func (r *reader) othersAllow(root *markup.Element, who []presence.Entity) func(presence.Entity) bool {
	out := r.out.atBest()
	in := out
	if len(r.out.External) > 0 {
		if listed, err := Parse(root, r.source, func(string) []presence.Entity { return who }); err == nil {
			in = listed.atBest()
		}
	}
	return func(w presence.Entity) bool {
		for _, p := range [...]*presence.Policy{in, out} {
			if presence.Decide(p, presence.Entity{}, w, presence.Circumstances{}).Class.Handling == presence.Allow {
				return true
			}
		}
		return false
	}
}

// atBest is a policy of the rules as they are when sphere and time are such that
// most is allowed: what allows holds, and what does not counts only if it always
// holds.
func (rs *Rules) atBest() *presence.Policy {
	p := &presence.Policy{Default: presence.Block, Rules: make([]presence.Rule, len(rs.Rules))}
	for i, r := range rs.Rules {
		if r.Handling != presence.Allow && (r.Spheres != nil || r.Validity != nil) {
			r.Never = true // it still names whom it names
		}
		r.Spheres, r.Validity = nil, nil
		p.Rules[i] = r
	}
	return p
}

// splicer edits the reserved rules of one document.
type splicer struct {
	root *markup.Element
	edit *markup.Edit
	ids  map[string]bool // of all rules
}

// reservedRule is one as it stands in the document.
type reservedRule struct {
	e     *markup.Element
	items []item
}

// write makes one reserved set what it is to be.
func (s *splicer) write(kind int, have []reservedRule, want wishes) {
	there := map[string]bool{}
	gone := map[*markup.Element]bool{}
	for _, rule := range have {
		for _, i := range rule.items {
			if want.out[i.address] {
				gone[i.e] = true
			} else {
				there[i.address] = true
			}
		}
	}
	var add []string
	for _, a := range want.in {
		if !there[a] {
			there[a] = true
			add = append(add, a)
		}
	}
	var home *markup.Element // where new ones go: the first rule that stays
	for _, rule := range have {
		if s.empties(rule.e, gone) && (len(add) == 0 || home != nil) {
			s.edit.Remove(rule.e)
			continue
		}
		for _, i := range rule.items {
			if gone[i.e] {
				s.edit.Remove(i.e)
			}
		}
		if home == nil {
			home = rule.e
		}
	}
	switch {
	case len(add) == 0:
	case home == nil:
		s.edit.Append(s.root, s.rule(kind, add))
	default:
		identity := home.Child(CommonPolicySpace, "conditions").Child(CommonPolicySpace, "identity")
		scope := markup.Scope(markup.Path(s.root, identity))
		for _, a := range add {
			s.edit.Append(identity, identityOf(scope, kind, a))
		}
	}
}

// empties tells whether an identity of the rule would have no child left, which its
// schema forbids and which would mean something else (RFC 5025 §3.1.1.2).
func (s *splicer) empties(rule *markup.Element, gone map[*markup.Element]bool) bool {
	for c := range rule.Child(CommonPolicySpace, "conditions").Children() {
		if !c.Is(CommonPolicySpace, "identity") {
			continue
		}
		left := false
		for i := range c.Children() {
			left = left || !gone[i]
		}
		if !left {
			return true
		}
	}
	return false
}

// expressible tells whether what identityOf writes of an address is read as it.
func expressible(kind int, address string) bool {
	user, domain, ok := strings.Cut(address, "@")
	switch {
	case ok:
		w, ok := entityOf(roster.URIOf(presence.Entity{User: user, Domain: domain}))
		return ok && w.String() == address
	case kinds[kind].id == Blocked:
		d, ok := domainOf(address)
		return ok && d == address
	}
	w, ok := entityOf(roster.URIOf(presence.Entity{Domain: address}))
	return ok && w.String() == address
}

// identityOf writes the identity of an address in the block list's form.
func identityOf(scope []markup.Decl, kind int, address string) string {
	local, attr, value := "many", "domain", address
	if user, domain, ok := strings.Cut(address, "@"); ok {
		local, attr, value = "one", "id", roster.URIOf(presence.Entity{User: user, Domain: domain})
	} else if kinds[kind].id != Blocked { // who stands for a domain is no more than that
		local, attr, value = "one", "id", roster.URIOf(presence.Entity{Domain: address})
	}
	qname, decl := markup.Qualify(scope, CommonPolicySpace, local)
	return "<" + qname + decl + string(markup.AppendAttr(nil, attr, value)) + "/>"
}

// rule writes a new reserved rule, indented as the document is.
func (s *splicer) rule(kind int, addresses []string) string {
	id := kinds[kind].id
	for n := 2; s.ids[id]; n++ {
		id = kinds[kind].id + "-" + strconv.Itoa(n)
	}
	s.ids[id] = true
	w := writer{scope: s.root.Decls, indent: s.indent()}
	w.open(CommonPolicySpace, "rule", string(markup.AppendAttr(nil, "id", id)))
	w.open(CommonPolicySpace, "conditions", "")
	w.open(CommonPolicySpace, "identity", "")
	for _, a := range addresses {
		w.line(identityOf(w.scope, kind, a))
	}
	w.close()
	w.close()
	w.open(CommonPolicySpace, "actions", "")
	w.leaf(PresRulesSpace, "sub-handling", kinds[kind].handling.String())
	w.close()
	if kinds[kind].handling == presence.Allow {
		w.open(CommonPolicySpace, "transformations", "")
		for _, all := range [...]string{"services", "persons", "devices"} {
			w.open(PresRulesSpace, "provide-"+all, "")
			w.leaf(PresRulesSpace, "all-"+all, "")
			w.close()
		}
		w.leaf(PresRulesSpace, "provide-all-attributes", "")
		w.close()
	}
	w.close()
	return w.b.String()
}

// indent is what stands before a rule: a line break and white space, or nothing in
// a document without lines.
func (s *splicer) indent() string {
	src := s.root.Source()
	last := -1
	for e := range s.root.Children() {
		last = e.Start - s.root.Start
	}
	if last < 0 {
		if strings.Contains(src, "\n") {
			return "\n  "
		}
		return ""
	}
	line := strings.LastIndexByte(src[:last], '\n')
	if line < 0 || strings.Trim(src[line:last], " \t\n") != "" {
		return ""
	}
	if src[line-1] == '\r' {
		line--
	}
	return src[line:last]
}

// writer writes elements in lines.
type writer struct {
	b      bytes.Buffer
	scope  []markup.Decl
	indent string
	names  []string
}

func (w *writer) line(s string) {
	if w.b.Len() > 0 && w.indent != "" {
		w.b.WriteString(w.indent + strings.Repeat("  ", len(w.names)))
	}
	w.b.WriteString(s)
}

func (w *writer) open(space, local, attrs string) {
	qname, decl := markup.Qualify(w.scope, space, local)
	w.line("<" + qname + decl + attrs + ">")
	w.names = append(w.names, qname)
}

func (w *writer) close() {
	qname := w.names[len(w.names)-1]
	w.names = w.names[:len(w.names)-1]
	w.line("</" + qname + ">")
}

func (w *writer) leaf(space, local, text string) {
	qname, decl := markup.Qualify(w.scope, space, local)
	if text == "" {
		w.line("<" + qname + decl + "/>")
		return
	}
	w.line("<" + qname + decl + ">" + string(markup.AppendText(nil, text)) + "</" + qname + ">")
}
