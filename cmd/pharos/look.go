package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"pharos/server"
)

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

type statusCmd struct {
	place
	JSON bool `help:"As JSON." name:"json"`
}

func (c *statusCmd) Help() string {
	return `"ready": true once all listeners accept. A stopped server is "running": false, with exit status 1.`
}

func (c *statusCmd) Run(ctx context.Context) error {
	var st server.Status
	cl, err := server.Dial(c.Data)
	if err == nil {
		err = cl.Get(ctx, "/status", &st)
	}
	if errors.Is(err, server.ErrNotRunning) && c.JSON {
		return errors.Join(printJSON(map[string]bool{"running": false, "ready": false}), errSaid)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(st)
	}
	state := "ready"
	if !st.Ready {
		state = "not ready"
	}
	fmt.Printf("Pharos %s, %s, up %s\n", st.Version, state, time.Duration(st.Uptime*float64(time.Second)).Round(time.Second))
	fmt.Printf("domains        %s\n", strings.Join(st.Domains, ", "))
	listening := "nothing yet"
	if len(st.Listen) > 0 {
		listening = strings.Join(st.Listen, "\n               ")
	}
	fmt.Printf("listening      %s\n", listening)
	fmt.Printf("database       %s\n", database(&st.Database))
	if c := st.Cluster; c != nil {
		fmt.Printf("cluster        %s %s\n", c.Node, condition(c))
		fmt.Printf("               %s\n", others(c))
	}
	fmt.Printf("presence       %d users, %d publications and sessions\n", st.Engine.Presentities, st.Engine.Sources)
	fmt.Printf("subscriptions  %d, of which %d wait for approval\n", st.Engine.Subscriptions, st.Engine.Pending)
	fmt.Printf("xmpp           %d sessions, of which %d wait to be resumed\n", st.XMPP.Sessions, st.XMPP.Hibernating)
	fmt.Printf("sip            %d contacts of %d users registered, %d dialogs, %d NOTIFYs sent, %d failed\n", st.SIP.Bindings, st.SIP.Users, st.SIP.Dialogs, st.SIP.Notifies, st.SIP.Failures)
	if by := st.SIP.Packages; len(by) > 1 {
		var names []string
		for _, n := range slices.Sorted(maps.Keys(by)) {
			names = append(names, fmt.Sprintf("%s %d", n, by[n]))
		}
		fmt.Printf("dialogs        %s\n", strings.Join(names, ", "))
	}
	fmt.Printf("work           %d steps, %d watchers told, %d refused, %d waiting\n", st.Engine.Steps, st.Engine.Notices, st.Engine.Overloads, st.Engine.Queued)
	mib := func(n uint64) float64 { return float64(n) / (1 << 20) }
	p := st.Process
	fmt.Printf("memory         %.1f MiB heap, %.1f MiB of it live, %.1f MiB resident; %d goroutines, %d descriptors\n", mib(p.HeapBytes), mib(p.HeapLive), mib(p.Resident), p.Goroutines, p.Descriptors)
	return nil
}

// others counts the servers of the service by their states.
func others(st *server.ClusterStatus) string {
	count := map[string]int{}
	for i := range st.Nodes {
		count[st.Nodes[i].State]++
	}
	var list []string
	for _, state := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%d %s", count[state], state))
	}
	leader := "nobody leads"
	if st.Leader != "" {
		leader = st.Leader + " leads"
	}
	return fmt.Sprintf("servers: %s; %s: see 'pharos cluster status'. The rest is about this one alone", strings.Join(list, ", "), leader)
}

type whyCmd struct {
	place
	Watcher    string `arg:"" help:"Who wants to see." placeholder:"WATCHER"`
	Presentity string `arg:"" help:"Who is seen." placeholder:"PRESENTITY"`
	JSON       bool   `help:"As JSON." name:"json"`
}

func (c *whyCmd) Help() string {
	return `The first line is the answer; the steps to it follow, and those marked "--" are where to look. 'pharos why bob@example.com alice@example.com': what does bob see of alice?`
}

func (c *whyCmd) Run(ctx context.Context) error {
	cl, err := server.Dial(c.Data)
	if err != nil {
		return err
	}
	var w server.Why
	q := url.Values{"watcher": {c.Watcher}, "presentity": {c.Presentity}}
	if err := cl.Get(ctx, "/why?"+q.Encode(), &w); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(w)
	}
	fmt.Println(w.Answer)
	fmt.Println()
	for _, s := range w.Steps {
		mark := "ok"
		if !s.OK {
			mark = "--"
		}
		fmt.Printf("  %s  %-13s %s\n", mark, s.What, s.Text)
	}
	return nil
}

type watchCmd struct {
	place
	User string `arg:"" help:"user@domain" placeholder:"USER"`
	JSON bool   `help:"One JSON object a line, with the composed PIDF document." name:"json"`
}

func (c *watchCmd) Help() string {
	return "Told when something that is shown here has changed, with who said it and whence; with --json whatever has changed in the document. Ctrl-C ends it."
}

func (c *watchCmd) Run(ctx context.Context) error {
	cl, err := server.Dial(c.Data)
	if err != nil {
		return err
	}
	var last string
	return cl.Lines(ctx, "GET", "/watch?"+url.Values{"user": {c.User}}.Encode(), nil, func(b json.RawMessage) error {
		if c.JSON {
			_, err := fmt.Println(string(b))
			return err
		}
		var s server.Seen
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		// A chat client says itself more than once while it logs in, each time with
		// something that is only in the document.
		text := seenText(&s)
		if text == last {
			return nil
		}
		last = text
		_, err := fmt.Printf("%s  %s", s.At.Local().Format("15:04:05"), text)
		return err
	})
}

// seenText is a user's presence in a line, and what makes it up in one each.
func seenText(s *server.Seen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s\n", s.User, s.Presence)
	for _, src := range s.Sources {
		fmt.Fprintf(&b, "          %-11s %-20s %s", src.Kind, src.Key, src.Summary)
		if src.From != "" {
			fmt.Fprintf(&b, ", from %s", src.From)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// printLine prints a value as JSON on one line.
func printLine(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
