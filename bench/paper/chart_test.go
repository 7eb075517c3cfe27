package paper

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// invented is a result with one server's time in proportion to the users, and the ideal of several.
func invented() *Result {
	r := &Result{}
	for _, test := range []Test{Subscribe, Notify} {
		for users := 100; users <= 500; users += 100 {
			for i := range 3 {
				mean := time.Duration(users) * time.Millisecond
				r.Rounds = append(r.Rounds, Round{Test: test, Users: users, Servers: 1, Number: i + 1, Mean: mean + time.Duration(i)*time.Millisecond, P99: 2 * mean, Last: 3 * mean, CPU: mean / 10})
				for _, limit := range []int{100, 200} {
					k := (users + limit - 1) / limit
					r.Rounds = append(r.Rounds, Round{Test: test, Limit: limit, Users: users, Servers: k, Number: i + 1, Mean: (mean + time.Millisecond) / time.Duration(k), P99: 2 * mean, Last: 3 * mean, CPU: mean / 10})
				}
			}
		}
	}
	return r
}

func TestRows(t *testing.T) {
	var b bytes.Buffer
	if err := invented().WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	r, err := ReadCSV(&b)
	if err != nil {
		t.Fatal(err)
	}
	rows := r.Rows()
	if len(rows) != 20 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, x := range rows {
		if x.Over() < 0.99 || x.Over() > 1.01 || x.One.Rounds != 3 || x.Several.P99 != 2*time.Duration(x.Users)*time.Millisecond {
			t.Errorf("%+v", x)
		}
	}
	x := rows[4] // Subscribe, maximum 100, 500 users
	cut, over, ok := x.Stated()
	if x.Servers != 5 || x.Ideal() != 80 || cut != 72.9 || !ok || over < 1.354 || over > 1.356 {
		t.Errorf("%+v: %v %v", x, cut, over)
	}
	if table := Table(rows); !strings.Contains(table, "| subscribe (Fig. 6) | 100 | 500 | 5 | 501.0 (1000.0) ms | 100.2 (1000.0) ms | **80.0 %** | 72.9 % | 80.0 % | **1.00 ± 0.00** | 1.36 | 50.0; 50.0 ms |\n") &&
		!strings.Contains(table, "**80.0 %** | 72.9 % | 80.0 % | **1.00 ± 0.00** | 1.35 |") {
		t.Error(table)
	}
}

// The files are what they say, every letter has strokes, and the table goes between its markers only.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if keep := os.Getenv("PHAROS_PICTURES"); keep != "" {
		dir = keep
	}
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("before "+beginMark+"former"+endMark+" after"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := invented()
	if err := Write(readme, dir, r); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readme)
	if text := string(b); err != nil || !strings.HasPrefix(text, "before "+beginMark) || !strings.HasSuffix(text, endMark+" after") || strings.Contains(text, "former") || !strings.Contains(text, "Fig. 7") {
		t.Errorf("%v %s", err, text)
	}
	for _, name := range []string{"figure6", "figure7", "figure8"} {
		b, err := os.ReadFile(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if p, err := png.Decode(bytes.NewReader(b)); err != nil || p.Bounds().Dx() != chartWide*density {
			t.Errorf("%s: %v", name, err)
		}
		if b, err = os.ReadFile(filepath.Join(dir, name+".svg")); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if text, ok := tok.(xml.CharData); ok {
				for _, c := range string(text) {
					if _, ok := strokes[c]; !ok && c != '\n' {
						t.Errorf("%s: no letter %q", name, c)
					}
				}
			}
		}
	}
}
