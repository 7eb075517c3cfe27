package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"pharos/config"
	"pharos/simulate"
)

type simulateCmd struct {
	Run        simulateRunCmd        `cmd:"" default:"withargs" help:"Play a scenario (the default)."`
	Size       simulateSizeCmd       `cmd:"" help:"How many nodes of what maximum are needed for so many users."`
	Experiment simulateExperimentCmd `cmd:"" help:"The experiment of the paper on several servers, request by request."`
}

func (*simulateCmd) Help() string { return simulateHelp }

const simulateHelp = `Plays the load control of several servers in virtual time: what decides are the servers' own rules, at which work costs what the project's benchmarks have measured. No server is needed, and none is touched.

A scenario is one of those that --list names, or a file (NAME.toml; --print shows one to begin with). --users and --nodes make it larger or smaller: the maximum of a node grows with its users, unless --max says what it is. The same scenario with the same --seed has the same result.

Examples:

  pharos simulate --list
  pharos simulate node-loss
  pharos simulate flash-crowd --users 1e6 --nodes 20 --svg crowd.svg
  pharos simulate rolling-restart --nodes 50 --moves 5000 --json
  pharos simulate growth --print > mine.toml; pharos simulate mine.toml
  pharos simulate size --users 1e6 --cores 4 --spare 2
  pharos simulate experiment

What the columns mean, what is counted and what is reckoned, and what limits it has found: docs/simulate.md.`

// number is a count that may be written as 1e6.
type number int

// UnmarshalText reads it.
func (n *number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || v != math.Trunc(v) || v < 0 || v > simulate.MaxUsers {
		return fmt.Errorf("%q is no number such as 20000 or 1e6", b)
	}
	*n = number(v)
	return nil
}

type simulateRunCmd struct {
	Scenario string        `arg:"" optional:"" help:"Name of a scenario, or a file." placeholder:"SCENARIO"`
	List     bool          `help:"Name the scenarios."`
	Print    bool          `help:"Print the scenario as a file, with all that may be set."`
	Users    number        `help:"Users at the beginning." placeholder:"N"`
	Nodes    number        `help:"Nodes at the beginning." placeholder:"N"`
	Max      float64       `help:"Level that a node may reach." placeholder:"LEVEL"`
	Standby  *int          `help:"Nodes that may be added." placeholder:"N"`
	Moves    int           `help:"Users moved a second, at most." placeholder:"N"`
	Length   time.Duration `help:"Time that is simulated." placeholder:"TIME"`
	Seed     *uint64       `help:"Another seed is another course of events." placeholder:"N"`
	SVG      string        `help:"Draw it, into this file." name:"svg" placeholder:"FILE"`
	JSON     bool          `help:"As JSON, with a sample for each second." name:"json"`
}

func (c *simulateRunCmd) Run(ctx context.Context) error {
	if c.List || c.Scenario == "" {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		for _, s := range simulate.Builtin() {
			fmt.Fprintf(t, "%s\t%s\n", s.Name, s.About)
		}
		t.Flush()
		if !c.List {
			return errors.New("simulate: which one?")
		}
		return nil
	}
	s, err := c.scenario()
	if err != nil {
		return err
	}
	if c.Print {
		return printScenario(os.Stdout, &s)
	}
	bar := newGauge(s.Name)
	r, err := simulate.Run(ctx, s, simulate.Options{Progress: bar.show, Clock: time.Now})
	bar.end()
	if err != nil {
		return err
	}
	if c.SVG != "" {
		if err := draw(r, c.SVG); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(r)
	}
	return r.Write(os.Stdout)
}

// scenario is what was asked for.
func (c *simulateRunCmd) scenario() (s simulate.Scenario, err error) {
	s, ok := simulate.Find(c.Scenario)
	if !ok {
		if !strings.ContainsAny(c.Scenario, "./") {
			return s, fmt.Errorf("simulate: there is no scenario %q; 'pharos simulate --list' names them, and files end in .toml", c.Scenario)
		}
		s = simulate.Default()
		if err := config.ReadStrict(c.Scenario, &s); err != nil {
			return s, fmt.Errorf("simulate: %w ('pharos simulate growth --print' shows all keys)", err)
		}
		if s.Name == "" {
			s.Name = c.Scenario
		}
	}
	s.Scale(int(c.Users), int(c.Nodes))
	if c.Max > 0 {
		s.Nodes.Max = c.Max
	}
	if c.Standby != nil {
		s.Nodes.Standby = *c.Standby
	}
	if c.Moves > 0 {
		s.Load.Moves = c.Moves
	}
	if c.Length > 0 {
		s.Length = simulate.Duration(c.Length)
	}
	if c.Seed != nil {
		s.Seed = *c.Seed
	}
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("simulate: %s: %w", s.Name, err)
	}
	return s, nil
}

type simulateSizeCmd struct {
	Users     number  `help:"Users in all." required:"" placeholder:"N"`
	Spare     int     `help:"Nodes that may be lost at once, so that there is room for all without them (default: 1)." default:"1" placeholder:"N"`
	Cores     float64 `help:"Processors of a node (default: 2)." default:"2" placeholder:"N"`
	Memory    float64 `help:"Memory of a node, in GiB (default: 8)." default:"8" placeholder:"GIB"`
	Share     float64 `help:"Share of both that a node may use at its maximum (default: 0.5)." default:"0.5" placeholder:"SHARE"`
	Max       float64 `help:"cluster.max of each; none: as much as it can bear." placeholder:"LEVEL"`
	Peak      float64 `help:"How many times as often as on the average presence changes in the busiest hour (default: 4)." default:"4" placeholder:"N"`
	SIP       float64 `help:"Share of users on SIP over UDP; the others have XMPP (default: 0.5)." name:"sip" default:"0.5" placeholder:"SHARE"`
	Resources int     `help:"Publications, sessions and subscriptions of a user (default: 20)." default:"20" placeholder:"N"`
	Changes   float64 `help:"Changes of presence of a user in an hour (default: 6)." default:"6" placeholder:"N"`
	Moves     int     `help:"cluster.moves (default: 1000)." default:"1000" placeholder:"N"`
	Database  float64 `help:"How many times as fast as the measured database yours is (default: 1)." default:"1" placeholder:"N"`
	SVG       string  `help:"Draw the loss, into this file." name:"svg" placeholder:"FILE"`
	JSON      bool    `help:"As JSON." name:"json"`
}

func (*simulateSizeCmd) Help() string {
	return `The answer follows from what a user costs (docs/simulate.md); then the loss of as many nodes as may be lost is simulated, at that size, and what comes of it is told.

Examples:

  pharos simulate size --users 200000
  pharos simulate size --users 5e6 --cores 8 --memory 32 --spare 2 --database 4
  pharos simulate size --users 30000 --max 10000`
}

func (c *simulateSizeCmd) Run(ctx context.Context) error {
	s := simulate.Default()
	s.Users.SIP, s.Users.Resources, s.Users.Changes = c.SIP, c.Resources, c.Changes
	s.Nodes.Cores, s.Nodes.Memory, s.Nodes.Database = c.Cores, c.Memory*(1<<30), c.Database
	s.Load.Moves = c.Moves
	g := newGauge("size")
	z, err := simulate.SizeFor(ctx, s, simulate.Need{Users: int(c.Users), Spare: c.Spare, Share: c.Share, Peak: c.Peak}, c.Max, simulate.Options{Progress: g.show})
	g.end()
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	if c.SVG != "" {
		if err := draw(z.Lost, c.SVG); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(z)
	}
	return z.Write(os.Stdout)
}

type simulateExperimentCmd struct {
	Service       time.Duration `help:"Processor time of a subscription (default: measured)." placeholder:"TIME"`
	NotifyService time.Duration `help:"Processor time of a notification (default: measured)." placeholder:"TIME"`
	Cores         float64       `help:"Processor quota of a server (default: 0.2)." default:"0.2" placeholder:"N"`
	Several       time.Duration `help:"Processor time that a server uses a second for being one of several." placeholder:"TIME"`
	Rounds        int           `help:"Seconds for each number of users (default: 12)." default:"12" placeholder:"N"`
	Seed          uint64        `help:"Another seed is another course of events (default: 1)." default:"1" placeholder:"N"`
	JSON          bool          `help:"As JSON." name:"json"`
}

func (*simulateExperimentCmd) Help() string {
	return `Users come, the load control adds servers and spreads the users over them, and each second all users send a request at the same moment: as 'make experiment' does with real servers (bench/paper). --service and --notify-service are the processor time of a round of one server there, divided by the users.`
}

func (c *simulateExperimentCmd) Run(ctx context.Context) error {
	e := simulate.DefaultExperiment()
	e.Cores, e.Rounds, e.Seed = c.Cores, max(1, c.Rounds), c.Seed
	if c.Several > 0 {
		e.Several = c.Several
	}
	for i, d := range []time.Duration{c.Service, c.NotifyService} {
		if d > 0 {
			e.Tests[i].Alone.Service, e.Tests[i].Several.Service = d, d
		}
	}
	if !(c.Cores >= 0.001 && c.Cores <= 1) {
		return fmt.Errorf("simulate: --cores: must be 0.001 to 1, not %g", c.Cores)
	}
	rows, err := e.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(rows)
	}
	return simulate.WriteExperiment(os.Stdout, rows)
}

func draw(r *simulate.Result, path string) error {
	var b bytes.Buffer
	if err := r.Draw(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func printScenario(w io.Writer, s *simulate.Scenario) error {
	b, err := config.Write(s)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "# What is left out has the value of 'pharos simulate steady --print'. Events may:")
	for _, k := range simulate.Kinds {
		fmt.Fprintf(w, "#   do = %q: %s\n", k[0], k[1])
	}
	_, err = w.Write(b)
	return err
}

// gauge shows on a terminal how much is done; elsewhere it says so now and then.
type gauge struct {
	name  string
	draw  bool
	last  time.Time
	shown bool
}

func newGauge(name string) *gauge {
	return &gauge{name: name, draw: term.IsTerminal(int(os.Stderr.Fd())), last: time.Now()}
}

func (b *gauge) show(done float64) {
	every := 5 * time.Second
	if b.draw {
		every = 100 * time.Millisecond
	}
	if time.Since(b.last) < every {
		return
	}
	b.last, b.shown = time.Now(), true
	const wide = 40
	if b.draw {
		fmt.Fprintf(os.Stderr, "\r%s [%-*s] %3.0f %%", b.name, wide, strings.Repeat("#", int(done*wide)), done*100)
	} else {
		fmt.Fprintf(os.Stderr, "%s: %.0f %% done\n", b.name, done*100)
	}
}

func (b *gauge) end() {
	if b.draw && b.shown {
		fmt.Fprint(os.Stderr, "\r\x1b[K") // ECMA-48: EL
	}
}
