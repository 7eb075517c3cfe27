package peers

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"pharos/bench"
)

func chatPeers() []Contender {
	return []Contender{
		{Name: "ejabberd", Of: "ejabberd", Keeps: "Mnesia, tables on disk only; not synced", Version: packageVersion("ejabberd"), Launch: Ejabberd(false)},
		{Name: "ejabberd, tuned", Of: "ejabberd", Keeps: "Mnesia, in memory with a log; not synced", Version: packageVersion("ejabberd"), Launch: Ejabberd(true)},
		{Name: "Prosody", Of: "Prosody", Keeps: "a file per user and kind, written anew; not synced", Version: packageVersion("prosody"), Launch: Prosody(false)},
		{Name: "Prosody, tuned", Of: "Prosody", Keeps: "the same", Version: packageVersion("prosody"), Launch: Prosody(true)},
	}
}

// packageVersion is that of a Debian package.
func packageVersion(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Version}", name).Output()
		state, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
		if err != nil || state != "ii" {
			return "", missing(name)
		}
		return fmt.Sprintf("%s %s", name, strings.TrimSpace(version)), nil
	}
}

func chatWorks() []Work {
	cpu := map[string]float64{"ejabberd": 6}
	memory := map[string]float64{"Prosody": 3}
	work := func(name, event, events string, p99 bool, run func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error)) Work {
		w := Work{Name: name, Shared: bench.ChatTown, Run: run, Metrics: []Metric{Rate(events, nil), CPU("CPU of a "+event, cpu)}}
		if p99 {
			w.Metrics = append(w.Metrics, P99("p99", nil))
		}
		w.Bare = func(ctx context.Context, self string, _ bench.Row, scale float64) (bench.Row, error) {
			return run(ctx, bench.Relay(self), scale)
		}
		return w
	}
	fanout := func(n int) Work {
		return work(fmt.Sprintf("presence to %d", n), "delivery", "deliveries", true, func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
			return bench.ChatFanout(ctx, start, n, scale)
		})
	}
	idle := func(name string, secure bool) Work {
		return Work{Name: name, Once: true, Metrics: []Metric{Memory("of each, over the server's own", memory)},
			Run: func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error) {
				return bench.ChatIdle(ctx, start, secure, scale)
			}}
	}
	return []Work{
		work("login storm, 420 with 20 contacts each", "session", "sessions", false, bench.ChatStorm),
		fanout(1), fanout(20), fanout(200),
		work("messages", "message", "messages", true, bench.ChatMessages),
		work("subscribe handshakes", "handshake", "handshakes", false, bench.ChatHandshakes),
		idle("idle sessions", false),
		idle("idle sessions with TLS", true),
	}
}
