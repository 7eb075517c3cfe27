package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/engine"
)

// pairOverNATS runs two nodes' links over their embedded servers on loopback; got takes
// what comes to b.
func pairOverNATS(b *testing.B, got func(to *Links, frame []byte), back func(frame []byte)) (from *Links) {
	secret, err := NewSecret(ours)
	if err != nil {
		b.Fatal(err)
	}
	met := make(chan struct{}, 2)
	var nodes [2]*Links
	var peers []string
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.Cleanup(func() { cancel(); running.Wait() })
	for i, name := range []string{"a", "b"} {
		n, err := NewNATS(NATSConfig{Node: name, Secret: secret, Listen: "127.0.0.1:0", Peers: peers})
		if err != nil {
			b.Fatal(err)
		}
		l := NewLinks(n, name, Handlers{
			Frame: func(_ string, f []byte) {
				if i == 1 {
					got(nodes[1], f)
				} else {
					back(f)
				}
			},
			Broadcast: func(string, []byte) {}, Missed: func(string, uint64) {}, Gone: func(string, uint64) {},
			Reached: func(string, bool) { met <- struct{}{} },
		})
		nodes[i] = l
		for _, run := range []func(context.Context) error{n.Run, l.Run} {
			running.Go(func() {
				if err := run(ctx); err != nil {
					b.Error(err)
				}
			})
		}
		<-n.Ready()
		peers = []string{n.Addr()}
		l.Begin(1)
	}
	<-met
	<-met
	return nodes[0]
}

// BenchmarkLinksRoundTrip: a frame there and its answer back, one at a time.
func BenchmarkLinksRoundTrip(b *testing.B) {
	come := make(chan struct{}, 1)
	l := pairOverNATS(b, func(to *Links, f []byte) { _ = to.Send("a", f) }, func([]byte) { come <- struct{}{} })
	for b.Loop() {
		if err := l.Send("b", make([]byte, 200)); err != nil {
			b.Fatal(err)
		}
		<-come
	}
}

// BenchmarkLinksThroughput: as many frames of 200 bytes as go; the CPU of both ends.
func BenchmarkLinksThroughput(b *testing.B) {
	var come atomic.Int64
	l := pairOverNATS(b, func(*Links, []byte) { come.Add(1) }, nil)
	sent := int64(0)
	for b.Loop() {
		for {
			err := l.Send("b", make([]byte, 200))
			if err == nil {
				break
			}
			if !errors.Is(err, engine.ErrOverload) {
				b.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
		sent++
	}
	if err := l.Flush(context.Background()); err != nil {
		b.Error(err)
	}
	for come.Load() != sent { // acknowledged a moment before it is handed over
		time.Sleep(time.Millisecond)
	}
}
