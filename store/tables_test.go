package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/fields"
)

// No table and no column of the schema is forgotten when a store is copied.
func TestCopiedTables(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	conn, err := s.read.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	names := func(query string) (list []string) {
		t.Helper()
		rows, err := conn.QueryContext(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var n string
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		return list
	}
	left := []string{"homes", "leader", "nodes", "schema_version"}
	for _, name := range names(`SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`) {
		tab := tableNamed(name)
		if (tab == nil) != slices.Contains(left, name) {
			t.Errorf("table %s is copied: %v", name, tab != nil)
		}
		if tab == nil {
			continue
		}
		got := strings.Split(tab.list(), ", ")
		slices.Sort(got)
		if want := names(fmt.Sprintf(`SELECT name FROM pragma_table_info('%s') ORDER BY name`, name)); !slices.Equal(got, want) {
			t.Errorf("%s: columns %v, want %v", name, got, want)
		}
		if want := names(fmt.Sprintf(`SELECT name FROM pragma_table_info('%s') WHERE pk > 0 ORDER BY pk`, name)); tab.key() != strings.Join(want, ", ") {
			t.Errorf("%s: key %v, want %v", name, tab.key(), want)
		}
	}
}

func drawRow(t *rapid.T, tab *table) row {
	r := make(row, len(tab.columns))
	for i, c := range tab.columns {
		switch c.kind {
		case columnText:
			r[i] = rapid.String().Draw(t, c.name)
		case columnBytes:
			r[i] = nonNil(rapid.SliceOf(rapid.Byte()).Draw(t, c.name))
		case columnInteger:
			r[i] = rapid.Int64().Draw(t, c.name)
		}
	}
	return r
}

// What is written is what is read, of each table; cut off anywhere it is an error.
func TestRowCoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := rapid.SampledFrom(copiedTables).Draw(t, "table")
		one, two := drawRow(t, tab), drawRow(t, tab)
		b := tab.append(tab.append(nil, one), two)
		d := newDecoder(b)
		for _, want := range []row{one, two} {
			got, err := tab.decode(&d)
			if err != nil || tab.differing(got, want) != "" {
				t.Fatalf("%v, %v; want %v", got, err, want)
			}
		}
		if d.Len() > 0 {
			t.Fatal("something is left")
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		d = newDecoder(b[:cut])
		for range 2 {
			if _, err := tab.decode(&d); err != nil {
				return
			}
		}
		t.Fatalf("cut at %d of %d and nobody noticed", cut, len(b))
	})
}

func FuzzRowDecode(f *testing.F) {
	for i, t := range copiedTables {
		r := make(row, len(t.columns))
		for i, c := range t.columns {
			r[i] = [...]any{"text", []byte("bytes"), int64(-5)}[c.kind]
		}
		f.Add(i, t.append(nil, r))
	}
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		if n < 0 || n >= len(copiedTables) {
			return
		}
		tab := copiedTables[n]
		d := newDecoder(b)
		r, err := tab.decode(&d)
		if err != nil {
			return
		}
		// What can be read can be written, and is the same again.
		again, err := tab.decode(&decoder{Reader: fields.Of(tab.append(nil, r))})
		if err != nil || tab.differing(r, again) != "" {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

// A record of the journal is a row, and a row the record again, whatever its key.
func TestJournalRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Record{
			Kind:  rapid.SampledFrom([]byte("psro")).Draw(t, "kind"),
			Key:   rapid.SampledFrom([]string{"", "a\x00b\x00", "\x00\x00", "a\x00\x00", "\x00b\x00"}).Draw(t, "entity") + rapid.String().Draw(t, "key"),
			Value: nonNil(rapid.SliceOf(rapid.Byte()).Draw(t, "value")),
		}
		got := journalRecord(journalRow(want.Kind, []byte(want.Key), want.Value))
		if got.Kind != want.Kind || got.Key != want.Key || !bytes.Equal(got.Value, want.Value) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func tableNamed(name string) *table {
	for _, t := range copiedTables {
		if t.name == name {
			return t
		}
	}
	return nil
}
