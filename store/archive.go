package store

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// An archive is a tar file in gzip, the same whatever database it is made of:
//
//	pharos-backup     JSON: ArchiveHead
//	TABLE/NNNNNN      rows of a table in the order of their keys, some MB in each part; see table.append
//	manifest          JSON: what there is, with the SHA-256 of each part, the head's too
//
// The manifest comes last, so that it is written as it goes, and a file without one is
// not whole.
const (
	archiveFormat = 1
	headPart      = "pharos-backup"
	manifestPart  = "manifest"
	// partSize is when a part is full; the last row may make it larger.
	partSize = 4 << 20
	// maxPart bounds a part of an archive, in bytes; it is held in memory while it is read or written.
	maxPart = 256 << 20
)

// ErrArchive: a file is no archive, or not a whole one.
var ErrArchive = errors.New("store: not a whole backup")

// ArchiveHead says what an archive is made of.
type ArchiveHead struct {
	Format   int       `json:"format"`
	Schema   int       `json:"schema"`   // version of the tables
	Database string    `json:"database"` // SQLite or PostgreSQL
	Program  string    `json:"program"`  // version of the program that made it
	Created  time.Time `json:"created"`
}

type manifest struct {
	Tables map[string]int64 `json:"tables"` // rows
	Parts  []manifestItem   `json:"parts"`
}

type manifestItem struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// archiveWriter writes parts, and at last the manifest.
type archiveWriter struct {
	gz  *gzip.Writer
	tar *tar.Writer
	at  time.Time
	m   manifest
}

func newArchiveWriter(w io.Writer, head ArchiveHead) (*archiveWriter, error) {
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	a := &archiveWriter{gz: gz, tar: tar.NewWriter(gz), at: head.Created, m: manifest{Tables: make(map[string]int64)}}
	b, err := json.MarshalIndent(head, "", "  ")
	if err != nil {
		return nil, err
	}
	return a, a.part(headPart, b)
}

func (a *archiveWriter) part(name string, b []byte) error {
	if len(b) > maxPart {
		return fmt.Errorf("store: backup: part %s would have %d bytes", name, len(b))
	}
	err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: a.at, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	a.m.Parts = append(a.m.Parts, manifestItem{name, hex.EncodeToString(sum[:])})
	_, err = a.tar.Write(b)
	return err
}

// table writes all rows of a table.
func (a *archiveWriter) table(ctx context.Context, t *table, from rowSource, progress func()) error {
	var buf []byte
	part := 0
	flush := func() error {
		part++
		b := buf
		buf = buf[:0]
		return a.part(fmt.Sprintf("%s/%06d", t.name, part), b)
	}
	err := from.each(ctx, t, func(r row) error {
		a.m.Tables[t.name]++
		progress()
		if buf = t.append(buf, r); len(buf) >= partSize {
			return flush()
		}
		return nil
	})
	if err == nil && len(buf) > 0 {
		err = flush()
	}
	return err
}

// close writes the manifest and ends the file.
func (a *archiveWriter) close() error {
	b, err := json.MarshalIndent(a.m, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(a.part(manifestPart, b), a.tar.Close(), a.gz.Close())
}

// archiveReader reads an archive from its beginning, part by part.
type archiveReader struct {
	in   *tar.Reader
	gz   *gzip.Reader
	head ArchiveHead
	got  manifest // what was found so far
	name string   // of the part that is read
	body []byte
}

// openArchive reads the head; ErrArchive when there is none.
func openArchive(r io.Reader) (*archiveReader, error) {
	gz, err := gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	a := &archiveReader{gz: gz, in: tar.NewReader(gz), got: manifest{Tables: make(map[string]int64)}}
	if err := a.next(); err != nil {
		return nil, err
	}
	if a.name != headPart {
		return nil, fmt.Errorf("%w: it begins with %q", ErrArchive, a.name)
	}
	if err := json.Unmarshal(a.body, &a.head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrArchive, headPart, err)
	}
	switch newest := len(migrations) + 1; {
	case a.head.Format != archiveFormat || a.head.Schema > newest:
		return nil, fmt.Errorf("%w: backup of format %d with schema %d, this program knows %d and %d",
			ErrNewer, a.head.Format, a.head.Schema, archiveFormat, newest)
	case a.head.Schema < firstArchived:
		return nil, fmt.Errorf("%w: schema %d", ErrArchive, a.head.Schema)
	}
	return a, a.next()
}

// firstArchived is the version of the schema that the first archives had.
const firstArchived = 3

// next reads a part whole.
func (a *archiveReader) next() error {
	h, err := a.in.Next()
	if err == io.EOF {
		return fmt.Errorf("%w: it ends without a manifest", ErrArchive)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size > maxPart {
		return fmt.Errorf("%w: part %q of %d bytes", ErrArchive, h.Name, h.Size)
	}
	a.name = h.Name
	if int64(cap(a.body)) < h.Size {
		a.body = make([]byte, 0, h.Size)
	}
	a.body = a.body[:h.Size]
	if _, err := io.ReadFull(a.in, a.body); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrArchive, h.Name, err)
	}
	if a.name != manifestPart {
		sum := sha256.Sum256(a.body)
		a.got.Parts = append(a.got.Parts, manifestItem{a.name, hex.EncodeToString(sum[:])})
	}
	return nil
}

// each implements rowSource; tables come in their order only.
func (a *archiveReader) each(ctx context.Context, t *table, fn func(row) error) error {
	var last row
	for part := 1; a.name == fmt.Sprintf("%s/%06d", t.name, part); part++ {
		d := newDecoder(a.body)
		for d.Len() > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := t.decode(&d)
			if err != nil {
				return fmt.Errorf("%w: part %s: %w", ErrArchive, a.name, err)
			}
			if last != nil && t.compareKeys(last, r) >= 0 {
				return fmt.Errorf("%w: part %s: %s is not in its order", ErrArchive, a.name, t.describe(r))
			}
			last = r
			a.got.Tables[t.name]++
			if err := fn(r); err != nil {
				return err
			}
		}
		if err := a.next(); err != nil {
			return err
		}
	}
	return nil
}

// end checks that what was read is what the manifest says, after all tables.
func (a *archiveReader) end() error {
	if a.name != manifestPart {
		return fmt.Errorf("%w: part %q is not known, or not in its place", ErrArchive, a.name)
	}
	var m manifest
	if err := json.Unmarshal(a.body, &m); err != nil {
		return fmt.Errorf("%w: manifest: %w", ErrArchive, err)
	}
	if len(m.Parts) != len(a.got.Parts) {
		return fmt.Errorf("%w: %d parts of %d", ErrArchive, len(a.got.Parts), len(m.Parts))
	}
	for i, p := range m.Parts {
		if a.got.Parts[i] != p {
			return fmt.Errorf("%w: part %s is not what it was", ErrArchive, a.got.Parts[i].Name)
		}
	}
	for _, t := range copiedTables {
		if m.Tables[t.name] != a.got.Tables[t.name] {
			return fmt.Errorf("%w: table %s has %d rows of %d", ErrArchive, t.name, a.got.Tables[t.name], m.Tables[t.name])
		}
	}
	if _, err := a.in.Next(); err != io.EOF {
		return fmt.Errorf("%w: something follows the manifest", ErrArchive)
	}
	// To its very end: there gzip has a sum over all.
	if n, err := io.Copy(io.Discard, a.gz); err != nil || n > 1<<20 {
		return fmt.Errorf("%w: its end: %w", ErrArchive, errors.Join(err, a.gz.Close()))
	}
	return nil
}
