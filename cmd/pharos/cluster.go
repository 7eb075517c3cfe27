package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"pharos/server"
)

type clusterCmd struct {
	Status  clusterStatusCmd  `cmd:"" help:"Show the servers, their states and levels, and who leads."`
	Drain   clusterDrainCmd   `cmd:"" help:"Move all users of a server to the others; it takes no new ones."`
	Undrain clusterUndrainCmd `cmd:"" help:"Have a server take users again."`
	Max     clusterMaxCmd     `cmd:"" help:"Set the level that a server may reach before newcomers are sent elsewhere."`
}

type clusterStatusCmd struct {
	place
	Watch bool `help:"Draw it anew each second."`
	JSON  bool `help:"As JSON; with --watch one object a line." name:"json"`
}

func (c *clusterStatusCmd) Help() string {
	return `It is what the server on this data folder sees, as it last read it in the database.

STATE: "active" takes users; "draining" hands its users to the others and takes none, because an operator said so, and is "drained" when none is left; "retiring" does the same because there is too little to do, and becomes "standby"; "standby" runs and has no users, until it is added; "joining" is being added; "dead" has lost its lease, and others have its users; "left" was stopped in order.

LEVEL is what users and their resources add up to, by the weights in the configuration, and MAX how far it may rise before newcomers are sent elsewhere. USERS are those whose presence the server keeps in memory; those who are at home there, in the last line, include the ones of whom nothing is needed at present. LEASE is how long the server may go on without a word of the database. REACHED is the time to it and back over the bus; "no": the bus does not reach it.

Below the table stands whether the server that was asked takes part itself: "stands still" means that its lease has run out and that it acts for nobody until the database renews it; "waits" and "has stepped down" that it waits to take part, and for what.`
}

func (c *clusterStatusCmd) Run(ctx context.Context) error {
	cl, err := server.Dial(c.Data)
	if err != nil {
		return err
	}
	draw := term.IsTerminal(int(os.Stdout.Fd()))
	for {
		var st server.ClusterStatus
		if err := cl.Get(ctx, "/cluster", &st); err != nil {
			return err
		}
		switch {
		case c.JSON && c.Watch:
			err = printLine(st)
		case c.JSON:
			err = printJSON(st)
		default:
			var b strings.Builder
			if c.Watch && draw {
				b.WriteString("\x1b[H\x1b[2J") // ECMA-48: CUP, ED
			}
			writeCluster(&b, &st)
			_, err = io.WriteString(os.Stdout, b.String())
		}
		if err != nil || !c.Watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// writeCluster is the status for people.
func writeCluster(w io.Writer, st *server.ClusterStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVER\tSTATE\tLEVEL\tMAX\tUSERS\tLEASE\tREACHED\tVERSION\tADDRESS")
	for _, n := range st.Nodes {
		name, lease, reached := n.Name, "-", "no"
		if n.Leader {
			name += "*"
		}
		if n.LeaseLeft > 0 {
			lease = strconv.FormatFloat(n.LeaseLeft, 'f', 1, 64) + " s"
		}
		switch {
		case n.Name == st.Node && st.Epoch == 0:
			reached = "-" // the row may be another's of the same name
		case n.Name == st.Node:
			reached = "here"
		case n.Reached:
			if reached = "yes"; n.RTT > 0 {
				reached = strconv.FormatFloat(n.RTT, 'f', 1, 64) + " ms"
			}
		}
		address := n.SIP
		if address == "" {
			address = n.XMPP
		}
		state := n.State
		if state == "draining" && n.Users == 0 {
			state = "drained"
		}
		level, users := strconv.FormatFloat(n.Level, 'f', 1, 64), strconv.Itoa(n.Users)
		if n.State == "dead" || n.State == "left" {
			level, users = "-", "-" // what it had is with the others
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\n", name, state, level, n.Max, users, lease, reached, n.Version, address)
	}
	t.Flush()
	fmt.Fprintf(w, "* leads")
	if st.Leader == "" {
		fmt.Fprintf(w, "; nobody does at present")
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "%s: %s\n", st.Node, condition(st))
	if st.Database != nil {
		fmt.Fprintf(w, "database: %s\n", database(st.Database))
	}
	if st.Epoch == 0 {
		return
	}
	fmt.Fprintf(w, "%s: %d users at home here, %d moved away, %d come, %d taken over from servers that have gone\n",
		st.Node, st.Homes, st.Counts.Moved, st.Counts.Came, st.Counts.Inherited)
	if len(st.Redirects) > 0 {
		fmt.Fprintf(w, "clients whose user lives elsewhere: %d redirected, %d of them followed, %d served here\n",
			st.Redirects["redirected"], st.Redirects["followed"], st.Redirects["served"])
	}
}

// condition says whether the server itself takes part, and else why not.
func condition(st *server.ClusterStatus) string {
	c := &st.Condition
	return c.Words(st.State) + whyAndWhen(c.Why, c.Since)
}

// database says how it is.
func database(h *server.Health) string {
	what := "works"
	if !h.OK {
		what = "AWAY"
	}
	return fmt.Sprintf("%s, %s, %s%s", h.Kind, h.Place, what, whyAndWhen(h.Error, h.Since))
}

func whyAndWhen(why string, since time.Time) string {
	text := ""
	if !since.IsZero() {
		text = fmt.Sprintf(", since %s (%s)", since.Local().Format("2006-01-02 15:04:05"), time.Since(since).Round(time.Second))
	}
	if why != "" {
		text += ": " + why
	}
	return text
}

type clusterDrainCmd struct {
	place
	Node string `arg:"" optional:"" help:"The server's name; none: the one on this data folder." placeholder:"NODE"`
}

func (c *clusterDrainCmd) Help() string {
	return `Its connections stay where they are, and go on being served; nobody notices. 'pharos cluster status' shows the server as draining, and as drained when nobody lives there any more: then it can be stopped, for as long as one likes. 'pharos cluster undrain' has it take users again, at any time, and nobody else does: it is not added when the others are full. Users stay if no other server is active.

Stopping a server drains it as well, as far as it comes within five seconds; to drain it first is for large ones, and for those that are to go on running.

  pharos cluster drain b            from any server's machine (--data DIR)
  pharos cluster status --watch     until b is drained
  pharos cluster undrain b          afterwards`
}

func (c *clusterDrainCmd) Run(ctx context.Context) error {
	return steer(ctx, c.Data, "drain", c.Node, "", func(st *server.ClusterStatus, n *server.ClusterNode) {
		fmt.Printf("%s drains; %d users live there. 'pharos cluster status --watch' shows how it goes.\n", n.Name, n.Users)
		for i := range st.Nodes {
			if m := &st.Nodes[i]; m.Name != n.Name && m.State == "active" {
				return
			}
		}
		fmt.Println("No other server is active: they stay until one is.")
	})
}

type clusterUndrainCmd struct {
	place
	Node string `arg:"" optional:"" help:"The server's name; none: the one on this data folder." placeholder:"NODE"`
}

func (c *clusterUndrainCmd) Help() string {
	return `The counterpart of 'pharos cluster drain'; it also has a standby take users at once. Users come with new logins and as levels are evened out, a bounded number a second.

  pharos cluster undrain b`
}

func (c *clusterUndrainCmd) Run(ctx context.Context) error {
	return steer(ctx, c.Data, "undrain", c.Node, "", func(_ *server.ClusterStatus, n *server.ClusterNode) {
		if n.State == "active" {
			fmt.Printf("%s takes users as it did: it was not drained.\n", n.Name)
			return
		}
		fmt.Printf("%s takes users again.\n", n.Name)
	})
}

type clusterMaxCmd struct {
	place
	Node  string `arg:"" help:"The server's name." placeholder:"NODE"`
	Level string `arg:"" help:"The level, above 0." placeholder:"LEVEL"`
}

func (c *clusterMaxCmd) Help() string {
	return `It holds until the server is started again; for longer set cluster.max in its configuration.

  pharos cluster max b 5000`
}

// Validate says what is wrong before anybody is asked.
func (c *clusterMaxCmd) Validate() error { return checkLevel(c.Level) }

func checkLevel(text string) error {
	if level, err := strconv.ParseFloat(text, 64); err != nil || !(level > 0) || math.IsInf(level, 0) {
		return fmt.Errorf("%q: the level is a number above 0", text)
	}
	return nil
}

func (c *clusterMaxCmd) Run(ctx context.Context) error {
	return steer(ctx, c.Data, "max", c.Node, c.Level, func(_ *server.ClusterStatus, n *server.ClusterNode) {
		fmt.Printf("%s may reach level %s; it was %g. This holds until it is started again.\n", n.Name, c.Level, n.Max)
	})
}

// steer asks the server on a data folder to pass something on to one of the servers, and says
// what has been done: tell gets how things were before.
func steer(ctx context.Context, data, what, node, level string, tell func(*server.ClusterStatus, *server.ClusterNode)) error {
	cl, err := server.Dial(data)
	if err != nil {
		return err
	}
	var before server.ClusterStatus
	if err := cl.Get(ctx, "/cluster", &before); err != nil {
		return err
	}
	q := url.Values{}
	if node != "" {
		q.Set("node", node)
	}
	if level != "" {
		q.Set("level", level)
	}
	if err := cl.Do(ctx, "/cluster/"+what+"?"+q.Encode()); err != nil {
		return err
	}
	if node == "" {
		node = before.Node
	}
	for i := range before.Nodes {
		if before.Nodes[i].Name == node {
			tell(&before, &before.Nodes[i])
		}
	}
	return nil
}
