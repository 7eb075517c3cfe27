package story

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/markup"
)

var (
	stressFor  = flag.Duration("stress", 0, "how long to play random stories; 0: a few seeds")
	stressSeed = flag.Uint64("stress-seed", 0, "play the random story of this seed only")
)

// stressSeeds is how many random stories a plain run plays, each with every number of servers.
const stressSeeds = 6

// TestStress plays random stories: users who do everything at the same time in both
// worlds and by XCAP, while the server is restarted and killed, or one of several is, or is cut
// off, and users move from one to another. Then there is quiet,
// and everybody has to have been told what somebody who asks now is told.
func TestStress(t *testing.T) {
	if *stressSeed != 0 {
		stress(t, *stressSeed)
		return
	}
	if raceDetector && runtime.GOMAXPROCS(0) > 1 {
		t.Skip("the race detector breaks in bubbles whose timers fire on two processors at once (golang/go#78156); use -cpu 1")
	}
	end := time.Now().Add(*stressFor)
	for seed := uint64(1); seed <= stressSeeds || time.Now().Before(end); seed++ {
		if seed > stressSeeds && *stressFor == 0 || t.Failed() && *stressFor == 0 {
			return
		}
		stress(t, seed)
	}
}

func stress(t *testing.T, seed uint64) {
	t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
		for _, n := range counts(t, &script{}) {
			t.Run(strconv.Itoa(n)+" servers", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { newCrowd(t, seed, n).run() })
			})
		}
	})
}

// crowd is the users of a random story.
type crowd struct {
	t     *testing.T
	w     *world
	seed  uint64
	rng   *rand.Rand
	users []string // u0, u1, …
	actor []doer
	log   *journal

	mu       sync.Mutex
	steps    []string          // what was done, for who looks into a failure
	disturb  bool              // the server was ended in this round: answers may be missing
	shaken   bool              // it was ended in any round by now
	versions map[string]string // bodies by document and entity-tag
}

// doer does something by chance.
type doer interface{ act(r *rand.Rand) }

func newCrowd(t *testing.T, seed uint64, servers int) *crowd {
	c := &crowd{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), versions: map[string]string{}, log: new(journal)}
	s := &script{policy: []string{"confirm", "confirm", "allow"}[c.rng.IntN(3)], documents: map[string]string{}}
	for i := range 2 + c.rng.IntN(3) {
		u := "u" + strconv.Itoa(i)
		c.users = append(c.users, u)
		s.actors = append(s.actors, actorLine{u, "sip"}, actorLine{u + "/pad", "xmpp"}, actorLine{u + "/desk", "xmpp"},
			actorLine{u + "/check", "xmpp"}, actorLine{u + "/a", "xcap"}, actorLine{u + "/b", "xcap"})
	}
	var log io.Writer = io.Discard
	if *stressSeed != 0 {
		log = c.log
	}
	if s.lease = 0; servers > 1 {
		s.lease = 8 * time.Second
	}
	w, err := newWorld(t, s, servers, log)
	c.w = w
	if err != nil {
		w.close()
		t.Fatal(err)
	}
	for _, u := range c.users {
		c.actor = append(c.actor, &caller{crowd: c, user: u, phone: w.phones[u]})
		for _, r := range []string{"/pad", "/desk"} {
			c.actor = append(c.actor, &talker{crowd: c, user: u, c: w.chatters[u+r]})
		}
		for _, r := range []string{"/a", "/b"} {
			e := &editor{crowd: c, user: u, c: w.clients[u+r], kept: map[string]bool{}}
			e.c.each = e.heard
			c.actor = append(c.actor, e)
		}
	}
	return c
}

func (c *crowd) run() {
	defer c.w.close()
	for round := range 4 {
		c.mu.Lock()
		c.disturb, c.steps = false, append(c.steps, fmt.Sprintf("-- round %d", round))
		c.mu.Unlock()
		var wg sync.WaitGroup
		n := 4 + c.rng.IntN(12)
		over := make(chan struct{}) // closed when nothing happens to the servers any more
		for _, a := range c.actor {
			r := rand.New(rand.NewPCG(c.rng.Uint64(), c.seed))
			wg.Go(func() {
				for range n {
					a.act(r)
					if r.IntN(3) == 0 {
						time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
					}
				}
				// Nobody is silent for as long as a server is away.
				for pause(over, time.Duration(r.IntN(3000))*time.Millisecond) {
					a.act(r)
				}
			})
		}
		if c.rng.IntN(3) < min(len(c.w.nodes), 2) {
			time.Sleep(time.Duration(c.rng.IntN(2000)) * time.Millisecond)
			if len(c.w.nodes) > 1 && c.rng.IntN(4) > 0 {
				c.disturbedOne()
			} else {
				c.disturbed(c.rng.IntN(2) == 0)
			}
		}
		close(over)
		wg.Wait()
		settle(70 * time.Second) // longer than any retry of a NOTIFY that was lost
		c.verify()
		if c.t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Logf("seed %d, round %d, policy %s; what was done:\n%s", c.seed, round, c.w.config.Policy.Default, strings.Join(c.steps, "\n"))
			if *stressSeed != 0 {
				c.t.Logf("the server's log:\n%s", c.log)
			}
			return
		}
	}
}

// pause is a while; false: it was the end.
func pause(over <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-over:
		return false
	}
}

// disturbed ends the server and starts the next.
func (c *crowd) disturbed(kill bool) {
	c.mu.Lock()
	c.disturb = true
	c.mu.Unlock()
	c.note("", "server", map[bool]string{true: "kill", false: "restart"}[kill])
	var err error
	if kill {
		c.w.cut()
		synctest.Wait() // what is being written is written; what waits for its time is not
		err = c.w.halt()
	} else {
		err = c.w.end()
	}
	if err == nil {
		err = c.w.start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// roams has an actor speak to another of several servers from now on, now and then.
func (c *crowd) roams(r *rand.Rand, name string) {
	if len(c.w.nodes) == 1 || r.IntN(3) > 0 {
		return
	}
	to := strconv.Itoa(1 + r.IntN(len(c.w.nodes)))
	c.note("", name, "goes to server", to)
	if err := c.w.goes(name, to); err != nil {
		c.t.Error(err)
	}
}

// disturbedOne has something happen to one of several servers.
func (c *crowd) disturbedOne() {
	c.mu.Lock()
	c.disturb = true
	c.mu.Unlock()
	n := c.w.nodes[c.rng.IntN(len(c.w.nodes))]
	away := func() { time.Sleep(time.Duration(c.rng.IntN(20000)) * time.Millisecond) }
	what := c.rng.IntN(4)
	c.note("", "server", strconv.Itoa(n.number), []string{"dies", "stops", "is cut off", "and all others: users move"}[what])
	var err error
	switch what {
	case 0:
		n.halt()
		away()
		err = n.start()
	case 1:
		if err = n.end(); err == nil {
			away()
			err = n.start()
		}
	case 2:
		c.w.bus.Isolate(n.name())
		away()
		c.w.bus.Heal()
	case 3:
		for range 10 {
			u, to := c.users[c.rng.IntN(len(c.users))], c.w.nodes[c.rng.IntN(len(c.w.nodes))]
			c.note("", "server", u, "moves to", to.name())
			if err := c.w.lives(u, strconv.Itoa(to.number)); err != nil {
				c.note("", "server", err.Error())
			}
			time.Sleep(time.Duration(c.rng.IntN(300)) * time.Millisecond)
		}
	}
	c.note("", "server", strconv.Itoa(n.number), "is back")
	if err != nil {
		c.t.Error(err)
	}
}

func (c *crowd) note(user, who string, what ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = append(c.steps, fmt.Sprintf("%s %s %s %s", time.Now().Format("05.000"), user, who, strings.Join(what, " ")))
}

func (c *crowd) undisturbed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.disturb
}

// wrong reports something that must not be, except while the server was away.
func (c *crowd) wrong(format string, args ...any) {
	if c.undisturbed() {
		c.t.Errorf(format, args...)
	}
}

func (c *crowd) other(r *rand.Rand, u string) string {
	for {
		if o := c.users[r.IntN(len(c.users))]; o != u {
			return o
		}
	}
}

var moods = []string{"happy", "sad", "calm"}

// caller is somebody with a phone.
type caller struct {
	*crowd
	user  string
	phone *phone
	subs  []*watching
	n     int
}

// watching is a subscription and what its NOTIFYs have said together.
type watching struct {
	*subscription
	list  bool
	mu    sync.Mutex
	words []string            // of the last
	table map[string][]string // of a list by member, of documents by selector
}

func (w *watching) heard(body string, words []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.words = nil
	for _, x := range words[2:] {
		if !strings.HasPrefix(x, "expires=") && !strings.HasPrefix(x, "at=") {
			w.words = append(w.words, x)
		}
	}
	switch {
	case w.event == "xcap-diff" && body != "":
		w.documents(body)
		return
	case w.event == "presence.winfo" && body != "":
		w.watchers(body)
		return
	}
	if !w.list || body == "" || slices.Contains(words, "body=none") {
		return
	}
	if slices.Contains(words, "fullState=true") || w.table == nil {
		w.table = map[string][]string{}
	}
	fresh := map[string][]string{}
	for _, x := range words[2:] {
		if i := strings.IndexAny(x, ":="); i > 0 && x[0] == 'u' && len(x[:i]) == 2 {
			fresh[x[:i]] = append(fresh[x[:i]], x[i:])
		}
	}
	for who, what := range fresh {
		w.table[who] = what
	}
}

// documents takes an xcap-diff document (RFC 5874).
func (w *watching) documents(body string) {
	root, err := markup.Parse([]byte(body), markup.Options{Document: true})
	if err != nil {
		w.words = append(w.words, "bad-body")
		return
	}
	if w.table == nil {
		w.table = map[string][]string{}
	}
	for d := range root.Children() {
		if d.Local != "document" {
			continue
		}
		if tag := d.Attr("new-etag"); tag != "" {
			w.table[d.Attr("sel")] = []string{tag}
		} else {
			delete(w.table, d.Attr("sel"))
		}
	}
}

// watchers takes watcher information (RFC 3858).
func (w *watching) watchers(body string) {
	root, err := markup.Parse([]byte(body), markup.Options{Document: true})
	if err != nil {
		w.words = append(w.words, "bad-body")
		return
	}
	if w.table == nil || root.Attr("state") == "full" {
		w.table = map[string][]string{}
	}
	for l := range root.Children() {
		for x := range l.Children() {
			if x.Attr("status") == "terminated" {
				delete(w.table, x.Attr("id"))
			} else {
				w.table[x.Attr("id")] = []string{x.Text(), x.Attr("status")}
			}
		}
	}
}

// status of the last answer to a method.
func (p *phone) status(method string) string {
	s := ""
	for _, e := range p.drain() {
		if e.words[0] == method && len(e.words) > 1 {
			s = e.words[1]
		}
	}
	return s
}

func (a *caller) act(r *rand.Rand) {
	p, o := a.phone, a.other(r, a.user)
	if r.IntN(8) == 0 {
		a.roams(r, a.user)
	}
	switch r.IntN(13) {
	case 10: // UDP sends again
		a.note(a.user, "phone", "is unplugged")
		p.mu.Lock()
		p.deaf = true
		p.mu.Unlock()
		time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
		p.mu.Lock()
		p.deaf = false
		p.mu.Unlock()
		a.note(a.user, "phone", "is plugged in")
	case 11:
		a.watch(&watching{subscription: &subscription{of: p.user, as: p.user, event: "presence.winfo", accept: bodyTypes["presence.winfo"]}})
	case 12:
		a.watch(&watching{subscription: &subscription{of: a.w.address(o), as: p.user, event: "presence;max-rate=0.5", accept: bodyTypes["presence"]}})
	case 0, 1, 2:
		a.n++
		state := "open"
		if r.IntN(4) == 0 {
			state = "closed"
		}
		doc, err := document(p, newArgs([]string{state, "note=" + a.user + "." + strconv.Itoa(a.n)}))
		if err != nil {
			a.t.Error(err)
		}
		a.note(a.user, "phone", "publishes", state, strconv.Itoa(a.n))
		p.publish(p.user, "presence", "application/pidf+xml", p.etag, "3600", doc)
		a.published()
	case 3:
		if p.etag != "" {
			a.note(a.user, "phone", "unpublishes")
			p.publish(p.user, "presence", "", p.etag, "0", "")
			a.published()
		}
	case 4, 5:
		a.watch(&watching{subscription: &subscription{of: a.w.address(o), as: p.user, event: "presence", accept: bodyTypes["presence"]}})
	case 6:
		a.watch(a.buddies())
	case 7:
		a.watch(&watching{subscription: &subscription{of: p.user, as: p.user, event: "xcap-diff", accept: bodyTypes["xcap-diff"]}})
	default:
		if len(a.subs) == 0 {
			return
		}
		i := r.IntN(len(a.subs))
		s := a.subs[i]
		if s.dead(p) {
			a.subs = slices.Delete(a.subs, i, i+1)
			return
		}
		expires := "3600"
		if r.IntN(2) == 0 {
			expires = "0"
		}
		a.note(a.user, "phone", "resubscribes", s.of, s.event, expires)
		p.resubscribe(s.subscription, expires)
		// 403: the user has just begun to refuse this watcher.
		if st := p.status("SUBSCRIBE"); st != "200" && st != "204" && st != "481" && st != "403" {
			a.wrong("%s: SUBSCRIBE within a dialog: %s", a.user, st)
		}
		if expires == "0" {
			a.subs = slices.Delete(a.subs, i, i+1)
		}
	}
}

func (a *caller) published() {
	if st := a.phone.status("PUBLISH"); st == "412" || st == "unanswered" {
		a.phone.etag = ""
	} else if st != "200" {
		a.wrong("%s: PUBLISH: %s", a.user, st)
	}
}

func (a *caller) buddies() *watching {
	return &watching{list: true, subscription: &subscription{of: a.user + "/buddies@" + home, as: a.phone.user, event: "presence",
		accept: bodyTypes["presence"] + ", " + typeRLMI + ", multipart/related", more: "Supported: eventlist\r\n"}}
}

func (a *caller) watch(s *watching) {
	if len(a.subs) >= 6 {
		return
	}
	s.each = func(body string, words []string) {
		a.note(a.user, "phone got", append([]string{s.event, s.callID}, words...)...)
		s.heard(body, words)
	}
	a.note(a.user, "phone", "subscribes", s.of, s.event)
	a.phone.subscribe(s.subscription, "3600")
	a.note(a.user, "phone", "has subscribed", s.callID, s.local)
	switch st := a.phone.status("SUBSCRIBE"); {
	case st == "200" || st == "202":
		a.subs = append(a.subs, s)
	case st != "403" && st != "404":
		a.wrong("%s: SUBSCRIBE to %s: %q", a.user, s.of, st)
	}
}

func (w *watching) dead(p *phone) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.ended
}

// editor is an XCAP client that keeps entries and rules of its own, beside another one.
type editor struct {
	*crowd
	user string
	c    *client
	kept map[string]bool // entries that were written, or taken away, and answered so
	n    int

	status int // of the last answer
	body   string
}

func (e *editor) heard(method, doc, sent string, resp *http.Response, body []byte) {
	e.status, e.body = resp.StatusCode, string(body)
	tag := resp.Header.Get("ETag")
	if method != "GET" || tag == "" || resp.StatusCode != 200 || resp.Header.Get("Content-Type") == "application/xcap-el+xml" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, ok := e.versions[doc+tag]; ok && old != string(body) {
		e.t.Errorf("%s has entity-tag %s twice:\n%s\n%s", doc, tag, old, body)
	}
	e.versions[doc+tag] = string(body)
}

func (e *editor) does(verb string, words ...string) int {
	e.status, e.body = 0, ""
	e.note(e.user, e.c.name, append([]string{verb}, words...)...)
	if err := e.c.does(verb, newArgs(words)); err != nil {
		e.t.Error(err)
	}
	if e.status == 0 || e.status >= 500 {
		e.wrong("%s: %s %s: status %d %s", e.c.name, verb, words, e.status, e.body)
	}
	e.note(e.user, e.c.name, strconv.Itoa(e.status))
	return e.status
}

const (
	emptyLists = "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'></resource-lists>"
	emptyRules = "<cp:ruleset xmlns:cp='urn:ietf:params:xml:ns:common-policy' xmlns:pr='urn:ietf:params:xml:ns:pres-rules'></cp:ruleset>"
	commonNS   = "xmlns=cp:urn:ietf:params:xml:ns:common-policy"
)

func (e *editor) act(r *rand.Rand) {
	mine := strings.TrimPrefix(e.c.name, e.user+"/") // name of its list and rule
	list := "resource-lists/index/~~/resource-lists/list[@name='" + mine + "']"
	switch r.IntN(8) {
	case 0, 1, 2:
		uri := "sip:x" + mine + strconv.Itoa(r.IntN(4)) + "@elsewhere.org"
		e.entry(r, list, uri, true)
	case 3:
		e.entry(r, list, "sip:"+e.w.address(e.other(r, e.user)), false)
	case 4:
		e.rewrite(r, list)
	case 5, 6:
		e.rule(r, mine)
	case 7:
		e.does("gets", []string{"resource-lists/index", "pres-rules/index"}[r.IntN(2)])
	}
}

// entry puts or deletes one entry. Own ones are nobody else's, and so must stay.
func (e *editor) entry(r *rand.Rand, list, uri string, own bool) {
	at := list + "/entry[@uri='" + uri + "']"
	if r.IntN(3) > 0 {
		e.n++
		el := "<entry uri='" + uri + "'><display-name>" + "n" + strconv.Itoa(e.n) + "</display-name></entry>"
		st := e.does("puts", at, el)
		if st == 409 { // no such list yet, or no document
			if e.does("puts", list, "<list name='"+strings.Split(list, "'")[1]+"'/>") == 409 {
				e.does("puts", "resource-lists/index", emptyLists, "if-none-match=*")
			}
			return
		}
		e.answered(uri, own, st, true)
		return
	}
	e.answered(uri, own, e.does("deletes", at), false)
}

func (e *editor) answered(uri string, own bool, status int, there bool) {
	switch {
	case !own:
	case status == 200 || status == 201 || status == 404 && !there:
		e.kept[uri] = there
	default:
		delete(e.kept, uri)
	}
}

// rewrite reads the whole document and writes it back with one more entry, if nobody
// was faster.
func (e *editor) rewrite(r *rand.Rand, list string) {
	if e.does("gets", "resource-lists/index") != 200 {
		return
	}
	uri := "sip:y" + strings.Split(list, "'")[1] + strconv.Itoa(e.n) + "@elsewhere.org"
	e.n++
	entry := "<list><entry uri='" + uri + "'/></list>"
	body := e.body
	if i := strings.LastIndex(body, "</resource-lists>"); i >= 0 {
		body = body[:i] + entry + body[i:]
	} else {
		return
	}
	if r.IntN(2) == 0 {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	e.answered(uri, true, e.does("puts", "resource-lists/index", body, "if-match=last"), true)
}

// rule puts or deletes a rule about somebody.
func (e *editor) rule(r *rand.Rand, id string) {
	at := "pres-rules/index/~~/cp:ruleset/cp:rule[@id='" + id + "']"
	if r.IntN(3) == 0 {
		e.does("deletes", at, commonNS)
		return
	}
	if r.IntN(20) == 0 {
		e.does("deletes", "pres-rules/index")
		return
	}
	handling := []string{"allow", "allow", "block", "polite-block", "confirm"}[r.IntN(5)]
	rule := "<cp:rule xmlns:cp='urn:ietf:params:xml:ns:common-policy' xmlns:pr='urn:ietf:params:xml:ns:pres-rules' id='" + id +
		"'><cp:conditions><cp:identity><cp:one id='sip:" + e.w.address(e.other(r, e.user)) + "'/></cp:identity></cp:conditions><cp:actions><pr:sub-handling>" + handling +
		"</pr:sub-handling></cp:actions><cp:transformations><pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>" +
		"<pr:provide-all-attributes/></cp:transformations></cp:rule>"
	if e.does("puts", at, rule, commonNS) == 409 {
		e.does("puts", "pres-rules/index", emptyRules, "if-none-match=*")
	}
}
