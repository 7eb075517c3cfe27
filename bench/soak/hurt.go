package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"pharos/bench"
)

// Fault is one that was done.
type Fault struct {
	Name   string        `json:"name"`
	Node   string        `json:"node,omitempty"`
	At     time.Duration `json:"at_ns"` // since the begin
	Took   time.Duration `json:"took_ns"`
	Behind int           `json:"behind"`   // watchers who were behind for a second or more, until the next fault
	Worst  time.Duration `json:"worst_ns"` // the longest
	Of     string        `json:"of,omitempty"`
	Kept   bool          `json:"node_kept"` // the process lived on
}

const (
	// stopFor is how long a node is stopped: longer than its lease, so that others take its users.
	stopFor = 10 * time.Second
	// deadFor is how long a killed node is away.
	deadFor = 10 * time.Second
	// drainFor is how long a node is empty.
	drainFor = 20 * time.Second
)

// hurt is one kind of fault. victim is the node whose process may be ended now; the others are to grow old.
type hurt struct {
	name string
	do   func(ctx context.Context, r *run, victim int) (node *bench.HostedNode, kept bool, err error)
}

// hurts come in this order, one a minute.
var hurts = []hurt{
	{"kill -9", func(ctx context.Context, r *run, victim int) (*bench.HostedNode, bool, error) {
		n := r.nodes[victim]
		return n, false, r.kill(ctx, n)
	}},
	{"SIGSTOP for 10 s", func(ctx context.Context, r *run, victim int) (*bench.HostedNode, bool, error) {
		i := r.turn % len(r.nodes)
		r.turn++
		return r.nodes[i], true, r.stop(ctx, i)
	}},
	{"PostgreSQL restarted", func(_ context.Context, r *run, _ int) (*bench.HostedNode, bool, error) {
		return nil, true, r.h.RestartDatabase()
	}},
	{"the leader", func(ctx context.Context, r *run, victim int) (*bench.HostedNode, bool, error) {
		l := r.h.Leader(ctx)
		if l == nil {
			return nil, true, errors.New("nobody leads")
		}
		if l == r.nodes[victim] {
			return l, false, r.kill(ctx, l)
		}
		for i, n := range r.nodes {
			if n == l {
				return l, true, r.stop(ctx, i)
			}
		}
		return l, true, nil
	}},
	{"drained, and filled again", func(ctx context.Context, r *run, victim int) (*bench.HostedNode, bool, error) {
		n := r.nodes[r.turn%len(r.nodes)]
		form := url.Values{"node": {n.Name}}
		if err := n.Ask(ctx, http.MethodPost, "/cluster/drain", form, nil); err != nil {
			return n, true, err
		}
		pause(ctx, drainFor)
		return n, true, n.Ask(ctx, http.MethodPost, "/cluster/undrain", form, nil)
	}},
	{"restarted in order", func(ctx context.Context, r *run, victim int) (*bench.HostedNode, bool, error) {
		n := r.nodes[victim]
		return n, false, errors.Join(n.Signal(syscall.SIGTERM), n.Start(r.ctx))
	}},
}

func (r *run) kill(ctx context.Context, n *bench.HostedNode) error {
	err := n.Signal(syscall.SIGKILL)
	pause(ctx, deadFor)
	return errors.Join(err, n.Start(r.ctx))
}

// stop has a node stand still. Its chats do not notice, and nobody but they can know that they are there.
func (r *run) stop(ctx context.Context, i int) error {
	r.o.frozen[i].Store(true)
	defer r.o.frozen[i].Store(false)
	if err := r.nodes[i].Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, stopFor)
	err := r.nodes[i].Signal(syscall.SIGCONT)
	pause(ctx, time.Second) // until it has looked around
	return err
}

// suffer does one fault and tells what it was.
func (r *run) suffer(ctx context.Context, f hurt, victim int, begun time.Time) (Fault, error) {
	res := Fault{Name: f.name, At: time.Since(begun)}
	r.quiet.Store(false)
	r.messages.fault()
	r.o.period()
	n, kept, err := f.do(ctx, r, victim)
	if res.Kept = kept; n != nil {
		res.Node = n.Name
	}
	if f.name == "the leader" {
		res.Name = "kill -9 of the leader"
		if res.Kept {
			res.Name = "SIGSTOP of the leader for 10 s"
		}
	}
	res.Took = time.Since(begun) - res.At
	if err != nil {
		err = fmt.Errorf("%s %s: %w", res.Name, res.Node, err)
	}
	return res, err
}
