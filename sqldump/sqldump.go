// Package sqldump reads rows out of database dumps: INSERT statements as mysqldump,
// sqlite3 and pg_dump --inserts write them, and the COPY blocks of pg_dump. It is
// not an SQL parser: it looks for these statements and passes over all others.
package sqldump

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Bounds.
const (
	MaxColumns = 256
	MaxName    = 128 // bytes of a table's or column's name
)

// Row is one row. The values stand in the order of Columns; NULL is "".
type Row struct {
	Table   string // lower case, without database or schema
	Columns []string
	Values  []string
	Line    int // of the statement, from 1
}

// Get returns a column's value, "" when the table has no such column.
func (r *Row) Get(column string) string {
	for i, c := range r.Columns {
		if c == column && i < len(r.Values) {
			return r.Values[i]
		}
	}
	return ""
}

// Looks tells whether text seems to be a dump.
func Looks(text []byte) bool {
	head := bytes.ToUpper(text[:min(len(text), 1<<16)])
	return bytes.Contains(head, []byte("INSERT INTO ")) || bytes.Contains(head, []byte("CREATE TABLE ")) ||
		bytes.Contains(head, []byte("COPY ")) && bytes.Contains(head, []byte("FROM STDIN"))
}

var errEnd = errors.New("the dump ends in the middle of a statement")

// Read calls fn for each row of the tables that want says it is interested in. An
// error of fn ends it. Other errors name the line.
func Read(dump []byte, want func(table string) bool, fn func(*Row) error) error {
	s := scanner{b: dump, want: want, fn: fn, columns: make(map[string][]string)}
	if err := s.all(); err != nil {
		return fmt.Errorf("line %d: %w", s.line(), err)
	}
	return nil
}

type scanner struct {
	b       []byte
	at      int
	counted int // at which lines is right
	lines   int
	want    func(string) bool
	fn      func(*Row) error
	columns map[string][]string // of CREATE TABLE
}

func (s *scanner) line() int {
	s.lines += bytes.Count(s.b[s.counted:s.at], []byte("\n"))
	s.counted = s.at
	return s.lines + 1
}

func (s *scanner) all() error {
	for {
		s.space()
		if s.at == len(s.b) {
			return nil
		}
		var err error
		switch {
		case s.words("CREATE", "TABLE"):
			err = s.create()
		case s.words("INSERT", "INTO"), s.words("REPLACE", "INTO"), s.words("INSERT", "IGNORE", "INTO"):
			err = s.insert()
		case s.words("COPY"):
			err = s.copyBlock()
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

// space passes over blanks and comments, also those that MySQL runs.
func (s *scanner) space() {
	for s.at < len(s.b) {
		rest := s.b[s.at:]
		switch {
		case rest[0] <= ' ' || rest[0] == ';':
			s.at++
		case bytes.HasPrefix(rest, []byte("--")), rest[0] == '#':
			s.at += upTo(rest, "\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			s.at += upTo(rest, "*/")
		default:
			return
		}
	}
}

func upTo(b []byte, end string) int {
	if i := bytes.Index(b, []byte(end)); i >= 0 {
		return i + len(end)
	}
	return len(b)
}

// words takes keywords that stand here, all or none.
func (s *scanner) words(ws ...string) bool {
	start := s.at
	for _, w := range ws {
		s.blank()
		if len(s.b)-s.at < len(w) || !strings.EqualFold(string(s.b[s.at:s.at+len(w)]), w) {
			s.at = start
			return false
		}
		s.at += len(w)
		if s.at < len(s.b) && nameByte(s.b[s.at]) {
			s.at = start
			return false
		}
	}
	return true
}

func (s *scanner) blank() {
	for s.at < len(s.b) && s.b[s.at] <= ' ' {
		s.at++
	}
}

func nameByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (s *scanner) take(c byte) bool {
	s.blank()
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

// name reads an identifier in any of the quotings, in lower case.
func (s *scanner) name() (string, error) {
	s.blank()
	if s.at == len(s.b) {
		return "", errEnd
	}
	closing := map[byte]string{'`': "`", '"': `"`, '[': "]"}[s.b[s.at]]
	start := s.at
	if closing != "" {
		n := bytes.Index(s.b[s.at+1:], []byte(closing))
		if n < 0 {
			return "", errEnd
		}
		s.at += n + 2
		start++
		return bounded(s.b[start : start+n])
	}
	for s.at < len(s.b) && nameByte(s.b[s.at]) {
		s.at++
	}
	if s.at == start {
		return "", fmt.Errorf("want a name, not %q", s.b[start])
	}
	return bounded(s.b[start:s.at])
}

func bounded(b []byte) (string, error) {
	if len(b) > MaxName {
		return "", fmt.Errorf("a name of %d bytes", len(b))
	}
	return strings.ToLower(string(b)), nil
}

// table reads a table's name and leaves the database's or schema's out.
func (s *scanner) table() (string, error) {
	n, err := s.name()
	for err == nil && s.take('.') {
		n, err = s.name()
	}
	return n, err
}

// create learns a table's columns, for INSERTs that do not name them.
func (s *scanner) create() error {
	s.words("IF", "NOT", "EXISTS")
	table, err := s.table()
	if err != nil || !s.take('(') {
		return errors.Join(err, s.skip())
	}
	var columns []string
	for {
		switch {
		case s.words("PRIMARY"), s.words("UNIQUE"), s.words("KEY"), s.words("CONSTRAINT"), s.words("INDEX"),
			s.words("FULLTEXT"), s.words("FOREIGN"), s.words("CHECK"):
		default:
			c, err := s.name()
			if err != nil {
				return err
			}
			if columns = append(columns, c); len(columns) > MaxColumns {
				return fmt.Errorf("table %s has more than %d columns", table, MaxColumns)
			}
		}
		more, err := s.definition()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	s.columns[table] = columns
	return s.skip()
}

// definition passes over the rest of a column's; more tells that another follows.
func (s *scanner) definition() (more bool, err error) {
	depth := 0
	for s.at < len(s.b) {
		switch c := s.b[s.at]; {
		case c == '\'' || c == '"' || c == '`':
			if _, err := s.quoted(); err != nil {
				return false, err
			}
			continue
		case c == '(':
			depth++
		case c == ')':
			if depth == 0 {
				s.at++
				return false, nil
			}
			depth--
		case c == ',' && depth == 0:
			s.at++
			return true, nil
		}
		s.at++
	}
	return false, errEnd
}

// skip passes over the rest of a statement.
func (s *scanner) skip() error {
	for s.at < len(s.b) {
		switch c := s.b[s.at]; c {
		case ';':
			s.at++
			return nil
		case '\'', '"', '`':
			if _, err := s.quoted(); err != nil {
				return err
			}
		default:
			s.at++
		}
	}
	return nil
}

// quoted reads what stands between quotes: a doubled quote stands for one, and a
// backslash escapes as in MySQL. PostgreSQL's and SQLite's plain strings know no
// backslash; of what they dump only \' and \\ at the end could be told apart.
func (s *scanner) quoted() (string, error) {
	q := s.b[s.at]
	start := s.at + 1
	i := start
	plain := true
	for ; i < len(s.b); i++ {
		if s.b[i] == '\\' && q == '\'' {
			i++
			plain = false
			continue
		}
		if s.b[i] == q {
			if i+1 < len(s.b) && s.b[i+1] == q {
				i++
				plain = false
				continue
			}
			break
		}
	}
	if i >= len(s.b) {
		return "", errEnd
	}
	s.at = i + 1
	text := s.b[start:i]
	if plain {
		return string(text), nil
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == q: // the first of two
			i++
		case c == '\\' && i+1 < len(text):
			i++
			c = escaped(text[i])
		}
		out = append(out, c)
	}
	return string(out), nil
}

func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case '0':
		return 0
	case 'Z':
		return 0x1a
	case 'b':
		return '\b'
	}
	return c
}

// into reads t [(columns)]; without columns they are those of the table, nil when it is not known.
func (s *scanner) into() (table string, columns []string, err error) {
	if table, err = s.table(); err != nil {
		return "", nil, err
	}
	if s.take('(') {
		columns, err = s.columnList()
		return table, columns, err
	}
	return table, s.columns[table], nil
}

// insert reads INSERT INTO t [(columns)] VALUES (...), (...);
func (s *scanner) insert() error {
	line := s.line()
	table, columns, err := s.into()
	if err != nil {
		return err
	}
	if !s.want(table) || !s.words("VALUES") {
		return s.skip()
	}
	if columns == nil {
		return fmt.Errorf("rows of table %s without names of columns, and the dump has no CREATE TABLE before", table)
	}
	for {
		if !s.take('(') {
			return errors.New("want ( before values")
		}
		r := Row{Table: table, Columns: columns, Line: line}
		for {
			v, err := s.value()
			if err != nil {
				return err
			}
			if r.Values = append(r.Values, v); len(r.Values) > len(columns) {
				return fmt.Errorf("table %s: more values than columns", table)
			}
			if s.take(')') {
				break
			}
			if !s.take(',') {
				return errors.New("want , or ) after a value")
			}
		}
		if len(r.Values) != len(columns) {
			return fmt.Errorf("table %s: %d values for %d columns", table, len(r.Values), len(columns))
		}
		if err := s.fn(&r); err != nil {
			return err
		}
		if !s.take(',') {
			return s.skip()
		}
		line = s.line()
	}
}

// columnList reads the names of columns up to the closing bracket.
func (s *scanner) columnList() (columns []string, err error) {
	for {
		c, err := s.name()
		if err != nil {
			return nil, err
		}
		if columns = append(columns, c); len(columns) > MaxColumns {
			return nil, fmt.Errorf("more than %d columns", MaxColumns)
		}
		if s.take(')') {
			return columns, nil
		}
		if !s.take(',') {
			return nil, errors.New("want , or ) after a column's name")
		}
	}
}

// value reads a literal: 'text', E'text', _binary 'bytes', X'00', 0x00, NULL, or
// a bare word or number.
func (s *scanner) value() (string, error) {
	s.blank()
	if s.at == len(s.b) {
		return "", errEnd
	}
	if s.b[s.at] == '\'' {
		v, err := s.quoted()
		return s.cast(bytea(v), err)
	}
	start := s.at
	for s.at < len(s.b) && (nameByte(s.b[s.at]) || strings.IndexByte("+-.", s.b[s.at]) >= 0) {
		s.at++
	}
	word := string(s.b[start:s.at])
	if strings.HasPrefix(word, "_") { // a character set before a string
		s.blank()
	}
	if s.at < len(s.b) && s.b[s.at] == '\'' {
		v, err := s.quoted()
		if strings.EqualFold(word, "x") && err == nil {
			var b []byte
			b, err = hex.DecodeString(v)
			v = string(b)
		}
		return s.cast(bytea(v), err)
	}
	switch {
	case word == "":
		return "", fmt.Errorf("want a value, not %q", s.b[s.at])
	case strings.EqualFold(word, "NULL"):
		word = ""
	case strings.HasPrefix(word, "0x"):
		b, err := hex.DecodeString(word[2:])
		if err != nil {
			return "", err
		}
		word = string(b)
	}
	return s.cast(word, nil)
}

// cast passes over PostgreSQL's ::type.
func (s *scanner) cast(v string, err error) (string, error) {
	for err == nil && s.at+1 < len(s.b) && s.b[s.at] == ':' && s.b[s.at+1] == ':' {
		s.at += 2
		_, err = s.name()
	}
	return v, err
}

// bytea reads PostgreSQL's hexadecimal form of bytes. The backslash may have
// been taken for an escape already.
func bytea(v string) string {
	h, ok := strings.CutPrefix(v, `\x`)
	if !ok {
		h, ok = strings.CutPrefix(v, "x")
	}
	if b, err := hex.DecodeString(h); ok && err == nil && len(h) > 0 {
		return string(b)
	}
	return v
}

// copyBlock reads COPY t (columns) FROM stdin; and the lines up to "\.".
func (s *scanner) copyBlock() error {
	table, columns, err := s.into()
	if err != nil {
		return err
	}
	if !s.words("FROM", "STDIN") {
		return s.skip()
	}
	s.at += upTo(s.b[s.at:], "\n")
	for s.at < len(s.b) {
		line := s.line()
		n := bytes.IndexByte(s.b[s.at:], '\n')
		if n < 0 {
			n = len(s.b) - s.at
		}
		text := string(bytes.TrimSuffix(s.b[s.at:s.at+n], []byte("\r")))
		s.at = min(len(s.b), s.at+n+1)
		if text == `\.` {
			return nil
		}
		if !s.want(table) {
			continue
		}
		r := Row{Table: table, Columns: columns, Line: line, Values: strings.Split(text, "\t")}
		if len(r.Values) != len(columns) {
			return fmt.Errorf("table %s: %d values for %d columns", table, len(r.Values), len(columns))
		}
		for i, v := range r.Values {
			r.Values[i] = copied(v)
		}
		if err := s.fn(&r); err != nil {
			return err
		}
	}
	return errEnd
}

// copied reads a value of a COPY line.
func copied(v string) string {
	if v == `\N` {
		return ""
	}
	if !strings.Contains(v, `\`) {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c == '\\' && i+1 < len(v) {
			i++
			c = escaped(v[i])
			if v[i] == '0' {
				c = '0'
			}
		}
		out = append(out, c)
	}
	return bytea(string(out))
}
