package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// logAgain is how long the same trouble is not told of again: routes are tried each second.
const logAgain = time.Minute

// natsLog puts what the embedded server says into the log.
type natsLog struct {
	log   *slog.Logger
	fatal chan error

	mu   sync.Mutex
	said map[string]time.Time
}

// maxSaid bounds the kinds of trouble that are remembered.
const maxSaid = 100

// again tells whether that was said lately, and notes it.
func (l *natsLog) again(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if t, ok := l.said[what]; ok && now.Sub(t) < logAgain {
		return true
	}
	if len(l.said) >= maxSaid {
		clear(l.said)
	}
	l.said[what] = now
	return false
}

// Noticef, Warnf, Fatalf, Errorf, Debugf and Tracef are the server's Logger.
func (l *natsLog) Noticef(format string, v ...any) {
	if strings.Contains(format, "Slow Consumer") {
		l.Warnf(format, v...)
		return
	}
	l.Debugf(format, v...)
}

// Warnf see Noticef.
func (l *natsLog) Warnf(format string, v ...any) {
	if !l.again(format) {
		l.log.Warn("bus", "says", fmt.Sprintf(format, v...))
	}
}

// Fatalf see Noticef. It ends the bus, not the process.
func (l *natsLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
	}
}

// Errorf see Noticef.
func (l *natsLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	switch {
	case strings.Contains(text, "handshake error") && strings.Contains(text, "certificate"):
		if !l.again("handshake") {
			l.log.Error("a connection between servers was refused: either side must have the same [cluster] secret", "says", text)
		}
	case strings.Contains(text, "duplicate name"):
		if !l.again("twin") {
			l.log.Error(twinMessage, "says", text)
		}
	case strings.Contains(text, "Error trying to connect to route"):
		if at := routeHost(text); !l.again("route " + at) {
			l.log.Warn("the bus does not reach a server yet; it is tried each second", "server", at, "says", text)
		}
	default:
		l.Warnf(format, v...)
	}
}

// routeHost is the address in "... dial tcp 192.0.2.1:6222: ...", "" if there is none.
func routeHost(text string) string {
	_, rest, _ := strings.Cut(text, "dial tcp ")
	at, _, _ := strings.Cut(rest, ": ")
	return at
}

// Debugf see Noticef.
func (l *natsLog) Debugf(format string, v ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("bus", "says", fmt.Sprintf(format, v...))
	}
}

// Tracef see Noticef.
func (l *natsLog) Tracef(string, ...any) {}
