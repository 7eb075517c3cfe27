package bench

import (
	"context"
	"time"
)

// Lasting is a server that several measurements use, one after the other, and who of
// its users has been used.
type Lasting struct {
	Target
	brief bool // it ends with its first measurement
	cold  int  // storms that were
	pairs int  // of strangers who have met
}

// Stop does nothing: who has started the Target stops it.
func (l *Lasting) Stop() error {
	if l.brief {
		return l.Target.Stop()
	}
	return nil
}

// lasting is what start gives, whether that lasts or not.
func lasting(ctx context.Context, start Launch, p Population) (*Lasting, error) {
	t, err := start(ctx, p)
	if err != nil {
		return nil, err
	}
	if l, ok := t.(*Lasting); ok {
		return l, nil
	}
	return &Lasting{Target: t, brief: true}, nil
}

// rest waits until the server has nothing more to do: for 200 ms it has used a tenth of a
// processor at most. The next measurement should not pay for this one's end.
func rest(ctx context.Context, t Target) error {
	const look = 200 * time.Millisecond
	last, err := t.CPU()
	for range 50 {
		if err != nil {
			return err
		}
		pauseFor(ctx, look)
		var now time.Duration
		if now, err = t.CPU(); now-last <= look/10 {
			break
		}
		last = now
	}
	return err
}
