package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// Describe writes the whole configuration as an annotated TOML file with the
// values of c: the file can be used as it is. It is made from the structs, so
// that it cannot part from what Parse reads.
func Describe(w io.Writer, c Config) error {
	var b strings.Builder
	b.WriteString("# Pharos configuration. Every key is optional; the values shown are in force without it.\n\n")
	v := reflect.ValueOf(c)
	for _, tables := range []bool{false, true} { // TOML wants plain keys before tables
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if (f.Type.Kind() == reflect.Struct) != tables {
				continue
			}
			comment(&b, f.Tag.Get("doc"))
			if !tables {
				fmt.Fprintf(&b, "%s = %s\n\n", f.Tag.Get("toml"), literal(v.Field(i)))
				continue
			}
			fmt.Fprintf(&b, "[%s]\n", f.Tag.Get("toml"))
			for j := range f.Type.NumField() {
				k := f.Type.Field(j)
				comment(&b, k.Tag.Get("doc"))
				fmt.Fprintf(&b, "%s = %s\n", k.Tag.Get("toml"), literal(v.Field(i).Field(j)))
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

// comment wraps text at 100 columns.
func comment(b *strings.Builder, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

func literal(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Duration:
		return fmt.Sprintf("%q", time.Duration(x).String())
	case string:
		return fmt.Sprintf("%q", x)
	case []string:
		q := make([]string, len(x))
		for i, s := range x {
			q[i] = fmt.Sprintf("%q", s)
		}
		return "[" + strings.Join(q, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}
