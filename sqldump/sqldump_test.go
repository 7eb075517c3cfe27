package sqldump

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func rows(dump string, tables ...string) (out []string, err error) {
	err = Read([]byte(dump), func(t string) bool {
		for _, x := range tables {
			if x == t {
				return true
			}
		}
		return false
	}, func(r *Row) error {
		s := fmt.Sprintf("%d %s", r.Line, r.Table)
		for i, c := range r.Columns {
			s += fmt.Sprintf(" %s=%q", c, r.Values[i])
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ name, dump, want string }{
		{"mysqldump", "-- MySQL dump; don't mind\n/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS `xcap`;\n" +
			"CREATE TABLE `xcap` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `doc` mediumblob NOT NULL COMMENT 'a (doc), it''s',\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`id`,`doc`)\n) ENGINE=InnoDB;\n" +
			"LOCK TABLES `xcap` WRITE;\nINSERT INTO `xcap` VALUES (1,_binary '<a b=\\\"c\\\">\\n\\'x\\'</a>'),(2,NULL);\nINSERT INTO `other` VALUES (1);\n",
			`11 xcap id="1" doc="<a b=\"c\">\n'x'</a>"|11 xcap id="2" doc=""`},
		{"hex", "CREATE TABLE xcap (id int, doc blob);\nINSERT INTO xcap VALUES(1,0x3c612f3e),(2,X'3C622F3E');", `2 xcap id="1" doc="<a/>"|2 xcap id="2" doc="<b/>"`},
		{"sqlite3 .dump", "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE IF NOT EXISTS \"xcap\" (id INTEGER PRIMARY KEY, doc BLOB, CHECK (id > 0));\nINSERT INTO xcap VALUES(1,'it''s; so');\nCOMMIT;",
			`4 xcap id="1" doc="it's; so"`},
		{"pg_dump", "COPY public.subscriber (username, domain, password) FROM stdin;\nalice\texample.com\t\\N\nbob\texample.com\ta\\tb\\\\c\n\\.\n\nSELECT 1;\n" +
			"COPY public.xcap (doc) FROM stdin;\n\\\\x3c612f3e\n\\.\n",
			`2 subscriber username="alice" domain="example.com" password=""|3 subscriber username="bob" domain="example.com" password="a\tb\\c"|8 xcap doc="<a/>"`},
		{"pg_dump --inserts", "INSERT INTO public.xcap (id, doc) VALUES (1, '\\x3c612f3e'::bytea);\nINSERT INTO public.xcap (doc, id) VALUES (E'a\\nb', -2.5);",
			`1 xcap id="1" doc="<a/>"|2 xcap doc="a\nb" id="-2.5"`},
		{"nothing", "-- empty\n", ""},
	} {
		got, err := rows(c.dump, "xcap", "subscriber")
		if err != nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, strings.Join(got, "|"), c.want)
		}
		if c.want != "" && !Looks([]byte(c.dump)) {
			t.Errorf("%s does not look like a dump", c.name)
		}
	}
}

func TestReadNamesTheLine(t *testing.T) {
	for _, c := range []struct{ dump, want string }{
		{"\n\nINSERT INTO xcap VALUES (1);", "line 3: rows of table xcap without names"},
		{"CREATE TABLE xcap (a int, b int);\nINSERT INTO xcap VALUES (1);", "line 2: table xcap: 1 values for 2 columns"},
		{"CREATE TABLE xcap (a int);\nINSERT INTO xcap VALUES (1, 2);", "line 2: table xcap: more values"},
		{"INSERT INTO xcap (a) VALUES ('x", "line 1: the dump ends"},
		{"COPY xcap (a) FROM stdin;\n1\n", "line 3: the dump ends"},
		{"COPY xcap (a) FROM stdin;\n1\t2\n\\.\n", "2 values for 1 columns"},
		{"INSERT INTO xcap (a) VALUES (1 2);", "line 1: want , or )"},
	} {
		if _, err := rows(c.dump, "xcap"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.dump, err, c.want)
		}
	}
	stop := errors.New("enough")
	err := Read([]byte("INSERT INTO xcap (a) VALUES (1);"), func(string) bool { return true }, func(*Row) error { return stop })
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	if Looks([]byte("alice@example.com,secret\n")) {
		t.Error("a CSV file looks like a dump")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("CREATE TABLE `x` (`a` int, KEY (`a`));\nINSERT INTO `x` VALUES (1),('a\\'b'),(0x00),(_binary 'x'),(E'a'::text);")
	f.Add("COPY a.x (a, b) FROM stdin;\n1\t\\N\n\\.\n")
	f.Fuzz(func(t *testing.T, dump string) {
		_ = Read([]byte(dump), func(string) bool { return true }, func(r *Row) error {
			if len(r.Columns) != len(r.Values) || r.Line < 1 {
				t.Fatal(r)
			}
			return nil
		})
	})
}
