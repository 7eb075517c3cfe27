package simple

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"pharos/dialoginfo"
	"pharos/presence"
)

// What is remembered of published dialogs.
const (
	// maxCalls is the number of dialogs whose last state is remembered to recognise
	// what comes late; beyond it the longest untouched ones are forgotten.
	maxCalls = 1 << 16
	// callMemory is for how long that is: twice as long as the slowest PUBLISH
	// transaction (RFC 3261 §17.1.2.2: 64*T1), with one that is refused by 412
	// and sent anew in between.
	callMemory = 2 * time.Minute
)

// A callTable remembers how published dialogs stood last, so that a PUBLISH that
// was overtaken on its way, by a retransmission or by a 412, does not bring a call
// back that has ended. The entity-tags of one publication keep the order within
// it; this keeps it between publications.
type callTable struct {
	mu    sync.Mutex
	byKey map[callID]*list.Element // of *callState
	order list.List                // the longest untouched first
}

// callID names a dialog of a user: a hash, so that an entry has one size.
type callID [16]byte

type callState struct {
	key     callID
	at      time.Time
	version uint32 // of the document
	ended   bool
}

// callKey names a dialog by its Call-ID and id. A forked INVITE has several with
// one Call-ID (RFC 4235 §4.1.1).
func callKey(of presence.Entity, d *dialoginfo.Dialog) (id callID) {
	h := sha256.New()
	for _, s := range [...]string{of.User, of.Domain, d.CallID, d.ID} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	copy(id[:], h.Sum(nil))
	return id
}

// admit returns the dialogs of a document that were not overtaken, and remembers
// them: an end is final (RFC 4235 §3.7.1), and a document older by its version
// than the last about the dialog says nothing new. Without a Call-ID a dialog
// cannot be told from the next one under its id, and is taken as it comes. t.mu
// is held.
func (t *callTable) admit(of presence.Entity, info *dialoginfo.Info, now time.Time) []dialoginfo.Dialog {
	if t.byKey == nil {
		t.byKey = make(map[callID]*list.Element)
	}
	for e := t.order.Front(); e != nil && now.Sub(e.Value.(*callState).at) > callMemory; e = t.order.Front() {
		t.forget(e)
	}
	kept := make([]dialoginfo.Dialog, 0, len(info.Dialogs))
	for _, d := range info.Dialogs {
		if d.CallID == "" || t.next(callKey(of, &d), d.State == dialoginfo.Terminated, info.Version, now) {
			kept = append(kept, d)
		}
	}
	return kept
}

// next takes a state of a dialog; false: it was overtaken.
func (t *callTable) next(key callID, ends bool, version uint32, now time.Time) bool {
	e := t.byKey[key]
	if e == nil {
		if t.order.Len() >= maxCalls {
			t.forget(t.order.Front())
		}
		t.byKey[key] = t.order.PushBack(&callState{key: key, at: now, version: version, ended: ends})
		return true
	}
	c := e.Value.(*callState)
	if !ends && (c.ended || version < c.version) {
		return false
	}
	c.at, c.version, c.ended = now, max(c.version, version), ends
	t.order.MoveToBack(e)
	return true
}

func (t *callTable) forget(e *list.Element) {
	delete(t.byKey, e.Value.(*callState).key)
	t.order.Remove(e)
}
