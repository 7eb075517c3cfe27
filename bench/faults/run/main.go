// Command run hurts a service of three nodes and prints how long anybody was told
// anything but the truth.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"pharos/bench/faults"
)

func main() {
	only := flag.String("only", "", "comma-separated parts of the faults' names: "+strings.Join(faults.Faults(), "; "))
	phones := flag.Int("phones", 30, "SIP users")
	chats := flag.Int("chats", 30, "XMPP users")
	watch := flag.Int("watch", 5, "users of each world that everybody watches")
	settle := flag.Duration("settle", 8*time.Second, "how long the service is looked at after each fault")
	asJSON := flag.Bool("json", false, "print the results as JSON")
	loop := flag.Bool("loopback", false, "on addresses of 127/8, without namespaces: fewer faults, no rights needed")
	demo := flag.Bool("demo", false, "show what a service of several nodes does, instead of hurting one ('make cluster-demo')")
	readme := flag.String("readme", "", "file in which the table of all faults is replaced")
	keep := flag.String("keep", "", "folder for the nodes' logs; else they go")
	flag.Parse()
	dir := *keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "pharos-faults-"); err != nil {
			fail(err)
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *demo {
		if err := faults.Demo(ctx, dir, os.Stdout); err != nil {
			stop()
			fail(fmt.Errorf("%w\nthe nodes' configurations and logs: %s", err, dir))
		}
		return
	}
	o := faults.Options{Dir: dir, Phones: *phones, Chats: *chats, Watch: *watch, Settle: *settle, Loopback: *loop, Log: os.Stderr}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	rs, err := faults.Run(ctx, o)
	if *asJSON {
		b, _ := json.MarshalIndent(rs, "", "  ")
		fmt.Println(string(b))
	} else {
		fmt.Print(faults.Table(rs))
	}
	if err == nil && *readme != "" {
		err = faults.Write(*readme, rs)
	}
	if err != nil {
		stop()
		fail(err)
	}
	for _, r := range rs {
		if !r.OK() {
			os.Exit(1)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
