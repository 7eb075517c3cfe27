// Command pharos is one presence service for SIP and XMPP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker for releases (-X main.version=…).
var version = ""

func programVersion() string {
	if version != "" {
		return version
	}
	if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" && bi.Main.Version != "(devel)" {
		return bi.Main.Version
	}
	return "development"
}

type cli struct {
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	User     userCmd     `cmd:"" help:"Add, list, change, remove and import users."`
	Import   importCmd   `cmd:"" help:"Import users, contact lists and rules from another server."`
	Status   statusCmd   `cmd:"" help:"Show what the server is doing."`
	Why      whyCmd      `cmd:"" help:"Explain what WATCHER sees of PRESENTITY, and why."`
	Watch    watchCmd    `cmd:"" help:"Follow a user's presence as it changes."`
	Backup   backupCmd   `cmd:"" help:"Write everything into one file, while the server runs."`
	Restore  restoreCmd  `cmd:"" help:"Put a backup into an empty data folder or PostgreSQL database."`
	Store    storeCmd    `cmd:"" help:"Move what is stored to another database."`
	Cluster  clusterCmd  `cmd:"" help:"Show and steer the servers that are one service."`
	Simulate simulateCmd `cmd:"" help:"Play the load control of many servers in virtual time: how many are needed, what a loss does."`
	Config   configCmd   `cmd:"" help:"Describe or check the configuration."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version." hidden:""`
}

// place is where a command finds its server.
type place struct {
	Data   string `help:"Data folder of the server (default: data)." default:"data" placeholder:"DIR"`
	Config string `help:"Configuration file; none: the defaults, domain localhost." placeholder:"FILE" type:"path"`
}

const description = `Pharos is one presence service for SIP and XMPP: a desk phone and a chat client of the same address are one user.

Commands reach a running server through a socket in its data folder; 'user', 'import' and 'backup' work on a stopped one too. Each takes --json where a machine may read the answer. Exit status: 0 done, 1 failed, 2 wrong usage.`

func main() {
	var c cli
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Must(&c, kong.Name("pharos"), kong.Description(description),
		kong.Vars{"version": "pharos " + programVersion()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	args := os.Args[1:]
	if len(args) == 0 || args[0] == "help" {
		args = append(args[min(len(args), 1):len(args):len(args)], "--help") // 'pharos help user add'
	}
	run, err := k.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "pharos: %v\nRun '%s --help' for what it takes.\n", negative(args, err), commandOf(err))
		os.Exit(2)
	}
	if err := run.Run(); err != nil {
		if errors.Is(err, context.Canceled) {
			os.Exit(130)
		}
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "pharos: "+err.Error())
		}
		os.Exit(1)
	}
}

// negative is the error of a level below 0, which the parser takes for a flag.
func negative(args []string, err error) error {
	if commandOf(err) != "pharos cluster max" {
		return err
	}
	for _, a := range args {
		if _, no := strconv.ParseFloat(a, 64); no == nil && checkLevel(a) != nil {
			return checkLevel(a)
		}
	}
	return err
}

// commandOf is the command that was not understood, as far as it was.
func commandOf(err error) string {
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil && p.Context.Selected() != nil {
		return p.Context.Selected().FullPath()
	}
	return "pharos"
}

// errSaid: the command failed and has said so already.
var errSaid = errors.New("said")

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("pharos " + programVersion())
	return nil
}
