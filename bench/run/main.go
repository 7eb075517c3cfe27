// Command run measures a server binary and prints a table. It is 'make bench'.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"pharos/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	scale := flag.Float64("scale", 1, "length of each measurement")
	memory := flag.Bool("memory", true, "measure memory too, which waits for timers")
	only := flag.String("only", "", "sip, xmpp, documents, cluster, or thin: octets of notifications, in a simulated hour")
	part := flag.String("part", "", "of cluster: one of "+strings.Join(bench.ClusterMeasures(), ", "))
	flag.StringVar(&bench.Profiles, "profiles", "", "folder for CPU profiles of the servers, one of each measurement that is CPU per event or of cluster")
	names := flag.String("rows", "", "regular expression: of the SIP rows only those whose names match")
	bin := flag.String("bin", "", "server binary; empty: built from this tree")
	readme := flag.String("readme", "", "write the results between the markers of this file")
	echo := flag.String("echo", "", "be the bare loop of the physical limit: network:octets of an answer")
	flag.Parse()
	if *echo != "" {
		return bench.Echo(*echo)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *only == "thin" {
		return thin(ctx, *readme)
	}
	if *bin == "" {
		built, remove, err := bench.Build(ctx)
		if err != nil {
			return err
		}
		defer remove()
		*bin = built
	}
	if *only == "cluster" {
		return several(ctx, *bin, *part, *scale, *readme)
	}
	match, err := regexp.Compile(*names)
	if err != nil {
		return err
	}
	var rows []bench.Row
	each := func(r bench.Row) { rows = append(rows, r); fmt.Println(r) }
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := bench.Bare(ctx, self, bench.Loop{Network: "udp", In: 800, Out: 400, Events: int(300000 * *scale)})
	if err != nil {
		return err
	}
	each(bare)
	if *only == "" || *only == "sip" {
		if err := bench.SIP(ctx, bench.Pharos(*bin), *scale, *memory, match, each); err != nil {
			return err
		}
	}
	if *only == "" || *only == "xmpp" {
		if err := bench.XMPP(ctx, bench.Pharos(*bin), *scale, *memory, each); err != nil {
			return err
		}
	}
	if *only == "" || *only == "documents" {
		if err := bench.Documents(ctx, *bin, *scale, each); err != nil {
			return err
		}
	}
	if *readme == "" {
		return nil
	}
	return bench.WriteReport(*readme, rows)
}

func several(ctx context.Context, bin, part string, scale float64, readme string) error {
	var all []bench.Finding
	if err := bench.Cluster(ctx, bin, part, scale, func(f bench.Finding) { all = append(all, f); fmt.Println(f) }); err != nil || readme == "" {
		return err
	}
	return bench.WriteCluster(readme, all)
}

func thin(ctx context.Context, readme string) error {
	rows, err := bench.Thinning(ctx)
	if err != nil {
		return err
	}
	fmt.Print(bench.ThinTable(rows))
	if readme == "" {
		return nil
	}
	return bench.WriteThin(readme, filepath.Join(filepath.Dir(readme), "thin.svg"), rows)
}
