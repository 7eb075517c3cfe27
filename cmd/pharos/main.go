// Command pharos is one presence service for SIP and XMPP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
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
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	User    userCmd    `cmd:"" help:"Add, list, change, remove and import users."`
	Status  statusCmd  `cmd:"" help:"Show what the server is doing."`
	Why     whyCmd     `cmd:"" help:"Explain what WATCHER sees of PRESENTITY, and why."`
	Watch   watchCmd   `cmd:"" help:"Follow a user's presence as it changes."`
	Config  configCmd  `cmd:"" help:"Describe or check the configuration."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// place is where a command finds its server.
type place struct {
	Data   string `help:"Data folder of the server." default:"data" placeholder:"DIR"`
	Config string `help:"Configuration file; none: the defaults, domain localhost." placeholder:"FILE" type:"path"`
}

const description = `Pharos is one presence service for SIP and XMPP: a desk phone and a chat client of the same address are one user.

Commands reach a running server through a socket in its data folder; 'user' and 'status' work on a stopped one too. Each takes --json where a machine may read the answer. Exit status: 0 done, 1 failed, 2 wrong usage.`

func main() {
	var c cli
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Must(&c, kong.Name("pharos"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Exit(func(code int) {
			if code != 0 {
				code = 2 // wrong usage
			}
			os.Exit(code)
		}))
	run, err := k.Parse(os.Args[1:])
	k.FatalIfErrorf(err)
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

// errSaid: the command failed and has said so already.
var errSaid = errors.New("said")

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("pharos " + programVersion())
	return nil
}
