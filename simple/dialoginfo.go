package simple

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"pharos/dialoginfo"
	"pharos/presence"
	"pharos/sip"
)

// dialogPackage is RFC 4235: the calls of a user, as PBXes and phones publish
// them, for lamp keys and for presence.
var dialogPackage = &eventPackage{
	name:    "dialog",
	key:     "dialog",
	def:     time.Hour, // RFC 4235 §3.4
	ordered: true,      // a call that rang and was answered has rung
	bodies:  []bodyType{{name: dialoginfo.Type, tell: tellDialogs}},
	params:  []string{"call-id", "from-tag", "to-tag", "include-session-description"},
	publish: &publishing{
		def:    time.Hour,
		types:  []string{dialoginfo.Type},
		others: true,
		read:   readDialogs,
		revive: func(native []byte) (*presence.Document, error) {
			info, err := dialoginfo.Parse(native)
			if err != nil {
				return nil, err
			}
			return onThePhone(info.Dialogs), nil
		},
	},
}

// maxRinging bounds what is granted to a publication in which no dialog is
// confirmed yet. Its publisher refreshes it or has forgotten it: a proxy gives an
// INVITE up after little more than 3 minutes (RFC 3261 §16.8), and the lamp of a
// call whose end was never told goes out then, not hours later.
const maxRinging = 5 * time.Minute

// readDialogs reads a published dialog-info document. A partial one is put
// together with what its publisher said before (RFC 4235 §4.3).
func readDialogs(r *request, p *publication, next func()) {
	info, err := dialoginfo.Parse(p.body)
	switch {
	case errors.Is(err, dialoginfo.ErrTooBig):
		r.reply(413, "", r.edge.warning(nil, r.flow, err.Error()))
		return
	case errors.Is(err, dialoginfo.ErrForeign):
		header := r.edge.warning(nil, r.flow, err.Error())
		r.reply(415, "", sip.AppendList(header, sip.HAccept, append([]string{dialoginfo.Type}, multiparts...)...))
		return
	case err != nil:
		r.badDocument(err.Error(), err)
		return
	case !info.Partial || p.tag == "":
		r.publishDialogs(p, info, false, next)
		return
	}
	err = r.edge.engine.Publication(r.to, "dialog", p.tag, func(src *presence.Source, err error) {
		if err != nil {
			r.failed(err)
			return
		}
		if src == nil {
			r.fail(412, "") // RFC 3903 §6 step 4
			return
		}
		before, err := dialoginfo.Parse(src.Native.Bytes)
		if err != nil {
			before = nil // cannot be: it was read before it was taken
		}
		r.publishDialogs(p, info.Update(before), true, next)
	})
	if err != nil {
		r.failed(err)
	}
}

// publishDialogs goes on with all that a publisher says; merged if that is not
// p.body. What has been overtaken is left out; from then until the publication is
// in the presentity's inbox no other one of a dialog can come between.
func (r *request) publishDialogs(p *publication, info *dialoginfo.Info, merged bool, next func()) {
	calls := &r.edge.calls
	calls.mu.Lock()
	defer calls.mu.Unlock()
	kept := calls.admit(r.to, info, time.Now())
	p.native = presence.Payload{Type: dialoginfo.Type, Bytes: p.body}
	if merged || len(kept) < len(info.Dialogs) {
		p.native.Bytes = (&dialoginfo.Info{Version: info.Version, Entity: info.Entity, Dialogs: kept}).Bytes()
		// What could not be read again would be no dialog at all to watchers.
		if _, err := dialoginfo.Parse(p.native.Bytes); err != nil {
			r.reply(413, "", r.edge.warning(nil, r.flow, err.Error()))
			return
		}
	}
	p.doc = onThePhone(kept)
	if alive := dialoginfo.Alive(kept); len(alive) > 0 && !dialoginfo.OnThePhone(alive) {
		p.lifetime = min(p.lifetime, maxRinging)
	}
	if len(info.Dialogs) == 1 {
		p.key = r.dialogKey(info.Dialogs[0])
	}
	next()
}

// dialogKey is the same for each initial publication of one dialog by one
// publisher. One that publishes again before it has got the entity-tag, or has
// lost it, replaces what it said, and leaves nothing behind that lights a lamp
// until it expires. Without a Call-ID the id is that of a line rather (Asterisk
// has the extension there), which several machines may have, each for itself.
func (r *request) dialogKey(d dialoginfo.Dialog) string {
	if d.CallID == "" {
		d.CallID = "line of " + r.flow.Remote().Addr().Unmap().String()
	}
	h := callKey(r.who, &d)
	return "dialog." + base64.RawURLEncoding.EncodeToString(h[:])
}

// onThePhone is what a publication says of the person (RFC 4480 §3.2); nil: nothing.
func onThePhone(ds []dialoginfo.Dialog) *presence.Document {
	if !dialoginfo.OnThePhone(ds) {
		return nil
	}
	return &presence.Document{Persons: []presence.Person{{
		ID: "call", Rich: presence.Rich{Activities: &presence.Values{Names: []string{"on-the-phone"}}},
	}}}
}

// noDialog is told where there is none: many phones take a document without any
// dialog for no news, and keep their lamp as it is.
const noDialog = `<dialog id="none"><state>terminated</state></dialog>` + "\n"

// tellDialogs writes full state always: it is what all phones understand, and a
// user has few calls. A dialog that has ended is told once, with the change that
// brought it, and has vanished from then on.
func tellDialogs(t *telling) content {
	ended := false
	if t.before != nil && !t.must {
		_, changed := t.view.Changes(t.before)
		for _, s := range changed {
			ended = ended || bytes.Contains(s.Native.Bytes, []byte("terminated"))
		}
	}
	f := filterOf(t)
	list := func(v *presence.View, ended bool) []byte {
		if f.needed(v) {
			return appendDialogs(nil, f.dialogs(v, ended))
		}
		format := dialoginfo.Type
		if ended {
			format += ";ended"
		}
		return v.Render(format, func(v *presence.View) []byte {
			return appendDialogs(nil, (&dialogFilter{}).dialogs(v, ended))
		})
	}
	shown := list(t.view, ended)
	if t.before != nil && !t.must && bytes.Equal(shown, list(t.before, false)) {
		return content{nothing: true} // this watcher sees no change (RFC 4235 §3.3)
	}
	b := dialoginfo.Head(make([]byte, 0, len(shown)+256), t.version, aor(t.view.Presentity))
	return content{body: append(append(b, shown...), dialoginfo.Tail...)}
}

func appendDialogs(dst []byte, ds []dialoginfo.Dialog) []byte {
	if len(ds) == 0 {
		return append(dst, noDialog...)
	}
	return dialoginfo.Append(dst, ds)
}

// dialogFilter is what one watcher is shown of the dialogs (RFC 4235 §3.2, §3.3).
type dialogFilter struct {
	callID, fromTag, toTag string  // of one call; empty: any
	target                 sip.URI // of the watcher: dialogs with himself are not told him
	sessions               bool    // with session descriptions
}

// filterOf reads what the watcher has asked for. Session descriptions only the
// user's own devices get: §3.3 has them explicitly authorized, for which the
// user's rules have no word.
func filterOf(t *telling) *dialogFilter {
	f := &dialogFilter{}
	params := sip.Params(t.state.part[partParams])
	f.callID, _ = params.Get("call-id")
	f.fromTag, _ = params.Get("from-tag")
	f.toTag, _ = params.Get("to-tag")
	f.sessions = params.Has("include-session-description") && t.dialog.watcher == t.dialog.presentity
	if f.callID == "" {
		f.target, _ = sip.ParseURI(t.state.part[partTarget])
	}
	return f
}

// needed tells whether the filter may show other things than what most
// watchers of the view see.
func (f *dialogFilter) needed(v *presence.View) bool {
	if f.callID != "" || f.sessions {
		return true
	}
	for _, s := range v.Sources {
		if f.target.Host != "" && bytes.Contains(s.Native.Bytes, []byte(f.target.Host)) {
			return true
		}
	}
	return false
}

// dialogs are those that the watcher is shown of a view, ended ones only if asked for.
func (f *dialogFilter) dialogs(v *presence.View, ended bool) []dialoginfo.Dialog {
	ps := make([]dialoginfo.Published, 0, len(v.Sources))
	for _, s := range v.Sources {
		if len(s.Native.Bytes) == 0 {
			return f.virtual(v)
		}
		if info, err := dialoginfo.Parse(s.Native.Bytes); err == nil {
			ps = append(ps, dialoginfo.Published{Info: info, At: s.Updated})
		}
	}
	all := dialoginfo.Collate(ps)
	kept := make([]dialoginfo.Dialog, 0, len(all))
	for _, d := range all {
		if d.State == dialoginfo.Terminated && !ended || !f.shows(&d) {
			continue
		}
		if !f.sessions {
			d = d.WithoutSessions()
		}
		kept = append(kept, d)
	}
	return kept
}

// virtual is for watchers to whom the user's rules show no more than activities:
// that there is a call, and neither how many nor with whom (RFC 4235 §3.7.2).
func (f *dialogFilter) virtual(v *presence.View) []dialoginfo.Dialog {
	if f.callID != "" || !slices.ContainsFunc(v.Sources, speaks) {
		return nil
	}
	return []dialoginfo.Dialog{dialoginfo.Virtual}
}

// speaks: the document says that its user is on the phone.
func speaks(s *presence.Source) bool {
	return s.Doc != nil && slices.ContainsFunc(s.Doc.Persons, func(p presence.Person) bool {
		return p.Rich.Activities != nil && slices.Contains(p.Rich.Activities.Names, "on-the-phone")
	})
}

func (f *dialogFilter) shows(d *dialoginfo.Dialog) bool {
	if f.callID != "" {
		// The tags are those of the dialog as the watcher knows it, from one side or
		// the other (§3.2).
		tags := [2]string{d.LocalTag, d.RemoteTag}
		return f.callID == d.CallID && (f.fromTag == "" || f.fromTag == tags[0] || f.fromTag == tags[1]) &&
			(f.toTag == "" || f.toTag == tags[0] || f.toTag == tags[1])
	}
	if d.RemoteTarget == "" || f.target.Host == "" {
		return true
	}
	u, err := sip.ParseURI(d.RemoteTarget)
	return err != nil || u.User != f.target.User || u.Host != f.target.Host || u.Port != f.target.Port
}
