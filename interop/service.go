package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"pharos/store/postgrestest"
)

// Service is several servers that are one, on addresses of loopback and with a
// PostgreSQL of their own.
type Service struct {
	Servers []*Server

	db *postgrestest.Server
}

// services counts those of this process: each has addresses of its own.
var services atomic.Int32

// StartService starts n servers in folders of dir and waits until all see each other.
// Settings are further lines of [cluster].
func StartService(bin, dir string, n int, settings ...string) (s *Service, err error) {
	s = &Service{}
	if s.db, err = postgrestest.Start(); errors.Is(err, postgrestest.ErrMissing) {
		return nil, fmt.Errorf("PostgreSQL %w", ErrMissing)
	} else if err != nil {
		return nil, err
	}
	which := services.Add(1)
	var peers []string
	for i := range n {
		v := &Server{Dir: filepath.Join(dir, Name(i)), bin: bin, host: fmt.Sprintf("127.%d.%d.%d", 100+which%100, os.Getpid()%250, i+1),
			ports: map[string]string{"sip+udp": "5060", "sip+tcp": "5060", "sips": "5061", "xmpp": "5222", "xmpps": "5223"}}
		s.Servers = append(s.Servers, v)
		peers = append(peers, fmt.Sprintf("%q", v.host+":6222"))
	}
	for i, v := range s.Servers {
		if err := os.MkdirAll(v.Dir, 0o700); err != nil {
			return s, errors.Join(err, s.Stop())
		}
		if i > 0 { // clients that are sent elsewhere expect the certificate that they know
			v.cert = s.Servers[0].Certificate()
			v.settings = []string{"[tls]", fmt.Sprintf("cert = %q", v.cert), fmt.Sprintf("key = %q", filepath.Join(filepath.Dir(v.cert), "key.pem"))}
		}
		v.settings = append(append(v.settings, "[store]", fmt.Sprintf("url = %q", s.db.URL("postgres")), "[cluster]", fmt.Sprintf("node = %q", Name(i)),
			`secret = "shared by the servers under test"`, "peers = ["+strings.Join(peers, ", ")+"]", fmt.Sprintf("listen = %q", v.host+":6222"),
			fmt.Sprintf("sip = %q", "sip:"+v.host+":5060;transport=tcp"), fmt.Sprintf("xmpp = %q", v.host+":5222"), "low = 0"), settings...)
		if err := v.start(v.settings); err != nil {
			return s, errors.Join(err, s.Stop())
		}
	}
	if err := s.Await(20*time.Second, func(nodes map[string]Node) bool {
		for i := range n {
			if m := nodes[Name(i)]; m.State != "active" || !m.Reached {
				return false
			}
		}
		return true
	}); err != nil {
		return s, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Name of the server with that index.
func Name(i int) string { return fmt.Sprintf("n%d", i+1) }

// Node is what 'pharos cluster status' says of one server.
type Node struct {
	Name    string
	State   string
	Reached bool
	Users   int
	Leader  bool
}

// Await waits until every server that runs sees the others so.
func (s *Service) Await(within time.Duration, so func(map[string]Node) bool) error {
	var seen map[string]Node
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		all := true
		for _, v := range s.Servers {
			if v.Process == nil || v.ended() {
				continue
			}
			if seen, err = v.nodes(); err != nil || !so(seen) {
				all = false
				break
			}
		}
		if all {
			return nil
		}
	}
	return fmt.Errorf("the service is not as awaited after %v: %v (%w)", within, seen, err)
}

// nodes is how one server sees them all.
func (s *Server) nodes() (map[string]Node, error) {
	var st struct{ Nodes []Node }
	if err := s.Command(&st, "cluster", "status", "--json"); err != nil {
		return nil, err
	}
	m := map[string]Node{}
	for _, n := range st.Nodes {
		m[n.Name] = n
	}
	return m, nil
}

// Stop ends all servers, one after the other, and the database.
func (s *Service) Stop() error {
	for _, v := range s.Servers {
		if v.Process != nil {
			v.Stop()
		}
	}
	return s.db.Close()
}
