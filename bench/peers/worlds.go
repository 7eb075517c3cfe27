package peers

import (
	"context"

	"pharos/bench"
)

// World is one half of the comparison: its contenders, ours first, and what they are put to.
type World struct {
	Name       string // "sip", "xmpp"
	Title      string // of the chart
	Contenders []Contender
	Works      []Work
}

// Worlds are both, with this server binary of ours.
func Worlds(bin string) []World {
	return []World{
		{"sip", "SIP: Pharos beside Kamailio", append([]Contender{pharos(bin)}, kamailio()...), sipWorks()},
		{"xmpp", "XMPP: Pharos beside ejabberd and Prosody", append([]Contender{pharos(bin)}, chatPeers()...), chatWorks()},
	}
}

func pharos(bin string) Contender {
	return Contender{Name: Ours, Of: Ours, Keeps: "everything (journal and database synced)", Launch: bench.Pharos(bin),
		Version: func(context.Context) (string, error) { return Ours, nil }}
}
