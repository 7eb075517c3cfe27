package store

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

func anything(byte, []byte) bool { return true }

// livePlaces finds by the keys where the live frames are, of those whose kind and
// key want takes, in the order of the file.
func livePlaces(f io.ReaderAt, gen uint32, end int64, want func(kind byte, key []byte) bool) ([]int64, error) {
	last := make(map[string]int64)
	var key []byte
	s := newScanner(f, gen, int64(softHead), end)
	for {
		fr, at, err := s.next()
		if err == io.EOF {
			return sorted(slices.Collect(maps.Values(last))), nil
		}
		if err != nil {
			return nil, fmt.Errorf("store: journal: %w", err)
		}
		if !want(fr.kind, fr.key) {
			continue
		}
		key = append(append(key[:0], fr.kind), fr.key...)
		if fr.op == opDelete {
			delete(last, string(key))
		} else {
			last[string(key)] = at
		}
	}
}

// readPlaces reads the frames at these places, in the order of the file; those
// that have become unreadable are told to lost. The slices live until fn returns.
func readPlaces(f io.ReaderAt, gen uint32, end int64, places []int64, lost func(int64), fn func(fr frame, raw []byte) error) error {
	s := newScanner(f, gen, int64(softHead), end)
	for _, at := range sorted(places) {
		s.seek(at)
		fr, got, err := s.next()
		if err == io.EOF || err == nil && got != at {
			lost(at)
			continue
		}
		if err != nil {
			return fmt.Errorf("store: journal: %w", err)
		}
		if err := fn(fr, fr.raw); err != nil {
			return err
		}
	}
	return nil
}
