package store

import (
	"bytes"
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
//
// In PostgreSQL the records are rows and done is called after the commit. There
// a write that has failed with the connection may count nevertheless.
func (s *Store) Put(recs []Record, done func(error)) {
	if s.rows != nil {
		c := s.softCall(done)
		c.rows = make([]softRow, len(recs))
		for i, r := range recs {
			var err error
			if c.rows[i], err = rowOf(r); err != nil {
				c.err = err
			}
			c.rows[i].value = bytes.Clone(r.Value)
		}
		s.rows.put(c)
		return
	}
	s.journal(done, func(buf []byte, gen uint32) ([]byte, error) {
		for _, r := range recs {
			if len(r.Key)+len(r.Value) > MaxRecord {
				return buf, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(r.Key)+len(r.Value))
			}
			buf = appendFrame(buf, r, gen)
		}
		return buf, nil
	})
}

// Save implements engine.Saver over Put.
func (s *Store) Save(saves []presence.Save, done func(error)) {
	if s.rows != nil {
		c := s.softCall(done)
		c.rows = make([]softRow, len(saves))
		for i := range saves {
			var err error
			if c.rows[i], err = savedRow(&saves[i]); err != nil {
				c.err = err
			}
		}
		s.rows.put(c)
		return
	}
	s.journal(done, func(buf []byte, gen uint32) ([]byte, error) {
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

func (s *Store) softCall(done func(error)) *softCall {
	return &softCall{fence: s.fence.Load(), done: done}
}

// journal queues what encode appends, if the fence stands.
func (s *Store) journal(done func(error), encode func(buf []byte, gen uint32) ([]byte, error)) {
	if err := s.standing(); err != nil {
		encode = func(buf []byte, _ uint32) ([]byte, error) { return buf, err }
	}
	s.j.put(done, encode)
}

// rowOf is the row of a record, without its value. Those of presentities have their entity
// in columns of its own.
func rowOf(r Record) (softRow, error) {
	w := softRow{kind: r.Kind, key: r.Key}
	if r.Kind != kindSource && r.Kind != kindSubscription {
		return w, nil
	}
	e, err := keyEntity([]byte(r.Key))
	if err != nil {
		return w, err
	}
	w.of, w.key = e, r.Key[len(e.Domain)+len(e.User)+2:]
	return w, nil
}

func savedRow(s *presence.Save) (softRow, error) {
	kind, err := saveKind(s)
	w := softRow{of: s.Presentity, kind: kind, key: s.Key}
	switch {
	case err != nil || s.Delete:
	case kind == kindSource:
		w.value = encodeSource(nil, s.Source)
	default:
		w.value = encodeSubscription(nil, s.Subscription)
	}
	return w, err
}

// Saved reads back what Save kept, per presentity. Sources have Native but no
// Doc. A record that does not decode is reported in the log and passed over.
func (s *Store) Saved(fn func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error) error {
	if s.rows != nil {
		return s.savedRows(fn)
	}
	all := make(map[presence.Entity]*saved)
	var order []presence.Entity
	want := func(k byte, _ []byte) bool { return k == kindSource || k == kindSubscription }
	err := s.j.each(want, func(f frame) error {
		e, err := keyEntity(f.key)
		if err != nil {
			s.unreadable(f.kind, f.key, err)
			return nil
		}
		st := all[e]
		if st == nil {
			st = new(saved)
		}
		if st.add(s, f.kind, f.key, f.value); len(st.sources)+len(st.subs) == 1 && all[e] == nil {
			all[e] = st
			order = append(order, e)
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

// savedRows is Saved; the rows of a presentity lie together.
func (s *Store) savedRows(fn func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error) error {
	var of presence.Entity
	var st saved
	tell := func() error {
		if len(st.sources)+len(st.subs) == 0 {
			return nil
		}
		told := st
		st = saved{}
		return fn(of, told.sources, told.subs)
	}
	err := s.eachSaved(func(w softRow) error {
		if w.of != of {
			if err := tell(); err != nil {
				return err
			}
			of = w.of
		}
		st.add(s, w.kind, []byte(w.key), w.value)
		return nil
	})
	if err != nil {
		return err
	}
	return tell()
}

// forget deletes all saved presence state of one presentity.
func (s *Store) forget(u presence.Entity, done func(error)) {
	if s.rows != nil {
		c := s.softCall(done)
		c.forget = &u
		s.rows.put(c)
		return
	}
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
func (s *Store) Damage() []Damage {
	if s.j == nil {
		return nil
	}
	return s.j.damage
}
