package transfer

import (
	"errors"
	"time"

	"pharos/presence"
)

// AppendOutcome appends what the caller of a step is told: Tag, Lifetime and State.
func AppendOutcome(b []byte, o *presence.Outcome) []byte {
	b, at := open(b)
	b = AppendString(b, o.Tag)
	b = AppendInt(b, int64(o.Lifetime))
	b = AppendUint(b, uint64(o.State))
	return shut(b, at)
}

// Outcome is what the caller of a step is told.
func (r *Reader) Outcome() (o presence.Outcome) {
	rest := r.enter()
	o.Tag = r.String()
	o.Lifetime = time.Duration(r.Int())
	o.State = presence.State(r.byte())
	r.leave(rest)
	return o
}

// Errors numbers the errors that errors.Is finds on the other side too; all others
// arrive as their text. Numbers below 16 are package presence's, and there already.
// A number is never used again.
type Errors map[uint64]error

var domainErrors = Errors{1: presence.ErrNoMatch, 2: presence.ErrNoSubscription, 3: presence.ErrTooMany, 4: presence.ErrAssume, 5: presence.ErrOvertaken}

// maxErrors is how many sentinels one error carries.
const maxErrors = 8

// Append appends an error, which may be nil.
func (e Errors) Append(b []byte, err error) []byte {
	if err == nil {
		return append(b, 0)
	}
	b, at := open(b)
	var found [maxErrors]uint64
	n := 0
	for _, es := range [...]Errors{domainErrors, e} {
		for code, is := range es {
			if n < len(found) && errors.Is(err, is) {
				found[n] = code
				n++
			}
		}
	}
	b = AppendString(b, err.Error())
	b = AppendUint(b, uint64(n))
	for _, code := range found[:n] {
		b = AppendUint(b, code)
	}
	return shut(b, at)
}

// Read reads an error. One that was nothing but a sentinel is that itself.
func (e Errors) Read(r *Reader) error {
	rest := r.enter()
	defer r.leave(rest)
	if !r.More() {
		return nil
	}
	f := &foreign{text: r.String()}
	for range min(r.count(), maxErrors) {
		code := r.Uint()
		is := domainErrors[code]
		if is == nil {
			is = e[code]
		}
		if is != nil {
			f.is = append(f.is, is)
		}
	}
	if len(f.is) == 1 && f.is[0].Error() == f.text {
		return f.is[0]
	}
	return f
}

// foreign is an error of another node.
type foreign struct {
	text string
	is   []error
}

func (f *foreign) Error() string   { return f.text }
func (f *foreign) Unwrap() []error { return f.is }
