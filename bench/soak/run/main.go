// Command run has a service of several nodes live for an hour with many users and a fault every minute, and says whether
// anything grows, and whether everybody was told the truth. It is 'make soak'.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"pharos/bench"
	"pharos/bench/peers"
	"pharos/bench/soak"
)

func main() {
	ok, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run() (bool, error) {
	o := soak.Options{Log: os.Stderr, Expire: true}
	flag.IntVar(&o.Users, "users", 20_000, "addresses: two of five have a chat client, two a phone, and one both")
	flag.IntVar(&o.Nodes, "nodes", 3, "of the service")
	flag.DurationVar(&o.Length, "length", time.Hour, "of the time with faults")
	flag.DurationVar(&o.Every, "every", time.Minute, "between faults; 0: none")
	flag.StringVar(&o.Fault, "fault", "", "part of a fault's name, to have only that one")
	flag.Float64Var(&o.Pace, "pace", 1, "how many times as much happens as usual")
	flag.DurationVar(&o.Come, "come", 2*time.Minute, "over which all log in at the begin")
	flag.DurationVar(&o.Settle, "settle", 2*time.Minute, "how long it may take at the end until all is right")
	flag.DurationVar(&o.Fill, "fill", 12*time.Minute, "how much of each life of a process does not count for its growth, since its caches fill; a fifth of -length at most")
	from := flag.String("from", "", "no run: judge the growth of one anew that was kept in this folder, by all of -fill")
	flag.StringVar(&o.Dir, "keep", "", "folder for samples, logs, profiles and results")
	flag.StringVar(&o.Bin, "bin", "", "server binary; empty: built from this tree")
	readme := flag.String("readme", "", "write the results between the markers of this file, and the picture beside it")
	asJSON := flag.Bool("json", false, "print the result as JSON")
	back := flag.Bool("reconnect", false, "instead of the hour: all XMPP sessions end at once and come back, at Pharos with one server, with three nodes, and at ejabberd")
	spread := flag.Duration("spread", 5*time.Second, "of -reconnect: within which all come back")
	rounds := flag.Int("rounds", 2, "of -reconnect")
	only := flag.String("only", "", "of -reconnect: a part of the service's name")
	flag.Parse()
	if st, err := os.Stderr.Stat(); err == nil {
		o.Live = st.Mode()&os.ModeCharDevice != 0
	}
	if *from != "" {
		r, err := soak.Kept(*from, o.Fill)
		if err != nil {
			return false, err
		}
		return r.OK(), show(r, *asJSON, *readme)
	}
	moreFiles()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return false, err
		}
	}
	if o.Bin == "" {
		built, remove, err := bench.Build(ctx)
		if err != nil {
			return false, err
		}
		defer remove()
		o.Bin = built
	}
	if *back {
		rs, err := reconnect(ctx, o, *spread, *rounds, *only)
		if *asJSON {
			enc := json.NewEncoder(os.Stdout)
			enc.SetIndent("", "  ")
			err = errors.Join(err, enc.Encode(rs))
		} else {
			fmt.Print(soak.MassTable(rs))
		}
		if len(rs) > 0 && ctx.Err() == nil && *readme != "" {
			err = errors.Join(err, soak.WriteMass(*readme, rs))
		}
		return err == nil, err
	}
	r, err := soak.Run(ctx, o)
	if err != nil {
		return false, err
	}
	return r.OK(), show(r, *asJSON, *readme)
}

// show prints a result, and writes it where it is wished.
func show(r *soak.Result, asJSON bool, readme string) (err error) {
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		fmt.Print(soak.Table(r))
	}
	if err == nil && readme != "" {
		err = soak.Write(readme, r)
	}
	return err
}

// moreFiles lets this process and its children have more connections than is usual, where it may.
func moreFiles() {
	const want = 200_000
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil && l.Max < want {
		l.Cur, l.Max = want, want
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // only root may
	}
}

// reconnect measures the services one after the other. One that fails does not keep the others from it.
func reconnect(ctx context.Context, o soak.Options, spread time.Duration, rounds int, only string) (all []soak.Return, err error) {
	worlds := []struct {
		name string
		make func() (*soak.World, error)
	}{
		{"Pharos, one", func() (*soak.World, error) { return soak.OurWorld(ctx, o.Bin, o.Users, 0) }},
		{"Pharos, three", func() (*soak.World, error) { return soak.OurWorld(ctx, o.Bin, o.Users, o.Nodes) }},
		{"ejabberd, shipped", func() (*soak.World, error) {
			return soak.TheirWorld(ctx, "ejabberd as Debian ships it", peers.Ejabberd(false), o.Users)
		}},
		{"ejabberd, tuned", func() (*soak.World, error) {
			return soak.TheirWorld(ctx, "ejabberd, tuned", peers.Ejabberd(true), o.Users)
		}},
	}
	for _, x := range worlds {
		if !strings.Contains(x.name, only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s with %d users begins\n", x.name, o.Users)
		w, failed := x.make()
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", x.name, failed))
			continue
		}
		failed = soak.MassReconnect(ctx, w, o.Users, rounds, spread, 10*time.Minute, os.Stderr, func(r soak.Return) {
			all = append(all, r)
			fmt.Fprintln(os.Stderr, r)
		})
		if err = errors.Join(err, failed, w.Close()); ctx.Err() != nil {
			return all, err
		}
	}
	return all, err
}
