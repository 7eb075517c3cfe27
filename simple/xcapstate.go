package simple

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"pharos/markup"
	"pharos/patch"
	"pharos/presence"
	"pharos/xcapdiff"
	"pharos/xdm"
)

// diffItem is the state of one selected resource.
type diffItem struct {
	sel  string
	name xdm.Name // of the document
	etag string   // of a document

	// Of a node: the value of an attribute, the source of an element, with what is in
	// force where it stands.
	node  bool
	kind  markup.TargetKind
	value string
	scope []markup.Decl
}

// key tells items apart: a document is told once, however often it is selected.
func (i *diffItem) key() string {
	if i.node {
		return "n " + i.sel
	}
	return "d " + i.name.AUID + "/" + i.name.Path
}

// append adds what has become of the item, which the subscriber has with another
// entity-tag, or not at all.
func (i *diffItem) append(d *xcapdiff.Diff, was string, versions []*xdm.Document, mode string) {
	switch {
	case i.node && i.kind == markup.AttrTarget:
		d.Attributes = append(d.Attributes, xcapdiff.Attribute{Sel: i.sel, Value: i.value})
		return
	case i.node:
		d.Elements = append(d.Elements, xcapdiff.Element{Sel: i.sel, Content: i.value, Scope: i.scope})
		return
	}
	for _, step := range steps(was, i.etag, versions, mode) {
		step.Sel = i.sel
		d.Documents = append(d.Documents, step)
	}
}

// steps are the changes from one version of a document to another. All that are
// known come one by one with xcap-patching (RFC 5875 §4.3).
func steps(was, now string, versions []*xdm.Document, mode string) []xcapdiff.Document {
	whole := []xcapdiff.Document{{PreviousETag: was, NewETag: now}}
	from := slices.IndexFunc(versions, func(v *xdm.Document) bool { return v.ETag == was })
	if was == "" || from < 0 || mode != aggregate && mode != xcapPatching || versions[len(versions)-1].ETag != now {
		return whole
	}
	versions = versions[from:]
	if mode == aggregate {
		versions = []*xdm.Document{versions[0], versions[len(versions)-1]}
	}
	var list []xcapdiff.Document
	for k := 1; k < len(versions); k++ {
		a, b := versions[k-1], versions[k]
		x := xcapdiff.Document{PreviousETag: a.ETag, NewETag: b.ETag}
		ops, err := patch.Diff(a.Body, b.Body)
		switch {
		case err != nil:
			// Too far, or no XML (an icon): to be fetched.
		case len(ops) == 0:
			x.BodyNotChanged = true
		default:
			x.Ops = ops
		}
		list = append(list, x)
	}
	return list
}

// appendGone tells that the item is there no more.
func (i *diffItem) appendGone(d *xcapdiff.Diff) {
	switch {
	case !i.node:
		d.Documents = append(d.Documents, xcapdiff.Document{Sel: i.sel, PreviousETag: i.etag})
	case i.kind == markup.AttrTarget:
		d.Attributes = append(d.Attributes, xcapdiff.Attribute{Sel: i.sel, Gone: true})
	default:
		d.Elements = append(d.Elements, xcapdiff.Element{Sel: i.sel, Gone: true})
	}
}

// documentState reads the documents of one user for one NOTIFY.
type documentState struct {
	edge  *Edge
	ctx   context.Context
	user  presence.Entity
	lists map[string][]xdm.Document // by AUID
	roots map[xdm.Name]*markup.Element
}

// selectedOf is the state of all that is selected, each document once.
func (e *Edge) selectedOf(ctx context.Context, user presence.Entity, sel *selection) ([]diffItem, error) {
	if e.documents == nil {
		return nil, nil
	}
	s := documentState{edge: e, ctx: ctx, user: user, lists: map[string][]xdm.Document{}, roots: map[xdm.Name]*markup.Element{}}
	var items []diffItem
	seen := map[string]bool{}
	for i := range sel.uris {
		found, err := s.items(&sel.uris[i])
		if err != nil {
			return nil, err
		}
		for _, x := range found {
			if !seen[x.key()] {
				seen[x.key()] = true
				items = append(items, x)
			}
		}
	}
	return items, nil
}

func (s *documentState) items(one *selected) (items []diffItem, err error) {
	docs, err := s.list(one.auid)
	if err != nil {
		return nil, err
	}
	for i := range docs {
		n := docs[i].Name
		switch {
		case one.node != "" && n.Path == one.path:
			return s.node(one, n)
		case one.covers(n):
			items = append(items, diffItem{sel: one.member(n), name: n, etag: docs[i].ETag})
		case !one.many && one.node == "" && n.Path == one.path:
			items = append(items, diffItem{sel: one.sel, name: n, etag: docs[i].ETag})
		}
	}
	return items, nil
}

// list is what XCAP shows of an application usage, or of all: OMA's presence rules
// beside those that they are another name of.
func (s *documentState) list(auid string) ([]xdm.Document, error) {
	if l, read := s.lists[auid]; read {
		return l, nil
	}
	all, err := s.edge.documents.List(s.ctx, s.user, auid)
	if err != nil {
		return nil, err
	}
	if auid == "" {
		more, err := s.edge.documents.List(s.ctx, s.user, xdm.OMAPresRules)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	l := all[:0]
	for _, d := range all {
		if _, shown := s.edge.xcap.space(d.AUID); shown {
			l = append(l, d)
		}
	}
	slices.SortStableFunc(l, func(a, b xdm.Document) int {
		return cmp.Or(cmp.Compare(a.AUID, b.AUID), cmp.Compare(a.Path, b.Path))
	})
	l = slices.CompactFunc(l, func(a, b xdm.Document) bool { return a.Name == b.Name })
	s.lists[auid] = l
	return l, nil
}

// node evaluates a node selector; nothing when it does not locate exactly one
// element or attribute (RFC 4825 §6.3).
func (s *documentState) node(one *selected, n xdm.Name) ([]diffItem, error) {
	root, read := s.roots[n]
	if !read {
		doc, err := s.edge.documents.Get(s.ctx, n)
		if err != nil && !errors.Is(err, xdm.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			root, _ = markup.Parse(doc.Body, markup.File) // an icon has no elements
		}
		s.roots[n] = root
	}
	if root == nil {
		return nil, nil
	}
	found, err := markup.Select(root, one.node, one.scope)
	if err != nil || len(found) != 1 {
		return nil, nil
	}
	t := &found[0]
	i := diffItem{sel: one.sel, name: n, node: true, kind: t.Kind}
	switch t.Kind {
	case markup.ElementTarget:
		i.value = t.Element().Source()
		i.scope = markup.Scope(t.Path[:len(t.Path)-1])
	case markup.AttrTarget:
		i.value = t.Element().Attrs[t.Attr].Value
	default:
		return nil, nil
	}
	return []diffItem{i}, nil
}
