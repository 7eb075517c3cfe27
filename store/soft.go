package store

import (
	"fmt"

	"pharos/presence"
)

// Record is one soft-state entry; a nil Value deletes.
type Record struct {
	Kind  byte // 'p' publication, 's' subscription, 'r' registration
	Key   string
	Value []byte
}

const (
	kindSource       = 'p'
	kindSubscription = 's'
)

// Put appends records to the journal, all or none; done is called after the
// group's fdatasync, in the order of the calls, on the journal's goroutine (after
// Close: at once, with ErrClosed). The values are copied before Put returns. After
// an error nothing of recs counts; later Puts fail too until the disk is well.
func (s *Store) Put(recs []Record, done func(error)) {
	s.j.put(done, func(buf []byte, gen uint32) ([]byte, error) {
		for _, r := range recs {
			if len(r.Key)+len(r.Value) > MaxRecord {
				return buf, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(r.Key)+len(r.Value))
			}
			buf = appendFrame(buf, r, gen)
		}
		return buf, nil
	})
}

// Range calls fn for every live record of a kind that is durable now, in the
// order in which they were last put. The value is the callee's.
func (s *Store) Range(kind byte, fn func(key string, value []byte) error) error {
	want := func(k byte, _ []byte) bool { return k == kind }
	return s.j.each(want, func(f frame) error {
		return fn(string(f.key), append([]byte{}, f.value...))
	})
}

// Save implements engine.Saver over Put.
func (s *Store) Save(saves []presence.Save, done func(error)) {
	s.j.put(done, func(buf []byte, gen uint32) ([]byte, error) {
		for i := range saves {
			start := len(buf)
			var err error
			if buf, err = appendSave(buf, &saves[i], gen); err != nil {
				return buf, err
			}
			if n := len(buf) - start - frameHead; n > MaxRecord {
				return buf, fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
			}
		}
		return buf, nil
	})
}

// Saved reads back what Save kept, per presentity. Sources have Native but no
// Doc. A record that does not decode is reported in the log and passed over.
func (s *Store) Saved(fn func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error) error {
	type state struct {
		sources []*presence.Source
		subs    []*presence.Subscription
	}
	all := make(map[presence.Entity]*state)
	var order []presence.Entity
	want := func(k byte, _ []byte) bool { return k == kindSource || k == kindSubscription }
	err := s.j.each(want, func(f frame) error {
		e, err := keyEntity(f.key)
		var source *presence.Source
		var sub *presence.Subscription
		if err == nil && f.kind == kindSource {
			source, err = decodeSource(f.value)
		} else if err == nil {
			sub, err = decodeSubscription(f.value)
		}
		if err != nil {
			s.log.Error("store: a saved record cannot be read", "kind", string(rune(f.kind)), "key", string(f.key), "error", err)
			return nil
		}
		st := all[e]
		if st == nil {
			st = new(state)
			all[e] = st
			order = append(order, e)
		}
		if source != nil {
			st.sources = append(st.sources, source)
		} else {
			st.subs = append(st.subs, sub)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range order {
		if err := fn(e, all[e].sources, all[e].subs); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes all saved presence state of one presentity.
func (s *Store) forget(u presence.Entity, done func(error)) {
	var recs []Record
	prefix := string(appendEntityKey(nil, u))
	want := func(k byte, key []byte) bool {
		return (k == kindSource || k == kindSubscription) && len(key) >= len(prefix) && string(key[:len(prefix)]) == prefix
	}
	err := s.j.each(want, func(f frame) error {
		recs = append(recs, Record{Kind: f.kind, Key: string(f.key)})
		return nil
	})
	if err != nil || len(recs) == 0 {
		done(err)
		return
	}
	s.Put(recs, done)
}

// Damage lists what of the journal could not be read at start.
func (s *Store) Damage() []Damage { return s.j.damage }

// Get returns the value of one live record; nil when there is none.
func (s *Store) Get(kind byte, key string) (value []byte, err error) {
	want := func(k byte, b []byte) bool { return k == kind && string(b) == key }
	err = s.j.each(want, func(f frame) error {
		value = append([]byte{}, f.value...)
		return nil
	})
	return value, err
}
