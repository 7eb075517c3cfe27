package account

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"pharos/presence"
)

// At most reportBurst failed logins are logged at once and one per reportEvery
// after them: who guesses is not to fill a disk.
const (
	reportBurst = 20
	reportEvery = time.Second
	reportName  = 64 // octets of a user's name: strangers choose it
)

// report tells the operator of failed logins: of a phone with an old password as
// well as of those who guess.
type report struct {
	mu      sync.Mutex
	log     *slog.Logger // nil: none
	full    time.Time    // when the allowance is full again
	omitted int          // since the last line
}

// LogTo has failed logins logged. Call it before the first login.
func (a *Accounts) LogTo(l *slog.Logger) { a.report.log = l }

func (a *Accounts) failed(remote netip.Addr, u presence.Entity) {
	a.throttle.failed(remote, u)
	a.report.add("login failed", remote, u)
}

func (a *Accounts) refuse(remote netip.Addr, u presence.Entity) bool {
	refused := a.throttle.refuse(remote, u)
	if refused {
		a.report.add("login not looked at: too many have failed", remote, u)
	}
	return refused
}

func (r *report) add(what string, remote netip.Addr, u presence.Entity) {
	if r.log == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.full.Before(now) {
		r.full = now
	}
	if r.full.Sub(now) > (reportBurst-1)*reportEvery {
		r.omitted++
		return
	}
	r.full = r.full.Add(reportEvery)
	args := []any{"user", name(u)}
	if remote.IsValid() {
		args = append(args, "remote", remote.String())
	}
	if r.omitted > 0 {
		args = append(args, "omitted", r.omitted) // lines before this one
	}
	r.omitted = 0
	r.log.Info(what, args...)
}

func name(u presence.Entity) string {
	if u.User == "" {
		return "" // of credentials for another realm
	}
	if len(u.User) > reportName {
		u.User = u.User[:reportName] + "…"
	}
	return u.String()
}
