package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// standby is a server that may be added.
type standby struct {
	uri     string // to which INVITE goes
	command string // starts it; "" where it runs, or nobody can

	running bool // the command has not ended; guarded by loadControl.mu
}

const (
	// startWithin is how long a server may take from its command until it answers.
	startWithin = 60 * time.Second
)

// start runs the command of a candidate with sh -c. The command may end at once, having the
// server started by others, or be the server itself, which then outlives this one. It is not
// run again while it runs. What it is for is in its environment: PHAROS_STANDBY, the URI
// that it is to answer at; PHAROS_JOIN, where it is asked from; PHAROS_SERVICE, the domain.
func (c *loadControl) start(ctx context.Context, uri, command string) error {
	c.mu.Lock()
	e := c.entry(uri)
	if e == nil || e.running {
		c.mu.Unlock()
		return nil
	}
	e.running = true
	c.mu.Unlock()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it gets none of our signals
	cmd.Env = append(os.Environ(), "PHAROS_STANDBY="+uri, "PHAROS_JOIN="+c.s.addresses().SIP, "PHAROS_SERVICE="+c.s.Config.Domains[0])
	if err := cmd.Start(); err != nil {
		c.mu.Lock()
		e.running = false
		c.mu.Unlock()
		return fmt.Errorf("its command: %w", err)
	}
	c.s.Log.Info("a standby is started", "candidate", uri, "command", command, "process", cmd.Process.Pid)
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		e.running = false
		c.mu.Unlock()
		if err != nil {
			c.s.Log.Warn("the command that starts a standby has failed", "candidate", uri, "err", err)
		}
	}()
	return ctx.Err()
}
