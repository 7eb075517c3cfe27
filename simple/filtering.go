package simple

import (
	"bytes"
	"errors"
	"strings"

	"pharos/filter"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// filterMark stands between the filter documents of a subscription, as kept with
// its dialog: later ones change earlier ones (RFC 4660 §3.3.3).
const filterMark = "\x00"

// takeFilter keeps the filters that a SUBSCRIBE brings (RFC 4660 §5.2). What
// cannot be understood is refused, since the watcher would be told more than it
// wants (§5.4).
func takeFilter(r *request, parts []sip.Part) (string, bool) {
	if len(parts) > 1 || parts[0].Encoded {
		r.fail(400, "Want One Filter Document")
		return "", false
	}
	body := parts[0].Body
	later, err := filter.Parse([]byte(body))
	if err == nil {
		_, err = filters(r.kept + filterMark + body)
	}
	var bad *filter.Error
	switch {
	case err == nil:
	case errors.As(err, &bad) && bad.TooBig:
		r.reply(413, "", r.edge.warning(nil, r.flow, bad.Text))
		return "", false
	default:
		r.badDocument(err.Error(), err)
		return "", false
	}
	// Documents of which nothing is left go: clients send theirs with every refresh.
	var kept []string
	for _, doc := range strings.Split(r.kept, filterMark) {
		if s, err := filter.Parse([]byte(doc)); err == nil && !s.Within(later) {
			kept = append(kept, doc)
		}
	}
	return strings.Join(append(kept, body), filterMark), true
}

// filters reads what takeFilter has kept; nil when no filter is left.
func filters(kept string) (set *filter.Set, err error) {
	for _, doc := range strings.Split(kept, filterMark) {
		if doc == "" {
			continue
		}
		s, err := filter.Parse([]byte(doc))
		if err != nil {
			return nil, err
		}
		if set, err = set.Merge(s); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// filter is that of a dialog; nil when there is none. d.mu is held.
func (d *dialog) filter() *filter.Filter {
	m := d.memory
	if m == nil || m.filters == nil {
		return nil
	}
	return m.filters.For(func(uri string) bool {
		e, ok := entityOf(uri)
		return ok && e == d.presentity
	}, d.presentity.Domain, true)
}

// narrowed is what of a document a filter leaves. What we render can be parsed.
func narrowed(f *filter.Filter, doc []byte) []byte {
	out, err := f.Apply(doc)
	if err != nil {
		return doc
	}
	return out
}

// tellPresence renders for watchers with filters, and those that take partial
// state (RFC 5263 §4.4): full state first and whenever it is not known what the
// watcher has, then what has changed.
func tellPresence(partial bool) func(t *telling) content {
	return func(t *telling) content {
		d := t.dialog
		d.mu.Lock()
		f := d.filter()
		d.mu.Unlock()
		now := narrowed(f, renderPIDF(t.view))
		tag := "" // without a filter it is kept with the view
		if f != nil {
			tag = entityTag(now)
		}
		if t.before != nil && !t.must {
			if f.Triggered() && !d.fires(f, t.view) {
				return content{nothing: true}
			}
			was := narrowed(f, renderPIDF(t.before))
			if bytes.Equal(was, now) || f != nil && bytes.Equal(inside(was), inside(now)) {
				return content{nothing: true}
			}
			if partial {
				if b, err := pidf.Partial(was, now, t.version); err == nil {
					return content{body: b, tag: tag}
				}
			}
		}
		d.fires(f, t.view)
		if partial {
			if b, err := pidf.Full(now, t.version); err == nil {
				return content{body: b, tag: tag}
			}
		}
		return content{mediaType: pidf.Type, body: now, tag: tag}
	}
}

// inside is what the root of a document of ours has in it. What a filter leaves out
// may have left the declaration of its namespace there, which is no news.
func inside(doc []byte) []byte {
	i := bytes.Index(doc, []byte("<presence"))
	if i < 0 {
		return doc
	}
	if j := bytes.IndexByte(doc[i:], '>'); j >= 0 {
		return bytes.TrimPrefix(doc[i+j:], []byte(">"))
	}
	return doc
}

// fires tells whether a filter wants the change to a view told, compared with
// the last one that was looked at (RFC 4660 §5.3.2), told or not.
func (d *dialog) fires(f *filter.Filter, v *presence.View) bool {
	if !f.Triggered() {
		return true
	}
	d.mu.Lock()
	seen := d.memory.seen
	d.memory.seen = v
	d.mu.Unlock()
	if seen == nil {
		return true
	}
	ok, err := f.Fires(renderPIDF(seen), renderPIDF(v))
	return ok || err != nil
}
