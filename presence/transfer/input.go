package transfer

import (
	"fmt"
	"strings"
	"time"

	"pharos/presence"
)

// Kinds of inputs. Numbers are never used again.
const (
	kindPublish = iota + 1
	kindRetract
	kindDirect
	kindWatch
	kindUnwatch
	kindKeep
	kindRenotify
	kindRemove
	kindTouch
)

// AppendInput appends an input as an edge may submit it: all but SetPolicy, Restore,
// Undo, Depart, Assume and Tick, which are the owner's own; ErrKind for these.
func AppendInput(b []byte, in presence.Input) ([]byte, error) {
	var at int
	switch in := in.(type) {
	case presence.Publish:
		b, at = open(append(b, kindPublish))
		b = appendPublish(b, &in)
	case presence.Retract:
		b, at = open(append(b, kindRetract))
		b = appendSourceID(b, in.ID)
		b = AppendString(b, in.IfMatch)
		b = appendPayload(b, &in.Native)
		b = AppendString(b, in.Package)
		b = AppendString(b, in.Node)
	case presence.Direct:
		b, at = open(append(b, kindDirect))
		b = appendDirect(b, &in)
	case presence.Watch:
		b, at = open(append(b, kindWatch))
		b = appendWatch(b, &in)
	case presence.Unwatch:
		b, at = open(append(b, kindUnwatch))
		b = AppendString(b, in.ID)
		b = AppendUint(b, uint64(in.Reason))
		b = AppendBool(b, in.Silent)
		b = AppendBool(b, in.Leaving)
	case presence.Keep:
		b, at = open(append(b, kindKeep))
		b = AppendString(b, in.ID)
		b = AppendBytes(b, in.Opaque)
		b = AppendString(b, in.Node)
		b = AppendUint(b, in.Was)
	case presence.Renotify:
		b, at = open(append(b, kindRenotify))
	case presence.Remove:
		b, at = open(append(b, kindRemove))
	case presence.Touch:
		b, at = open(append(b, kindTouch))
		b = AppendString(b, in.Package)
	default:
		return b, fmt.Errorf("%w: %T", ErrKind, in)
	}
	return shut(b, at), nil
}

// Input is an input; nil after an error.
func (r *Reader) Input() presence.Input {
	kind := r.Uint()
	rest := r.enter()
	if len(r.s) < r.size/2 {
		r.s = strings.Clone(r.s) // a presentity keeps it, and should not keep much else
	}
	var in presence.Input
	switch kind {
	case kindPublish:
		in = r.publish()
	case kindRetract:
		in = presence.Retract{ID: r.sourceID(), IfMatch: r.String(), Native: r.payload(), Package: r.String(), Node: r.String()}
	case kindDirect:
		in = *r.direct()
	case kindWatch:
		in = r.watch()
	case kindUnwatch:
		in = presence.Unwatch{ID: r.String(), Reason: presence.Reason(r.byte()), Silent: r.Bool(), Leaving: r.Bool()}
	case kindKeep:
		in = presence.Keep{ID: r.String(), Opaque: r.Bytes(), Node: r.String(), Was: r.Uint()}
	case kindRenotify:
		in = presence.Renotify{}
	case kindRemove:
		in = presence.Remove{}
	case kindTouch:
		in = presence.Touch{Package: r.String()}
	default:
		r.fail(fmt.Errorf("%w: input %d", ErrKind, kind))
	}
	r.leave(rest)
	if r.err != nil {
		return nil
	}
	return in
}

func appendPublish(b []byte, in *presence.Publish) []byte {
	b = appendSourceID(b, in.ID)
	b = AppendString(b, in.IfMatch)
	b = AppendString(b, in.NewTag)
	b = AppendBool(b, in.Doc != nil)
	if in.Doc != nil {
		b = appendDocument(b, in.Doc)
	}
	b = appendPayload(b, &in.Native)
	b = AppendInt(b, int64(in.Lifetime))
	b = AppendString(b, in.From)
	b = AppendString(b, in.Package)
	b = AppendString(b, in.Node)
	b = AppendBool(b, in.Again)
	return AppendTime(AppendTime(b, in.Said), in.Since)
}

func (r *Reader) publish() (in presence.Publish) {
	in.ID = r.sourceID()
	in.IfMatch = r.String()
	in.NewTag = r.String()
	if r.Bool() {
		in.Doc = r.document()
	}
	in.Native = r.payload()
	in.Lifetime = time.Duration(r.Int())
	in.From = r.String()
	in.Package = r.String()
	in.Node = r.String()
	in.Again = r.Bool()
	in.Said = r.Time()
	in.Since = r.Time()
	return in
}

func appendDirect(b []byte, d *presence.Direct) []byte {
	b = AppendSource(b, d.Source)
	b = AppendEntity(b, d.Watcher)
	b = appendVia(b, &d.Via)
	return AppendBool(AppendBool(b, d.Available), d.Again)
}

func (r *Reader) direct() *presence.Direct {
	return &presence.Direct{Source: r.Source(), Watcher: r.Entity(), Via: r.via(), Available: r.Bool(), Again: r.Bool()}
}

func appendWatch(b []byte, in *presence.Watch) []byte {
	b, at := open(b)
	b = AppendString(b, in.ID)
	b = AppendEntity(b, in.Watcher)
	b = appendVia(b, &in.Via)
	b = AppendInt(b, int64(in.Lifetime))
	b = AppendBool(b, in.Fetch)
	b = AppendBool(b, in.Durable)
	b = AppendString(b, in.Package)
	b = AppendBool(b, in.Private)
	b = AppendUint(b, in.Was)
	return AppendBytes(shut(b, at), in.Opaque)
}

func (r *Reader) watch() (in presence.Watch) {
	rest := r.enterOwn() // apart from Opaque, which is copied
	in.ID = r.String()
	in.Watcher = r.Entity()
	in.Via = r.via()
	in.Lifetime = time.Duration(r.Int())
	in.Fetch = r.Bool()
	in.Durable = r.Bool()
	in.Package = r.String()
	in.Private = r.Bool()
	in.Was = r.Uint()
	r.leave(rest)
	in.Opaque = r.Bytes()
	return in
}
