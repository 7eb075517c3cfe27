package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rowsIn is a source made of rows.
type rowsIn map[string][]row

func (m rowsIn) each(_ context.Context, t *table, fn func(row) error) error {
	for _, r := range m[t.name] {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

var someRows = rowsIn{
	"secrets":   {{"a", []byte("one")}, {"b", []byte{}}},
	"documents": {{"example.com", "alice", "x", "y", int64(1), int64(2), bytes.Repeat([]byte("long "), 1000)}},
	"soft":      {{"", "", int64('r'), []byte("k\x00"), []byte("v")}},
}

func writeArchive(t *testing.T, from rowSource, head ArchiveHead) []byte {
	t.Helper()
	var b bytes.Buffer
	a, err := newArchiveWriter(&b, head)
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range copiedTables {
		if err := a.table(t.Context(), tab, from, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var testHead = ArchiveHead{Format: archiveFormat, Schema: len(migrations) + 1, Database: "SQLite", Program: "test", Created: time.Unix(1700000000, 0).UTC()}

func TestArchive(t *testing.T) {
	b := writeArchive(t, someRows, testHead)
	a, err := readArchive(t.Context(), bytes.NewReader(b), func(a *archiveReader) error {
		var found differences
		for _, tab := range copiedTables {
			if _, err := compareTable(t.Context(), tab, someRows, a, unaltered, &found, func(Progress) {}); err != nil {
				return err
			}
		}
		return found.err()
	})
	if err != nil || a.head != testHead || a.got.Tables["secrets"] != 2 {
		t.Fatalf("%+v, %v", a, err)
	}

	// Not cut off anywhere, and with no byte another.
	check := func(b []byte) error {
		_, err := readArchive(t.Context(), bytes.NewReader(b), func(*archiveReader) error { return nil })
		return err
	}
	for n := range b {
		if err := check(b[:n]); !errors.Is(err, ErrArchive) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
		c := bytes.Clone(b)
		c[n] ^= 0x40
		if err := check(c); err == nil && !bytes.Equal(unpack(t, c), unpack(t, b)) { // not every bit of gzip means something
			t.Fatalf("changed at %d of %d, and nobody noticed", n, len(b))
		}
	}
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Archives that somebody has made by hand.
func TestArchiveRefused(t *testing.T) {
	type part struct{ name, body string }
	pack := func(parts ...part) []byte {
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		w := tar.NewWriter(gz)
		for _, p := range parts {
			if err := w.WriteHeader(&tar.Header{Name: p.name, Size: int64(len(p.body)), Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, p.body); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), gz.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	head := part{headPart, `{"format":1,"schema":3}`}
	secrets := tableNamed("secrets")
	for name, c := range map[string]struct {
		file []byte
		want error
		says string
	}{
		"nothing":        {nil, ErrArchive, ""},
		"not gzip":       {[]byte("PK\x03\x04 something else"), ErrArchive, ""},
		"another tar":    {pack(part{"etc/passwd", "root"}), ErrArchive, "etc/passwd"},
		"no manifest":    {pack(head), ErrArchive, "without a manifest"},
		"newer format":   {pack(part{headPart, `{"format":2,"schema":3}`}), ErrNewer, "format 2"},
		"newer schema":   {pack(part{headPart, `{"format":1,"schema":99}`}), ErrNewer, "schema 99"},
		"no schema":      {pack(part{headPart, `{"format":1}`}), ErrArchive, "schema 0"},
		"unknown table":  {pack(head, part{"bogus/000001", ""}, part{manifestPart, `{}`}), ErrArchive, "bogus"},
		"a part missing": {pack(head, part{manifestPart, `{"parts":[{"name":"a"},{"name":"b"}]}`}), ErrArchive, "1 parts of 2"},
		"wrong sum":      {pack(head, part{manifestPart, `{"parts":[{"name":"pharos-backup","sha256":"00"}]}`}), ErrArchive, "not what it was"},
		"wrong order": {pack(head, part{"secrets/000001", string(secrets.append(secrets.append(nil, row{"b", []byte{}}), row{"a", []byte{}}))}),
			ErrArchive, `secrets name="a" is not in its order`},
		"broken row": {pack(head, part{"secrets/000001", "\x05abcdefgh"}), ErrArchive, "secrets/000001"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := CheckBackup(t.Context(), file)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
			// Neither does a restore begin with it.
			dir := filepath.Join(t.TempDir(), "d")
			if _, err := Restore(t.Context(), file, dir, func(Progress) {}); !errors.Is(err, c.want) {
				t.Errorf("restored: %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was made")
			}
		})
	}
}

// Large tables are in several parts, in the order of their keys.
func TestArchiveParts(t *testing.T) {
	var rows []row
	for _, c := range "abcdefgh" {
		rows = append(rows, row{string(c), bytes.Repeat([]byte{byte(c)}, partSize/3)})
	}
	from := rowsIn{"secrets": rows}
	b := writeArchive(t, from, testHead)
	a, err := readArchive(t.Context(), bytes.NewReader(b), func(a *archiveReader) error {
		_, err := compareTables(t.Context(), from, a, unaltered, func(Progress) {})
		return err
	})
	if err != nil || len(a.got.Parts) != 4 {
		t.Errorf("%v, %v", a.got.Parts, err)
	}
}
