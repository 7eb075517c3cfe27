package jabber

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// Notify tells sessions what they may see of a presentity, by source: an XMPP
// session's own stanza as it came, a SIP publication as a stanza made of its
// document, and unavailable for what is gone.
func (e *Edge) Notify(n *presence.Notice) {
	if n.Direct != nil {
		e.notifyDirect(n)
		return
	}
	w := wording{far: e.many}
	for i := range n.Targets {
		if s := e.reg.session(n.Targets[i].Handle); s != nil {
			s.notify(n, &n.Targets[i], &w)
		} else {
			e.looked(n, &n.Targets[i])
		}
	}
}

// heldNotice is presence that waits until the client wants it: what it was told,
// and what is true now. What lies between is never told (XEP-0352 §5).
type heldNotice struct {
	prev, view *presence.View
	words      []presence.LastWord
	renew      bool // the client wants events that it has not been told of
	doubtful   int  // rounds for which it may be that the owner has not heard of all yet, see doubt
	heard      bool // since then
}

func (s *session) notify(n *presence.Notice, t *presence.Target, w *wording) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.far != nil && n.Package != "" {
		return
	}
	if strings.Contains(t.Sub[min(len(s.handle), len(t.Sub)):], fetchMark) {
		s.answerProbe(n, w)
		return
	}
	view := n.View
	if n.State != presence.Active {
		view = nil // what a watch that ended still brings is not for XMPP
	}
	told, ok := s.watches[n.Presentity]
	if ok {
		s.watches[n.Presentity] = view
	}
	shown := t.Shown
	if s.far != nil {
		if s.watches == nil {
			s.lastEcho(n, shown)
			return
		}
		if !ok {
			return // it watches no more, and has been told so
		}
		// What the owner knows to have been shown may be less: he may be new.
		shown = told
	}
	if h := s.held[n.Presentity]; h != nil || s.holding() {
		if h == nil {
			h = s.hold(n.Presentity, shown)
		}
		h.view, h.heard = view, true
		h.words = append(h.words, n.LastWords...)
		if over := len(h.words) - MaxHeldWords; over > 0 {
			h.words = h.words[over:]
		}
		if h.doubtful > 0 && !lacks(view, h.prev) && !s.holding() {
			s.release(n.Presentity, h)
		}
		return
	}
	s.tell(n.Presentity, w.of(n.Presentity, shown, view, n.LastWords))
	if s.notified() {
		s.tellEvents(n.Presentity, s.caps, w.eventsOf(shown, view, n.LastWords))
	}
}

// lastEcho is for a session that has become unavailable: its own presence going is all that it is still told (RFC 6121
// §4.5.2). What else is under way from owners elsewhere, perhaps for long, its client would show for ever. mu is held.
func (s *session) lastEcho(n *presence.Notice, shown *presence.View) {
	id := s.source()
	if n.Presentity == s.user.entity && knows(shown, id) && !knows(n.View, id) {
		s.tell(n.Presentity, []phrase{farewell(n.Presentity, &presence.Source{ID: id}, n.LastWords)})
	}
}

// holding tells whether presence has to wait: the client is away, does not want
// it (XEP-0352), or has not read what it was sent. mu is held.
func (s *session) holding() bool {
	if s.stream == nil || s.inactive {
		return true
	}
	if s.stream.Queued() <= MaxBehind {
		return false
	}
	if !s.flushing {
		s.flushing = true
		time.AfterFunc(time.Second, s.catchUp)
	}
	return true
}

// catchUp looks whether a slow client has read on.
func (s *session) catchUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushing = false
	if !s.ended && !s.inactive && !s.holding() {
		s.flush()
	}
}

// flush tells what was held. mu is held.
func (s *session) flush() {
	if len(s.held) == 0 || s.stream == nil {
		return
	}
	for of, h := range s.held {
		if h.doubtful == 0 {
			s.release(of, h)
		}
	}
}

// release tells one contact's held notice. mu is held.
func (s *session) release(of presence.Entity, h *heldNotice) {
	if delete(s.held, of); len(s.held) == 0 {
		s.held = nil
	}
	w := wording{far: s.far != nil}
	s.tell(of, w.of(of, h.prev, h.view, h.words))
	if !s.notified() {
		return
	}
	if h.renew {
		h.prev = nil
	}
	s.tellEvents(of, s.caps, w.eventsOf(h.prev, h.view, h.words))
}

func (s *session) tell(of presence.Entity, phrases []phrase) {
	for i := range phrases {
		s.put(nil, phrases[i].head, s.user.to, phrases[i].rest)
	}
}

// answerProbe sends the whole view; where nothing is to be seen it says so
// (RFC 6121 §4.3.2). A refusal was answered when the engine said so.
func (s *session) answerProbe(n *presence.Notice, w *wording) {
	if n.View == nil {
		return
	}
	phrases := w.of(n.Presentity, nil, n.View, nil)
	s.flush()
	s.tell(n.Presentity, phrases)
	if len(phrases) == 0 {
		b := markup.AppendAttr([]byte("<presence"), "from", n.Presentity.String())
		b = append(b, s.user.to...)
		s.put(nil, append(b, " type='unavailable'/>"...))
	}
}

// notifyDirect delivers directed presence (RFC 6121 §4.6.3).
func (e *Edge) notifyDirect(n *presence.Notice) {
	src := n.Direct.Source
	b := appendHead(nil, n.Presentity, src)
	head := len(b)
	content := src.Native.Bytes
	if !n.Direct.Available {
		b = append(b, " type='unavailable'"...)
		if src.Native.Type != farewellType {
			content = lastWords(n.LastWords, src.ID)
		}
	}
	b = appendContent(b, content)
	for i := range n.Targets {
		t := &n.Targets[i]
		if t.Handle != "" {
			if s := e.reg.session(t.Handle); s != nil {
				s.sendDirected(n.Presentity, src, b[:head:head], markup.AppendAttr(nil, "to", s.full), b[head:])
			}
			continue
		}
		for _, s := range e.reg.user(t.Watcher).list() {
			if s.available() {
				s.sendDirected(n.Presentity, src, b[:head:head], s.user.to, b[head:])
			}
		}
	}
}

func (s *session) sendDirected(from presence.Entity, src *presence.Source, parts ...[]byte) {
	if !s.user.blocked(from, src.ID.Key) {
		s.send(parts...)
	}
}

// phrase is one presence stanza for any watcher: head, then the watcher's to
// attribute, then rest.
type phrase struct{ head, rest []byte }

// wording keeps the phrases for one change, so that those who were told the same
// before share them.
type wording struct {
	far        bool // views may be of different owners
	made       bool
	prev, view *presence.View
	phrases    []phrase

	compared bool // the same for events
	from, to *presence.View
	events   []event
}

func (w *wording) eventsOf(prev, view *presence.View, words []presence.LastWord) []event {
	if !w.compared || w.from != prev || w.to != view {
		w.compared, w.from, w.to, w.events = true, prev, view, changesOf(prev, view, words)
	}
	return w.events
}

func (w *wording) of(of presence.Entity, prev, view *presence.View, words []presence.LastWord) []phrase {
	if w.made && w.prev == prev && w.view == view {
		return w.phrases
	}
	w.made, w.prev, w.view, w.phrases = true, prev, view, nil
	var gone, changed []*presence.Source
	switch {
	case w.far && prev != nil && view != nil:
		if !follows(view, prev) {
			w.phrases = difference(of, prev, view, words)
			return w.phrases
		}
		gone, changed = changesFar(prev, view)
		changed = withCalls(prev, view, changed)
	case view != nil:
		gone, changed = view.Changes(prev)
		changed = withCalls(prev, view, changed)
	case prev != nil:
		gone = prev.Sources
	}
	for _, src := range gone {
		if isOpen(src) {
			w.phrases = append(w.phrases, farewell(of, src, words))
		}
	}
	for _, src := range changed {
		if !isOpen(src) && !knows(prev, src.ID) {
			continue // closed from the start: nothing to take back
		}
		w.phrases = append(w.phrases, phraseOf(view, src))
	}
	w.phrases = append(w.phrases, loneCalls(of, prev, view)...)
	return w.phrases
}

// knows tells whether a view showed a source as available.
func knows(v *presence.View, id presence.SourceID) bool {
	if v == nil {
		return false
	}
	for _, s := range v.Sources {
		if s.ID == id {
			return isOpen(s)
		}
	}
	return false
}

// isOpen tells whether a source is available presence in XMPP's sense.
func isOpen(src *presence.Source) bool {
	if src.ID.Kind == presence.Extended {
		return false // says something of the user, and nothing of a resource
	}
	return src.Native.Type == nsClient || readDocument(src.Doc).Available
}

// farewell is the unavailable presence of a source that is gone.
func farewell(of presence.Entity, src *presence.Source, words []presence.LastWord) phrase {
	b := appendHead(nil, of, src)
	head := len(b)
	b = append(b, " type='unavailable'"...)
	b = appendContent(b, lastWords(words, src.ID))
	return phrase{b[:head:head], b[head:]}
}

// lastWords of a source, the newest winning.
func lastWords(words []presence.LastWord, id presence.SourceID) []byte {
	for i := len(words) - 1; i >= 0; i-- {
		if words[i].ID == id && words[i].Native.Type == nsClient {
			return words[i].Native.Bytes
		}
	}
	return nil
}

// phraseOf finds the stanza of a source in what was rendered for its view.
func phraseOf(v *presence.View, src *presence.Source) phrase {
	b := v.Render(nsClient, renderView)
	for _, o := range v.Sources {
		head, tail := cut(b)
		rest, next := cut(tail)
		if o == src {
			return phrase{head, rest}
		}
		b = next
	}
	return phrase{}
}

// appendPart appends a part after its length.
func appendPart(b, part []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(part))), part...)
}

// cut takes a part, which has its length before it.
func cut(b []byte) (part, rest []byte) {
	n := binary.LittleEndian.Uint32(b)
	return b[4 : 4+n : 4+n], b[4+n:]
}

// renderView writes the head and the rest of each source's stanza, each after
// its length.
func renderView(v *presence.View) []byte {
	var room [512]byte
	b := room[:0]
	for _, src := range v.Sources {
		if src.ID.Kind == presence.Extended {
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // told as an event, see changesOf
			continue
		}
		at := len(b)
		b = appendHead(append(b, 0, 0, 0, 0), v.Presentity, src)
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		at = len(b)
		b = append(b, 0, 0, 0, 0)
		if src.Native.Type == nsClient {
			b = appendContent(b, src.Native.Bytes)
		} else {
			st := readDocument(src.Doc)
			st.call(v.Persons())
			if !st.Available {
				b = append(b, " type='unavailable'"...)
			}
			b = appendContent(b, appendStanza(nil, st))
		}
		binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	return bytes.Clone(b) // it lives as long as the view
}

// appendHead appends the open start tag with the from attribute of a source.
func appendHead(b []byte, of presence.Entity, src *presence.Source) []byte {
	return markup.AppendAttr(append(b, "<presence"...), "from", of.String()+"/"+resourceOf(src.ID))
}

func appendContent(b, content []byte) []byte {
	if len(content) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = append(b, content...)
	return append(b, "</presence>"...)
}

// SIPResource begins the resourceparts that we make for sources which are not
// XMPP sessions.
const SIPResource = "sip-"

// resourceOf is the resourcepart that stands for a source. It is the same as
// long as the source lives: a publication's tuple ids are not, since clients
// change them with each PUBLISH.
func resourceOf(id presence.SourceID) string {
	if id.Kind == presence.Session {
		return id.Key
	}
	h := fnv.New64a()
	h.Write([]byte{byte(id.Kind)})
	h.Write([]byte(id.Key))
	return SIPResource + strconv.FormatUint(h.Sum64(), 36)
}
