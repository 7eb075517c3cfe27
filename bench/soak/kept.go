package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Kept is the result of a run that was kept in a folder, with its growth judged anew from its samples.
func Kept(dir string, fill time.Duration) (*Result, error) {
	b, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		return nil, err
	}
	r := new(Result)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "result.json"), err)
	}
	if r.Until <= r.From {
		return nil, errors.New("soak: the result does not say from when until when samples count")
	}
	f, err := os.Open(filepath.Join(dir, "samples.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s Sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", f.Name(), len(r.samples)+1, err)
		}
		r.samples = append(r.samples, s)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	r.Fill = fill
	r.grow()
	r.Heap, err = growers(context.Background(), filepath.Join(dir, heapsIn), r.samples, r.span())
	return r, err
}
