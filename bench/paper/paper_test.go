package paper

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pharos/store/postgrestest"
)

// The experiment in a small form: the load control adds as many servers as the paper has, users are
// spread evenly over them, and everything that is asked for comes. Nothing is said about time.
func TestExperiment(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "pharos")
	if out, err := exec.Command("go", "build", "-o", bin, "pharos/cmd/pharos").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	o := Options{Bin: bin, Users: []int{4, 12}, Limits: []int{4, 8}, Resources: 3, Cores: 0.4, Rounds: 1, Size: 6000, Tick: 20 * time.Millisecond, Log: t.Output()}
	if g, err := newGroup("test", o.Cores); err != nil {
		t.Log("without quotas:", err)
		o.Cores = -1
	} else if err := g.remove(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	if errors.Is(err, postgrestest.ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Spreads) != 6 || len(r.Rounds) != goes*10 {
		t.Errorf("%d spreads, %d rounds", len(r.Spreads), len(r.Rounds))
	}
	for _, s := range r.Spreads {
		want := 1
		if s.Limit > 0 {
			want = (s.Users + s.Limit - 1) / s.Limit
		}
		if len(s.Homes) != want || slices.Max(s.Homes)-slices.Min(s.Homes) > 1 {
			t.Errorf("maximum %d: %d users are on servers %v, want %d servers", s.Limit, s.Users, s.Homes, want)
		}
	}
	for _, x := range r.Rounds {
		if x.Mean <= 0 || x.Last < x.P99 || x.P99 < x.Mean/2 {
			t.Errorf("%+v", x)
		}
	}
	for _, x := range r.Rows() {
		if x.Servers != (x.Users+x.Limit-1)/x.Limit {
			t.Errorf("%+v", x)
		}
	}
}

func TestSplitter(t *testing.T) {
	const stream = "<?xml version='1.0'?><stream:stream to='>'><a b='/>'>x<c/>y</a> <d/><e>&gt;</e>"
	want := []string{"<?xml version='1.0'?><stream:stream to='>'>", "<a b='/>'>x<c/>y</a>", "<d/>", "<e>&gt;</e>"}
	for part := 1; part < len(stream); part++ {
		s := &splitter{}
		c := &slow{text: stream, part: part}
		for _, w := range want {
			if e, err := s.next(c); err != nil || string(e) != w {
				t.Fatalf("by %d: %q, %v, want %q", part, e, err, w)
			}
		}
	}
}

// slow is read in parts.
type slow struct {
	text string
	part int
}

func (s *slow) Read(b []byte) (int, error) {
	n := copy(b, s.text[:min(s.part, len(s.text))])
	s.text = s.text[n:]
	return n, nil
}
