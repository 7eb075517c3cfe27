package bench

import (
	"context"
	"time"
)

// Population is who the users of a server are: u0@localhost to u<Users-1>@localhost,
// with the passwords pw0, pw1, ... .
type Population struct {
	Users   int
	Group   int  // users are in groups of so many who have each other in their rosters, with subscription both; less than two: nobody has anybody
	Trusted bool // SIP requests need no digest
}

// Target is a running server under load.
type Target interface {
	Addr(scheme string) string   // host:port of a listener: sip+udp, sip+tcp, xmpp (STARTTLS), xmpp+insecure (no TLS needed)
	CPU() (time.Duration, error) // of all its processes since their start, those included that have ended
	Memory() (int64, error)      // resident, in bytes, of all its processes; what they share counts once
	Stop() error                 // ends it and removes all that it has written
}

// Launch starts a server with nothing in its store but these users, and returns when it
// can be spoken to.
type Launch func(context.Context, Population) (Target, error)

// Pharos launches a server binary of ours.
func Pharos(bin string) Launch {
	return func(ctx context.Context, p Population) (Target, error) {
		file := users(p.Users)
		if p.Group > 1 {
			file = groups(p.Users, p.Group)
		}
		s, err := Start(ctx, bin, file, p.Trusted)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}
