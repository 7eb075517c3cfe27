package simple

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pharos/account"
	"pharos/engine"
	"pharos/memnet"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
	"pharos/xdm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverAddr = "192.0.2.1:5060"
	domain     = "example.com"
	password   = "secret"
)

// rules is a policy store; what it does not name is allowed.
type rules struct {
	mu    sync.Mutex
	table map[string]presence.Handling // "watcher presentity"
	rev   uint64
	late  map[string]time.Duration // how long a presentity's takes to be read
	more  []presence.Rule          // of everybody's document
}

func (r *rules) Policy(_ context.Context, e presence.Entity) (*presence.Policy, error) {
	r.mu.Lock()
	late := r.late[e.User]
	r.mu.Unlock()
	time.Sleep(late)
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &presence.Policy{Revision: r.rev, Default: presence.Allow, Rules: r.more, Watchers: map[presence.Entity]presence.Grant{}}
	for k, h := range r.table {
		w, of, _ := strings.Cut(k, " ")
		if of == e.User {
			p.Watchers[presence.Entity{User: w, Domain: domain}] = presence.Grant{Handling: h, Rule: k}
		}
	}
	return p, nil
}

// mailbox keeps messages in memory.
type mailbox struct {
	mu sync.Mutex
	ms []engine.Stored
	n  int64
}

func (b *mailbox) Put(_ context.Context, m *engine.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ms) >= 10 {
		return engine.ErrMailboxFull
	}
	b.n++
	b.ms = append(b.ms, engine.Stored{Message: m, Number: b.n})
	return nil
}

func (b *mailbox) List(_ context.Context, of presence.Entity) ([]engine.Stored, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.ms), func(m engine.Stored) bool { return m.To != of }), nil
}

func (b *mailbox) Remove(_ context.Context, of presence.Entity, numbers []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ms = slices.DeleteFunc(b.ms, func(m engine.Stored) bool { return m.To == of && slices.Contains(numbers, m.Number) })
	return nil
}

func (b *mailbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ms)
}

// world is a server with its network: the real stack, engine, accounts and store.
type world struct {
	t       testing.TB
	net     *memnet.Network
	dir     string
	rules   *rules
	mailbox *mailbox
	config  Config

	stack    *sip.Stack
	engine   *engine.Engine
	store    *store.Store
	accounts *account.Accounts
	docs     *xdm.Documents
	edge     *Edge
	phones   []*phone
	edges    []engine.Edge // further ones
	peers    engine.Peers  // nil: there is one node
	late     time.Duration // between the engine's start and the listeners'
	stop     func()
}

var users = []string{"alice", "bob", "carol", "dave", "müller"}

// accountsOf derives keys once: it is slow by design.
var accountsOf = sync.OnceValue(func() (as []store.Account) {
	for _, u := range users {
		a, err := account.Derive(presence.Entity{User: u, Domain: domain}, password)
		if err != nil {
			panic(err)
		}
		as = append(as, a)
	}
	return as
})

// inWorld runs f in a bubble with a server.
func inWorld(t *testing.T, c Config, f func(w *world)) {
	t.Helper()
	inWorldOf(t, c, nil, f)
}

// inWorldOf is inWorld where the server is one of several nodes; nil: it is alone.
func inWorldOf(t *testing.T, c Config, peers engine.Peers, f func(w *world)) {
	t.Helper()
	accountsOf()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(), dir: t.TempDir(), rules: &rules{table: map[string]presence.Handling{}}, mailbox: &mailbox{}, config: c, peers: peers}
		w.start()
		if err := w.store.PutAccounts(context.Background(), accountsOf()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, p := range w.phones {
				p.close()
			}
			w.stop()
			synctest.Wait()
		}()
		f(w)
	})
}

// start starts the server on what is in its folder.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	if os.Getenv("SIMPLE_LOG") != "" {
		quiet = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	st, err := store.Open(ctx, w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = st
	w.accounts = account.New(st, []string{domain})
	w.engine = engine.New(engine.Config{Save: st, Policies: w.rules, Mailbox: w.mailbox, Shards: 2, Peers: w.peers, Log: quiet})
	w.docs = xdm.New(xdm.Config{Store: st, Default: presence.Allow})
	c := w.config
	c.Documents = w.docs
	c.Engine, c.Accounts, c.Store, c.Domains, c.Log = w.engine, w.accounts, st, []string{domain}, quiet
	w.edge = New(c)
	w.engine.Register(Name, w.edge)
	for _, x := range w.edges {
		w.engine.Register("other", x)
	}
	w.stack = sip.NewStack(sip.Config{
		Handler: w.edge, Log: quiet, Resolve: sip.Override(nil, nil),
		Dial: w.net.Host("192.0.2.1").Dial,
	})
	w.edge.Use(w.stack)
	var all []*presence.Subscription
	err = st.Saved(func(of presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
		for _, s := range sources {
			var ok bool
			if s.Doc, ok, err = Document(s.Native); !ok || err != nil {
				return fmt.Errorf("%s: %v, %w", s.Native.Type, ok, err)
			}
		}
		all = append(all, subs...)
		return w.engine.Restore(of, sources, subs)
	})
	if err == nil {
		err = w.edge.Restore(all)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() { w.engine.Run(ctx); close(ran) }()
	time.Sleep(w.late)
	pc, l := w.net.MustListenPacket(serverAddr), w.net.MustListen(serverAddr)
	go w.stack.ServePacket(pc)
	go w.stack.ServeListener(l, "TCP")
	w.stop = func() {
		w.stack.Close()
		w.edge.Close()
		cancel()
		<-ran
		if err := st.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// restart ends the server and starts it anew.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
	synctest.Wait()
}

// rule sets what a watcher may see of a presentity.
func (w *world) rule(watcher, of string, h presence.Handling) {
	w.rules.mu.Lock()
	w.rules.table[watcher+" "+of] = h
	w.rules.rev++
	w.rules.mu.Unlock()
	w.engine.PolicyChanged(presence.Entity{User: of, Domain: domain})
	synctest.Wait()
}

// phone is a SIP client made of bytes.
type phone struct {
	w         *world
	user      string
	addr      string
	agent     string
	contact   string // URI
	sentBy    string // in Via, when it is not addr: behind a NAT
	extra     string // header lines of every request
	algorithm string // of the digest; MD5 by default, "-" for a client that ignores it
	noQOP     bool
	password  string
	pc        *memnet.PacketConn
	conn      net.Conn
	cseq      int
	tag       string
	nonce     string
	answer    func(req *sip.Message) (status int, extra string) // to requests; 0: none
	meter     *meter                                            // of what goes over the wire, or nil

	mu        sync.Mutex
	requests  []*sip.Message
	responses chan *sip.Message
}

// phone makes a client on UDP.
func (w *world) phone(user, addr string) *phone {
	p := &phone{w: w, user: user, addr: addr, contact: "sip:" + user + "@" + addr, password: password,
		tag: strings.ReplaceAll(user, "ü", "u") + "-tag", responses: make(chan *sip.Message, 100)}
	p.pc = w.net.MustListenPacket(addr)
	go func() {
		b := make([]byte, 65536)
		for {
			n, _, err := p.pc.ReadFrom(b)
			if err != nil {
				return
			}
			p.take(b[:n])
		}
	}()
	w.phones = append(w.phones, p)
	return p
}

// tcpPhone makes a client on a TCP connection.
func (w *world) tcpPhone(user, addr string) *phone {
	p := &phone{w: w, user: user, addr: addr, contact: "sip:" + user + "@" + addr + ";transport=tcp", password: password,
		tag: strings.ReplaceAll(user, "ü", "u") + "-tag", responses: make(chan *sip.Message, 100)}
	p.connect()
	w.phones = append(w.phones, p)
	return p
}

func (p *phone) connect() {
	p.w.t.Helper()
	conn, err := p.w.net.Dial(p.w.t.Context(), p.addr, serverAddr)
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.conn = conn
	go p.read(conn)
}

// read takes what comes over the connection until it ends.
func (p *phone) read(conn net.Conn) {
	var f sip.Framer
	for {
		if _, err := f.ReadOnce(conn); err != nil {
			return
		}
		for {
			b, _, err := f.Next()
			if err != nil || b == nil {
				break
			}
			p.take(b)
		}
	}
}

func (p *phone) close() {
	if p.conn != nil {
		p.conn.Close()
	} else {
		p.pc.Close()
	}
	synctest.Wait()
}

func (p *phone) write(b []byte) {
	p.meter.count(b)
	if p.conn != nil {
		p.conn.Write(b)
		return
	}
	p.pc.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverAddr)))
}

// take handles what has arrived.
func (p *phone) take(b []byte) {
	p.meter.count(b)
	m, err := sip.Parse(b)
	if err != nil {
		p.w.t.Errorf("%s got what cannot be parsed: %v\n%s", p.user, err, b)
		return
	}
	if !m.IsRequest() {
		p.responses <- m
		return
	}
	p.mu.Lock()
	p.requests = append(p.requests, m)
	answer := p.answer
	p.mu.Unlock()
	status, extra := 200, ""
	if answer != nil {
		status, extra = answer(m)
	}
	if status == 0 {
		return
	}
	p.write(replyTo(m, status, extra))
}

func replyTo(m *sip.Message, status int, extra string) []byte {
	r := fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", status, sip.ReasonPhrase(status))
	for _, h := range []sip.Header{sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq} {
		r = m.AppendCopy(r, h)
	}
	return append(append(r, extra...), "Content-Length: 0\r\n\r\n"...)
}

// got returns and forgets the requests that have arrived.
func (p *phone) got() []*sip.Message {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	ms := p.requests
	p.requests = nil
	return ms
}

// one returns the only request that has arrived.
func (p *phone) one() *sip.Message {
	p.w.t.Helper()
	ms := p.got()
	if len(ms) != 1 {
		p.w.t.Fatalf("%s got %d requests, want 1: %v", p.user, len(ms), texts(ms))
	}
	return ms[0]
}

func (p *phone) none() {
	p.w.t.Helper()
	if ms := p.got(); len(ms) != 0 {
		p.w.t.Fatalf("%s got %v, want nothing", p.user, texts(ms))
	}
}

func texts(ms []*sip.Message) (s []string) {
	for _, m := range ms {
		s = append(s, string(m.Append(nil)))
	}
	return s
}

// out is a request of a phone. The zero fields have useful values.
type out struct {
	method string
	uri    string // sip:USER@domain of to, or of the phone
	to     string // user
	toTag  string
	from   string // URI
	callID string
	cseq   int
	lines  string // further header lines
	body   string
	ctype  string
	noAuth bool
	raw    func(msg string) string // last change
}

// bytes writes the request; auth is an Authorization line or "".
func (p *phone) bytes(o out, auth string) []byte {
	transport := "UDP"
	if p.conn != nil {
		transport = "TCP"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", o.method, o.uri)
	sentBy := p.addr
	if p.sentBy != "" {
		sentBy = p.sentBy
	}
	fmt.Fprintf(&b, "Via: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\n", transport, sentBy, newID())
	fmt.Fprintf(&b, "Max-Forwards: 70\r\nFrom: <%s>;tag=%s\r\n", o.from, p.tag)
	to := "sip:" + o.to + "@" + domain
	fmt.Fprintf(&b, "To: <%s>", to)
	if o.toTag != "" {
		fmt.Fprintf(&b, ";tag=%s", o.toTag)
	}
	fmt.Fprintf(&b, "\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", o.callID, o.cseq, o.method)
	if p.agent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", p.agent)
	}
	b.WriteString(p.extra)
	b.WriteString(auth)
	b.WriteString(o.lines)
	if o.body != "" && o.ctype != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", o.ctype)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(o.body), o.body)
	s := b.String()
	if o.raw != nil {
		s = o.raw(s)
	}
	return []byte(s)
}

func (p *phone) defaults(o *out) {
	if o.to == "" {
		o.to = p.user
	}
	if o.uri == "" {
		o.uri = "sip:" + o.to + "@" + domain
		if o.method == "REGISTER" {
			o.uri = "sip:" + domain
		}
	}
	if o.from == "" {
		o.from = "sip:" + p.user + "@" + domain
	}
	if o.callID == "" {
		o.callID = newID()
	}
	if o.cseq == 0 {
		p.cseq++
		o.cseq = p.cseq
	}
}

// send sends a request once and returns the final response.
func (p *phone) send(o out, auth string) *sip.Message {
	p.w.t.Helper()
	p.write(p.bytes(o, auth))
	for range 100 {
		synctest.Wait()
		select {
		case m := <-p.responses:
			if m.Status >= 200 && m.CallID() == o.callID {
				return m
			}
		default:
			time.Sleep(10 * time.Millisecond) // a commit is under way
		}
	}
	p.w.t.Fatalf("no answer to %s of %s", o.method, p.user)
	return nil
}

// do sends a request, again with credentials when challenged, under the same
// CSeq as libpurple does.
func (p *phone) do(o out) *sip.Message {
	p.w.t.Helper()
	p.defaults(&o)
	m := p.send(o, "")
	if m.Status != 401 || o.noAuth {
		return m
	}
	return p.send(o, p.authorize(m, o.method, o.uri))
}

// want is do with the status that is expected.
func (p *phone) want(status int, o out) *sip.Message {
	p.w.t.Helper()
	m := p.do(o)
	if m.Status != status {
		p.w.t.Fatalf("%s of %s: got %d %s, want %d", o.method, p.user, m.Status, m.Reason, status)
	}
	return m
}

// authorize answers a challenge with p's algorithm.
func (p *phone) authorize(m *sip.Message, method, uri string) string {
	p.w.t.Helper()
	alg := p.algorithm
	if alg == "" {
		alg = "MD5"
	}
	for _, c := range m.Challenges(sip.HWWWAuthenticate) {
		if alg == "-" || c.Algorithm == alg {
			p.nonce = c.Nonce
			return p.credentials(c.Realm, c.Nonce, alg, method, uri)
		}
	}
	p.w.t.Fatalf("no challenge with %s", alg)
	return ""
}

func (p *phone) credentials(realm, nonce, alg, method, uri string) string {
	h := func(s string) string {
		switch alg {
		case "SHA-256":
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		case "SHA-512-256":
			return fmt.Sprintf("%x", sha512.Sum512_256([]byte(s)))
		}
		return fmt.Sprintf("%x", md5.Sum([]byte(s)))
	}
	ha1, ha2 := h(p.user+":"+realm+":"+p.password), h(method+":"+uri)
	s := fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q", p.user, realm, nonce, uri)
	if alg != "-" {
		s += ", algorithm=" + alg
	}
	if p.noQOP {
		return s + fmt.Sprintf(", nc=\"00000001\", response=%q\r\n", h(ha1+":"+nonce+":"+ha2))
	}
	return s + fmt.Sprintf(", qop=auth, nc=00000001, cnonce=\"abc\", response=%q\r\n", h(ha1+":"+nonce+":00000001:abc:auth:"+ha2))
}

// get is a header of a message, "" when absent.
func get(m *sip.Message, h sip.Header) string {
	v, _ := m.Get(h)
	return v
}

// doc is a presence document as a phone writes it.
func doc(user, basic, note string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:` + user + `@example.com">` +
		`<tuple id="t1"><status><basic>` + basic + `</basic></status><note>` + note + `</note></tuple></presence>`
}

// publish publishes a document and returns the entity-tag.
func (p *phone) publish(basic, note, tag string) string {
	p.w.t.Helper()
	lines := "Event: presence\r\nExpires: 600\r\n"
	if tag != "" {
		lines += "SIP-If-Match: " + tag + "\r\n"
	}
	return get(p.want(200, out{method: "PUBLISH", lines: lines, body: doc(p.user, basic, note), ctype: pidf.Type}), sip.HSIPETag)
}

// sub is a subscription of a phone.
type sub struct {
	p      *phone
	to     string
	callID string
	tag    string // the server's
	target string // the server's Contact
}

// subscribe makes a subscription.
func (p *phone) subscribe(to string, expires int) (*sub, *sip.Message) {
	p.w.t.Helper()
	s := &sub{p: p, to: to, callID: newID()}
	m := p.want(200, out{method: "SUBSCRIBE", to: to, callID: s.callID, lines: fmt.Sprintf("Event: presence\r\nContact: <%s>\r\nExpires: %d\r\n", p.contact, expires)})
	s.tag = m.To().Tag()
	c, _, err := m.Contact()
	if err != nil {
		p.w.t.Fatal(err)
	}
	s.target = c.URI
	return s, m
}

// again sends a SUBSCRIBE in the dialog.
func (s *sub) again(status, expires int) *sip.Message {
	s.p.w.t.Helper()
	return s.p.want(status, out{method: "SUBSCRIBE", to: s.to, uri: s.target, toTag: s.tag, callID: s.callID,
		lines: fmt.Sprintf("Event: presence\r\nContact: <%s>\r\nExpires: %d\r\n", s.p.contact, expires)})
}

func state(m *sip.Message) string { return get(m, sip.HSubscriptionState) }
