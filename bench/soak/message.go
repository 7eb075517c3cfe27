package soak

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// messages follows each from its sender to its recipient.
type messages struct {
	mu      sync.Mutex
	next    int
	open    map[int]*mail
	sent    int
	arrived int
	twice   int
	back    int // came back with an error
	excused int // sender or recipient lost its connection, or a fault was on, before it arrived
	lost    []string
	done    map[int]bool // arrived lately, to see what comes twice
	order   []int
}

// mail is one message under way.
type mail struct {
	from, to string
	at       time.Time
	excused  bool
}

// mailWithin is when a message that has not arrived is lost.
const mailWithin = 20 * time.Second

func newMessages() *messages { return &messages{open: map[int]*mail{}, done: map[int]bool{}} }

// begin gives a number to a message; quiet: nothing is wrong with the service now.
func (m *messages) begin(from, to string, quiet bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.sent++
	m.open[m.next] = &mail{from, to, time.Now(), !quiet}
	return m.next
}

func mailBody(n int) string { return "mail " + strconv.Itoa(n) }

func (m *messages) came(to, body string) {
	v, ok := strings.CutPrefix(body, "mail ")
	n, err := strconv.Atoi(v)
	if !ok || err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.open[n]
	if x == nil || x.to != to {
		if m.done[n] {
			m.twice++
		}
		return
	}
	delete(m.open, n)
	m.arrived++
	m.done[n] = true
	if m.order = append(m.order, n); len(m.order) > 10_000 {
		delete(m.done, m.order[0])
		m.order = m.order[1:]
	}
}

// returned: the service could not.
func (m *messages) returned(id string) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "m"))
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open[n] != nil {
		delete(m.open, n)
		m.back++
	}
}

// away: a user's connection has ended, with what was under way on it.
func (m *messages) away(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.open {
		if x.from == user || x.to == user {
			x.excused = true
		}
	}
}

// fault: something is done to the service, and what is under way may be lost with it.
func (m *messages) fault() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.open {
		x.excused = true
	}
}

// sweep counts what has not arrived in time.
func (m *messages) sweep(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, x := range m.open {
		if now.Sub(x.at) < mailWithin {
			continue
		}
		delete(m.open, n)
		if x.excused {
			m.excused++
		} else if len(m.lost) < 100 {
			m.lost = append(m.lost, x.from+" to "+x.to+" at "+x.at.UTC().Format("15:04:05"))
		}
	}
}
