// Package postgrestest runs a PostgreSQL server for the time of a test: a cluster in a
// temporary directory, reached by a socket in it.
package postgrestest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrMissing: PostgreSQL's programs are not installed.
var ErrMissing = errors.New("postgrestest: no initdb and postgres: install Debian's package postgresql")

// MaySkip tells whether a test may be skipped for an error: PostgreSQL is missing, and PHAROS_INTEROP=require does not insist that
// all programs of others are there.
func MaySkip(err error) bool {
	return errors.Is(err, ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require"
}

// port names the socket; nothing listens to it.
const port = "5432"

// startWithin bounds starting and stopping.
const startWithin = 30 * time.Second

// Server is a running PostgreSQL server.
type Server struct {
	dir, bin string
	options  []string
	attr     *syscall.SysProcAttr
	mu       sync.Mutex
	process  *os.Process
	ended    chan struct{}
	log      *log
}

// Start makes a cluster and starts it; options are like "max_connections=50". PostgreSQL
// does not run as root: root runs it as user postgres.
func Start(options ...string) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	// Of its own, not in a test's directory: a socket's name may have 107 bytes only.
	dir, err := os.MkdirTemp("", "pharos-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, options: options, log: new(log), attr: &syscall.SysProcAttr{}}
	if err := s.make(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := s.Restart(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// find is the directory of the programs.
func find() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(dirs)
	slices.Reverse(dirs)
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append([]string{filepath.Dir(p)}, dirs...)
	}
	for _, d := range dirs {
		if _, err := os.Stat(filepath.Join(d, "initdb")); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(d, "postgres")); err == nil {
			return d, nil
		}
	}
	return "", ErrMissing
}

// make is initdb.
func (s *Server) make() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMissing, err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(s.dir, uid, gid)); err != nil {
			return err
		}
		s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	c := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	c.Dir, c.SysProcAttr = s.dir, s.attr
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Dir is where the socket is.
func (s *Server) Dir() string { return s.dir }

// URL of a database, with parameters like "search_path=x".
func (s *Server) URL(database string, parameters ...string) string {
	q := url.Values{"host": {s.dir}, "port": {port}, "user": {"postgres"}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		q.Set(name, value)
	}
	return "postgres:///" + database + "?" + q.Encode()
}

// Restart stops the server, if it runs, and starts it again, with all that is in it.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start()
}

// Start starts a server that was stopped.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"-D", s.data(), "-k", s.dir, "-p", port}
	for _, o := range append([]string{"listen_addresses=", "logging_collector=off"}, s.options...) {
		args = append(args, "-c", o)
	}
	c := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	c.Dir, c.Stdout, c.Stderr = s.dir, s.log, s.log
	attr := *s.attr
	attr.Pdeathsig = syscall.SIGQUIT // when the test is killed
	c.SysProcAttr = &attr
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // whose end the signal would be sent at
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.ended = c.Process, ended
	return s.wait()
}

// wait is until it answers.
func (s *Server) wait() error {
	deadline := time.After(startWithin)
	for {
		if s.answers() {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("postgrestest: the server has ended: %s", s.log)
		case <-deadline:
			return fmt.Errorf("postgrestest: the server does not answer: %s", s.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers tells whether the server takes connections: it says so to a request for
// one with what it wants to know of the user, or with an error that is about us.
func (s *Server) answers() bool {
	c, err := net.Dial("unix", filepath.Join(s.dir, ".s.PGSQL."+port))
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	body := "\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	if _, err := c.Write(append([]byte{0, 0, 0, byte(len(body) + 4)}, body...)); err != nil {
		return false
	}
	b := make([]byte, 1)
	_, err = c.Read(b)
	return err == nil && b[0] == 'R' // Authentication
}

// Stop ends the server as pg_ctl's fast mode does: transactions are aborted, clients
// thrown out.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Crash ends the server at once, without a word to anybody; Start recovers what was committed.
func (s *Server) Crash() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	if err := s.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
	case <-time.After(startWithin):
		_ = s.process.Kill()
		<-s.ended
	}
	s.process = nil
	return nil
}

// Close ends the server and removes all that was in it.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}

// Log is what the server has said lately.
func (s *Server) Log() string { return s.log.String() }

// log keeps the last of what was written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// maxLog bounds what is kept, in bytes.
const maxLog = 64 << 10

// Write is io.Writer's.
func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len()+len(b) > maxLog {
		l.b.Next(l.b.Len() / 2)
	}
	return l.b.Write(b)
}

// String is all of it.
func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
