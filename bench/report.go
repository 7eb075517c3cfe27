package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

const (
	beginMark = "<!-- results: written by make bench -->"
	endMark   = "<!-- end of results -->"
)

// WriteReport replaces what stands between the markers of a file.
func WriteReport(path string, rows []Row) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	i, j := bytes.Index(b, []byte(beginMark)), bytes.Index(b, []byte(endMark))
	if i < 0 || j < i {
		return fmt.Errorf("bench: %s has no result markers", path)
	}
	var t strings.Builder
	t.WriteString(beginMark + "\n\n")
	t.WriteString(Setting() + "\n\n")
	t.WriteString("| event | server's CPU (memory) | goal | other servers | events | generator's CPU |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		own := ""
		if r.Wall > 0 {
			own = fmt.Sprintf("%.1f µs", float64(r.Own.Nanoseconds())/1000/float64(max(r.Events, 1)))
		}
		fmt.Fprintf(&t, "| %s | **%s** | %s | %s | %d | %s |\n", r.Name, r.Value(), r.Goal, r.Peers, r.Events, own)
	}
	t.WriteString("\n")
	out := append(append(append([]byte(nil), b[:i]...), t.String()...), b[j:]...)
	return os.WriteFile(path, out, 0o644)
}

// Setting is when and where something was measured, and what.
func Setting() string {
	rev, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		rev = []byte("unknown")
	}
	return fmt.Sprintf("%s, %s, %d cores, %s, %s; revision %s.", time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), cpuModel(), kernel(), strings.TrimSpace(string(rev)))
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for _, l := range strings.Split(string(b), "\n") {
		if name, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown processor"
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(b))
}
