package interop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Process is a program run as a child: its output is its Transcript.
type Process struct {
	*Transcript
	Name string

	cmd   *exec.Cmd
	in    io.WriteCloser
	enter string // what the Enter key sends; empty: a line end
	done  chan struct{}
	err   error
}

// start runs a program in a process group of its own, so that ending it ends
// its children too. Its output and errors are one transcript.
func start(name string, cmd *exec.Cmd) (*Process, error) {
	return begin(&Process{Transcript: newTranscript(), Name: name, cmd: cmd})
}

// startTerminal is start for a program that draws on a terminal: colours and
// jumps of the cursor are taken out of its transcript. With pty it gets a
// terminal of its own.
func startTerminal(name string, cmd *exec.Cmd, pty bool) (*Process, error) {
	p := &Process{Transcript: newTranscript(), Name: name, cmd: cmd}
	p.Transcript.terminal = true
	if pty {
		return p, p.beginOnPTY(p.Transcript)
	}
	return begin(p)
}

func begin(p *Process) (*Process, error) {
	p.done = make(chan struct{})
	name, cmd := p.Name, p.cmd
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.in = in
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = p.run()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	go func() { p.follow(r); r.Close() }()
	return p, nil
}

func (p *Process) run() error {
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if !p.cmd.SysProcAttr.Setsid {
		p.cmd.SysProcAttr.Setpgid = true
	}
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // nothing outlives a test that panics
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return nil
}

// Type sends one line to the program's input.
func (p *Process) Type(line string) error {
	enter := p.enter
	if enter == "" {
		enter = "\n"
	}
	if _, err := io.WriteString(p.in, line+enter); err != nil {
		return fmt.Errorf("%s: typing %q: %w", p.Name, line, err)
	}
	return nil
}

// See is Expect with the program's name in the error.
func (p *Process) See(within time.Duration, pattern string) ([]string, error) {
	m, err := p.Expect(within, pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return m, nil
}

// Wait waits for the program to end by itself; its error is the program's.
func (p *Process) Wait(within time.Duration) error {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s: %w", p.Name, p.err)
		}
		return nil
	case <-t.C:
		return fmt.Errorf("%s still runs after %v; it said:\n%s", p.Name, within, p.Unread())
	}
}

// Kill ends the program as kill -9 does, with its children.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// ended tells whether the program runs no more.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks the program to end and kills it if it does not within 3 seconds.
func (p *Process) Stop() {
	if p.ended() {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	t := time.NewTimer(3 * time.Second)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		p.Kill()
	}
}

// ErrMissing says that a foreign program is not installed.
var ErrMissing = errors.New("is not installed; interop/install.sh test installs it")

// Find gives the path of a foreign program.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s %w", program, ErrMissing)
	}
	return path, nil
}

// Version is the first line of what a program prints of its version.
func Version(args ...string) string {
	out, _ := exec.Command(args[0], args[1:]...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "unknown version"
}
