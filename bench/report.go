package bench

import (
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
	var t strings.Builder
	t.WriteString(Setting() + "\n\n")
	t.WriteString("| event | server's CPU (memory) | goal | other servers | events | generator's CPU |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		own := ""
		if r.Wall > 0 {
			own = fmt.Sprintf("%.1f µs", float64(r.Own.Nanoseconds())/1000/float64(max(r.Events, 1)))
		}
		fmt.Fprintf(&t, "| %s | **%s** | %s | %s | %d | %s |\n", r.Name, r.Value(), r.Goal, r.Peers, r.Events, own)
	}
	return Between(path, beginMark, endMark, t.String())
}

// Between replaces what stands between two markers of a file, which stay.
func Between(path, begin, end, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("bench: %s has no markers %q, %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+text+"\n"+end+after), 0o644)
}

// Setting is when and where something was measured, and what; more is said before the revision.
func Setting(more ...string) string {
	of := append([]string{fmt.Sprintf("%s, %s, %d cores, %s, %s", time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), cpuModel(), kernel())}, more...)
	return strings.Join(of, "; ") + "; revision " + revision() + "."
}

// revision is what was built, and says if the code has been changed since. What a measurement writes is no code.
func revision() string {
	rev, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.Command("git", "status", "--porcelain", "--", ":/*.go", ":/go.mod", ":/go.sum", ":/*.html", ":/*.js", ":/*.css", ":/*.sql").Output()
	if err != nil {
		return "unknown"
	}
	s := strings.TrimSpace(string(rev))
	if len(changed) > 0 {
		s += "-dirty"
	}
	return s
}

// Loaded says for Setting how busy the machine was with other work too.
func Loaded() string { return "load average at the end " + LoadAverage() }

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
