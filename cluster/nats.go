package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Times and bounds of the bus.
const (
	// beaconEvery is how often a node says on the bus that it is there; after
	// reachedFor without anything from it, it is not.
	beaconEvery = 500 * time.Millisecond
	reachedFor  = 1750 * time.Millisecond
	// A route is given up when it has not answered so many pings; then it is dialled again each second.
	routePing  = time.Second
	routePings = 3
	// routeRetries is how often a node is dialled that is known from others only: for
	// an hour. Those that are configured are dialled for ever.
	routeRetries = 3600
	// maxPending bounds what waits in memory for this node's own links, in datagrams
	// and bytes; more is lost.
	maxPending      = 1 << 16
	maxPendingBytes = 64 << 20
	startWithin     = 10 * time.Second
)

// NATSConfig says how a node is on its bus.
type NATSConfig struct {
	Node   string
	Secret *Secret
	Listen string   // host:port for routes
	Peers  []string // host:port of others' routes; this node's own does no harm
	URL    string   // of an external NATS; Listen and Peers are not used then
	Log    *slog.Logger
}

// NATS is the Bus: a NATS server in this process, with routes to those of the other
// nodes by mutual TLS, or an external one, on which all is sealed. It keeps
// nothing: NATS's streams are not used.
type NATS struct {
	c        NATSConfig
	identity *Identity
	sealer   *sealer // nil: embedded
	routes   []*url.URL
	host     string
	port     int
	base     string // of subjects
	process  [sealID]byte
	receive  func(string, []byte)
	conn     atomic.Pointer[nats.Conn]
	ready    chan struct{}
	addr     string

	mu      sync.Mutex
	heard   map[string]time.Time
	twin    time.Time // when another process of this node's name was complained of last
	dropped atomic.Uint64
}

// NewNATS checks c, and makes a bus that does nothing until Run.
func NewNATS(c NATSConfig) (*NATS, error) {
	n := &NATS{c: c, base: "pharos." + c.Secret.ID(), heard: map[string]time.Time{}, ready: make(chan struct{})}
	var err error
	if n.identity, err = c.Secret.Identity(c.Node); err != nil {
		return nil, err
	}
	if n.c.Log == nil {
		n.c.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := rand.Read(n.process[:]); err != nil {
		return nil, err
	}
	if c.URL != "" {
		if n.sealer, err = newSealer(c.Secret); err == nil {
			n.process = n.sealer.self
		}
		return n, err
	}
	if n.host, n.port, err = hostPort(c.Listen); err != nil {
		return nil, fmt.Errorf("cluster: listen: %w", err)
	}
	if n.port == 0 {
		n.port = server.RANDOM_PORT
	}
	for _, p := range c.Peers {
		host, port, err := hostPort(p)
		if err != nil || host == "" || port == 0 {
			return nil, fmt.Errorf("cluster: the peer %q is no host:port", p)
		}
		n.routes = append(n.routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(host, strconv.Itoa(port))})
	}
	return n, nil
}

func hostPort(s string) (string, int, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return host, int(p), err
}

// Receive is Bus's.
func (n *NATS) Receive(f func(string, []byte)) { n.receive = f }

// Send is Bus's.
func (n *NATS) Send(node string, b []byte) error {
	if err := sendable(n.c.Node, node, b); err != nil {
		return err
	}
	if err := CheckName(node); err != nil {
		return err
	}
	n.publish("n."+node, b)
	return nil
}

// Broadcast is Bus's.
func (n *NATS) Broadcast(b []byte) error {
	if err := sendable(n.c.Node, "", b); err != nil {
		return err
	}
	n.publish("all", b)
	return nil
}

// publish says something, if the bus is there; what gets lost is lost. The sender's name
// goes where NATS has the subject of answers.
func (n *NATS) publish(to string, b []byte) {
	conn := n.conn.Load()
	if conn == nil {
		return
	}
	if n.sealer != nil {
		b = n.sealer.seal(n.c.Node, to, b)
	}
	if err := conn.PublishRequest(n.base+"."+to, n.c.Node, b); err != nil {
		n.dropped.Add(1)
	}
}

// take is called for what comes for to.
func (n *NATS) take(m *nats.Msg, to string) {
	from, b := m.Reply, m.Data
	process := [sealID]byte{}
	if n.sealer != nil {
		var err error
		if b, process, err = n.sealer.open(from, to, b); err != nil {
			n.dropped.Add(1)
			return
		}
	} else if to == "beacon" {
		copy(process[:], b)
	}
	if CheckName(from) != nil {
		n.dropped.Add(1)
		return
	}
	if from == n.c.Node {
		if to == "beacon" && process != n.process { // the own ones come back if somebody says them again
			n.meetTwin(process)
		}
		return
	}
	n.hear(from)
	if to != "beacon" {
		n.receive(from, b)
	}
}

// hear notes that a node is there. Those who have gone make room.
func (n *NATS) hear(from string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	_, known := n.heard[from]
	if !known && len(n.heard) >= MaxNodes {
		maps.DeleteFunc(n.heard, func(_ string, at time.Time) bool { return now.Sub(at) >= reachedFor })
	}
	if known || len(n.heard) < MaxNodes {
		n.heard[from] = now
	}
}

// meetTwin complains of another process that has this node's name.
func (n *NATS) meetTwin(process [sealID]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.twin) > logAgain {
		n.twin = time.Now()
		n.c.Log.Error(twinMessage, "node", n.c.Node, "process", fmt.Sprintf("%x", process[:4]))
	}
}

const twinMessage = "another server on the bus has this one's name; of the two the one that was started last waits. Each needs a cluster.node of its own"

// Reached is Bus's: something was heard of the node within the last two seconds.
func (n *NATS) Reached(node string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.heard[node]) < reachedFor
}

// Ready is closed when the bus works: for an external NATS, when it was first reached.
func (n *NATS) Ready() <-chan struct{} { return n.ready }

// Addr is the host:port at which other nodes reach this one's bus; after Ready. It is
// "" with an external NATS.
func (n *NATS) Addr() string { return n.addr }

// Dropped counts what was lost here: sent while there was no connection, not taken in
// time, or not of this cluster.
func (n *NATS) Dropped() uint64 { return n.dropped.Load() }

// Run is Bus's. It returns an error when the bus cannot be made at all, such as for
// a port that is in use.
func (n *NATS) Run(ctx context.Context) error {
	if n.receive == nil {
		return errors.New("cluster: nobody takes what comes on the bus")
	}
	options := []nats.Option{
		nats.Name("pharos " + n.c.Node), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.NoCallbacksAfterClientClose(),
		nats.ReconnectWait(beaconEvery / 2), nats.ReconnectJitter(beaconEvery/4, beaconEvery/4), nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second), nats.ErrorHandler(n.complain),
	}
	connect := n.c.URL
	if n.sealer == nil {
		token := rand.Text()
		s, err := n.start(ctx, token)
		if s == nil || err != nil {
			return err
		}
		defer func() { s.Shutdown(); s.WaitForShutdown() }()
		n.addr = s.ClusterAddr().String()
		connect = ""
		options = append(options, nats.InProcessServer(s), nats.Token(token))
	} else {
		options = append(options, nats.RetryOnFailedConnect(true),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { n.c.Log.Warn("the bus is away", "error", err) }))
	}
	connected := make(chan struct{}, 1)
	up := func(c *nats.Conn) {
		if most := c.MaxPayload(); most > 0 && most < MaxDatagram+sealHead+sealTag {
			n.c.Log.Error("the NATS service takes too little at once", "max_payload", most, "needed", MaxDatagram+sealHead+sealTag)
		}
		n.c.Log.Info("on the bus", "node", n.c.Node, "server", c.ConnectedServerName())
		select {
		case connected <- struct{}{}:
		default:
		}
	}
	options = append(options, nats.ConnectHandler(up), nats.ReconnectHandler(up))
	conn, err := nats.Connect(connect, options...)
	if err != nil {
		return fmt.Errorf("cluster: bus: %w", err)
	}
	defer conn.Close()
	for _, to := range []string{"n." + n.c.Node, "all", "beacon"} {
		s, err := conn.Subscribe(n.base+"."+to, func(m *nats.Msg) { n.take(m, to) })
		if err == nil {
			err = s.SetPendingLimits(maxPending, maxPendingBytes)
		}
		if err != nil {
			return fmt.Errorf("cluster: bus: %w", err)
		}
	}
	n.conn.Store(conn)
	defer n.conn.Store(nil)
	return n.serve(ctx, conn, connected)
}

// serve says each half second that this node is there.
func (n *NATS) serve(ctx context.Context, conn *nats.Conn, connected <-chan struct{}) error {
	beacon := time.NewTicker(beaconEvery)
	defer beacon.Stop()
	first := true
	for {
		select {
		case <-ctx.Done():
			// What was sent last goes out yet.
			if conn.IsConnected() {
				_ = conn.FlushTimeout(beaconEvery)
			}
			return nil
		case <-connected:
			if first {
				first = false
				if err := conn.FlushTimeout(startWithin); err != nil {
					n.c.Log.Warn("the bus is slow", "error", err)
				}
				close(n.ready)
			}
		case <-beacon.C:
		}
		n.publish("beacon", n.process[:])
	}
}

func (n *NATS) complain(_ *nats.Conn, _ *nats.Subscription, err error) {
	n.dropped.Add(1)
	n.c.Log.Warn("bus", "error", err)
}

// start starts the embedded server; nil without error: ctx has ended before.
func (n *NATS) start(ctx context.Context, token string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: n.c.Node,
		// Routing begins only once clients can connect, so there is a port for them, of
		// no use to anybody.
		Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: token, MaxConn: 8,
		NoSigs: true, NoSystemAccount: true,
		MaxPayload: server.MAX_PAYLOAD_SIZE, MaxPending: 2 * maxPendingBytes,
		WriteDeadline: 10 * time.Second,
		Routes:        n.routes,
		Cluster: server.ClusterOpts{
			Name: "pharos-" + n.c.Secret.ID(), Host: n.host, Port: n.port,
			TLSConfig: n.identity.TLS(""), TLSTimeout: 3, NoAdvertise: true,
			// One connection, so that datagrams keep their order.
			PoolSize: 1, Compression: server.CompressionOpts{Mode: server.CompressionOff},
			PingInterval: routePing, MaxPingsOut: routePings, ConnectRetries: routeRetries, WriteDeadline: 10 * time.Second,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: bus: %w", err)
	}
	l := &natsLog{log: n.c.Log, fatal: make(chan error, 1), said: map[string]time.Time{}}
	s.SetLoggerV2(l, false, false, false)
	s.Start()
	// The ports are opened by goroutines of the server, which says so to nobody.
	look, late := time.NewTicker(2*time.Millisecond), time.After(startWithin)
	defer look.Stop()
	for s.Addr() == nil || s.ClusterAddr() == nil {
		select {
		case <-look.C:
			continue
		case <-ctx.Done():
		case err = <-l.fatal:
			err = fmt.Errorf("cluster: the bus cannot listen on %s: %w; see cluster.listen, and whether this server runs already", n.c.Listen, err)
		case <-late:
			err = errors.New("cluster: the bus did not start")
		}
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return s, nil
}
