package faults

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Demo shows on one machine what a service of several nodes does: it grows when users come, evens
// out, drains back when they go, empties a node without anybody noticing, and survives its
// leader. Everything that is printed was seen.
func Demo(ctx context.Context, dir string, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const users, most = 40, 20
	var phones, chats []string
	for i := range users / 2 {
		phones = append(phones, fmt.Sprintf("s%d", i))
		chats = append(chats, fmt.Sprintf("x%d", i))
	}
	d := &demo{w: w, begun: time.Now()}
	d.say("Two nodes on a PostgreSQL of their own; a third stands by, and the leader can start it. Each may reach level %d.", most)
	l := loopback(3)
	standby := l.spots[2]
	l.spots = l.spots[:2]
	s := &service{}
	s, err := startService(ctx, dir, l, most, people(phones, chats, 3), func(s *service) []string {
		s.spare = &node{spot: standby, s: s, name: "n3"}
		return []string{"low = 0.5", fmt.Sprintf("standby = [%q]", fmt.Sprintf("sip:%s:%d %s", standby.ip, sipPort, filepath.Join(dir, "start-n3")))}
	})
	if err != nil {
		return err
	}
	defer s.close()
	r := &run{service: s, o: newOracle(), h: &history{}, log: w}
	defer func() {
		cancel()
		r.end()
	}()
	d.run, d.s = r, s
	for _, step := range []func(context.Context, []string, []string) error{d.grow, d.drain, d.killLeader, d.shrink} {
		if err := step(ctx, phones, chats); err != nil {
			return err
		}
	}
	d.say("Done. Nobody is told anything but what is so: %d watchings, all right.", len(r.o.pairs))
	return nil
}

type demo struct {
	w     io.Writer
	begun time.Time
	run   *run
	s     *service
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.w, "%5.1f s  %s\n", time.Since(d.begun).Seconds(), fmt.Sprintf(format, args...))
}

// status prints what 'pharos cluster status' says, and what it says to machines.
func (d *demo) status() (st clusterStatus, err error) {
	for _, n := range d.s.nodes {
		if !n.runs() {
			continue
		}
		if err = n.command(&st, "cluster", "status", "--json"); err != nil {
			continue
		}
		text, err := n.output("cluster", "status")
		if err != nil {
			return st, err
		}
		for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			fmt.Fprintf(d.w, "           %s\n", line)
		}
		return st, nil
	}
	return st, err
}

// complaints prints what the nodes have logged as a warning or error last.
func (d *demo) complaints() {
	const most = 5
	for _, n := range append(d.s.nodes[:len(d.s.nodes):len(d.s.nodes)], d.s.spare) {
		b, err := os.ReadFile(n.file("log"))
		if err != nil {
			continue
		}
		var found []string
		for _, line := range strings.Split(string(b), "\n") {
			if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				found = append(found, line)
			}
		}
		for _, line := range found[max(0, len(found)-most):] {
			fmt.Fprintf(d.w, "           %s: %s\n", n.name, line)
		}
	}
}

// clusterStatus is of 'pharos cluster status --json' what the demo looks at.
type clusterStatus struct {
	Leader string `json:"leader"`
	Nodes  []struct {
		Name   string  `json:"name"`
		State  string  `json:"state"`
		Leader bool    `json:"leader"`
		Level  float64 `json:"level"`
		Max    float64 `json:"max"`
		Users  int     `json:"users"`
	} `json:"nodes"`
}

func (st *clusterStatus) node(name string) (state string, users int) {
	for _, n := range st.Nodes {
		if n.Name == name {
			return n.State, n.Users
		}
	}
	return "", 0
}

// until looks at the status until it is as it should be.
func (d *demo) until(ctx context.Context, what string, within time.Duration, is func(*clusterStatus) bool) error {
	var st clusterStatus
	for end := time.Now().Add(within); ; {
		for _, n := range d.s.nodes {
			if n.runs() && n.command(&st, "cluster", "status", "--json") == nil {
				break
			}
		}
		if is(&st) {
			d.say("%s.", what)
			_, err := d.status()
			return err
		}
		if sleep(ctx, 200*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			_, _ = d.status()
			d.complaints()
			return fmt.Errorf("within %v it did not come to this: %s", within, what)
		}
	}
}

func (d *demo) grow(ctx context.Context, phones, chats []string) error {
	r := d.run
	d.say("%d phones (SIP over UDP) and %d chat clients (XMPP) come, and watch one another.", len(phones), len(chats))
	if err := r.populate(ctx, phones, chats, 3); err != nil {
		return err
	}
	err := d.until(ctx, "Both nodes were full; the leader has started n3 and added it, and users have moved there", time.Minute, func(st *clusterStatus) bool {
		state, users := st.node("n3")
		return state == "active" && users > 0
	})
	if err != nil {
		return err
	}
	d.s.nodes = append(d.s.nodes, d.s.spare)
	return d.right(ctx, "Everybody is told what is so")
}

// right waits until all watchers are right, and says how long it took them.
func (d *demo) right(ctx context.Context, what string) error {
	if err := d.run.calm(ctx, 30*time.Second); err != nil {
		return err
	}
	if b := d.run.o.breaches(); len(b) > 0 {
		return fmt.Errorf("what must never happen: %s", strings.Join(b, "; "))
	}
	n, p50, worst, _ := d.run.o.since(d.begun)
	d.run.o.forget()
	d.say("%s: %d times a watcher was told something new, half of them within %s, the latest after %s.", what, n, duration(p50), duration(worst))
	return nil
}

// duration in whole milliseconds.
func duration(t time.Duration) string {
	if t < time.Millisecond {
		return "1ms"
	}
	return t.Round(time.Millisecond).String()
}

func (d *demo) drain(ctx context.Context, _, _ []string) error {
	n := d.s.nodes[1]
	d.say("pharos cluster drain %s", n.name)
	if err := d.s.nodes[0].command(nil, "cluster", "drain", n.name); err != nil {
		return err
	}
	err := d.until(ctx, "It is empty", time.Minute, func(st *clusterStatus) bool {
		_, users := st.node(n.name)
		return users == 0
	})
	if err != nil {
		return err
	}
	if err := d.right(ctx, "No client has noticed"); err != nil {
		return err
	}
	d.say("pharos cluster undrain %s", n.name)
	return d.s.nodes[0].command(nil, "cluster", "undrain", n.name)
}

func (d *demo) killLeader(ctx context.Context, _, _ []string) error {
	leader := d.s.leader()
	if leader == nil {
		return fmt.Errorf("nobody leads")
	}
	d.say("kill -9 of the leader, %s. Phones are told by another node; chat clients come back at one.", leader.name)
	if err := leader.signal(syscall.SIGKILL); err != nil {
		return err
	}
	err := d.until(ctx, "Another leads", 20*time.Second, func(st *clusterStatus) bool { return st.Leader != "" && st.Leader != leader.name })
	if err != nil {
		return err
	}
	if err := d.right(ctx, "After the kill"); err != nil {
		return err
	}
	if leader == d.s.spare {
		return nil
	}
	d.say("%s is started again.", leader.name)
	return leader.start()
}

func (d *demo) shrink(ctx context.Context, _, _ []string) error {
	d.say("All users but one go.")
	for _, c := range d.run.chats[1:] {
		c.leave()
	}
	var wg sync.WaitGroup
	for _, p := range d.run.phones {
		wg.Go(p.leave)
	}
	wg.Wait()
	return d.until(ctx, "The emptiest node has drained to standby", 2*time.Minute, func(st *clusterStatus) bool {
		for _, n := range st.Nodes {
			if n.State == "standby" {
				return true
			}
		}
		return false
	})
}

// startScript is the command that the leader runs for the standby.
func (s *service) startScript(n *node) error {
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec %s serve --config %s --data %s >>%s 2>&1\n", n.file("pid"), s.bin, n.file("pharos.toml"), n.file("data"), n.file("log"))
	return os.WriteFile(filepath.Join(s.dir, "start-"+n.name), []byte(script), 0o755)
}
