package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program with all the processes that it has started, in a process
// group of its own. It dies with us.
type Process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	err   error // of its end; once ended is closed
}

// Run starts a program; what it prints goes to the file log. The end of ctx kills
// the whole group.
func Run(ctx context.Context, log string, env []string, name string, args ...string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &Process{log: log, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, name, args...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.ended) }()
	return p, nil
}

// PID of the program itself.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Log is the end of what it has printed.
func (p *Process) Log() []byte {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-3000):]
}

// Stop ends the program, after 12 s by force, and with it what is left of its
// group. The error is that of the program's end.
func (p *Process) Stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-p.ended:
	case <-time.After(12 * time.Second):
		err = errors.Join(err, fmt.Errorf("bench: %s did not end within 12 s", filepath.Base(p.cmd.Path)))
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // mostly nobody is left
	<-p.ended
	return errors.Join(err, p.err)
}

// CPU is the processor time, user and kernel, of the program and all that it has
// started, those which have ended included. The kernel counts in ticks of 10 ms, so a
// measurement should last a second.
func (p *Process) CPU() (time.Duration, error) {
	var ticks int64
	err := p.tree(func(_ int, stat []string) error {
		for _, v := range stat[11:15] { // own, and of children who have ended: user, kernel
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return err
			}
			ticks += n
		}
		return nil
	})
	return time.Duration(ticks) * 10 * time.Millisecond, err
}

// Memory is what all its processes have resident, in bytes; what several share counts
// once (PSS).
func (p *Process) Memory() (int64, error) {
	var sum int64
	err := p.tree(func(pid int, _ []string) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			if pid != p.PID() {
				return nil // ended meanwhile
			}
			return err
		}
		for _, l := range strings.Split(string(b), "\n") {
			if f := strings.Fields(l); len(f) == 3 && f[0] == "Pss:" {
				kb, err := strconv.ParseInt(f[1], 10, 64)
				if err != nil {
					return err
				}
				sum += kb << 10
			}
		}
		return nil
	})
	return sum, err
}

// tree calls fn with each living process and what its /proc/PID/stat says from the
// state on.
func (p *Process) tree(fn func(pid int, stat []string) error) error {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	stats := map[int][]string{}
	children := map[int][]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		stats[pid] = strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if parent, err := strconv.Atoi(stats[pid][1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	if stats[p.PID()] == nil {
		return fmt.Errorf("bench: %s has ended: %s", filepath.Base(p.cmd.Path), p.Log())
	}
	for todo := []int{p.PID()}; len(todo) > 0; todo = todo[1:] {
		if err := fn(todo[0], stats[todo[0]]); err != nil {
			return err
		}
		todo = append(todo, children[todo[0]]...)
	}
	return nil
}
