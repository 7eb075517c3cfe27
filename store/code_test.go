package store

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

func genTime(t *rapid.T, what string) time.Time {
	if rapid.Bool().Draw(t, what+" zero") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(-1e9, 9e9).Draw(t, what), rapid.Int64Range(1, 999999999).Draw(t, what+" ns"))
}

// What Save keeps Saved gives back, per presentity, through a restart.
func TestSaveSaved(t *testing.T) {
	text := rapid.StringN(0, 20, 60)
	name := rapid.StringMatching(`[a-z@/:. ]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		d := newMemDisk()
		s := softStore(t, d, io.Discard)
		type key struct {
			e    presence.Entity
			kind presence.SaveKind
			key  string
		}
		want := map[key]any{}
		for range rapid.IntRange(0, 12).Draw(t, "saves") {
			sv := presence.Save{
				Presentity: presence.Entity{User: name.Draw(t, "user"), Domain: name.Draw(t, "domain")},
				Kind:       presence.SaveKind(rapid.IntRange(1, 2).Draw(t, "kind")),
				Key:        text.Draw(t, "key"),
				Delete:     rapid.IntRange(0, 3).Draw(t, "delete") == 0,
			}
			k := key{sv.Presentity, sv.Kind, sv.Key}
			switch {
			case sv.Delete:
				delete(want, k)
			case sv.Kind == presence.SavedSource:
				sv.Source = &presence.Source{
					ID:  presence.SourceID{Kind: presence.Publication, Key: sv.Key},
					Tag: text.Draw(t, "tag"), From: text.Draw(t, "from"),
					Native:  presence.Payload{Type: text.Draw(t, "type"), Bytes: []byte(text.Draw(t, "native"))},
					Expires: genTime(t, "expires"), Updated: genTime(t, "updated"),
					Package: name.Draw(t, "package"),
				}
				want[k] = *sv.Source
				sv.Source.Doc = &presence.Document{} // not kept
			default:
				sv.Subscription = &presence.Subscription{
					ID:      sv.Key,
					Watcher: presence.Entity{User: name.Draw(t, "watcher"), Domain: name.Draw(t, "its domain")},
					Via:     presence.Via{Node: text.Draw(t, "node"), Edge: text.Draw(t, "edge"), Handle: text.Draw(t, "handle")},
					State:   presence.State(rapid.IntRange(1, 3).Draw(t, "state")),
					Expires: genTime(t, "expires"), Created: genTime(t, "created"),
					Durable: rapid.Bool().Draw(t, "durable"),
					Opaque:  []byte(text.Draw(t, "opaque")),
					Package: name.Draw(t, "package"), Private: rapid.Bool().Draw(t, "private"),
					Event: presence.WatcherEvent(rapid.IntRange(0, 8).Draw(t, "event")),
				}
				want[k] = *sv.Subscription
			}
			done := make(chan error, 1)
			s.Save([]presence.Save{sv}, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		s = softStore(t, d, io.Discard)
		defer s.Close()
		got := map[key]any{}
		seen := map[presence.Entity]bool{}
		err := s.Saved(func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
			if seen[e] || len(sources)+len(subs) == 0 {
				t.Fatalf("%v told twice, or of nothing", e)
			}
			seen[e] = true
			for _, s := range sources {
				got[key{e, presence.SavedSource, s.ID.Key}] = *s
			}
			for _, s := range subs {
				got[key{e, presence.SavedSubscription, s.ID}] = *s
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for k, w := range want {
			if !same(got[k], w) {
				t.Fatalf("%v: got %+v, want %+v", k, got[k], w)
			}
		}
	})
}

// same compares times as instants, and nil with empty bytes.
func same(a, b any) bool {
	norm := func(v any) any {
		switch v := v.(type) {
		case presence.Source:
			v.Native.Bytes = append([]byte{}, v.Native.Bytes...)
			return v
		case presence.Subscription:
			v.Opaque = append([]byte{}, v.Opaque...)
			return v
		}
		return v
	}
	return reflect.DeepEqual(norm(a), norm(b))
}

func TestSaveMalformed(t *testing.T) {
	s := softStore(t, newMemDisk(), io.Discard)
	defer s.Close()
	for what, sv := range map[string]presence.Save{
		"no kind":             {Key: "k", Source: &presence.Source{}},
		"no record":           {Key: "k", Kind: presence.SavedSource},
		"record of the other": {Key: "k", Kind: presence.SavedSubscription, Source: &presence.Source{}},
	} {
		done := make(chan error, 1)
		s.Save([]presence.Save{sv}, func(err error) { done <- err })
		if err := <-done; err == nil {
			t.Errorf("%s: saved", what)
		}
	}
	done := make(chan error, 1)
	large := &presence.Source{Native: presence.Payload{Bytes: make([]byte, MaxRecord)}}
	s.Save([]presence.Save{{Kind: presence.SavedSource, Source: large}}, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// A record of a later version, or rubbish, is reported and the others are told.
func TestSavedUnreadable(t *testing.T) {
	var log bytes.Buffer
	s := softStore(t, newMemDisk(), &log)
	defer s.Close()
	save(t, s, presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "good", Source: &presence.Source{Tag: "good"}})
	done := make(chan error, 1)
	s.Put([]Record{
		{Kind: 'p', Key: string(appendEntityKey(nil, bob)) + "newer", Value: []byte{codeVersion + 1, 1, 2, 3}},
		{Kind: 's', Key: string(appendEntityKey(nil, bob)) + "cut", Value: []byte{codeVersion, 1}},
		{Kind: 'p', Key: "no entity", Value: []byte{codeVersion}},
	}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n := 0
	err := s.Saved(func(e presence.Entity, sources []*presence.Source, _ []*presence.Subscription) error {
		if n++; e != alice || len(sources) != 1 || sources[0].Tag != "good" {
			t.Errorf("told of %v", e)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d presentities, %v", n, err)
	}
	if got := strings.Count(log.String(), "cannot be read"); got != 3 {
		t.Errorf("%d reports: %s", got, log.String())
	}
}

// Records of before there were packages, byte for byte, are of presence.
func TestDecodeOld(t *testing.T) {
	source := "\x01" + "\x01" + "\x04desk" + "\x02t1" + "\x14application/pidf+xml" + "\x0b<presence/>" +
		"\x80\xa8\xd6\xb9\x07" + "\x80\x94\xeb\xdc\x03" + "\x07sip:udp"
	s, err := decodeSource([]byte(source))
	if err != nil || !same(*s, presence.Source{
		ID: presence.SourceID{Kind: presence.Publication, Key: "desk"}, Tag: "t1",
		Native:  presence.Payload{Type: "application/pidf+xml", Bytes: []byte("<presence/>")},
		Expires: time.Unix(1, 0), Updated: time.Unix(0, 5e8), From: "sip:udp",
	}) {
		t.Errorf("%+v, %v", s, err)
	}
	subscription := "\x01" + "\x02" + "\x01" + "\x02s1" + "\x03bob" + "\x0bexample.com" + "\x00" + "\x03sip" + "\x02d1" +
		"\x80\xa8\xd6\xb9\x07" + "\x00" + "\x06dialog"
	sub, err := decodeSubscription([]byte(subscription))
	if err != nil || !same(*sub, presence.Subscription{
		ID: "s1", Watcher: bob, Via: presence.Via{Edge: "sip", Handle: "d1"}, State: presence.Pending, Durable: true,
		Expires: time.Unix(1, 0), Opaque: []byte("dialog"),
	}) {
		t.Errorf("%+v, %v", sub, err)
	}
	// Cut anywhere else a record is damaged.
	for i := range source {
		if _, err := decodeSource([]byte(source[:i])); err == nil {
			t.Errorf("a source of %d bytes is read", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encodeSource(nil, &presence.Source{ID: presence.SourceID{Kind: 1, Key: "k"}, Tag: "t", Updated: time.Unix(1, 2)}))
	f.Add(encodeSource(nil, &presence.Source{Package: "dialog"}))
	f.Add(encodeSubscription(nil, &presence.Subscription{ID: "j", Watcher: bob, Package: "xcap-diff", Private: true, Event: presence.EventApproved}))
	f.Add(encodeSubscription(nil, &presence.Subscription{ID: "i", Watcher: bob, Opaque: []byte("o"), Expires: time.Unix(3, 4)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSource(b); err == nil {
			if again, err := decodeSource(encodeSource(nil, s)); err != nil || !same(*again, *s) {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
		if s, err := decodeSubscription(b); err == nil {
			if again, err := decodeSubscription(encodeSubscription(nil, s)); err != nil || !same(*again, *s) {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}
