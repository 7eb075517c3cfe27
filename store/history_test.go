package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"pharos/presence"
)

// Histories of what several nodes do to the same users at once, and of what each was told,
// are looked at as a whole: is there an order of single steps, each between its
// call and its answer, that explains all answers?

// opKind is what one call does to one user.
type opKind int

const (
	readDocument opKind = iota
	writeDocument
	dropDocument
	readRoster
	setContact
	clearContact
)

type historyCall struct {
	user    presence.Entity
	kind    opKind
	expect  uint64 // version that a write wants to find
	body    string
	contact int
}

type historyAnswer struct {
	unknown bool // it may have happened or not
	refused bool // the version was another; not found
	version uint64
	body    string
	set     uint // contacts that are there
}

// historyState is what the model knows of one user.
type historyState struct {
	counter uint64 // of roster and documents
	version uint64 // of the document; 0: there is none
	body    string
	set     uint
}

// step is the sequential specification. It returns what there is afterwards, and the answer.
func (s historyState) step(c historyCall) (historyState, historyAnswer) {
	switch c.kind {
	case readDocument:
		return s, historyAnswer{version: s.version, body: s.body, refused: s.version == 0}
	case writeDocument:
		if s.version != c.expect {
			return s, historyAnswer{refused: true}
		}
		s.counter++
		s.version, s.body = s.counter, c.body
	case dropDocument:
		if s.version != c.expect || s.version == 0 {
			return s, historyAnswer{refused: true}
		}
		s.counter++
		s.version, s.body = 0, ""
		return s, historyAnswer{}
	case readRoster:
		return s, historyAnswer{version: s.counter, set: s.set}
	case setContact:
		s.counter++
		s.set |= 1 << c.contact
	case clearContact:
		if s.set&(1<<c.contact) == 0 {
			return s, historyAnswer{refused: true}
		}
		s.counter++
		s.set &^= 1 << c.contact
	}
	return s, historyAnswer{version: s.counter}
}

var historyModel = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[presence.Entity][]porcupine.Operation{}
		for _, o := range history {
			u := o.Input.(historyCall).user
			by[u] = append(by[u], o)
		}
		var parts [][]porcupine.Operation
		for _, p := range by {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() []any { return []any{historyState{}} },
	Step: func(state, input, output any) []any {
		s, answer := state.(historyState), output.(historyAnswer)
		next, want := s.step(input.(historyCall))
		switch {
		case answer.unknown && next != s:
			return []any{s, next}
		case answer.unknown:
			return []any{s}
		case answer != want:
			return nil
		}
		return []any{next}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}).ToModel()

var errRefused = errors.New("refused")

// perform does a call and returns what was said. It names the user of a transaction
// beforehand, or not: either has to be right.
func perform(ctx context.Context, s *Store, c historyCall, named bool) (a historyAnswer, err error) {
	var users []presence.Entity
	if named {
		users = []presence.Entity{c.user}
	}
	contact := presence.Entity{User: fmt.Sprint("c", c.contact), Domain: "example.com"}
	switch c.kind {
	case readDocument:
		var d Document
		d, err = s.Document(ctx, c.user, "a", "index")
		a = historyAnswer{version: d.Version, body: string(d.Body)}
		if errors.Is(err, ErrNotFound) {
			return historyAnswer{refused: true}, nil
		}
	case readRoster:
		var items []Item
		items, a.version, err = s.Roster(ctx, c.user)
		for _, i := range items {
			var n int
			fmt.Sscanf(i.Contact.User, "c%d", &n)
			a.set |= 1 << n
		}
	case setContact, clearContact:
		var i Item
		i, err = s.UpdateItem(ctx, c.user, contact, func(i *Item) bool {
			a = historyAnswer{}
			if c.kind == clearContact && !i.Visible {
				a.refused = true
				return false
			}
			*i = Item{Contact: i.Contact, Visible: c.kind == setContact}
			return true
		})
		if !a.refused {
			a.version = i.Version
		}
	default:
		err = s.Transact(ctx, func(tx *Tx) error {
			a = historyAnswer{}
			d, err := tx.Document(c.user, "a", "index")
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			if d.Version != c.expect {
				a.refused = true
				return errRefused
			}
			if c.kind == dropDocument {
				if d.Version == 0 {
					a.refused = true
					return errRefused
				}
				return tx.DropDocument(c.user, "a", "index")
			}
			d, err = tx.PutDocument(c.user, "a", "index", []byte(c.body))
			a.version = d.Version
			return err
		}, users...)
		if errors.Is(err, errRefused) {
			err = nil
		}
	}
	return a, err
}

// history has clients do all kinds of things at the same time and returns what happened.
func history(t *testing.T, stores []*Store, each int) []porcupine.Operation {
	users := []presence.Entity{alice, bob, carol}
	start := time.Now()
	var mu sync.Mutex
	var ops []porcupine.Operation
	var wg sync.WaitGroup
	for client := range 6 {
		s := stores[client%len(stores)]
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(client), uint64(start.UnixNano())))
			seen := map[presence.Entity]uint64{}
			for n := range each {
				u := users[r.IntN(len(users))]
				c := historyCall{user: u, kind: opKind(r.IntN(6)), expect: seen[u], body: fmt.Sprint(client, ".", n), contact: r.IntN(4)}
				o := porcupine.Operation{ClientId: client, Input: c, Call: int64(time.Since(start))}
				a, err := perform(t.Context(), s, c, r.IntN(2) == 0)
				o.Return = int64(time.Since(start))
				switch {
				case errors.Is(err, ErrUnknown):
					a = historyAnswer{unknown: true}
					o.Return = 1 << 62 // it may happen at any time from now on
				case err != nil:
					continue // it has not happened
				case c.kind == readDocument || c.kind == writeDocument && !a.refused:
					seen[u] = a.version
				}
				o.Output = a
				mu.Lock()
				ops = append(ops, o)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return ops
}

func linearizable(t *testing.T, ops []porcupine.Operation) {
	t.Helper()
	unknown, written := 0, 0
	for _, o := range ops {
		a, c := o.Output.(historyAnswer), o.Input.(historyCall)
		if a.unknown {
			unknown++
		} else if c.kind == writeDocument && !a.refused {
			written++
		}
	}
	if written < 10 {
		t.Errorf("%d documents were written: too few to say anything", written)
	}
	t.Logf("%d operations, %d with unknown outcome, %d documents written", len(ops), unknown, written)
	if r := porcupine.CheckOperationsTimeout(historyModel, ops, 30*time.Second); r != porcupine.Ok {
		t.Errorf("the history is not linearizable: %v", r)
	}
}

// Documents and roster sets of several nodes are linearizable.
func TestHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		linearizable(t, history(t, []*Store{s.Node(), s.Node()}, 120))
	})
	t.Run("processes", func(t *testing.T) {
		a, b := openTwo(t)
		linearizable(t, history(t, []*Store{a, b}, 120))
	})
}

// They are when connections are lost at any moment.
func TestHistoryWithTrouble(t *testing.T) {
	a, b := openTwo(t)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for n := range 12 {
			time.Sleep(time.Duration(20+10*n) * time.Millisecond)
			adminExec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pharos'`)
		}
	}()
	ops := history(t, []*Store{a, b}, 120)
	<-killed
	linearizable(t, ops)
}

// The model itself finds what is wrong.
func TestHistoryModel(t *testing.T) {
	write := historyCall{user: alice, kind: writeDocument, body: "x"}
	read := historyCall{user: alice, kind: readDocument}
	none := historyAnswer{refused: true}
	for what, c := range map[string]struct {
		ops []porcupine.Operation
		ok  bool
	}{
		"read after write": {[]porcupine.Operation{
			{ClientId: 0, Input: write, Call: 0, Output: historyAnswer{version: 1}, Return: 1},
			{ClientId: 1, Input: read, Call: 2, Output: historyAnswer{version: 1, body: "x"}, Return: 3}}, true},
		"stale read": {[]porcupine.Operation{
			{ClientId: 0, Input: write, Call: 0, Output: historyAnswer{version: 1}, Return: 1},
			{ClientId: 1, Input: read, Call: 2, Output: none, Return: 3}}, false},
		"lost update": {[]porcupine.Operation{
			{ClientId: 0, Input: write, Call: 0, Output: historyAnswer{version: 1}, Return: 5},
			{ClientId: 1, Input: write, Call: 0, Output: historyAnswer{version: 1}, Return: 5}}, false},
		"unknown write that is never seen": {[]porcupine.Operation{
			{ClientId: 0, Input: write, Call: 0, Output: historyAnswer{unknown: true}, Return: 1 << 62},
			{ClientId: 1, Input: read, Call: 2, Output: none, Return: 3}}, true},
		"unknown write that is seen and then not": {[]porcupine.Operation{
			{ClientId: 0, Input: write, Call: 0, Output: historyAnswer{unknown: true}, Return: 1 << 62},
			{ClientId: 1, Input: read, Call: 2, Output: historyAnswer{version: 1, body: "x"}, Return: 3},
			{ClientId: 1, Input: read, Call: 4, Output: none, Return: 5}}, false},
	} {
		if got := porcupine.CheckOperations(historyModel, c.ops); got != c.ok {
			t.Errorf("%s: %v", what, got)
		}
	}
}
