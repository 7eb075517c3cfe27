// Command run makes the experiment of the paper on several servers. It is 'make experiment'.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"pharos/bench"
	"pharos/bench/paper"
)

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
	flag.IntVar(&o.Rounds, "rounds", 0, "seconds that are measured of each service and number of users; 0: 12")
	readme := flag.String("readme", "", "write the results between the markers of this file")
	folder := flag.String("folder", "bench/paper", "where raw rows and figures go, with -readme")
	users := flag.String("users", "", "numbers of users, as 100,200,500")
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
	return paper.Write(*readme, *folder, r)
}
