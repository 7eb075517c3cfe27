package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/bench"
	"pharos/bench/client"
)

// Options of Run.
type Options struct {
	Dir    string   // for logs and data
	Only   []string // names of faults; none: all
	Phones int      // SIP users
	Chats  int      // XMPP users
	Watch  int      // users of each world that everybody watches
	Settle time.Duration
	// Loopback has the nodes on addresses of 127/8 instead of in namespaces, for which one
	// has to be root: nothing can be cut or slowed down then.
	Loopback bool
	Log      io.Writer // progress
}

// Result of one fault.
type Result struct {
	Name     string        `json:"name"`
	Limit    time.Duration `json:"limit_ns"`
	Told     int           `json:"told"` // watchers who were behind, once each time
	P50      time.Duration `json:"p50_ns"`
	Worst    time.Duration `json:"worst_ns"` // until the last watcher was right
	WorstOf  string        `json:"worst_of"`
	Wrong    []string      `json:"wrong"`    // who never was
	Breaches []string      `json:"breaches"` // what must never happen
	Ops      int           `json:"operations"`
	Linear   string        `json:"linearizable"`
}

// OK tells whether everything held.
func (r Result) OK() bool {
	return len(r.Wrong) == 0 && len(r.Breaches) == 0 && r.Worst <= r.Limit && r.Linear != "no"
}

// fault is one of the list. do returns when the service is to be right again, counted
// from the time that it returns: the end of what hurts, or its beginning.
type fault struct {
	name  string
	limit time.Duration
	do    func(ctx context.Context, r *run) (from time.Time, after func() error, err error)
}

// run is a service with its users.
type run struct {
	*service
	o      *oracle
	h      *history
	phones []*phone
	chats  []*chat
	log    io.Writer
	quiet  atomic.Bool // nobody says anything at present
}

// faultList is what is done to the service.
var faultList = []fault{
	{"kill -9 of a node", 5 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		return r.kill(r.follower())
	}},
	{"kill -9 of the leader", 5 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		return r.kill(r.leader())
	}},
	{"kill -9 of two at once", 5 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		return r.kill(r.leader(), r.follower())
	}},
	{"SIGSTOP for 10 s", 5 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		return r.away(ctx, 10*time.Second, func(n *node) error { return n.signal(syscall.SIGSTOP) }, func(n *node) error { return n.signal(syscall.SIGCONT) })
	}},
	{"partition of one node for 10 s", 10 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		return r.away(ctx, 10*time.Second, func(n *node) error { return r.lab.cut(n.spot) }, func(n *node) error { return r.lab.heal(n.spot) })
	}},
	{"PostgreSQL restarted", 10 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		err := r.pg.Restart()
		return time.Now(), nil, err
	}},
	{"PostgreSQL away for 5 s", 10 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		if err := r.pg.Crash(); err != nil {
			return time.Time{}, nil, err
		}
		sleep(ctx, 5*time.Second)
		err := r.pg.Start()
		return time.Now(), nil, err
	}},
	{"bus slow: 200 ms, 5 % loss, for 15 s", 10 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		r.lab.bus.faulty(200*time.Millisecond, 0.05)
		from := time.Now()
		return from, func() error {
			sleep(ctx, 7*time.Second)
			r.lab.bus.faulty(0, 0)
			return nil
		}, nil
	}},
	{"rolling restart", 5 * time.Second, func(ctx context.Context, r *run) (time.Time, func() error, error) {
		from := time.Now()
		for _, n := range r.nodes {
			if err := errors.Join(n.signal(syscall.SIGTERM), n.start()); err != nil {
				return from, nil, err
			}
			sleep(ctx, time.Second)
		}
		return from, nil, nil
	}},
}

// Faults are the names of what can be done.
func Faults() (names []string) {
	for _, f := range faultList {
		names = append(names, f.name)
	}
	return names
}

// follower is a node that does not lead.
func (r *run) follower() *node {
	l := r.leader()
	for _, n := range r.nodes {
		if n != l && n.runs() {
			return n
		}
	}
	return r.nodes[0]
}

// kill ends nodes as power does, and after the time that the others have starts them again.
func (r *run) kill(nodes ...*node) (time.Time, func() error, error) {
	from := time.Now()
	for _, n := range nodes {
		if n == nil {
			return from, nil, errors.New("nobody leads")
		}
		if err := n.signal(syscall.SIGKILL); err != nil {
			return from, nil, err
		}
	}
	return from, func() error {
		for _, n := range nodes {
			if err := n.start(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// away has a node not answer for a while. Chat clients at it cannot be told, and nobody can
// know whether they are there, until it is back.
func (r *run) away(ctx context.Context, d time.Duration, begin, end func(*node) error) (time.Time, func() error, error) {
	n := r.leader()
	if n == nil {
		return time.Time{}, nil, errors.New("nobody leads")
	}
	var there []*chat
	for _, c := range r.chats {
		c.mu.Lock()
		if c.online && c.nodes[c.at].Addr() == n.ip {
			there = append(there, c)
		}
		c.mu.Unlock()
	}
	for _, c := range there {
		r.o.unsure(c.user, true)
		for _, of := range c.of {
			r.o.stands(c.user, of, false)
		}
	}
	from := time.Now()
	if err := begin(n); err != nil {
		return from, nil, err
	}
	sleep(ctx, d)
	worst, wrong := r.behind(ctx, from, 5*time.Second)
	fmt.Fprintf(r.log, "  while it is away: the others were right after %v%s\n", worst.Round(time.Millisecond), wrong)
	if err := end(n); err != nil {
		return from, nil, err
	}
	for _, c := range there {
		r.o.unsure(c.user, false)
		for _, of := range c.of {
			c.mu.Lock()
			online := c.online
			c.mu.Unlock()
			r.o.stands(c.user, of, online)
		}
	}
	return time.Now(), nil, nil
}

// behind tells how long others were behind while a node is away; more than the limit is a breach. Nobody says anything
// meanwhile: else somebody always is, for the milliseconds between the word of one and the ear of the other.
func (r *run) behind(ctx context.Context, from time.Time, limit time.Duration) (time.Duration, string) {
	err := r.calm(ctx, limit)
	_, _, worst, of := r.o.since(from)
	if worst > limit {
		r.o.never("%s was behind of %s for %v", of.watcher, of.of, worst)
	}
	if err != nil {
		r.o.never("while a node is away: %v", err)
		return worst, fmt.Sprintf(", but not all: %v", err)
	}
	return worst, ""
}

// Run starts a service, has it live, and hurts it.
func Run(ctx context.Context, o Options) (_ []Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var phones, chats []string
	for i := range o.Phones {
		phones = append(phones, fmt.Sprintf("s%d", i))
	}
	for i := range o.Chats {
		chats = append(chats, fmt.Sprintf("x%d", i))
	}
	fmt.Fprintf(o.Log, "starting PostgreSQL and three nodes; logs are in %s\n", o.Dir)
	l := loopback(3)
	if !o.Loopback {
		if l, err = newLab(3); err != nil {
			return nil, err
		}
	}
	s, err := startService(ctx, o.Dir, l, 0, people(phones, chats, o.Watch), nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &run{service: s, o: newOracle(), h: &history{}, log: o.Log}
	if err := r.populate(ctx, phones, chats, o.Watch); err != nil {
		return nil, err
	}
	defer func() {
		cancel()
		r.end()
	}()
	if err := r.calm(ctx, 30*time.Second); err != nil {
		return nil, fmt.Errorf("before any fault: %w", err)
	}
	var results []Result
	for _, f := range faultList {
		if len(o.Only) > 0 && !matches(o.Only, f.name) {
			continue
		}
		res, err := r.suffer(ctx, f, o.Settle)
		if err != nil {
			return results, fmt.Errorf("%s: %w", f.name, err)
		}
		results = append(results, res)
		fmt.Fprintf(o.Log, "  %s\n", res)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
	}
	return results, nil
}

// end waits until the clients are gone, whose context has ended.
func (r *run) end() {
	for _, p := range r.phones {
		p.close()
	}
	for _, c := range r.chats {
		<-c.ended
	}
}

func matches(only []string, name string) bool {
	for _, o := range only {
		if strings.Contains(name, o) {
			return true
		}
	}
	return false
}

// people is the import, as XEP-0227 has it: the chat users see whom they watch.
func people(phones, chats []string, watch int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<server-data xmlns='urn:xmpp:pie:0'><host jid='%s'>", domain)
	plain := append([]string(nil), phones...)
	for i := range registers {
		plain = append(plain, fmt.Sprintf("doc%d", i))
	}
	for _, u := range plain {
		fmt.Fprintf(&b, "<user name='%s' password='%s'/>", u, password)
	}
	for _, u := range chats {
		fmt.Fprintf(&b, "<user name='%s' password='%s'><query xmlns='%s'>", u, password, client.NSRoster)
		mine := map[string]bool{}
		for _, of := range watched(u, phones, chats, watch) {
			mine[of] = true
		}
		for _, other := range append(append([]string(nil), phones...), chats...) {
			theirs := false
			for _, of := range watched(other, phones, chats, watch) {
				theirs = theirs || of == u
			}
			if s := map[[2]bool]string{{true, true}: "both", {true, false}: "to", {false, true}: "from"}[[2]bool{mine[other], theirs}]; s != "" {
				fmt.Fprintf(&b, "<item jid='%s@%s' subscription='%s'/>", other, domain, s)
			}
		}
		b.WriteString("</query></user>")
	}
	b.WriteString("</host></server-data>")
	return b.String()
}

// registers are the users whose documents are read and written all the time.
const registers = 4

// watched are the users whom one watches.
func watched(who string, phones, chats []string, watch int) (list []string) {
	var n int
	fmt.Sscanf(who[1:], "%d", &n)
	for i := range watch {
		for _, group := range [][]string{phones, chats} {
			if len(group) == 0 {
				continue
			}
			if of := group[(n+i)%len(group)]; of != who {
				list = append(list, of)
			}
		}
	}
	return list
}

// populate connects everybody, spread over the nodes, and has them talk.
func (r *run) populate(ctx context.Context, phones, chats []string, watch int) error {
	for i, u := range phones {
		p, err := newPhone(ctx, r.o, u, r.lab.hub, r.addrs(sipPort), i%len(r.nodes))
		if err != nil {
			return err
		}
		r.phones = append(r.phones, p)
		if err := p.publish(); err != nil {
			return fmt.Errorf("%s: %w", u, err)
		}
		for _, of := range watched(u, phones, chats, watch) {
			go p.watch(of)
		}
		go r.talk(ctx, p.say)
	}
	for i, u := range chats {
		c := newChat(ctx, r.o, u, r.lab.hub, r.addrs(xmppPort), i%len(r.nodes), watched(u, phones, chats, watch), false)
		r.chats = append(r.chats, c)
		go c.run()
		go r.talk(ctx, func() { _ = c.say() })
		if i < 4 {
			go r.h.rosters(ctx, 100+i, c)
		}
	}
	for i := range 8 {
		go r.h.documents(ctx, i, fmt.Sprintf("doc%d", i%registers), r.addrs(httpPort))
	}
	return nil
}

// talk says something now and then.
func (r *run) talk(ctx context.Context, say func()) {
	for ctx.Err() == nil {
		sleep(ctx, 500*time.Millisecond+time.Duration(rand.Int64N(int64(2*time.Second))))
		if !r.quiet.Load() {
			say()
		}
	}
}

// calm waits until everybody is right.
func (r *run) calm(ctx context.Context, within time.Duration) error {
	r.quiet.Store(true)
	defer r.quiet.Store(false)
	until := time.Now().Add(within)
	for {
		sleep(ctx, 200*time.Millisecond)
		wrong := r.o.wrong()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case len(wrong) == 0:
			return nil
		case time.Now().After(until):
			return fmt.Errorf("%d watchers are wrong after %v: %s", len(wrong), within, strings.Join(wrong[:min(len(wrong), 5)], "; "))
		}
	}
}

// suffer does one fault and looks at what follows.
func (r *run) suffer(ctx context.Context, f fault, settle time.Duration) (Result, error) {
	fmt.Fprintf(r.log, "%s  %s\n", time.Now().Format("15:04:05.000"), f.name)
	res := Result{Name: f.name, Limit: f.limit}
	r.o.forget()
	r.h.begin(func() map[string]string { return r.registers(ctx) })
	before := len(r.o.breaches())
	from, after, err := f.do(ctx, r)
	if err != nil {
		return res, err
	}
	sleep(ctx, settle)
	if after != nil {
		if err := after(); err != nil {
			return res, err
		}
		sleep(ctx, settle/2)
	}
	if err := r.calm(ctx, 20*time.Second); err != nil {
		res.Wrong = r.o.wrong()
		r.quiet.Store(true) // or what was wrong would be said anew
		r.inquire()
		r.quiet.Store(false)
		for _, p := range r.phones {
			p.mu.Lock()
			if p.trouble != "" {
				res.Wrong = append(res.Wrong, fmt.Sprintf("%s could not publish: %s", p.user, p.trouble))
			}
			p.mu.Unlock()
		}
	}
	var of lag
	res.Told, res.P50, res.Worst, of = r.o.since(from)
	res.WorstOf = of.watcher + " of " + of.of
	res.Breaches = r.o.breaches()[before:]
	for _, n := range r.nodes {
		if !n.runs() {
			res.Breaches = append(res.Breaches, n.name+" does not run")
		}
	}
	ok, sure, ops := r.h.check(20 * time.Second)
	res.Ops, res.Linear = ops, map[[2]bool]string{{true, true}: "yes", {false, true}: "no"}[[2]bool{ok, sure}]
	if res.Linear == "" {
		res.Linear = "not decided"
	}
	return res, nil
}

// inquire prints what watchers who are wrong were told of late, and what each node knows of it.
func (r *run) inquire() {
	for _, p := range r.o.someWrong(5) {
		fmt.Fprintf(r.log, "    %s is wrong of %s:\n%s", p.watcher, p.of, r.o.account(p))
		for _, n := range r.nodes {
			if !n.runs() {
				continue
			}
			out, err := n.output("why", p.watcher+"@"+domain, p.of+"@"+domain)
			fmt.Fprintf(r.log, "      %s:\n%s", n.name, out)
			if err != nil {
				fmt.Fprintf(r.log, "      %v\n", err)
			}
		}
	}
}

// registers reads what all documents and roster names hold now. What cannot be read is left out, and
// begins as if it had never been written: a check that fails then says so of a register that could not be read.
func (r *run) registers(ctx context.Context) map[string]string {
	values := map[string]string{}
	hc := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range registers {
		user := fmt.Sprintf("doc%d", i)
		for range 10 {
			if v, known := readDocument(ctx, hc, documentURL(r.addrs(httpPort)[0], user), user); known {
				values["doc "+user] = v
				break
			}
			sleep(ctx, time.Second)
		}
	}
	for i := range min(registers, len(r.chats)) {
		c := r.chats[i]
		for range 10 {
			if v, known := readRoster(c, rosterRegister); known {
				values["roster "+c.user] = v
				break
			}
			sleep(ctx, time.Second)
		}
	}
	return values
}

// String is one line.
func (r Result) String() string {
	mark := "held"
	if !r.OK() {
		mark = "BROKEN"
	}
	s := fmt.Sprintf("%s: all right after %v (limit %v; median %v of %d; slowest %s); %d operations linearizable: %s", mark, r.Worst.Round(time.Millisecond),
		r.Limit, r.P50.Round(time.Millisecond), r.Told, r.WorstOf, r.Ops, r.Linear)
	for _, x := range slices.Concat(r.Wrong, r.Breaches) {
		s += "\n    " + x
	}
	return s
}

const (
	beginFaults = "<!-- faults: written by make faults -->"
	endFaults   = "<!-- end of faults -->"
)

// Write puts the table of all faults between its markers in a file.
func Write(path string, rs []Result) error {
	return bench.Between(path, beginFaults, endFaults, bench.Setting(bench.Loaded())+"\n\n"+Table(rs))
}

// Table is the results for people, as Markdown.
func Table(rs []Result) string {
	var b strings.Builder
	b.WriteString("| Fault | All right after | Median | Limit | Watchers behind | Linearizable |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rs {
		fmt.Fprintf(&b, "| %s | %.1f s | %.2f s | %v | %d | %s (%d operations) |\n", r.Name, r.Worst.Seconds(), r.P50.Seconds(), r.Limit, r.Told, r.Linear, r.Ops)
	}
	for _, r := range rs {
		if !r.OK() {
			fmt.Fprintf(&b, "\n%s: not as it has to be: %s\n", r.Name, strings.Join(slices.Concat(r.Wrong, r.Breaches), "; "))
		}
	}
	return b.String()
}
