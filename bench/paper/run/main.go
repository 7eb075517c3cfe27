// Command run makes the experiment of the paper on several servers. It is 'make experiment'.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"pharos/bench"
	"pharos/bench/paper"
)

// ownRows is where the tree has raw rows.
const ownRows = "bench/paper"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "experiment:", err)
		os.Exit(1)
	}
}

func run() error {
	o := paper.Options{Log: os.Stdout}
	flag.StringVar(&o.Bin, "bin", "", "server binary; empty: built from this tree")
	flag.Float64Var(&o.Cores, "cores", paper.DefaultCores, "processor quota of each server, in cores")
	flag.IntVar(&o.Rounds, "rounds", 0, "seconds that are measured of each service and number of users, in a run; 0: 12")
	flag.IntVar(&o.Runs, "runs", 1, "how often all of it is done, with new processes and databases, to know times better")
	readme := flag.String("readme", "", "write the results between the markers of this file")
	folder := flag.String("folder", ownRows, "where raw rows and figures go, with -readme")
	users := flag.String("users", "", "numbers of users, as 100,200,500")
	again := flag.Bool("simulate", false, "measure nothing: simulate what the raw rows of -folder show, and compare")
	flag.Parse()
	for _, n := range strings.FieldsFunc(*users, func(r rune) bool { return r == ',' }) {
		v, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		o.Users = append(o.Users, v)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *again {
		return compare(ctx, *readme, *folder)
	}
	if o.Bin == "" {
		built, remove, err := bench.Build(ctx)
		if err != nil {
			return err
		}
		defer remove()
		o.Bin = built
	}
	r, err := paper.Run(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n%v\n", paper.Table(r.Rows()), r.Took)
	if *readme == "" {
		return nil
	}
	if err := paper.Write(*readme, *folder, r); err != nil {
		return err
	}
	return compare(ctx, *readme, *folder)
}

// compare simulates what was measured.
func compare(ctx context.Context, readme, folder string) error {
	f, err := os.Open(filepath.Join(folder, "rounds.csv"))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := paper.ReadCSV(f)
	if err != nil {
		return err
	}
	rows, e, err := paper.Compare(ctx, r)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", paper.CompareTable(rows))
	if readme == "" {
		return nil
	}
	err = paper.WriteCompared(readme, folder, rows, e)
	if folder == ownRows { // the tree's own rows, which its documentation speaks of
		err = errors.Join(err, paper.WriteSimulated("docs/simulate.md", "simulate/counted.go", rows, e))
	}
	return err
}
