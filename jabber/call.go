package jabber

import (
	"slices"

	"pharos/presence"
)

// What is told of a person beside all sources, as by a PBX of a call that goes on,
// is shown in the stanzas that are made of documents. A session's own stanza stays
// as its client wrote it; so where there are only sessions, or nothing, the call
// has a stanza of its own.

// callsOf are what a view shows beside its sources; v may be nil.
func callsOf(v *presence.View) []*presence.Source {
	if v == nil {
		return nil
	}
	return v.Persons()
}

// withCalls adds to the changed sources those whose stanzas look different because
// of a call.
func withCalls(prev, view *presence.View, changed []*presence.Source) []*presence.Source {
	if slices.EqualFunc(callsOf(prev), callsOf(view), sameSource) {
		return changed
	}
	for _, src := range view.Sources {
		if showsCalls(src) && !slices.Contains(changed, src) {
			changed = append(changed[:len(changed):len(changed)], src)
		}
	}
	return changed
}

// showsCalls: its stanza is made of its document.
func showsCalls(src *presence.Source) bool {
	return src.Native.Type != nsClient && isOpen(src)
}

// loneCall is the call that no stanza of a view shows, or nil.
func loneCall(v *presence.View) *presence.Source {
	calls := callsOf(v)
	if len(calls) == 0 || slices.ContainsFunc(v.Sources, showsCalls) {
		return nil
	}
	return calls[0]
}

// loneCalls says what is to be told of calls by themselves.
func loneCalls(of presence.Entity, prev, view *presence.View) (phrases []phrase) {
	was, is := loneCall(prev), loneCall(view)
	if sameSource(was, is) {
		return nil
	}
	if was != nil && (is == nil || is.ID != was.ID) {
		phrases = append(phrases, farewell(of, was, nil))
	}
	if is != nil {
		head := appendHead(nil, of, is)
		phrases = append(phrases, phrase{head, appendContent(nil, appendStanza(nil, readDocument(is.Doc)))})
	}
	return phrases
}

// call takes over what a call says: the stronger show, and its words where the
// user has none of his own.
func (st *stanza) call(calls []*presence.Source) {
	if !st.Available {
		return
	}
	for _, c := range calls {
		for i := range c.Doc.Persons {
			var acts *presence.Values
			st.rich(&c.Doc.Persons[i].Rich, &acts)
			if len(st.Status) == 0 {
				st.Status = addStatus(nil, presence.Note{Text: wordsOf(acts, st.Show)})
			}
		}
	}
}
