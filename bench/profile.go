package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// profileTime is how long a profile of one measurement is taken, in whole seconds; the measurement lasts
// as long itself, or the end of the profile is of an idle server.
const profileTime = 3 * time.Second

// profile begins a CPU profile of a server of ours, where Profiles is set; wait returns when it is there.
func profile(t Target, name string) (wait func()) {
	s, ours := t.(*Server)
	if Profiles == "" || !ours {
		return func() {}
	}
	file := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name) + ".pprof"
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b, err := s.control("/debug/pprof/profile?seconds=" + strconv.Itoa(int(profileTime/time.Second)))
		if err == nil {
			err = os.WriteFile(filepath.Join(Profiles, file), b, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: no profile:", err)
		}
	}()
	return func() { <-ended }
}

// control gets a page of the server's control socket.
func (s *Server) control(path string) ([]byte, error) {
	socket := ControlSocket(filepath.Join(s.Dir, "data"))
	socket.DisableKeepAlives = true
	c := &http.Client{Timeout: time.Minute, Transport: socket}
	resp, err := c.Get("http://pharos" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bench: %s: %s", path, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// ControlSocket reaches a server by the control socket in its data folder.
func ControlSocket(data string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "pharos.sock"))
	}}
}
