package interop

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// beginOnPTY starts the program on a pseudo-terminal of 200 by 60 characters;
// what it draws there goes to screen.
func (p *Process) beginOnPTY(screen *Transcript) error {
	p.done = make(chan struct{})
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 60, Col: 200})
	}
	if err != nil {
		master.Close()
		return fmt.Errorf("%s: pseudo-terminal: %w", p.Name, err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer slave.Close() // the child has its own
	p.cmd.Stdin, p.cmd.Stdout = slave, slave
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = slave
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.in, p.enter = master, "\r"
	if err := p.run(); err != nil {
		master.Close()
		return err
	}
	go screen.follow(master) // ends with an error when the program has ended
	return nil
}
