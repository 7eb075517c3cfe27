package roster

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// ErrNotLists: the document is not one of resource lists.
var ErrNotLists = errors.New("roster: not a resource-lists document")

// Splice changes one contact in a document: c.Groups and c.Name are what is to be
// true afterwards. Only the bytes that must change do: foreign elements and
// attributes of an entry go with it to its new list, everything else stays byte for
// byte. A new contact is put into each of its groups, whose lists are made when
// they are missing. doc is not changed; it is returned when nothing is to be done.
//
// Line breaks in names become blanks, and names of white space count as none.
func Splice(doc []byte, c Contact) ([]byte, error) {
	s, err := newSplicer(doc, c.Entity)
	if err != nil {
		return nil, err
	}
	moved := s.place(c.Groups)
	s.name(tidy(c.Name), moved)
	return s.bytes(doc)
}

// Remove takes all entries of a contact out of a document. doc is not changed; it is
// returned when there are none.
func Remove(doc []byte, e presence.Entity) ([]byte, error) {
	s, err := newSplicer(doc, e)
	if err != nil {
		return nil, err
	}
	for i := range s.entries {
		s.entries[i].gone = true
	}
	return s.bytes(doc)
}

// splicer is the change of one contact in one document.
type splicer struct {
	root    *markup.Element
	edit    *markup.Edit
	contact presence.Entity
	lists   []*list // document order; the first is the root, new ones at the end
	entries []entry // of the contact, in document order
}

// list is a <list>, or the root, with what comes into it.
type list struct {
	el    *markup.Element // nil for a new one
	up    *list
	name  string // of a new one: what it is called, and its attribute
	attr  string
	group string
	adds  []addition
	kids  []*list // new ones
}

// entry is one that is in the document.
type entry struct {
	el   *markup.Element
	in   *list
	gone bool // it is taken out here; an addition may bring it elsewhere
	name *string
}

// addition is an entry that comes into a list: a copy of one of the document, or
// a new one.
type addition struct {
	of   *entry
	who  presence.Entity // of a new one
	name *string         // what it is to be called; nil: as it is
}

func newSplicer(doc []byte, contact presence.Entity) (*splicer, error) {
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		return nil, err
	}
	if !root.Is(ListsSpace, "resource-lists") {
		return nil, ErrNotLists
	}
	s := &splicer{root: root, edit: markup.NewEdit(root), contact: contact}
	s.collect(root, nil)
	return s, nil
}

func (s *splicer) collect(el *markup.Element, up *list) {
	l := &list{el: el, up: up}
	if up != nil {
		l.group = join(up.group, listName(el))
	}
	s.lists = append(s.lists, l)
	for c := range el.Children() {
		switch {
		case isList(c):
			s.collect(c, l)
		case c.Is(ListsSpace, "entry"):
			if e, ok := EntityOf(c.Attr("uri")); ok && e == s.contact {
				s.entries = append(s.entries, entry{el: c, in: l})
			}
		}
	}
}

// place decides which entries go where, so that the contact is in these groups
// and in no others. It tells whether any entry comes or goes.
func (s *splicer) place(groups []string) bool {
	wanted := []string{}
	for _, g := range groups {
		if g = tidy(g); g != "" && !slices.Contains(wanted, g) {
			wanted = append(wanted, g)
		}
	}
	has := map[string]bool{}
	for i := range s.entries {
		has[s.entries[i].in.group] = true
	}
	grouped := len(has) > 1 || len(has) == 1 && !has[""]
	if len(wanted) == 0 {
		wanted = append(wanted, "")
	}
	var leaving []*list // lists that lose their entries of the contact
	for i := range s.entries {
		e := &s.entries[i]
		// An entry without a group beside others in groups was put there on
		// purpose, and no roster says that it should go.
		if slices.Contains(wanted, e.in.group) || e.in.group == "" && grouped {
			continue
		}
		e.gone = true
		if !slices.Contains(leaving, e.in) {
			leaving = append(leaving, e.in)
		}
	}
	came := false
	for _, g := range wanted {
		if has[g] {
			continue
		}
		came = true
		to := s.list(g)
		switch {
		case len(leaving) > 0:
			for i := range s.entries {
				if s.entries[i].in == leaving[0] {
					to.adds = append(to.adds, addition{of: &s.entries[i]})
				}
			}
			leaving = leaving[1:]
		case len(s.entries) > 0:
			to.adds = append(to.adds, addition{of: &s.entries[0]})
		default:
			to.adds = append(to.adds, addition{who: s.contact})
		}
	}
	return came || len(leaving) > 0
}

// list finds the list of a group, or makes it.
func (s *splicer) list(group string) *list {
	if l := s.find(group); l != nil {
		return l
	}
	if group == "" {
		return s.create(s.lists[0], Ungrouped, "")
	}
	names := strings.Split(group, GroupDelimiter)
	for _, n := range names {
		if n == "" || tidy(n) != n {
			// No list could be called so: one list has the whole as its name.
			return s.create(s.lists[0], group, group)
		}
	}
	up := s.lists[0]
	for i := range names {
		g := strings.Join(names[:i+1], GroupDelimiter)
		next := s.find(g)
		if next == nil {
			next = s.create(up, names[i], g)
		}
		up = next
	}
	return up
}

func (s *splicer) find(group string) *list {
	if group == "" {
		for _, l := range s.lists[1:] {
			if l.group == "" && (l.el == nil || l.el.Attr("name") == Ungrouped) {
				return l
			}
		}
	}
	for _, l := range s.lists[1:] {
		if l.group == group {
			return l
		}
	}
	return nil
}

func (s *splicer) create(up *list, name, group string) *list {
	l := &list{up: up, name: name, group: group}
	up.kids = append(up.kids, l)
	s.lists = append(s.lists, l)
	return l
}

// name gives the contact its name, in those of its entries that need it.
func (s *splicer) name(name string, moved bool) {
	current, has := "", false
	all := make([]**string, 0, len(s.entries)+1)
	names := make([]string, 0, len(s.entries)+1)
	for i := range s.entries {
		e := &s.entries[i]
		n := displayName(e.el)
		if current == "" {
			current = n
		}
		if !e.gone {
			all, names = append(all, &e.name), append(names, n)
		}
	}
	for _, l := range s.lists {
		for i := range l.adds {
			n := ""
			if of := l.adds[i].of; of != nil {
				n = displayName(of.el)
			}
			all, names = append(all, &l.adds[i].name), append(names, n)
		}
	}
	if !moved && name == current {
		return // whatever they are called one by one
	}
	for _, n := range names {
		has = has || n == name
	}
	for i, n := range names {
		// Entries without a name of their own stay so where the contact keeps its name.
		if n != name && (n != "" || name != current || !has) {
			*all[i] = &name
		}
	}
}

// bytes makes the change.
func (s *splicer) bytes(doc []byte) ([]byte, error) {
	for i := range s.entries {
		e := &s.entries[i]
		switch {
		case e.gone:
			s.edit.Remove(e.el)
		case e.name != nil:
			rename(s.edit, markup.Scope(markup.Path(s.root, e.el)), e.el, *e.name)
		}
	}
	for _, l := range s.lists {
		if l.el == nil {
			continue
		}
		scope := markup.Scope(markup.Path(s.root, l.el))
		for _, a := range l.adds {
			fragment, err := s.entry(a, scope)
			if err != nil {
				return nil, err
			}
			s.put(l.el, fragment, "entry")
		}
		outer, inner := s.edit.Indent(l.el)
		step, deeper := strings.CutPrefix(inner, outer)
		if !deeper {
			step = "  "
		}
		for _, k := range l.kids {
			fragment, err := s.fresh(k, scope, inner, step)
			if err != nil {
				return nil, err
			}
			s.put(l.el, fragment, "entry", "entry-ref", "external", "list")
		}
	}
	if !s.edit.Changed() {
		return doc, nil
	}
	return s.edit.Bytes()
}

// put inserts a fragment into a list behind the last child of the given names. A list
// has its display-name first and foreign elements last (RFC 4826 §3.2).
func (s *splicer) put(el *markup.Element, fragment string, names ...string) {
	var after, first *markup.Element
	for c := range el.Children() {
		if first == nil {
			first = c
		}
		if c.Space == ListsSpace && (slices.Contains(names, c.Local) || c.Local == "display-name") {
			after = c
		}
	}
	switch {
	case after != nil:
		s.edit.InsertAfter(after, fragment)
	case first != nil:
		s.edit.InsertBefore(first, fragment)
	default:
		s.edit.Append(el, fragment)
	}
}

// entry writes an addition for a place where scope is in force.
func (s *splicer) entry(a addition, scope []markup.Decl) (string, error) {
	if a.of == nil {
		name := ""
		if a.name != nil {
			name = *a.name
		}
		return string(appendEntry(nil, scope, URIOf(a.who), name)), nil
	}
	fragment := markup.Moved(markup.Path(s.root, a.of.el), scope)
	if a.name == nil {
		return fragment, nil
	}
	el, err := markup.ParseIn([]byte(fragment), scope, markup.File)
	if err != nil {
		return "", err
	}
	x := markup.NewEdit(el)
	rename(x, append(slices.Clone(scope), el.Decls...), el, *a.name)
	b, err := x.Bytes()
	return string(b), err
}

// rename sets the display-name of an entry, inside of which scope is in force.
func rename(x *markup.Edit, scope []markup.Decl, el *markup.Element, name string) {
	dn := el.Child(ListsSpace, "display-name")
	switch {
	case name == "" && dn != nil:
		x.Remove(dn)
	case name == "":
	case dn != nil:
		x.SetContent(dn, string(markup.AppendText(nil, name)))
	default:
		// It is the first child (RFC 4826 §3.2).
		fragment := string(appendName(nil, scope, name))
		for c := range el.Children() {
			x.InsertBefore(c, fragment)
			return
		}
		x.Append(el, fragment)
	}
}

// fresh writes a new list, whose own lines begin with indent and those inside
// one step further; both are "" in a document without lines.
func (s *splicer) fresh(l *list, scope []markup.Decl, indent, step string) (string, error) {
	qname, decl := markup.Qualify(scope, ListsSpace, "list")
	if decl != "" {
		scope = append(slices.Clone(scope), markup.Decl{Space: ListsSpace})
	}
	name := s.unique(l)
	b := []byte("<" + qname + decl)
	b = appendAttr(b, "name", name)
	b = append(b, '>')
	inner := indent + step
	if name != l.name {
		b = appendName(append(b, inner...), scope, l.name)
	}
	for _, a := range l.adds {
		fragment, err := s.entry(a, scope)
		if err != nil {
			return "", err
		}
		b = append(append(b, inner...), fragment...)
	}
	for _, k := range l.kids {
		fragment, err := s.fresh(k, scope, inner, step)
		if err != nil {
			return "", err
		}
		b = append(append(b, inner...), fragment...)
	}
	b = append(append(b, indent...), "</"+qname+">"...)
	return string(b), nil
}

// unique is the name attribute of a new list: unique among its siblings (RFC 4826
// §3.4.5), and none that means something else.
func (s *splicer) unique(l *list) string {
	taken := maps.Clone(aside)
	if l.group != "" {
		taken[Ungrouped] = true
	}
	if l.up.el != nil { // not new itself
		for c := range l.up.el.Children() {
			if c.Is(ListsSpace, "list") {
				taken[c.Attr("name")] = true
			}
		}
	}
	for _, k := range l.up.kids {
		if k == l {
			break
		}
		taken[k.attr] = true
	}
	l.attr = l.name
	for n := 2; taken[l.attr]; n++ {
		l.attr = l.name + "-" + strconv.Itoa(n)
	}
	return l.attr
}

func appendEntry(b []byte, scope []markup.Decl, uri, name string) []byte {
	qname, decl := markup.Qualify(scope, ListsSpace, "entry")
	b = append(append(append(b, '<'), qname...), decl...)
	b = appendAttr(b, "uri", uri)
	if name == "" {
		return append(b, "/>"...)
	}
	if decl != "" {
		scope = append(slices.Clone(scope), markup.Decl{Space: ListsSpace})
	}
	b = appendName(append(b, '>'), scope, name)
	return append(b, "</"+qname+">"...)
}

func appendName(b []byte, scope []markup.Decl, name string) []byte {
	qname, decl := markup.Qualify(scope, ListsSpace, "display-name")
	b = append(b, "<"+qname+decl+">"...)
	b = markup.AppendText(b, name)
	return append(b, "</"+qname+">"...)
}

// appendAttr writes an attribute with the quotes that clients write.
func appendAttr(b []byte, name, value string) []byte {
	at := len(b) + len(" =") + len(name)
	b = markup.AppendAttr(b, name, value) // both kinds of quotes are escaped in it
	b[at], b[len(b)-1] = '"', '"'
	return b
}

// Generate makes the document for a roster that has none.
func Generate(contacts []Contact) []byte {
	empty := []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"" + ListsSpace + "\">\n</resource-lists>\n")
	s, err := newSplicer(empty, presence.Entity{})
	if err != nil {
		panic(err) // of a constant
	}
	for i := range contacts {
		c := &contacts[i]
		name := tidy(c.Name)
		had := map[string]bool{}
		put := func(group string) {
			if !had[group] {
				had[group] = true
				to := s.list(group)
				to.adds = append(to.adds, addition{who: c.Entity, name: &name})
			}
		}
		for _, g := range c.Groups {
			if g = tidy(g); g != "" {
				put(g)
			}
		}
		if len(had) == 0 {
			put("")
		}
	}
	b, err := s.bytes(empty)
	if err != nil {
		panic(err) // there is nothing to overlap
	}
	return b
}
