package simple

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/presence"
	"pharos/sip"
	"pharos/xcapdiff"
	"pharos/xdm"
)

// diffPackage is RFC 5875: what changes in a user's documents, for the user
// himself. A change wakes the subscription by presence.Touch; what the NOTIFY says is
// found by comparing what is there with what was told.
var diffPackage = &eventPackage{
	name:    "xcap-diff",
	key:     "xcap-diff",
	def:     time.Hour,
	private: true, // documents are for their owners (RFC 4826 §3.4.9, RFC 5025 §9.9)
	bodies:  []bodyType{{name: xcapdiff.Type, tell: tellDiff}},
	params:  []string{diffProcessing},
	takes:   []string{listType},
	take:    takeSelection,
	begin:   func(e *Edge, d *dialog) { d.keep(e.diffs.add(d)) },
	end:     func(e *Edge, d *dialog) { e.diffs.drop(d) },
}

// diffProcessing says how changes inside documents are told (RFC 5875 §4.3): not
// at all, which is also what subscribers who say nothing get; each one; or those that
// came together as one.
const (
	diffProcessing = "diff-processing"
	xcapPatching   = "xcap-patching"
	aggregate      = "aggregate"
)

const (
	// maxVersions is how many versions of one document are held for patches until
	// the subscriber has been told; beyond it the middle ones are told as one.
	maxVersions = 16
	// maxVersionBytes is how large they may be together; beyond it the document has to
	// be fetched.
	maxVersionBytes = 1 << 20
)

// takeSelection is eventPackage.take: the URIs in a SUBSCRIBE.
func takeSelection(r *request, parts []sip.Part) (kept string, ok bool) {
	if len(parts) > 1 {
		r.fail(400, "More Than One List")
		return "", false
	}
	if parts[0].Encoded {
		r.reply(415, "", []byte("Accept-Encoding: identity\r\n"))
		return "", false
	}
	uris, err := urisOf(parts[0].Body)
	switch {
	case err != nil:
		r.reply(400, "Bad List", r.edge.warning(nil, r.flow, clip(err.Error(), 200)))
		return "", false
	case len(uris) > maxSelections:
		r.fail(403, "Too Many Documents")
		return "", false
	}
	// One that names nothing is not one without a body.
	return "\n" + strings.Join(uris, "\n"), true
}

// selection of a subscription.
func (t *telling) selection() selection {
	kept := t.state.part[partKept]
	if kept == "" {
		return everything
	}
	return t.edge.xcap.selectionOf(t.view.Presentity, strings.Split(kept[1:], "\n"))
}

// diffTable finds the subscriptions to changes of a user's documents.
type diffTable struct {
	mu sync.Mutex
	by map[presence.Entity]map[*dialog]*diffWatch
}

func (dt *diffTable) add(d *dialog) *diffWatch {
	w := &diffWatch{}
	dt.mu.Lock()
	defer dt.mu.Unlock()
	if dt.by == nil {
		dt.by = map[presence.Entity]map[*dialog]*diffWatch{}
	}
	if dt.by[d.presentity] == nil {
		dt.by[d.presentity] = map[*dialog]*diffWatch{}
	}
	dt.by[d.presentity][d] = w
	return w
}

func (dt *diffTable) drop(d *dialog) {
	dt.mu.Lock()
	defer dt.mu.Unlock()
	if delete(dt.by[d.presentity], d); len(dt.by[d.presentity]) == 0 {
		delete(dt.by, d.presentity)
	}
}

func (dt *diffTable) of(user presence.Entity) (ws []*diffWatch) {
	dt.mu.Lock()
	defer dt.mu.Unlock()
	for _, w := range dt.by[user] {
		ws = append(ws, w)
	}
	return ws
}

// diffWatch is what one subscription knows besides its dialog.
type diffWatch struct {
	mu sync.Mutex
	// told is what the last NOTIFY left the subscriber with, by diffItem.key; it
	// counts once that has been confirmed.
	told map[string]diffItem
	// mode is the subscriber's wish of patches, once he has been told anything.
	mode string
	// versions are those that documents have had since a NOTIFY was written, oldest
	// first, where patches are to be made of them.
	versions map[xdm.Name][]*xdm.Document
	// Of several nodes: the content that told has of documents which patches are wanted of, since what
	// other nodes have changed comes without it. maxVersionBytes bounds it.
	bodies map[xdm.Name]*xdm.Document
}

// diffsChanged hears of each commit of a user's documents. Of one on another node, that one
// has told the presentity.
func (e *Edge) diffsChanged(c *xdm.Change) {
	if c.Remote || len(c.Documents) == 0 { // what was missed: see documentsMissed
		return
	}
	ws := e.diffs.of(c.User)
	for _, w := range ws {
		w.mu.Lock()
		for i := range c.Documents {
			w.note(&c.Documents[i])
		}
		w.mu.Unlock()
	}
	// By the presentity, since the dialog may be another node's.
	e.touchDiffs(c.User)
}

func (e *Edge) touchDiffs(u presence.Entity) {
	if err := e.engine.Submit(u, presence.Touch{Package: diffPackage.key}, nil); err != nil {
		e.log.Warn("simple: a change of documents is not told", "user", u.String(), "err", err)
	}
}

// note keeps the versions of one document. w.mu is held.
func (w *diffWatch) note(c *xdm.DocumentChange) {
	switch {
	case c.After == nil:
		delete(w.versions, xdm.Canonical(c.Before.Name))
		return
	case c.Before == nil || w.mode != aggregate && w.mode != xcapPatching:
		return // told without its content
	}
	if w.versions == nil {
		w.versions = map[xdm.Name][]*xdm.Document{}
	}
	n := xdm.Canonical(c.After.Name)
	vs := w.versions[n]
	if len(vs) == 0 || vs[len(vs)-1].ETag != c.Before.ETag {
		vs = append(vs[:0:0], c.Before)
	}
	if vs = append(vs, c.After); len(vs) > maxVersions || len(vs) > 2 && w.mode == aggregate {
		vs = slices.Delete(vs, 1, 2)
	}
	size := 0
	for _, v := range vs {
		size += len(v.Body)
	}
	if w.versions[n] = vs; size > maxVersionBytes {
		delete(w.versions, n)
	}
}

// tellDiff writes what has changed, and all that is selected in answer to a
// SUBSCRIBE and when it is not known what the subscriber has (RFC 5875 §4.8).
func tellDiff(t *telling) content {
	ctx, cancel := context.WithTimeout(context.Background(), listRead)
	defer cancel()
	sel := t.selection()
	now, err := t.edge.selectedOf(ctx, t.view.Presentity, &sel)
	if err != nil {
		t.edge.log.Warn("simple: documents are not told", "user", t.view.Presentity.String(), "err", err)
		if !t.must {
			return content{nothing: true}
		}
	}
	w, ok := t.dialog.kept().(*diffWatch)
	if !ok {
		w = &diffWatch{} // a fetch
	}
	mode, _ := sip.Params(t.state.part[partParams]).Get(diffProcessing)
	w.mu.Lock()
	versions, before := w.versions, w.told
	w.versions, w.mode = nil, mode
	w.mu.Unlock()
	if t.before == nil || t.must {
		before = nil
	}
	if t.edge.bindings.shared && (mode == aggregate || mode == xcapPatching) {
		versions = w.between(before, now, versions, func(n xdm.Name) (xdm.Document, error) { return t.edge.documents.Get(ctx, n) })
	}
	d := xcapdiff.Diff{Root: sel.root}
	if d.Root == "" && t.edge.xcap.Root != nil {
		d.Root = t.edge.xcap.Root(t.view.Presentity.Domain)
	}
	told := map[string]diffItem{}
	for i := range now {
		item := &now[i]
		told[item.key()] = *item
		was, known := before[item.key()]
		if known && was.etag == item.etag && was.value == item.value && slices.Equal(was.scope, item.scope) {
			continue
		}
		item.append(&d, was.etag, versions[xdm.Canonical(item.name)], mode)
	}
	gone := []string{}
	for k := range before {
		if _, still := told[k]; !still {
			gone = append(gone, k)
		}
	}
	slices.Sort(gone)
	for _, k := range gone {
		was := before[k]
		was.appendGone(&d)
	}
	if before != nil && len(d.Documents)+len(d.Elements)+len(d.Attributes) == 0 && !t.must {
		return content{nothing: true}
	}
	if err != nil {
		told = nil // what comes next is told whole
	}
	w.mu.Lock()
	w.told = told
	w.mu.Unlock()
	return content{body: t.fitting(&d)}
}

// between finds the versions of which a change on another node is to be told, and keeps those that
// the subscriber has now. What he is to be told goes from what he was told before to now.
func (w *diffWatch) between(before map[string]diffItem, now []diffItem, versions map[xdm.Name][]*xdm.Document,
	get func(xdm.Name) (xdm.Document, error)) map[xdm.Name][]*xdm.Document {
	w.mu.Lock()
	bodies := w.bodies
	w.mu.Unlock()
	kept, size := map[xdm.Name]*xdm.Document{}, 0
	all := maps.Clone(versions)
	if all == nil {
		all = map[xdm.Name][]*xdm.Document{}
	}
	for i := range now {
		item := &now[i]
		n := xdm.Canonical(item.name)
		if item.node || kept[n] != nil {
			continue
		}
		is := bodies[n]
		if vs := versions[n]; len(vs) > 0 {
			is = vs[len(vs)-1]
		}
		if is == nil || is.ETag != item.etag {
			doc, err := get(n)
			if err != nil || doc.ETag != item.etag {
				continue // to be fetched, or followed by another change
			}
			is = &doc
		}
		was, old := before[item.key()], bodies[n]
		known := slices.ContainsFunc(versions[n], func(v *xdm.Document) bool { return v.ETag == was.etag })
		if old != nil && old.ETag == was.etag && was.etag != item.etag && (!known || versions[n][len(versions[n])-1] != is) {
			all[n] = []*xdm.Document{old, is}
		}
		if size += len(is.Body); size <= maxVersionBytes {
			kept[n] = is
		}
	}
	w.mu.Lock()
	w.bodies = kept
	w.mu.Unlock()
	return all
}

// fitting writes the document so that it can be sent: patches that make it too
// large are left out, and then the content of elements (RFC 5874 §3).
func (t *telling) fitting(d *xcapdiff.Diff) []byte {
	most := maxListStream
	if t.overUDP() {
		most = maxListDatagram
	}
	b := d.Append(nil)
	if len(b) > most {
		for i := range d.Documents {
			d.Documents[i].Ops = nil
		}
		b = d.Append(b[:0])
	}
	if len(b) > most {
		for i := range d.Elements {
			d.Elements[i].Content = ""
		}
		b = d.Append(b[:0])
	}
	return b
}
