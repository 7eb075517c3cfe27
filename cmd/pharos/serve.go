package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"pharos/config"
	"pharos/server"
)

type serveCmd struct {
	place
	Demo bool `help:"Make two demo users at the first start, and say how to log in as them."`
}

func (c *serveCmd) Help() string {
	return `Without --config the embedded default runs: domain localhost, SQLite and a self-signed certificate in the data folder. SIGHUP reads the certificate and the log level again; SIGTERM and Ctrl-C end within 10 seconds.

With store.url, cluster.node, cluster.secret and cluster.listen in its configuration it is one of several servers that are one service. It then waits until it reaches the database and the servers that run already, and until no other one has its name; 'pharos cluster status' says for what. When it is ended, its users move to the others first. docs/cluster.md has it all; 'pharos config describe' the keys.`
}

func (c *serveCmd) Run(ctx context.Context) error {
	raiseFloor()
	sampleHeap()
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return err
	}
	s, err := server.New(server.Options{
		Config: cfg, ConfigFile: c.Config, Data: c.Data, Version: programVersion(),
		Log: newLog(os.Stderr, cfg.Log.Format, level), Level: level,
	})
	if err != nil {
		return err
	}
	var demo []demoUser
	if c.Demo {
		if demo, err = demoUsers(ctx, s.Admin(), c.Data, cfg.Domains[0]); err != nil {
			return err
		}
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		<-s.Ready()
		printBanner(os.Stdout, s.Status(ctx), c.Data, demo)
		for range hup {
			if err := s.Reload(); err != nil {
				slog.New(newLog(os.Stderr, cfg.Log.Format, level).Handler()).Error("reload", "err", err)
			}
		}
	}()
	go giveBack(ctx)
	return s.Run(ctx)
}

func loadConfig(path string) (config.Config, error) {
	if path == "" {
		return config.Defaults(), nil
	}
	return config.Load(path)
}

func newLog(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

type configCmd struct {
	Describe describeCmd `cmd:"" help:"Print the whole configuration, annotated, as a file that can be used."`
	Check    checkCmd    `cmd:"" help:"Check a configuration file."`
}

func (c *checkCmd) Help() string {
	return "Checks the certificate too: that it can be read, belongs to the key, is not over and names the domains."
}

type describeCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

func (c describeCmd) Run() error {
	if c.JSON {
		return printJSON(config.Defaults())
	}
	return config.Describe(os.Stdout, config.Defaults())
}

type checkCmd struct {
	File string `arg:"" help:"The configuration file." placeholder:"FILE"`
	JSON bool   `help:"As JSON." name:"json"`
}

func (c checkCmd) Run() error {
	cfg, err := config.Load(c.File)
	if err == nil {
		err = cfg.CheckFiles()
	}
	if c.JSON {
		out := struct {
			OK    bool   `json:"ok"`
			Error string `json:"error,omitempty"`
		}{OK: err == nil}
		if err != nil {
			out.Error = err.Error()
		}
		return errors.Join(printJSON(out), said(err))
	}
	if err != nil {
		return err
	}
	fmt.Println("The configuration is in order.")
	return nil
}

// said turns an error that was printed already into errSaid.
func said(err error) error {
	if err == nil {
		return nil
	}
	return errSaid
}
