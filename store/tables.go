package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"pharos/fields"
)

// What is copied between databases and archives: rows as they are in the tables, in
// the order of their keys by bytes, so that two sides are compared by walking through both.

// table is one of those.
type table struct {
	name    string
	columns []column
	keys    int // the first columns are the primary key
}

type column struct {
	name string
	kind columnKind
}

type columnKind uint8

const (
	columnText    columnKind = iota // string
	columnBytes                     // []byte
	columnInteger                   // int64
)

// row has one value a column: string, []byte or int64.
type row []any

func tableOf(name string, keys int, columns string) *table {
	t := &table{name: name, keys: keys}
	for _, c := range strings.Fields(columns) {
		kind := columnText
		switch c[0] {
		case '*':
			kind, c = columnBytes, c[1:]
		case '#':
			kind, c = columnInteger, c[1:]
		}
		t.columns = append(t.columns, column{c, kind})
	}
	return t
}

// hardTables are those of SQL, with * before bytes and # before integers. Who lives
// where, and for how long, is of no use elsewhere: nodes, homes and leader are not among them.
var hardTables = []*table{
	tableOf("accounts", 2, "domain name *digests *scram_sha1 *scram_sha256 #created"),
	tableOf("counters", 2, "domain name #roster #floor #revision #mail #documents"),
	tableOf("roster", 4, "domain name contact_domain contact_name title *groups #flags #version *stanza"),
	tableOf("blocks", 3, "domain name address"),
	tableOf("documents", 4, "domain name auid path #version #modified *body"),
	tableOf("offline", 3, "domain name #id #at *message"),
	tableOf("secrets", 1, "name *value"),
}

// softTable is the soft state as rows: a table in PostgreSQL, the journal beside SQLite.
var softTable = tableOf("soft", 4, "domain name #kind *key *value")

// copiedTables are all, in the order in which they are copied.
var copiedTables = append(hardTables[:len(hardTables):len(hardTables)], softTable)

// list is the names of the columns.
func (t *table) list() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// key is the list of the names of the primary key.
func (t *table) key() string {
	names := make([]string, t.keys)
	for i := range names {
		names[i] = t.columns[i].name
	}
	return strings.Join(names, ", ")
}

// insert is a statement that writes one row.
func (t *table) insert() string {
	return `INSERT INTO ` + t.name + ` (` + t.list() + `) VALUES (?` + strings.Repeat(`, ?`, len(t.columns)-1) + `)`
}

// size is about what a row takes, in bytes.
func (t *table) size(r row) int {
	n := 0
	for _, v := range r {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
		n += 16
	}
	return n
}

// scan reads the row that rows stands on; its values are the caller's.
func (t *table) scan(from scannable) (row, error) {
	texts, blobs, numbers := make([]string, len(t.columns)), make([][]byte, len(t.columns)), make([]int64, len(t.columns))
	to := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case columnText:
			to[i] = &texts[i]
		case columnBytes:
			to[i] = &blobs[i]
		case columnInteger:
			to[i] = &numbers[i]
		}
	}
	if err := from.Scan(to...); err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	r := make(row, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case columnText:
			r[i] = texts[i]
		case columnBytes:
			r[i] = nonNil(blobs[i])
		case columnInteger:
			r[i] = numbers[i]
		}
	}
	return r, nil
}

// compareKeys orders rows of one table by their keys.
func (t *table) compareKeys(a, b row) int {
	for i := range t.keys {
		if d := compareValues(a[i], b[i]); d != 0 {
			return d
		}
	}
	return 0
}

// differing is the name of the first column in which two rows differ; "": none.
func (t *table) differing(a, b row) string {
	for i, c := range t.columns {
		if compareValues(a[i], b[i]) != 0 {
			return c.name
		}
	}
	return ""
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case int64:
		return cmp.Compare(a, b.(int64))
	}
	panic("store: a row has a value of no column's kind")
}

// describe names a row by its key, for people.
func (t *table) describe(r row) string {
	var b strings.Builder
	b.WriteString(t.name)
	for i := range t.keys {
		switch v := r[i].(type) {
		case int64:
			fmt.Fprintf(&b, " %s=%d", t.columns[i].name, v)
		default:
			fmt.Fprintf(&b, " %s=%q", t.columns[i].name, v)
		}
	}
	return b.String()
}

// portable tells whether each database can hold the row: PostgreSQL's text is UTF-8 without NUL.
func (t *table) portable(r row) error {
	for i, c := range t.columns {
		if s, ok := r[i].(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return fmt.Errorf("%s: column %s is not text that PostgreSQL can hold: %q", t.describe(r), c.name, s)
		}
	}
	return nil
}

// append encodes a row: its length (uvarint), then the columns, an integer as varint, the
// others with their length (uvarint) before them.
func (t *table) append(b []byte, r row) []byte {
	var body []byte
	for _, v := range r {
		switch v := v.(type) {
		case string:
			body = fields.AppendText(body, v)
		case []byte:
			body = fields.AppendBytes(body, v)
		case int64:
			body = binary.AppendVarint(body, v)
		}
	}
	return fields.AppendBytes(b, body)
}

// decode reads the row at the beginning of d; its values are copies.
func (t *table) decode(d *decoder) (row, error) {
	in := newDecoder(d.Bytes())
	if err := d.err(); err != nil {
		return nil, err
	}
	r := make(row, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case columnText:
			r[i] = in.Text()
		case columnBytes:
			r[i] = nonNil(in.copied())
		case columnInteger:
			r[i] = in.Int()
		}
	}
	if !in.Done() {
		in.Fail()
	}
	return r, in.err()
}

// journalRow is a record of the journal as a row: those of presentities have domain and name.
func journalRow(kind byte, key, value []byte) row {
	if kind == kindSource || kind == kindSubscription {
		if e, err := keyEntity(key); err == nil && e.Domain+e.User != "" {
			return row{e.Domain, e.User, int64(kind), key[len(e.Domain)+len(e.User)+2:], value}
		}
	}
	return row{"", "", int64(kind), key, value}
}

// journalRecord is the way back.
func journalRecord(r row) Record {
	rec := Record{Kind: byte(r[2].(int64)), Key: string(r[3].([]byte)), Value: r[4].([]byte)}
	if domain, name := r[0].(string), r[1].(string); domain+name != "" {
		rec.Key = domain + "\x00" + name + "\x00" + rec.Key
	}
	return rec
}
