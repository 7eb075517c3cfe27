package simulate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that is written as "90s".
type Duration time.Duration

// UnmarshalText reads "1m30s".
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes it so.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d Duration) seconds() float64 { return time.Duration(d).Seconds() }

// Bounds of a scenario.
const (
	MaxUsers  = 1_000_000_000
	MaxNodes  = 20_000
	MaxLength = 24 * time.Hour
	MaxEvents = 1000
)

// Scenario is what is simulated. The zero values of Default are not good for anything: begin
// with that.
type Scenario struct {
	Name   string   `toml:"name" json:"name"`
	About  string   `toml:"about" json:"about"`
	Seed   uint64   `toml:"seed" json:"seed"`
	Length Duration `toml:"length" json:"length"` // of virtual time
	Users  Users    `toml:"users" json:"users"`
	Nodes  Nodes    `toml:"nodes" json:"nodes"`
	Load   Load     `toml:"load" json:"load"`
	Costs  Costs    `toml:"costs" json:"costs"`
	Events []Event  `toml:"event" json:"events"`
}

// Users are those who are there when the simulation begins, and how all behave.
type Users struct {
	Count     int      `toml:"count" json:"count"`           // at the beginning
	SIP       float64  `toml:"sip" json:"sip"`               // share on SIP over UDP; the others have XMPP over TCP
	Resources int      `toml:"resources" json:"resources"`   // of each: one publication or session, the rest subscriptions
	Changes   float64  `toml:"changes" json:"changes"`       // of presence, an hour
	Messages  float64  `toml:"messages" json:"messages"`     // of an XMPP user, an hour
	Refresh   Duration `toml:"refresh" json:"refresh"`       // between two refreshes of each SIP subscription and publication
	Follow    float64  `toml:"follow" json:"follow"`         // share of XMPP clients that follow a redirect
	Reconnect Duration `toml:"reconnect" json:"reconnect"`   // who has lost a connection comes back within this time
	KeepAlive Duration `toml:"keep_alive" json:"keep_alive"` // until a client sees that its server has died
}

// Nodes of the service.
type Nodes struct {
	Count   int      `toml:"count" json:"count"`     // active at the beginning
	Standby int      `toml:"standby" json:"standby"` // that may be added
	Running bool     `toml:"running" json:"running"` // standbys run already; otherwise they are started
	Start   Duration `toml:"start" json:"start"`     // time to start one
	Join    Duration `toml:"join" json:"join"`       // from INVITE until a node that runs is active
	Max     float64  `toml:"max" json:"max"`         // level that each may reach
	Cores   float64  `toml:"cores" json:"cores"`     // processors of each
	Memory  float64  `toml:"memory" json:"memory"`   // bytes of each
	// Database is how many times as fast as the measured one the database is.
	Database float64 `toml:"database" json:"database"`
}

// Load is the load control's part of the configuration.
type Load struct {
	User     float64 `toml:"user_weight" json:"user_weight"`
	Resource float64 `toml:"resource_weight" json:"resource_weight"`
	Low      float64 `toml:"low" json:"low"`
	Band     float64 `toml:"band" json:"band"`
	Moves    int     `toml:"moves" json:"moves"`
}

// Event is something that happens.
type Event struct {
	At    Duration `toml:"at" json:"at"`
	Do    string   `toml:"do" json:"do"`
	Users int      `toml:"users" json:"users,omitempty"` // of arrive, leave
	Nodes int      `toml:"nodes" json:"nodes,omitempty"` // of kill, restart, drain, undrain, add; 0: one, or all of restart
	Over  Duration `toml:"over" json:"over,omitempty"`   // how long it takes to happen
	Back  Duration `toml:"back" json:"back,omitempty"`   // of kill: until they run again, 0 never; of restart: how long each is away
	By    float64  `toml:"by" json:"by,omitempty"`       // of busy: how many times as many changes; of cut: share of all connections
}

// What may happen.
const (
	doArrive  = "arrive"
	doLeave   = "leave"
	doKill    = "kill"
	doLeader  = "kill-leader"
	doRestart = "restart"
	doDrain   = "drain"
	doUndrain = "undrain"
	doAdd     = "add"
	doCut     = "cut"
	doBusy    = "busy"
)

// Kinds are what an event may do, with what it means.
var Kinds = [][2]string{
	{doArrive, "so many users come who were not there (over: how long)"},
	{doLeave, "so many users go"},
	{doKill, "so many nodes die at once (back: until they run again)"},
	{doLeader, "the leader dies"},
	{doRestart, "nodes are restarted one after the other (back: how long each is away)"},
	{doDrain, "nodes are drained by the operator"},
	{doUndrain, "and take users again"},
	{doAdd, "nodes are started as active, without users"},
	{doCut, "a share of all XMPP connections is lost at once (by: share)"},
	{doBusy, "presence changes so many times as often (by) for a time (over)"},
}

// Default is a service of three nodes with the servers' default settings, two thirds full.
func Default() Scenario {
	return Scenario{
		Seed: 1, Length: Duration(5 * time.Minute),
		Users: Users{Count: 10_000, SIP: 0.5, Resources: 20, Changes: 6, Messages: 10, Refresh: Duration(30 * time.Minute),
			Follow: 0.1, Reconnect: Duration(10 * time.Second), KeepAlive: Duration(5 * time.Second)},
		Nodes: Nodes{Count: 3, Running: true, Start: Duration(5 * time.Second), Join: Duration(500 * time.Millisecond),
			Max: 10_000, Cores: 2, Memory: 8 << 30, Database: 1},
		Load:  Load{User: 1, Resource: 0.05, Low: 0.2, Band: 0.1, Moves: 1000},
		Costs: Measured(),
	}
}

// level is what one user adds to a node's.
func (s *Scenario) level() float64 {
	return s.Load.User + float64(s.Users.Resources)*s.Load.Resource
}

// Check finds what cannot be simulated, all at once, in the words of a scenario file.
func (s *Scenario) Check() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	share := func(name string, v float64) { bad(v >= 0 && v <= 1, "%s: %g is no share: from 0 to 1", name, v) }
	positive := func(name string, v float64) { bad(v > 0, "%s: must be above 0, not %g", name, v) }
	bad(time.Duration(s.Length) >= time.Second && time.Duration(s.Length) <= MaxLength, "length: from 1s to %s, not %s", MaxLength, time.Duration(s.Length))
	bad(s.Users.Count >= 0 && s.Users.Count <= MaxUsers, "users.count: from 0 to %d, not %d", MaxUsers, s.Users.Count)
	share("users.sip", s.Users.SIP)
	share("users.follow", s.Users.Follow)
	bad(s.Users.Resources >= 0 && s.Users.Resources <= 10_000, "users.resources: from 0 to 10000, not %d", s.Users.Resources)
	bad(s.Users.Changes >= 0 && s.Users.Messages >= 0, "users.changes, users.messages: not below 0")
	positive("users.refresh", s.Users.Refresh.seconds())
	positive("users.reconnect", s.Users.Reconnect.seconds())
	bad(s.Users.KeepAlive >= 0 && s.Users.KeepAlive <= Duration(time.Hour) && s.Users.Reconnect <= Duration(time.Hour), "users.keep_alive, users.reconnect: at most 1h")
	bad(s.Nodes.Count >= 1 && s.Nodes.Count+s.Nodes.Standby <= MaxNodes, "nodes.count: from 1 to %d with the standbys, not %d", MaxNodes, s.Nodes.Count+s.Nodes.Standby)
	bad(s.Nodes.Standby >= 0, "nodes.standby: not below 0")
	positive("nodes.max", s.Nodes.Max)
	positive("nodes.cores", s.Nodes.Cores)
	positive("nodes.memory", s.Nodes.Memory)
	positive("nodes.database", s.Nodes.Database)
	bad(s.Nodes.Start >= 0 && s.Nodes.Join >= 0, "nodes.start, nodes.join: not below 0")
	bad(s.Load.User >= 0 && s.Load.Resource >= 0 && s.level() > 0, "load.user_weight, load.resource_weight: one must be above 0, none below")
	bad(s.Load.Low >= 0 && s.Load.Low < 1, "load.low: a share below 1, not %g", s.Load.Low)
	bad(s.Load.Band > 0 && s.Load.Band <= 1, "load.band: a share above 0, not %g", s.Load.Band)
	bad(s.Load.Moves > 0, "load.moves: must be above 0, not %d", s.Load.Moves)
	for _, c := range s.Costs.rows() {
		positive("costs."+c.key, *c.value)
	}
	bad(len(s.Events) <= MaxEvents, "event: at most %d", MaxEvents)
	for i, e := range s.Events {
		errs = append(errs, e.check(i+1, s)...)
	}
	return errors.Join(errs...)
}

func (e *Event) check(nr int, s *Scenario) (errs []error) {
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("event %d (%s): "+format, append([]any{nr, e.Do}, args...)...))
		}
	}
	known := false
	var names []string
	for _, k := range Kinds {
		known = known || k[0] == e.Do
		names = append(names, k[0])
	}
	if !known {
		return []error{fmt.Errorf("event %d: do = %q is none of %s", nr, e.Do, strings.Join(names, ", "))}
	}
	bad(e.At >= 0 && e.At < s.Length, "at: %s lies outside of the simulated time", time.Duration(e.At))
	bad(e.Over >= 0 && e.Back >= 0 && e.Users >= 0 && e.Nodes >= 0 && e.By >= 0, "nothing may be below 0")
	switch e.Do {
	case doArrive, doLeave:
		bad(e.Users > 0, "users: how many?")
		bad(e.Users <= MaxUsers, "users: at most %d", MaxUsers)
	case doAdd:
		bad(e.Nodes <= MaxNodes, "nodes: at most %d", MaxNodes)
	case doCut:
		bad(e.By > 0 && e.By <= 1, "by: which share of all connections, above 0 to 1?")
	case doBusy:
		bad(e.By > 0 && e.Over > 0, "by and over: how many times as often, and how long?")
	}
	return errs
}
