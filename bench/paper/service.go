package paper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pharos/bench"
	"pharos/presence"
	"pharos/store"
	"pharos/store/postgrestest"
)

// service is one server alone, or some of which all but the first wait until the load control adds them.
type service struct {
	name    string
	dir     string
	limit   int // the maximum level, in users with all their resources; 0: a server alone
	pg      *postgrestest.Server
	db      *store.Store
	servers []*server
}

// server is a process with processor time of its own. The main one is started by us, the others by it.
type server struct {
	name, ip, dir string
	group         *group
	http          http.Client // to the control socket
}

const (
	portSIP  = 5060
	portXMPP = 5222
	portBus  = 6222
	// agent is the User-Agent of our phones, which follow 302.
	agent = "paper-phone"
)

const configuration = `domains = ["localhost"]
listen = ["sip+tcp://%[1]s:5060", "xmpp+insecure://%[1]s:5222"]
[store]
url = %[2]q
[log]
level = "info"
[limits]
per_address = 100000
unauthenticated = 20000
`

// The level is the sum of users and resources (the paper, section 3.2), divided by what a user
// has, so that a maximum of 100 are 100 users as in the paper's experiment. A server is added when
// the level of all exceeds the maximum there, when it reaches it here: hence the half.
const clusterConfiguration = `[cluster]
node = %[1]q
secret = "a secret that the measured servers share"
listen = "%[2]s:6222"
peers = [%[3]s]
sip = "sip:%[2]s:5060;transport=tcp"
xmpp = "%[2]s:5222"
max = %[4]g
user_weight = %[5]g
resource_weight = %[5]g
low = 0
band = 0.02
redirect_sip = ["SUBSCRIBE,PUBLISH:` + agent + `"]
`

// startService makes a service of at most so many servers, with a database of its own, outside of
// the quotas, in which the accounts are. Its addresses begin with net. cores of 0 or less means servers without
// quotas. With an error, what there is of it has been stopped.
func startService(ctx context.Context, bin, name, net string, accounts []store.Account, limit, most, resources int, cores float64) (s *service, err error) {
	s = &service{name: name, limit: limit}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
			s.servers, s.db, s.pg = nil, nil, nil
		}
	}()
	if s.dir, err = os.MkdirTemp("", "pharos-paper-"); err != nil {
		return s, err
	}
	if s.pg, err = postgrestest.Start("max_connections=200"); err != nil {
		return s, err
	}
	if s.db, err = store.OpenPostgres(ctx, s.pg.URL("postgres"), filepath.Join(s.dir, "accounts")); err != nil {
		return s, err
	}
	if err := s.db.PutAccounts(ctx, accounts); err != nil {
		return s, err
	}
	var peers []string
	for i := range most {
		v := &server{name: fmt.Sprintf("ps%d", i+1), ip: fmt.Sprintf("%s.%d", net, 11+i)}
		v.dir = filepath.Join(s.dir, v.name)
		v.http.Transport = bench.ControlSocket(v.file("data"))
		s.servers = append(s.servers, v)
		peers = append(peers, strconv.Quote(fmt.Sprintf("%s:%d", v.ip, portBus)))
		if cores > 0 {
			if v.group, err = newGroup(name+"-"+v.name, cores); err != nil {
				return s, err
			}
		}
	}
	for i, v := range s.servers {
		conf := fmt.Sprintf(configuration, v.ip, s.pg.URL("postgres"))
		if limit > 0 {
			weight := 1 / (1 + counted(resources))
			conf += fmt.Sprintf(clusterConfiguration, v.name, v.ip, strings.Join(peers, ", "), float64(limit)+0.5, weight)
			if i > 0 {
				conf += "start_standby = true\n"
			} else {
				conf += "standby = [" + s.standbys() + "]\n"
			}
		}
		// One processor is more than any of them has. The script is also what the load control runs.
		script := fmt.Sprintf("#!/bin/sh\n%s\necho $$ >%s\nGOMAXPROCS=1 exec %s serve --config %s --data %s >>%s 2>&1\n", v.group.enter(), v.file("pid"),
			bin, v.file("pharos.toml"), v.file("data"), v.file("log"))
		err := errors.Join(os.MkdirAll(v.file("data"), 0o700), os.WriteFile(v.file("pharos.toml"), []byte(conf), 0o600), os.WriteFile(v.file("start"), []byte(script), 0o755))
		if err != nil {
			return s, err
		}
	}
	return s, s.servers[0].start(ctx)
}

// counted is how many registered resources a user has by the service's count, on the average of both
// kinds: those, the subscription by which his client hears of them, and, where there are several servers,
// that by which a chat session is reached from others.
func counted(resources int) float64 { return float64(resources) + 1.5 }

func (s *service) standbys() string {
	var list []string
	for _, v := range s.servers[1:] {
		list = append(list, strconv.Quote(fmt.Sprintf("sip:%s:%d;transport=tcp %s", v.ip, portSIP, v.file("start"))))
	}
	return strings.Join(list, ", ")
}

func (v *server) file(name string) string { return filepath.Join(v.dir, name) }

// start runs the main server.
func (v *server) start(ctx context.Context) error {
	cmd := exec.Command(v.file("start"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for until := time.Now().Add(60 * time.Second); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if st, err := v.status(ctx); err == nil && st.Ready {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("paper: %s has ended: %s", v.name, v.said())
		default:
		}
	}
	return fmt.Errorf("paper: %s is not ready: %s", v.name, v.said())
}

// said is the end of the log.
func (v *server) said() []byte {
	b, err := os.ReadFile(v.file("log"))
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-3000):]
}

// pid of the process; 0: it has not been started.
func (v *server) pid() int {
	b, err := os.ReadFile(v.file("pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// status is of what a server says of itself what is looked at here.
type status struct {
	Ready  bool
	Engine struct {
		Presentities, Sources, Subscriptions int
	}
	Cluster struct {
		Nodes []struct {
			Name, State string
			Level       float64
			Users       int
		}
		Redirects map[string]uint64
	}
}

func (v *server) status(ctx context.Context) (st status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pharos/status", nil)
	if err != nil {
		return st, err
	}
	a, err := v.http.Do(r)
	if err != nil {
		return st, err
	}
	defer a.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(a.Body); err != nil {
		return st, err
	}
	return st, json.Unmarshal(b.Bytes(), &st)
}

// running are the servers that take users.
func (s *service) running(ctx context.Context) (list []*server, err error) {
	if s.limit == 0 {
		return s.servers[:1], nil
	}
	st, err := s.servers[0].status(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range st.Cluster.Nodes {
		for _, v := range s.servers {
			if v.name == n.Name && n.State == "active" {
				list = append(list, v)
			}
		}
	}
	return list, nil
}

// homes are the servers at which users live.
func (s *service) homes(ctx context.Context, users []string) (map[string]*server, error) {
	at := make(map[string]*server, len(users))
	if s.limit == 0 {
		for _, u := range users {
			at[u] = s.servers[0]
		}
		return at, nil
	}
	var of []presence.Entity
	for _, u := range users {
		of = append(of, entity(u))
	}
	homes, err := s.db.Homes(ctx, of)
	if err != nil {
		return nil, err
	}
	for e, h := range homes {
		for _, v := range s.servers {
			if v.name == h.Node {
				at[e.User] = v
			}
		}
	}
	return at, nil
}

// stop ends everything and removes it.
func (s *service) stop() error {
	var errs []error
	for _, v := range s.servers { // the main one first, so that it adds nobody
		if pid := v.pid(); pid > 0 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, err)
			}
		}
	}
	for _, v := range s.servers {
		errs = append(errs, v.group.remove())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// used is the processor time that all its servers have used.
func (s *service) used() (cpu time.Duration) {
	for _, v := range s.servers {
		cpu += processorTime(v.pid())
	}
	return cpu
}

// stored is the processor time that each process of its database has used.
func (s *service) stored() map[int]time.Duration {
	b, err := os.ReadFile(filepath.Join(s.pg.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(b), "\n")
	if b, err = os.ReadFile(fmt.Sprintf("/proc/%[1]s/task/%[1]s/children", first)); err != nil {
		return nil
	}
	used := map[int]time.Duration{}
	for p := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(p); err == nil {
			used[pid] = processorTime(pid)
		}
	}
	return used
}

// since is what processes have used since then; of those that have ended meanwhile it is not known.
func since(then, now map[int]time.Duration) (d time.Duration) {
	for pid, n := range now {
		d += n - then[pid]
	}
	return d
}

// processorTime is what the threads of a process have used; Go ends none.
func processorTime(pid int) (cpu time.Duration) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		cpu += time.Duration(n)
	}
	return cpu
}
