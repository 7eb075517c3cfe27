package story

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"pharos/cluster"
	"pharos/presence"
	"pharos/server"
)

// node is one server of the world.
type node struct {
	w      *world
	number int // from 1
	ip     netip.Addr

	server *server.Server
	stop   context.CancelCauseFunc
	ended  chan error
}

func (n *node) name() string { return fmt.Sprintf("n%d", n.number) }

func (n *node) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(n.ip, port) }

func (w *world) logger(number int) *slog.Logger {
	l := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if len(w.nodes) > 1 {
		l = l.With("node", number)
	}
	return l
}

// start opens the server and waits until it listens.
func (n *node) start() error {
	w := n.w
	o := server.Options{Config: w.config, Data: w.data, Version: "story", Network: w.net.Host(n.ip.String()), Log: w.logger(n.number)}
	o.Config.Listen = []string{"sip+udp://" + n.at(sipPort).String(), "sip+tcp://" + n.at(sipPort).String(),
		"xmpp+insecure://" + n.at(xmppPort).String(), "http+insecure://" + n.at(httpPort).String()}
	if w.sips {
		o.Config.Listen = append(o.Config.Listen, "sips://"+n.at(sipsPort).String())
	}
	if len(w.nodes) > 1 {
		o.Data = filepath.Join(w.t.TempDir(), n.name()) // its own: the certificate
		o.Config.Cluster.Node, o.Config.Cluster.Secret = n.name(), "a secret of all servers"
		o.Share, o.Bus, o.Lease = w.store.Node(), w.bus.Join(n.name()), w.lease
	}
	srv, err := server.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	n.server, n.stop, n.ended = srv, cancel, make(chan error, 1)
	go func() { n.ended <- srv.Run(ctx) }()
	select {
	case <-srv.Ready():
		return nil
	case err := <-n.ended:
		n.ended <- err
		return fmt.Errorf("server %d ended: %w", n.number, err)
	}
}

// end stops the server as SIGTERM does.
func (n *node) end() error {
	if n.stop == nil {
		return nil
	}
	n.stop(nil)
	n.stop = nil
	return <-n.ended
}

// halt ends the server as kill -9 does, and the others go on: nothing that it does from
// now on reaches anybody.
func (n *node) halt() {
	n.w.net.Cut(n.ip)
	n.w.bus.Stop(n.name())
	if n.stop != nil {
		n.stop(server.ErrKilled)
		n.stop = nil
		<-n.ended
	}
	n.w.net.Mend(n.ip)
}

// node is one of several by its number, or "leader".
func (w *world) node(word string) (*node, error) {
	for _, n := range w.nodes {
		if strconv.Itoa(n.number) == word && len(w.nodes) > 1 {
			return n, nil
		}
		if word == "leader" && n.stop != nil && n.server.Node() != nil {
			if _, leads := n.server.Node().Leading(); leads {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("no server %q", word)
}

// number of the server at an address, as words write it; "" for none.
func (w *world) numberAt(uri string) string {
	for _, n := range w.nodes {
		if len(w.nodes) > 1 && strings.Contains(uri, n.ip.String()+":") {
			return strconv.Itoa(n.number)
		}
	}
	return ""
}

// lives gives a user a home at a server.
func (w *world) lives(name, number string) error {
	to, err := w.node(number)
	if err != nil {
		return err
	}
	user, domain, _ := strings.Cut(w.address(name), "@")
	of := presence.Entity{User: user, Domain: domain}
	for range 2 { // the first has a home given to who has none, of which its server does not know yet
		for _, n := range w.nodes {
			if n.stop == nil {
				continue
			}
			found := make(chan error, 1)
			n.server.Node().Locate(of, func(_ string, err error) { found <- err })
			if err := <-found; err != nil {
				return err
			}
		}
	}
	for _, n := range w.nodes {
		if n.stop == nil {
			continue
		}
		if at, ok := n.server.Node().Owner(of); ok && at == n.name() && n != to {
			moved, err := n.server.Node().Move(w.t.Context(), []presence.Entity{of}, to.name())
			if err == nil && moved != 1 {
				err = fmt.Errorf("%s could not be moved", name)
			}
			return err
		}
	}
	if at, ok := to.server.Node().Owner(of); !ok || at != to.name() {
		return fmt.Errorf("%s lives nowhere", name)
	}
	return nil
}

// goes has an actor speak to another server from now on.
func (w *world) goes(name, number string) error {
	to, err := w.node(number)
	if err != nil {
		return err
	}
	switch {
	case w.phones[name] != nil:
		p := w.phones[name]
		p.mu.Lock()
		defer p.mu.Unlock()
		p.node, p.server, p.went = to, net.UDPAddrFromAddrPort(to.at(sipPort)), true
		if p.conn != nil {
			p.conn.Close()
			p.conn = nil
		}
	case w.chatters[name] != nil:
		w.chatters[name].node = to
	case w.clients[name] != nil:
		w.clients[name].node = to
	default:
		return fmt.Errorf("no actor %q", name)
	}
	return nil
}

// serverDoes has something happen to one of several servers.
func (w *world) serverDoes(words []string) error {
	if len(words) != 2 {
		return errors.New("want 'server NUMBER what'")
	}
	n, err := w.node(words[0])
	if err != nil {
		return err
	}
	switch words[1] {
	case "dies":
		n.halt()
	case "stops":
		return n.end()
	case "starts":
		return n.start()
	case "isolated": // its bus; its clients and the database are there
		w.bus.Isolate(n.name())
	case "back":
		w.bus.Heal()
	case "drains":
		return n.server.Node().SetState(n.name(), cluster.Draining)
	default:
		return fmt.Errorf("a server cannot be %q", words[1])
	}
	return nil
}
