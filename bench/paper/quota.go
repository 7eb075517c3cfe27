package paper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoQuota: this machine has no control groups with processor quotas that this process may
// make. Without them servers of one machine are no servers of their own, and no times are taken.
var ErrNoQuota = errors.New("paper: no control groups with processor quotas can be made here (needs root)")

// period is that of the quotas: short, so that a server that has used its part stands still for
// milliseconds and not for the 100 ms of the kernel's default.
const period = 10 * time.Millisecond

// group is a control group with a quota of processor time: what a server of its own would have.
// A nil group has no bounds.
type group struct {
	dir    string
	second bool // cgroup version 2
}

// quotas finds where groups can be made.
func quotas() (root string, second bool, err error) {
	if b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		if !strings.Contains(" "+strings.TrimSpace(string(b))+" ", " cpu ") {
			return "", false, ErrNoQuota
		}
		// A child has a controller only if its parent hands it down.
		if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu"), 0); err != nil {
			return "", false, fmt.Errorf("%w: %w", ErrNoQuota, err)
		}
		return "/sys/fs/cgroup", true, nil
	}
	// The root group of version 1 may have no quota of its own: a child shows whether there are some.
	for _, dir := range []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"} {
		if _, err := os.Stat(filepath.Join(dir, "cpu.shares")); err == nil {
			return dir, false, nil
		}
	}
	return "", false, ErrNoQuota
}

// newGroup makes one whose processes together get so many cores.
func newGroup(name string, cores float64) (*group, error) {
	root, second, err := quotas()
	if err != nil {
		return nil, err
	}
	g := &group{dir: filepath.Join(root, fmt.Sprintf("pharos-paper-%d-%s", os.Getpid(), name)), second: second}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoQuota, err)
	}
	quota, per := strconv.Itoa(int(cores*float64(period.Microseconds()))), strconv.Itoa(int(period.Microseconds()))
	if second {
		err = g.write("cpu.max", quota+" "+per)
	} else {
		err = errors.Join(g.write("cpu.cfs_period_us", per), g.write("cpu.cfs_quota_us", quota))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoQuota, err), g.remove())
	}
	return g, nil
}

func (g *group) write(file, text string) error {
	return os.WriteFile(filepath.Join(g.dir, file), []byte(text), 0)
}

// enter is a line of a shell script by which the shell, and what it becomes, is in the group.
func (g *group) enter() string {
	if g == nil {
		return ":"
	}
	return "echo $$ >" + filepath.Join(g.dir, "cgroup.procs")
}

// remove ends what runs in it.
func (g *group) remove() error {
	if g == nil {
		return nil
	}
	var err error
	for range 150 { // the kernel takes a moment to let go of a process
		b, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		for p := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(p); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
