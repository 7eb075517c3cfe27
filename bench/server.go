// Package bench measures a running server from outside: load generators of our
// own over loopback, the server's CPU time as the kernel counts it. Figures are
// CPU per event, since two noisy cores say little about elapsed time.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Server is a child process with its own data folder.
type Server struct {
	*Process
	Dir   string
	bin   string
	ports map[string]string // scheme -> host:port
}

const serverConfig = `domains = ["localhost"]
listen = ["sip+udp://127.0.0.1:0", "sip+tcp://127.0.0.1:0", "xmpp+insecure://127.0.0.1:0", "xmpp://127.0.0.1:0", "http+insecure://127.0.0.1:0"]
[sip]
trusted = [%s]
[policy]
default = %q
[log]
level = "warn"
[limits]
per_address = 100000
unauthenticated = 20000
`

// Start runs the binary with these users. With Trusted, SIP requests from loopback need no digest.
func Start(ctx context.Context, bin string, p Population) (*Server, error) {
	dir, err := os.MkdirTemp("", "pharos-bench-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, bin: bin}
	list := ""
	if p.Trusted {
		list = `"127.0.0.1/32"`
	}
	policy := "allow"
	if p.Asked {
		policy = "confirm"
	}
	conf := filepath.Join(dir, "pharos.toml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, serverConfig, list, policy), 0o600); err != nil {
		return nil, err
	}
	if err := p.store(ctx, filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	s.Process, err = Run(ctx, filepath.Join(dir, "log"), nil, bin, "serve", "--config", conf, "--data", filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) wait(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, _ := exec.CommandContext(ctx, s.bin, "status", "--json", "--data", filepath.Join(s.Dir, "data")).Output()
		var st struct {
			Ready  bool
			Listen []string
		}
		if json.Unmarshal(out, &st) == nil && st.Ready {
			s.ports = map[string]string{}
			for _, l := range st.Listen {
				scheme, addr, _ := strings.Cut(l, "://")
				s.ports[scheme] = addr
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("bench: the server is not ready: %s", s.Log())
		}
	}
}

// Addr is where a listener of that scheme is.
func (s *Server) Addr(scheme string) string { return s.ports[scheme] }

// Stop ends the process and removes its folder.
func (s *Server) Stop() error { return errors.Join(s.Process.Stop(), os.RemoveAll(s.Dir)) }

// CPU is the processor time that a process has used, user and kernel. The
// kernel counts in ticks of 10 ms, so a measurement should last a second.
func CPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	kernel, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+kernel) * 10 * time.Millisecond, errors.Join(err1, err2)
}
