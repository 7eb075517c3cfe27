package simulate

import (
	"math/rand/v2"
	"time"
)

// job is the generator's: to send a request, or to read what it has brought.
type job struct {
	work  time.Duration
	begun func()
	done  func()
}

// round has all users send at once, and returns how long each request took. The generator comes to one after the other, in any order, and reads
// what has come when there is nothing to send; late is when on the average it comes to a request, 0: by Test.Pace.
func (e *Experiment) round(rnd *rand.Rand, t *Test, homes []int, several bool, late time.Duration) []time.Duration {
	m := newMachine(rnd, e)
	var users []int // whose server is which
	servers := make([]*server, len(homes))
	for i, n := range homes {
		servers[i] = newServer(rnd, e, t, n, several)
		for range n {
			users = append(users, i)
		}
	}
	rnd.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	pace := time.Duration(float64(t.Pace) * e.Machine / max(e.Machine/10, e.Machine-e.Cores*float64(len(homes))))
	if late > 0 {
		pace = 2 * late / time.Duration(len(users))
	}
	var took []time.Duration
	var sends, reads []job
	for _, of := range users {
		var sent time.Duration
		answered := func() {
			reads = append(reads, job{work: t.Read, begun: func() {}, done: func() { took = append(took, m.now-sent+t.Base) }})
		}
		sends = append(sends, job{work: t.Sent, begun: func() { sent = m.now }, done: func() { servers[of].come(answered) }})
	}
	due := func() time.Duration { return pace * time.Duration(len(users)-len(sends)) }
	next := func() (time.Duration, func(), bool) {
		list := &reads
		if len(sends) > 0 && m.now >= due() {
			list = &sends
		}
		if len(*list) == 0 {
			return 0, nil, false
		}
		j := (*list)[0]
		*list = (*list)[1:]
		j.begun()
		return j.work, j.done, true
	}
	for range m.cpus {
		m.threads = append(m.threads, &thread{next: next})
	}
	for _, s := range servers {
		m.threads = append(m.threads, &thread{quota: newQuota(rnd, e), next: s.next}, &thread{next: s.nextSave})
	}
	m.run(func() bool { return len(took) == len(users) }, func() time.Duration {
		if len(sends) == 0 {
			return 0
		}
		return due()
	})
	return took
}

// server takes what its sockets have, Batch of them at a time: of each it does the first part of the work, and then, in no order, the
// rest of each. Half of the requests are saved in between (those of phones; chat programs' are not), by a process of the database for this server.
type server struct {
	rnd    *rand.Rand
	batch  int // sockets
	all    bool
	first  float64
	save   time.Duration
	work   []time.Duration // of the next requests
	behind time.Duration   // what it does for itself
	socket []request
	wait   []request
	saves  []request
	taken  int // of a batch; below 0: no more of it
}

type request struct {
	work     time.Duration
	saved    bool
	answered func()
}

func newServer(rnd *rand.Rand, e *Experiment, t *Test, users int, several bool) *server {
	w := t.Alone
	s := &server{rnd: rnd, batch: e.Batch, all: t.All, save: 2 * t.Save}
	if several { // of what it does all the time, something is in front
		w = t.Several
		s.behind = time.Duration(rnd.Float64() * float64(e.Several) * e.Cores)
	}
	s.first = w.First
	for range users {
		d := time.Duration(float64(w.Service) * (1 + t.Vary*(2*rnd.Float64()-1)))
		if several {
			d += time.Duration(float64(d) * e.Several.Seconds() / e.Cores)
		}
		s.work = append(s.work, d)
	}
	return s
}

// come is a request at the server's socket.
func (s *server) come(answered func()) {
	s.socket = append(s.socket, request{s.work[0], len(s.work)%2 == 0, answered})
	s.work = s.work[1:]
}

// next is what the server does next.
func (s *server) next() (work time.Duration, done func(), ok bool) {
	if s.behind > 0 {
		work, s.behind = s.behind, 0
		return work, func() {}, true
	}
	if len(s.wait) == 0 {
		s.taken = 0
	}
	if len(s.socket) > 0 && (s.all || s.taken >= 0 && s.taken < s.batch) {
		r := s.socket[0]
		s.socket = s.socket[1:]
		s.taken++
		first := time.Duration(float64(r.work) * s.first)
		r.work -= first
		return first, func() {
			if r.saved && s.save > 0 {
				s.saves = append(s.saves, r)
			} else {
				s.wait = append(s.wait, r)
			}
		}, true
	}
	if len(s.wait) == 0 {
		return 0, nil, false
	}
	s.taken = -1
	i := s.rnd.IntN(len(s.wait))
	r := s.wait[i]
	s.wait[i] = s.wait[len(s.wait)-1]
	s.wait = s.wait[:len(s.wait)-1]
	return r.work, r.answered, true
}

// nextSave is what the database does next for the server: in one go, as much as there is.
func (s *server) nextSave() (work time.Duration, done func(), ok bool) {
	group := s.saves
	if len(group) == 0 {
		return 0, nil, false
	}
	s.saves = nil
	return s.save * time.Duration(len(group)), func() { s.wait = append(s.wait, group...) }, true
}
