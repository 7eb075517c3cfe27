package soak

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// What was kept is judged as it was at the run, and otherwise where more is left out.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	r := &Result{Users: 10, From: 60, Until: 3600, Fill: 3 * time.Minute}
	r.samples = process(rand.New(rand.NewPCG(1, 2)), "n1", 0, 0, 3600, 0, 1e6)
	var lines bytes.Buffer
	for i := range r.samples {
		if s := &r.samples[i]; s.At < 600 {
			s.Live += 1e5 * s.At // what fills at first
		} else {
			s.Live += 6e7
		}
		lines.Write(append(encode(&r.samples[i]), '\n'))
	}
	r.grow()
	for name, b := range map[string][]byte{"result.json": encode(r), "samples.jsonl": lines.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Kept(dir, r.Fill)
	if err != nil || !reflect.DeepEqual(again.Growth, r.Growth) || again.Users != r.Users {
		t.Errorf("%v, %+v, want %+v", err, again, r)
	}
	live := func(r *Result) string {
		for _, g := range r.Growth {
			if g.Figure == "live heap without caches" && g.Node == "all" {
				return g.Verdict
			}
		}
		return ""
	}
	later, err := Kept(dir, 12*time.Minute)
	if err != nil || live(r) == "no leak" || live(later) != "no leak" {
		t.Errorf("%v: %s, and with 12 minutes left out %s", err, live(r), live(later))
	}
	if _, err := Kept(t.TempDir(), 0); err == nil {
		t.Error("an empty folder is a result")
	}
}
