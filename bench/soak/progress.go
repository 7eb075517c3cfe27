package soak

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells what goes on: on a terminal in a line that renews itself, elsewhere now and then in one more.
type progress struct {
	w     io.Writer
	live  bool
	begun time.Time

	mu    sync.Mutex
	wide  int // of the line that stands
	plain time.Time
}

// plainEvery is how often there is a line where there is no terminal.
const plainEvery = 30 * time.Second

func newProgress(w io.Writer, live bool) *progress {
	if w == nil {
		w = io.Discard
	}
	return &progress{w: w, live: live, begun: time.Now()}
}

func (p *progress) line(format string, args ...any) string {
	d := time.Since(p.begun).Round(time.Second)
	return fmt.Sprintf("%3d:%02d ", d/time.Minute, d%time.Minute/time.Second) + fmt.Sprintf(format, args...)
}

// say renews the line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.line(format, args...)
	switch {
	case p.live:
		fmt.Fprintf(p.w, "\r%s%s", l, strings.Repeat(" ", max(0, p.wide-len(l))))
		p.wide = len(l)
	case time.Since(p.plain) >= plainEvery:
		p.plain = time.Now()
		fmt.Fprintln(p.w, l)
	}
}

// note prints a line that stays.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.w, p.line(format, args...))
}

// clear takes away the line that stands.
func (p *progress) clear() {
	if p.wide > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.wide))
		p.wide = 0
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
