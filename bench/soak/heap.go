package soak

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Where the live heap's growth is: the fit that says what it grows by in an hour is linear in what is fitted, so that the slopes of its parts
// add up to its own. The parts are what each function has allocated, by the heap profiles of the samples that count.

// Grower is what one function has in the live heap: the first of the program's own up the stack, or of what it calls, where the runtime calls that itself.
type Grower struct {
	Func    string  `json:"func"`
	Mean    float64 `json:"mean"`     // octets
	PerHour float64 `json:"per_hour"` // octets
	Bound   float64 `json:"bound"`    // half of the 95 % confidence interval; below 0: not known
}

// AllFunctions is the name of what is all functions together.
const AllFunctions = "all"

// heapName is the file of a settled sample's profile.
func heapName(s *Sample) string {
	return fmt.Sprintf("%s-%d-%05.0f.pb.gz", s.Node, s.Life, s.At)
}

// growers reads the profiles in a folder and fits each function, what grows most first, behind all together; nil where there are no
// profiles. That takes some tenths of a second for each.
func growers(ctx context.Context, dir string, all []Sample, in span) ([]Grower, error) {
	if files, _ := filepath.Glob(filepath.Join(dir, "*.pb.gz")); len(files) == 0 {
		return nil, nil
	}
	heaps := map[string]map[string]float64{} // by file, by function
	names := map[string]bool{AllFunctions: true}
	begun := map[string]float64{}
	var list []Sample
	for i := range all {
		s := all[i]
		life := fmt.Sprint(s.Node, " ", s.Life)
		if _, ok := begun[life]; !ok {
			begun[life] = s.At
			s.Settled = false // it says when the life began, and no more
			list = append(list, s)
			s = all[i]
		}
		if !s.Settled || s.At < max(in.from, begun[life]+in.fill) || s.At >= in.until {
			continue
		}
		file := filepath.Join(dir, heapName(&s))
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			continue
		}
		m, err := heapOf(ctx, file)
		if err != nil {
			return nil, err
		}
		for f := range m {
			names[f] = true
		}
		heaps[heapName(&s)] = m
		list = append(list, s)
	}
	var gs []Grower
	for f := range names {
		ls := lives(list, func(s *Sample) float64 { return heaps[heapName(s)][f] }, true, in)
		if len(ls) == 0 {
			return nil, nil
		}
		g := fit(ls)
		gs = append(gs, Grower{Func: f, Mean: g.Mean, PerHour: g.PerHour, Bound: g.Bound})
	}
	slices.SortFunc(gs, func(a, b Grower) int {
		switch AllFunctions {
		case a.Func:
			return -1
		case b.Func:
			return 1
		}
		return cmp.Or(cmp.Compare(b.PerHour, a.PerHour), cmp.Compare(a.Func, b.Func))
	})
	return gs, nil
}

// heapOf is what each function has in a heap profile, and AllFunctions.
func heapOf(ctx context.Context, file string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", "-sample_index=inuse_space", "-unit=B", file)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", file, err, strings.TrimSpace(complaint.String()))
	}
	m, err := readTraces(bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// readTraces adds up what 'go tool pprof -traces -unit=B' prints: stacks between lines of dashes, the innermost function behind the
// octets, its callers below.
func readTraces(r io.Reader) (map[string]float64, error) {
	m := map[string]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	octets, leaf, own := 0.0, "", ""
	stack, begun := false, false
	end := func() {
		if leaf != "" {
			m[cmp.Or(own, leaf)] += octets
			m[AllFunctions] += octets
		}
		octets, leaf, own = 0, "", ""
	}
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-----") {
			end()
			stack, begun = true, true
			continue
		}
		if label, _, ok := strings.Cut(strings.TrimSpace(line), " "); !stack || ok && strings.HasSuffix(label, ":") {
			continue // the head, or a label
		}
		name := strings.TrimSpace(line)
		if leaf == "" {
			value, rest, ok := strings.Cut(name, " ")
			n, err := strconv.ParseFloat(strings.TrimSuffix(value, "B"), 64)
			if !ok || err != nil {
				return nil, fmt.Errorf("soak: %q does not begin a stack", line)
			}
			octets, name = n, strings.TrimSpace(rest)
			leaf = short(name)
		}
		if own == "" && strings.HasPrefix(name, "pharos/") {
			own = strings.TrimPrefix(short(name), "pharos/")
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !begun {
		return nil, errors.New("soak: no stacks")
	}
	return m, nil
}

// short is a function without what it was inlined as, and without its type arguments.
func short(name string) string {
	name, _, _ = strings.Cut(name, " ")
	name, _, _ = strings.Cut(name, "[")
	return name
}

// mostGrowers is how many functions are told.
const mostGrowers = 15

// writeHeap tells where the growth is.
func writeHeap(b *strings.Builder, r *Result) {
	if len(r.Heap) == 0 {
		return
	}
	const mib = 1 << 20
	all := r.Heap[0]
	fmt.Fprintf(b, "The live heap with its caches, %.1f MiB on average by its profiles, grows by %.2f ± %.2f MiB in an hour. That is, by the functions that have allocated it:\n\n", all.Mean/mib, all.PerHour/mib, all.Bound/mib)
	b.WriteString("| function | mean | growth in an hour (95 %) |\n|---|---|---|\n")
	most := r.Heap[1:min(len(r.Heap), 1+mostGrowers)]
	rest := all
	for _, g := range most {
		fmt.Fprintf(b, "| `%s` | %.2f MiB | %+.2f ± %.2f MiB |\n", g.Func, g.Mean/mib, g.PerHour/mib, g.Bound/mib)
		rest.Mean, rest.PerHour = rest.Mean-g.Mean, rest.PerHour-g.PerHour
	}
	fmt.Fprintf(b, "| %d others together | %.2f MiB | %+.2f MiB |\n\n", len(r.Heap)-1-len(most), rest.Mean/mib, rest.PerHour/mib)
}

// heapsIn is the folder of the heap profiles in that of a run that is kept.
const heapsIn = "heaps"
