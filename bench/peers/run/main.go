// Command run measures Pharos beside other servers and prints a table. It is 'make peers'.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pharos/bench"
	"pharos/bench/peers"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	world := flag.String("world", "", "sip, xmpp; empty: both")
	only := flag.String("only", "", "comma-separated parts of the measurements' names")
	against := flag.String("against", "", "comma-separated parts of the contenders' names, Pharos is always there")
	runs := flag.Int("runs", 3, "of each measurement")
	scale := flag.Float64("scale", 1, "length of each measurement")
	bin := flag.String("bin", "", "server binary; empty: built from this tree")
	asJSON := flag.Bool("json", false, "print all rows and verdicts as JSON")
	readme := flag.String("readme", "", "write the tables between the markers of this file, and the charts beside it")
	echo := flag.String("echo", "", "be the bare loop: network:octets")
	flag.StringVar(&bench.Profiles, "profiles", "", "folder for CPU profiles of Pharos, one of each measurement, which should last 3 s")
	flag.Parse()
	if *echo != "" {
		return bench.Echo(*echo)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *bin == "" {
		built, remove, err := bench.Build(ctx)
		if err != nil {
			return err
		}
		defer remove()
		*bin = built
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	o := peers.Options{Self: self, Runs: *runs, Scale: *scale, Progress: func(done, of int, now string) {
		fmt.Fprintf(os.Stderr, "%6s  %3d of %d  %s\n", time.Since(began).Round(time.Second), done, of, now)
	}}
	type half struct {
		World   string
		Setting string
		Results []peers.Result
		Lines   []peers.Line
	}
	var halves []half
	for _, w := range peers.Worlds(*bin) {
		if *world != "" && w.Name != *world {
			continue
		}
		w.Works = slices.DeleteFunc(w.Works, func(k peers.Work) bool { return !named(k.Name, *only) })
		w.Contenders = slices.DeleteFunc(w.Contenders, func(c peers.Contender) bool { return c.Of != peers.Ours && !named(c.Name, *against) })
		if len(w.Works) == 0 {
			continue
		}
		versions, err := peers.Versions(ctx, w.Contenders)
		if err != nil {
			return err
		}
		rs, err := peers.Compare(ctx, w.Works, w.Contenders, o)
		if err != nil && *readme == "" && len(rs) > 0 {
			fmt.Println(peers.Table(peers.Lines(rs, w.Contenders), w.Contenders)) // what there is so far
		}
		if err != nil {
			return err
		}
		h := half{w.Name, peers.Setting(versions), rs, peers.Lines(rs, w.Contenders)}
		halves = append(halves, h)
		table := h.Setting + peers.Table(h.Lines, w.Contenders) + peers.Failures(rs)
		if !*asJSON {
			fmt.Println(table)
		}
		if *readme != "" {
			chart := "peers-" + w.Name + ".svg"
			table += fmt.Sprintf("\n![%s](%s)\n", w.Title, chart)
			if err := peers.Write(*readme, w.Name, filepath.Join(filepath.Dir(*readme), chart), table, peers.Chart(w.Title, h.Setting, h.Lines)); err != nil {
				return err
			}
		}
	}
	if len(halves) == 0 {
		return fmt.Errorf("nothing is called %q, %q", *world, *only)
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", " ")
		return e.Encode(halves)
	}
	return nil
}

// named says whether one of the parts is in the name; no parts: yes.
func named(name, parts string) bool {
	return slices.ContainsFunc(strings.Split(parts, ","), func(p string) bool { return strings.Contains(name, strings.TrimSpace(p)) })
}
