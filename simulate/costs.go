package simulate

// Costs are what was measured: service times of a node in seconds of processor time, rates of
// the things that all nodes share. Where from is said by Source.
type Costs struct {
	Login      float64 `toml:"login" json:"login"`             // XMPP: negotiation, bind, roster, first presence; s
	Subscribe  float64 `toml:"subscribe" json:"subscribe"`     // SUBSCRIBE, 200, NOTIFY, 200; s
	Publish    float64 `toml:"publish" json:"publish"`         // a change, without those who are told; s
	Refresh    float64 `toml:"refresh" json:"refresh"`         // of a SIP publication or subscription; s
	Notify     float64 `toml:"notify" json:"notify"`           // to one SIP watcher; s
	Deliver    float64 `toml:"deliver" json:"deliver"`         // to one XMPP watcher; s
	Message    float64 `toml:"message" json:"message"`         // s
	Hop        float64 `toml:"hop" json:"hop"`                 // what another node costs for an event; s, both together
	Frame      float64 `toml:"frame" json:"frame"`             // a frame on the bus; s, both together
	SoftRows   float64 `toml:"soft_rows" json:"soft_rows"`     // rows of soft state the database takes a second
	Homes      float64 `toml:"homes" json:"homes"`             // homes settled a second
	Moved      float64 `toml:"moved" json:"moved"`             // homes changed by moves, a second
	Inherited  float64 `toml:"inherited" json:"inherited"`     // homes given away after a death, a second
	Loaded     float64 `toml:"loaded" json:"loaded"`           // rows of soft state read a second
	NodeRows   float64 `toml:"node_rows" json:"node_rows"`     // rows of the table of nodes read a second
	Queue      float64 `toml:"queue" json:"queue"`             // inputs that a core may have under way
	Session    float64 `toml:"session" json:"session"`         // bytes of an XMPP session
	Dialog     float64 `toml:"dialog" json:"dialog"`           // bytes of a SIP subscription
	Document   float64 `toml:"document" json:"document"`       // bytes that one node takes in the document of levels
	LeaderLine float64 `toml:"leader_line" json:"leader_line"` // bytes a second that the leader can send
}

type costRow struct {
	key, unit, source string
	value             *float64
}

// rows are all of them, with where they come from.
func (c *Costs) rows() []costRow {
	const bench = "bench/README.md"
	return []costRow{
		{"login", "s", bench + ": login with 20 contacts", &c.Login},
		{"subscribe", "s", bench + ": SUBSCRIBE→200→NOTIFY→200", &c.Subscribe},
		{"publish", "s", bench + ": PUBLISH→200, changed state, no watcher", &c.Publish},
		{"refresh", "s", bench + ": PUBLISH→200, refresh", &c.Refresh},
		{"notify", "s", bench + ": NOTIFY+200, from PUBLISH with 20 watchers", &c.Notify},
		{"deliver", "s", bench + ": presence change to 20 contacts, per delivery", &c.Deliver},
		{"message", "s", bench + ": message between two XMPP users", &c.Message},
		{"hop", "s", "docs/cluster.md: a change costs another node some ten microseconds more", &c.Hop},
		{"frame", "s", "go test -bench LinksThroughput ./cluster, busy machine", &c.Frame},
		{"soft_rows", "a second", bench + ": soft state in PostgreSQL, 256 saves outstanding", &c.SoftRows},
		{"homes", "a second", "go test -bench Settle ./store, busy machine", &c.Homes},
		{"moved", "a second", "go test -bench MoveHomes ./store, busy machine", &c.Moved},
		{"inherited", "a second", "go test -bench Inherit ./store: 100,000 homes in 1.7 s", &c.Inherited},
		{"loaded", "a second", "go test -bench LoadPostgres ./store: 10,000 users of 3 rows in 2 s, very busy machine", &c.Loaded},
		{"node_rows", "a second", "go test -bench Members ./store: 1,000 rows in 19 ms, busy machine", &c.NodeRows},
		{"queue", "inputs", "engine.DefaultQueue", &c.Queue},
		{"session", "bytes", bench + ": idle XMPP session with TLS", &c.Session},
		{"dialog", "bytes", bench + ": one SIP subscription", &c.Dialog},
		{"document", "bytes", "docs/load-control.md: a load element", &c.Document},
		{"leader_line", "bytes/s", "a line of 1 Gbit/s", &c.LeaderLine},
	}
}

// Measured are the figures of the project's own measurements, on two cores.
func Measured() Costs {
	return Costs{
		Login: 449e-6, Subscribe: 39.3e-6, Publish: 19.9e-6, Refresh: 17.4e-6, Notify: 16.4e-6, Deliver: 4.35e-6, Message: 11.6e-6,
		Hop: 10e-6, Frame: 2e-6,
		SoftRows: 56_000, Homes: 8_800, Moved: 12_000, Inherited: 58_800, Loaded: 15_000, NodeRows: 52_000,
		Queue: 8192, Session: 24 << 10, Dialog: 1.9 * 1024, Document: 180, LeaderLine: 125e6,
	}
}
