package story

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"pharos/cluster"
	"pharos/config"
	"pharos/memnet"
	"pharos/store"
)

// The ports of a server. The n-th is at 192.0.2.n; actors are at 198.51.100.n.
const (
	sipPort  = 5060
	sipsPort = 5061
	xmppPort = 5222
	httpPort = 8080
)

const (
	home     = "example.com" // the domain that stories leave out
	password = "pencil & paper"
)

// world is the servers and everybody around them.
type world struct {
	t      *testing.T
	net    *memnet.Network
	config config.Config
	data   string
	log    io.Writer

	nodes   []*node // one, or those that are one service
	store   *store.Store
	bus     *cluster.Memory
	lease   time.Duration // of servers; 0: as usual
	started bool

	sips bool // somebody speaks TLS

	names    []string // of actors, in order
	phones   map[string]*phone
	chatters map[string]*chatter
	clients  map[string]*client
	users    map[string]bool

	documents map[string]string
}

// short leaves the usual domain out of an address.
func (w *world) short(addr string) string {
	bare, resource, full := strings.Cut(addr, "/")
	bare = strings.TrimSuffix(bare, "@"+home)
	if full {
		return bare + "/" + resource
	}
	return bare
}

// address is the other way round: user@domain of an actor or user.
func (w *world) address(name string) string {
	bare, _, _ := strings.Cut(name, "/")
	if !strings.Contains(bare, "@") && !strings.Contains(bare, ".") {
		bare += "@" + home
	}
	return bare
}

// inWorld has fn do in Go what the language of stories has no words for: in the world of a script, of which only the
// actors and what is said of the servers count, with so many of them.
func inWorld(t *testing.T, name, text string, nodes int, fn func(t *testing.T, w *world)) {
	t.Helper()
	s, err := parseScript(name, text)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t, s, nodes, new(journal))
		defer w.close()
		if err != nil {
			t.Fatal(err)
		}
		settle(atEnd)
		fn(t, w)
	})
}

// do does what a line of a story says, until all is quiet.
func (w *world) do(text string) {
	w.t.Helper()
	if err := w.act(line{words: strings.Fields(text)}); err != nil {
		w.t.Fatal(err)
	}
	settle(between)
}

// got is what an actor has got since the last call, a line each.
func (w *world) got(name string) string {
	var got []string
	for _, e := range w.drain(name) {
		got = append(got, e.String())
	}
	return strings.Join(got, "\n")
}

func newWorld(t *testing.T, s *script, nodes int, log io.Writer) (*world, error) {
	w := &world{
		t: t, net: memnet.New(), data: t.TempDir(), log: log,
		phones: map[string]*phone{}, chatters: map[string]*chatter{}, clients: map[string]*client{}, users: map[string]bool{},
		documents: s.documents, lease: s.lease,
	}
	w.config = config.Defaults()
	w.config.Domains = []string{home}
	w.config.Policy.Default = s.policy
	for _, a := range s.actors {
		addr := w.address(a.name)
		if domain := addr[strings.IndexByte(addr, '@')+1:]; !slices.Contains(w.config.Domains, domain) {
			w.config.Domains = append(w.config.Domains, domain)
		}
		w.users[addr] = true
		w.sips = w.sips || a.world == "sips"
	}
	for i := range nodes {
		w.nodes = append(w.nodes, &node{w: w, number: i + 1, ip: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})})
	}
	if err := w.start(); err != nil {
		return w, err
	}
	for addr := range w.users {
		if err := w.nodes[0].server.Admin().Add(t.Context(), addr, password); err != nil {
			return w, err
		}
	}
	for i, a := range s.actors {
		ip := netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
		at := w.nodes[i%len(w.nodes)] // the actors are spread over the servers
		w.names = append(w.names, a.name)
		_, resource, _ := strings.Cut(a.name, "/")
		if a.world == "xmpp" {
			if resource == "" {
				resource = "home"
			}
			w.chatters[a.name] = &chatter{w: w, name: a.name, user: w.address(a.name), resource: resource, from: ip, node: at}
			continue
		}
		if a.world == "xcap" {
			w.clients[a.name] = newClient(w, at, a.name, w.address(a.name), ip)
			continue
		}
		p, err := newPhone(w, at, a.name, w.address(a.name), netip.AddrPortFrom(ip, 5060).String())
		if err != nil {
			return w, err
		}
		if p.stream = a.world; p.stream == "sip" {
			p.stream = ""
		}
		w.phones[a.name] = p
	}
	return w, nil
}

// start opens all servers on the data folder and waits until they listen.
func (w *world) start() error {
	if len(w.nodes) > 1 {
		st, err := store.Open(context.Background(), w.data, store.WithLog(w.logger(0)))
		if err != nil {
			return err
		}
		w.store, w.bus = st, cluster.NewMemory()
	}
	if w.lease == 0 && !w.started { // the first one leads
		w.started = true
		for _, n := range w.nodes {
			if err := n.start(); err != nil {
				return err
			}
		}
		return nil
	}
	return w.each((*node).start)
}

// each does something with all servers at once.
func (w *world) each(do func(*node) error) error {
	var g errgroup.Group
	for _, n := range w.nodes {
		g.Go(func() error { return do(n) })
	}
	return g.Wait()
}

// longLease is for servers none of which is to fail: hours go by in a story, and each renewal
// is a commit.
const longLease = 10 * time.Minute

// end stops all servers as SIGTERM does.
func (w *world) end() error {
	return errors.Join(w.each((*node).end), w.closeStore())
}

func (w *world) closeStore() error {
	if w.store == nil {
		return nil
	}
	st := w.store
	w.store = nil
	return st.Close()
}

// cut takes all servers from the network in one moment: none tells what became of another.
func (w *world) cut() {
	var ips []netip.Addr
	for _, n := range w.nodes {
		ips = append(ips, n.ip)
	}
	w.net.Cut(ips...)
}

// halt ends all servers as kill -9 does: what they had on disk at this moment is
// what the next ones find, and nobody hears a word.
func (w *world) halt() error {
	w.cut()
	next := w.t.TempDir()
	if err := copyFiles(next, w.data); err != nil {
		return err
	}
	w.data = next
	_ = w.end() // they may complain about their network: they are dead
	for _, n := range w.nodes {
		w.net.Mend(n.ip)
	}
	return nil
}

func (w *world) close() {
	for _, c := range w.chatters {
		c.close()
	}
	for _, p := range w.phones {
		p.close()
	}
	if err := w.end(); err != nil {
		w.t.Errorf("the server's end: %v", err)
	}
}

// settle lets things happen for a while of virtual time.
func settle(d time.Duration) {
	synctest.Wait()
	time.Sleep(d)
	synctest.Wait()
}

// Between two actions, and at the end of a block: long enough for anything that
// is due, a retransmission included, to show.
const (
	between = 100 * time.Millisecond
	atEnd   = 2 * time.Second
)

// play runs the whole story; the first block that goes wrong ends it.
func (w *world) play(s *script) error {
	for _, b := range s.blocks {
		for _, a := range b.actions {
			if err := w.act(a); err != nil {
				return fmt.Errorf("%s:%s: %w", s.name, a, err)
			}
			settle(between)
		}
		settle(atEnd)
		want := map[string][]line{}
		for _, e := range b.expected {
			name := strings.TrimSuffix(e.words[0], ":")
			if !slices.Contains(w.names, name) {
				return fmt.Errorf("%s:%s: no actor %q", s.name, e, name)
			}
			want[name] = append(want[name], e)
		}
		var wrong, all []string
		for _, name := range w.names {
			got := w.drain(name)
			anyOrder := lastWords(got) || b.anyOrder
			for _, e := range got {
				all = append(all, fmt.Sprintf("  %s got: %s\n%s", name, e, indent(e.raw)))
			}
			wrong = append(wrong, match(name, got, want[name], anyOrder)...)
		}
		if wrong != nil {
			return fmt.Errorf("%s: after %s\n%s", s.name, b.actions[len(b.actions)-1], strings.Join(append(wrong, all...), "\n"))
		}
	}
	return nil
}

// stopped marks what phones were told while several servers stopped: as long as one is left it takes the dialogs
// of the others, and says so by NOTIFY (RFC 3261 §12.2.1.1). A single server never does. Such a NOTIFY
// may be one that the story asks for, and else need not be written down.
func (w *world) stopped() {
	if len(w.nodes) == 1 {
		return
	}
	for _, p := range w.phones {
		p.mu.Lock()
		for i := range p.events {
			if p.events[i].words[0] == "NOTIFY" {
				p.events[i].last = true
			}
		}
		p.mu.Unlock()
	}
}

// lastWords puts what was told while servers stopped behind all else, and tells whether there was any.
func lastWords(got []event) bool {
	slices.SortStableFunc(got, func(a, b event) int { return cmp.Compare(btoi(a.last), btoi(b.last)) })
	any := false
	for i := range got {
		any = any || got[i].last
		got[i].quiet = got[i].quiet || got[i].last
	}
	return any
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// drain hands over what an actor got since the last time.
func (w *world) drain(name string) []event {
	switch {
	case w.phones[name] != nil:
		return w.phones[name].drain()
	case w.clients[name] != nil:
		return w.clients[name].drain()
	}
	return w.chatters[name].drain()
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "      " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n      ")
}

// copyFiles copies a folder's plain files.
func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// journal keeps the server's log until it is wanted.
type journal struct {
	mu sync.Mutex
	b  []byte
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.b = append(j.b, p...)
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.b)
}

var (
	stories = flag.String("stories", "testdata/*.txt", "pattern of the files to play")
	servers = flag.String("nodes", "1,3", "how many servers play them, one number after the other")
)

// counts are the numbers of servers that a story is played with.
func counts(t testing.TB, s *script) (ns []int) {
	if s.nodes > 0 {
		return []int{s.nodes}
	}
	for word := range strings.SplitSeq(*servers, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 9 {
			t.Fatalf("-nodes %q: want numbers such as 1,3", *servers)
		}
		ns = append(ns, n)
	}
	return ns
}

// TestStories plays each file of testdata with one server and with several, which say the same.
func TestStories(t *testing.T) {
	files, err := filepath.Glob(*stories)
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := parseScript(filepath.Base(file), string(b))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range counts(t, s) {
				if n == 1 {
					tell(t, s, n)
				} else {
					t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) { tell(t, s, n) })
				}
			}
		})
	}
}

// tell plays one story in a bubble of its own, with one server or several.
func tell(t *testing.T, s *script, nodes int) {
	synctest.Test(t, func(t *testing.T) {
		log := new(journal)
		w, err := newWorld(t, s, nodes, log)
		if err == nil {
			err = w.play(s)
		}
		w.close()
		if err != nil {
			t.Errorf("%s\n%v", s.about, err)
		}
		if t.Failed() && testing.Verbose() {
			t.Logf("the server's log:\n%s", log)
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
