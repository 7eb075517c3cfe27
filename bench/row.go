package bench

import (
	"fmt"
	"time"
)

// Row is one measured line.
type Row struct {
	Name   string        // what one event is
	Events int           // that were measured
	CPU    time.Duration // of the server, for all events
	Wall   time.Duration
	Own    time.Duration // CPU of the generator, which shares the machine
	Goal   string        // as the issue states it
	Peers  string        // other servers' figures on this machine, as the issue states them
	Note   string
	Bytes  int64         // per event, for memory rows
	P99    time.Duration // within which 99 of 100 events were over, where each is timed
	Wire   Wire          // what the generator sent and was sent, where it counts
}

// Wire is traffic as the server sees it.
type Wire struct {
	In, Out             int64 // datagrams, or writes to a stream
	InOctets, OutOctets int64
}

// PerEvent is the server's CPU for one event.
func (r Row) PerEvent() time.Duration {
	if r.Events == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Events)
}

// Value is the row's figure for people.
func (r Row) Value() string {
	if r.Bytes > 0 {
		return fmt.Sprintf("%.1f KiB", float64(r.Bytes)/1024)
	}
	return fmt.Sprintf("%.2f µs", float64(r.PerEvent().Nanoseconds())/1000)
}

// String is one line of a run.
func (r Row) String() string {
	s := fmt.Sprintf("%-58s %11s  goal %s", r.Name, r.Value(), r.Goal)
	if r.Wall > 0 {
		s += fmt.Sprintf("  (%d events, %.0f/s, generator %.2f µs)", r.Events, float64(r.Events)/r.Wall.Seconds(),
			float64(r.Own.Nanoseconds())/1000/float64(max(r.Events, 1)))
	}
	return s
}
