package transfer

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pharos/presence"
)

// filler gives every exported field of a value something of its own, so that what is not
// carried is missed.
type filler struct {
	n int
	// notCarried are fields that stay behind on purpose, as Type.Field.
	notCarried []string
}

func (f *filler) next() int {
	f.n++
	return f.n
}

func (f *filler) fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(int64(1_000_000+f.next()), int64(f.n)).UTC()
		return
	case **presence.View:
		*x = f.view()
		return
	case **presence.Source:
		var s presence.Source
		f.fields(reflect.ValueOf(&s).Elem())
		*x = s.Marked(uint64(f.next()))
		return
	case *presence.Explanation:
		f.fields(v)
		var near presence.Near
		f.fill(reflect.ValueOf(&near).Elem())
		x.SetNear(near)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("s", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.next()))
	case reflect.Uint8:
		v.SetUint(uint64(f.next()%250 + 1))
	case reflect.Uint64:
		v.SetUint(uint64(f.next()) << 40)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		f.fields(v)
	default:
		panic("how is a " + v.Type().String() + " filled?")
	}
}

func (f *filler) fields(v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		stays := false
		for _, n := range f.notCarried {
			stays = stays || n == t.Name()+"."+t.Field(i).Name
		}
		if t.Field(i).IsExported() && !stays {
			f.fill(v.Field(i))
		}
	}
}

// view has its Doc as it is always made.
func (f *filler) view() *presence.View {
	v := &presence.View{}
	f.fields(reflect.ValueOf(v).Elem())
	var x presence.Parts
	f.fill(reflect.ValueOf(&x).Elem())
	v.Assemble(x)
	v.Doc = nil
	if f.next()%2 == 0 {
		v.Package = ""
		v.Doc = presence.Compose(append(v.Sources[:len(v.Sources):len(v.Sources)], x.Persons...))
	}
	return v
}

func filled[T any](notCarried ...string) T {
	var x T
	f := filler{notCarried: notCarried}
	f.fill(reflect.ValueOf(&x).Elem())
	return x
}

func reader(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func same(t *testing.T, what string, got, want any, r *Reader) {
	t.Helper()
	if r.Err() != nil || r.More() {
		t.Fatalf("%s: %v, more %v", what, r.Err(), r.More())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// TestCarries: whatever is exported arrives. A field that was added to a type fails
// here until it is carried, or named as not to be.
func TestCarries(t *testing.T) {
	for _, in := range []presence.Input{filled[presence.Publish](), filled[presence.Retract](), filled[presence.Direct](), filled[presence.Watch](),
		filled[presence.Unwatch](), filled[presence.Keep](), filled[presence.Renotify](), filled[presence.Remove](), filled[presence.Touch]()} {
		b, err := AppendInput(Begin(nil), in)
		if err != nil {
			t.Fatal(err)
		}
		r := reader(t, b)
		same(t, fmt.Sprintf("%T", in), r.Input(), in, r)
	}

	o := filled[presence.Outcome]("Outcome.Saves", "Outcome.Notices", "Outcome.Watchers", "Outcome.Adopted")
	r := reader(t, AppendOutcome(Begin(nil), &o))
	same(t, "Outcome", r.Outcome(), o, r)

	src := filled[*presence.Source]()
	r = reader(t, AppendSource(Begin(nil), src))
	same(t, "Source", r.Source(), src, r)

	ws := filled[[]presence.Watcher]()
	r = reader(t, AppendWatchers(Begin(nil), ws))
	same(t, "Watchers", r.Watchers(), ws, r)

	x := filled[presence.Explanation]()
	r = reader(t, AppendExplanation(Begin(nil), &x))
	same(t, "Explanation", r.Explanation(), x, r)

	h := filled[*presence.Holding]()
	r = reader(t, AppendHolding(Begin(nil), h))
	same(t, "Holding", r.Holding(), h, r)

	// Target.Shown is what the mirror knows. A view is told, or a source shows itself.
	n := filled[*presence.Notice]("Target.Shown", "Notice.Direct")
	b, next := AppendNotice(Begin(nil), n, 0, 1<<20)
	r = reader(t, b)
	same(t, "Notice", NewMirror().Notices(r), []*presence.Notice{n}, r)
	d := filled[*presence.Notice]("Target.Shown", "Notice.View")
	b, _ = AppendNotice(Begin(nil), d, 0, 1<<20)
	r = reader(t, b)
	same(t, "Notice, direct", NewMirror().Notices(r), []*presence.Notice{d}, r)
	if next != 0 {
		t.Error("more to come:", next)
	}
}

// TestCarriesNothing: zero values arrive as such.
func TestCarriesNothing(t *testing.T) {
	for _, in := range []presence.Input{presence.Publish{}, presence.Retract{}, presence.Direct{}, presence.Watch{}, presence.Unwatch{}, presence.Keep{}, presence.Touch{},
		presence.Publish{Doc: &presence.Document{Persons: []presence.Person{{Rich: presence.Rich{Mood: &presence.Values{}}}}}}} {
		b, _ := AppendInput(Begin(nil), in)
		r := reader(t, b)
		same(t, fmt.Sprintf("%T", in), r.Input(), in, r)
	}
	h := &presence.Holding{}
	r := reader(t, AppendHolding(Begin(nil), h))
	same(t, "Holding", r.Holding(), h, r)
	n := &presence.Notice{Targets: []presence.Target{{}}}
	b, _ := AppendNotice(Begin(nil), n, 0, 0)
	r = reader(t, b)
	same(t, "Notice", NewMirror().Notices(r), []*presence.Notice{n}, r)
}

func TestNotCarried(t *testing.T) {
	for _, in := range []presence.Input{presence.SetPolicy{}, presence.Restore{}, presence.Undo{}, presence.Tick{}, presence.Depart{}, presence.Assume{}} {
		if _, err := AppendInput(nil, in); !errors.Is(err, ErrKind) {
			t.Errorf("%T: %v", in, err)
		}
	}
	r := reader(t, append(Begin(nil), 99, 0))
	if in := r.Input(); in != nil || !errors.Is(r.Err(), ErrKind) {
		t.Error(in, r.Err())
	}
}

func TestVersion(t *testing.T) {
	_, err := Open([]byte{Version + 1, 0})
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "2") {
		t.Error(err)
	}
	if _, err := Open(nil); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// TestNewerAndOlder: a record with more fields than are known is read, and one with
// fewer.
func TestNewerAndOlder(t *testing.T) {
	o := presence.Outcome{Tag: "t", Lifetime: time.Hour, State: presence.Pending}
	b := AppendOutcome(nil, &o)
	newer := append(Begin(nil), b[0]+4)
	newer = append(append(newer, b[1:]...), "more"...)
	newer = AppendString(newer, "next")
	r := reader(t, newer)
	if got := r.Outcome(); !reflect.DeepEqual(got, o) || r.String() != "next" || r.Err() != nil {
		t.Errorf("newer: %+v, %v", got, r.Err())
	}
	older := append(Begin(nil), b[0]-1)
	older = append(older, b[1:len(b)-1]...)
	older = AppendString(older, "next")
	r = reader(t, older)
	o.State = 0
	if got := r.Outcome(); !reflect.DeepEqual(got, o) || r.String() != "next" || r.Err() != nil {
		t.Errorf("older: %+v, %v", got, r.Err())
	}
}

func TestErrors(t *testing.T) {
	own := errors.New("engine: overloaded")
	es := Errors{16: own}
	carry := func(err error) error {
		r := reader(t, es.Append(Begin(nil), err))
		got := es.Read(r)
		if r.Err() != nil || r.More() {
			t.Fatal(r.Err())
		}
		return got
	}
	for _, err := range []error{nil, presence.ErrNoMatch, presence.ErrNoSubscription, presence.ErrTooMany, presence.ErrAssume, own} {
		if got := carry(err); got != err {
			t.Errorf("%v came as %v", err, got)
		}
	}
	wrapped := fmt.Errorf("engine: not saved: %w", errors.Join(own, presence.ErrTooMany))
	got := carry(wrapped)
	if got.Error() != wrapped.Error() || !errors.Is(got, own) || !errors.Is(got, presence.ErrTooMany) || errors.Is(got, presence.ErrNoMatch) {
		t.Errorf("%v", got)
	}
	if got := carry(errors.New("who knows")); got.Error() != "who knows" {
		t.Error(got)
	}
}

// TestPrimitives has the edges of the numbers.
func TestPrimitives(t *testing.T) {
	far := time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	b := Begin(nil)
	b = AppendUint(b, 1<<64-1)
	b = AppendInt(b, -1<<63)
	b = AppendTime(b, far)
	b = AppendTime(b, time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC))
	b = appendStamp(b, far.In(time.FixedZone("", -3600)))
	long := strings.Repeat("x", 300)
	var at int
	b, at = open(b)
	b = shut(AppendString(b, long), at)
	r := reader(t, b)
	if n := r.Uint(); n != 1<<64-1 {
		t.Error(n)
	}
	if n := r.Int(); n != -1<<63 {
		t.Error(n)
	}
	if at := r.Time(); !at.Equal(far) {
		t.Error(at)
	}
	if at := r.Time(); at.Year() != 1 || at.IsZero() {
		t.Error(at)
	}
	if at := r.stamp(); at.Format(time.RFC3339) != "9999-12-31T22:59:59-01:00" {
		t.Error(at)
	}
	rest := r.enter()
	if r.String() != long || r.More() {
		t.Error("long record")
	}
	r.leave(rest)
	if r.Uint() != 0 || r.String() != "" || r.Err() != nil {
		t.Error("behind the end")
	}
	for name, bad := range map[string][]byte{"length": {9, 'x'}, "number": {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, "cut": {0x80}} {
		r := reader(t, append(Begin(nil), bad...))
		if s := r.String(); s != "" || !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: %q, %v", name, s, r.Err())
		}
	}
}
