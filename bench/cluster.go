package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// Finding is one line of what several nodes cost and do.
type Finding struct {
	Name   string
	Result string // of several nodes, or of PostgreSQL
	Base   string // of one node, or of SQLite, in the same run
	Ratio  float64
	Goal   string
	Kept   bool // the goal; of no meaning without one
	Events int
	Note   string
}

// String is one line of a run.
func (f Finding) String() string {
	s := fmt.Sprintf("%-64s %s", f.Name, f.Result)
	if f.Base != "" {
		s += "  against " + f.Base
	}
	if f.Ratio > 0 {
		s += fmt.Sprintf("  ratio %.2f", f.Ratio)
	}
	if f.Goal != "" {
		s += fmt.Sprintf("  goal %s: %s", f.Goal, yes(f.Kept))
	}
	return s + fmt.Sprintf("  (%d) %s", f.Events, f.Note)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// clusterMeasures are the measurements of several nodes, by name.
var clusterMeasures = []struct {
	name string
	run  func(context.Context, string, float64, func(Finding)) error
}{
	{"latency", clusterLatency},
	{"fanout", clusterFanout},
	{"database", clusterDatabase},
	{"move", clusterMove},
	{"takeover", clusterTakeover},
	{"reconnect", clusterReconnect},
	{"idle", clusterIdle},
}

// ClusterMeasures are the names of what Cluster measures.
func ClusterMeasures() (names []string) {
	for _, m := range clusterMeasures {
		names = append(names, m.name)
	}
	return names
}

// Cluster measures services of several nodes of this binary, against one node in the same run; scale multiplies the length,
// part is one of ClusterMeasures or empty. It needs PostgreSQL's programs: postgrestest.ErrMissing.
func Cluster(ctx context.Context, bin, part string, scale float64, each func(Finding)) error {
	known := false
	for _, m := range clusterMeasures {
		if part != "" && part != m.name {
			continue
		}
		known = true
		if err := m.run(ctx, bin, scale, each); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if !known {
		return fmt.Errorf("bench: %q is none of %s", part, strings.Join(ClusterMeasures(), ", "))
	}
	return nil
}

const (
	beginCluster = "<!-- cluster: written by go run ./bench/run -only cluster -readme bench/README.md -->"
	endCluster   = "<!-- end of cluster -->"
)

// ClusterTable is the table of the README.
func ClusterTable(fs []Finding) string {
	var b strings.Builder
	b.WriteString("| what | several nodes | one node | ratio | goal | kept | events |\n|---|---|---|---|---|---|---|\n")
	for _, f := range fs {
		ratio, kept := "", ""
		if f.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		if f.Goal != "" {
			kept = yes(f.Kept)
		}
		name := f.Name
		if f.Note != "" {
			name += "; " + f.Note
		}
		fmt.Fprintf(&b, "| %s | **%s** | %s | %s | %s | %s | %d |\n", name, f.Result, f.Base, ratio, f.Goal, kept, f.Events)
	}
	return b.String()
}

// WriteCluster puts the table between its markers in a file.
func WriteCluster(path string, fs []Finding) error {
	return Between(path, beginCluster, endCluster, Setting(Loaded())+"\n\n"+ClusterTable(fs))
}

// LoadAverage is that of the last five minutes: how busy the machine was with other work too.
func LoadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) > 1 {
		return f[1]
	}
	return "unknown"
}

// brief is a scale below which measurements that differ by a parameter only are made with one of them.
const brief = 0.03

func scaled(n int, scale float64, least int) int { return max(least, int(float64(n)*scale)) }

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond)) }

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}
