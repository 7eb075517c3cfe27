package xmpp

import (
	"errors"
	"os"
	"syscall"
	"time"

	"pharos/markup"
)

// Most clients are silent most of the time, and a goroutine that waits in a read keeps the stack
// that handling stanzas has grown, and a buffer. So a stream that has been silent for a while rests: its reader
// gives both back and leaves, and when something arrives another begins. Who chats pays nothing for it but a flag.

// restAfter is the silence after which a stream rests, at most twice of it.
const restAfter = 2 * time.Second

// errSilent is what a read gives when the stream is to rest.
var errSilent = errors.New("xmpp: silent")

// Read hands what Next returns to each, until that returns false, as it must after an error. Under
// ServeListener it may return before, when the peer is silent, and goes on with another goroutine: so it is the last
// that Serve does.
func (s *Stream) Read(each func(*markup.Element, error) bool) {
	for {
		el, err := s.take(!s.stays)
		if err == errSilent {
			s.wire.rest()
			s.more = each
			return
		}
		if !each(el, err) {
			return
		}
	}
}

// restful makes a stream of TCP's framing over a real connection one that may rest. It is called before
// anybody else knows the stream.
func (s *Stream) restful() {
	if c, ok := s.raw.(syscall.Conn); ok && canRest {
		s.await, _ = c.SyscallConn()
	}
}

// served is what follows when Serve, or a Read after a rest, has returned.
func (s *Stream) served() {
	if s.more == nil {
		s.over(nil)
		return
	}
	s.mu.Lock()
	if len(s.q) == 0 && !s.writing {
		s.q, s.spare = nil, nil
	}
	s.mu.Unlock()
	s.asleep.Store(true)
	if !s.a.rests.add(s) {
		s.stays = true
		s.woken()
		return
	}
	s.mu.Lock()
	over := s.ending || s.dead
	s.mu.Unlock()
	if over { // and whoever did that may not have seen that the stream was to be woken
		s.a.rests.wake(s)
	}
}

// woken reads on after a rest.
func (s *Stream) woken() {
	s.asleep.Store(false)
	each := s.more
	s.more = nil
	s.Read(each)
	s.served()
}

// rouse wakes a stream of which something is wanted that its reader does: to see that it ends.
func (s *Stream) rouse() {
	if s.asleep.Load() {
		s.a.rests.wake(s)
	}
}

// silent tells whether a read failed because the stream is to rest, and has reads wait again then.
func (s *Stream) silent(err error) bool {
	if s.await == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.dead || !s.nudged {
		return false
	}
	s.nudged = false
	_ = s.raw.SetReadDeadline(time.Time{})
	return true
}

// nudge has the reader of a stream look up that was silent since the last call.
func (s *Stream) nudge() {
	if s.await == nil || s.busy.Swap(false) || s.asleep.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started && !s.ending && !s.dead {
		s.nudged = true
		_ = s.raw.SetReadDeadline(longAgo)
	}
}

// watchSilence sees to it that streams are looked at, as long as there are any.
func (a *Acceptor) watchSilence() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.watching {
		a.watching = true
		time.AfterFunc(a.silence, a.nudgeAll)
	}
}

func (a *Acceptor) nudgeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watching = len(a.streams) > 0; !a.watching {
		return
	}
	for s := range a.streams {
		if !s.fresh {
			s.nudge()
		}
	}
	time.AfterFunc(a.silence, a.nudgeAll)
}
