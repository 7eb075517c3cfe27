package interop

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxTranscript bounds what is kept of a program's output, in bytes; of more,
// the older half goes.
const maxTranscript = 4 << 20

// Transcript is what a program has said so far, and a mark up to which it was
// understood. It may be written and waited on at once.
type Transcript struct {
	mu    sync.Mutex
	text  []byte
	mark  int
	ended bool

	terminal bool   // escape sequences are taken out
	rest     []byte // the beginning of one

	news chan struct{} // closed and replaced at every change
}

func newTranscript() *Transcript { return &Transcript{news: make(chan struct{})} }

// Write appends to the transcript; it never fails.
func (t *Transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if t.terminal {
		b = append(t.rest, b...)
		t.rest = nil
		if i := bytes.LastIndexByte(b, '\x1b'); i >= 0 && len(b)-i < 64 && !screen.Match(b[i:]) {
			t.rest, b = bytes.Clone(b[i:]), b[:i]
		}
		b = []byte(plain(string(b)))
	}
	t.text = append(t.text, b...)
	if over := len(t.text) - maxTranscript; over > 0 {
		cut := over + maxTranscript/2
		t.text = append(t.text[:0], t.text[cut:]...)
		t.mark = max(0, t.mark-cut)
	}
	t.wake()
	return n, nil
}

// end says that nothing more will come.
func (t *Transcript) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.wake()
}

func (t *Transcript) wake() {
	close(t.news)
	t.news = make(chan struct{})
}

// follow reads r into the transcript until it ends.
func (t *Transcript) follow(r io.Reader) {
	_, _ = io.Copy(t, r)
	t.end()
}

// Expect waits until the pattern stands after the mark, moves the mark behind
// it and returns the match and its groups. The error of a wait in vain shows
// what was said instead.
func (t *Transcript) Expect(within time.Duration, pattern string) ([]string, error) {
	re := regexp.MustCompile(pattern)
	return t.wait(within, pattern, nil, func(unread []byte) ([]string, int) {
		m := re.FindSubmatchIndex(unread)
		if m == nil {
			return nil, 0
		}
		var groups []string
		for i := 0; i < len(m); i += 2 {
			if m[i] < 0 {
				groups = append(groups, "")
				continue
			}
			groups = append(groups, string(unread[m[i]:m[i+1]]))
		}
		return groups, m[1]
	})
}

// here is the end of the transcript, as a mark of its own for wait.
func (t *Transcript) here() *int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.text)
	return &n
}

// wait calls find with what stands after the mark, at every change, until it
// returns something and how much of the text that took. nil is the
// transcript's own mark.
func (t *Transcript) wait(within time.Duration, what string, mark *int, find func(unread []byte) ([]string, int)) ([]string, error) {
	if mark == nil {
		mark = &t.mark
	}
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		t.mu.Lock()
		got, n := find(t.text[min(*mark, len(t.text)):])
		if got != nil {
			*mark += n
		}
		ended, news := t.ended, t.news
		t.mu.Unlock()
		switch {
		case got != nil:
			return got, nil
		case ended:
			return nil, fmt.Errorf("ended before %s was seen; it said:\n%s", what, t.Unread())
		}
		select {
		case <-news:
		case <-deadline.C:
			return nil, fmt.Errorf("%s was not seen within %v; it said:\n%s", what, within, t.Unread())
		}
	}
}

// Unread is the text after the mark, its last 6,000 bytes at most.
func (t *Transcript) Unread() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(t.text[t.mark:])
	if s == "" {
		s = "(nothing new) …" + string(t.text[max(0, t.mark-600):])
	}
	if len(s) > 6000 {
		s = "…" + s[len(s)-6000:]
	}
	return s
}

// Text is all that is kept.
func (t *Transcript) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// Forget moves the mark to the end: what was said before does not count for
// the next Expect.
func (t *Transcript) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark = len(t.text)
}

// screen takes the escape sequences out of a terminal program's output, so
// that what it draws can be searched as text. A jump of the cursor becomes a
// line end.
var screen = regexp.MustCompile("\x1b\\[[0-9;?>]*[A-Za-z@`]|\x1b\\][^\x07\x1b]*(\x07|\x1b\\\\)|\x1b[()][A-Z0-9]|\x1b[=>78DMEHc]|[\x00\x0e\x0f]")

func plain(s string) string {
	return screen.ReplaceAllStringFunc(s, func(seq string) string {
		if strings.HasSuffix(seq, "H") || strings.HasSuffix(seq, "d") {
			return "\n"
		}
		return ""
	})
}
