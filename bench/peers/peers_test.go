package peers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/bench"
)

// The test's own program is the bare loop when it is called so.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-echo" {
		if err := bench.Echo(os.Args[2]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every generator loads every server, briefly. Nothing is said about speed here.
func TestPeersRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts server processes")
	}
	bin, err := bench.BuildIn(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range Worlds(bin) {
		t.Run(w.Name, func(t *testing.T) {
			_, err := Versions(t.Context(), w.Contenders)
			if errors.Is(err, ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			// The three fan-outs differ in a number only, and a warm heap is of no use here.
			w.Works = slices.DeleteFunc(w.Works, func(k Work) bool { return k.Name == "fan-out 1" || k.Name == "fan-out 200" })
			for i, c := range w.Contenders {
				w.Contenders[i].Launch = func(ctx context.Context, p bench.Population) (bench.Target, error) {
					p.Weighed = true
					return c.Launch(ctx, p)
				}
			}
			rs, err := Compare(t.Context(), w.Works, w.Contenders, Options{Self: os.Args[0], Runs: 1, Scale: 0.03,
				Progress: func(done, of int, now string) { t.Logf("%d of %d: %s", done, of, now) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(Failures(rs)) // of others' programs; on a machine with much else to do they give up at times
			for _, r := range rs {
				measured := map[string]bool{}
				for _, c := range w.Contenders {
					if rows := r.Rows[c.Name]; len(rows) == 1 && rows[0].Events > 0 {
						measured[c.Of] = true
					}
				}
				for _, c := range w.Contenders {
					if !measured[c.Of] {
						t.Errorf("%s: %s: nothing was measured", r.Name, c.Of)
					}
				}
				if r.Work.Bare != nil && (len(r.Bare) != 1 || r.Bare[0].Events == 0) {
					t.Errorf("%s: no bare loop", r.Name)
				}
			}
			if len(Lines(rs, w.Contenders)) < len(rs) {
				t.Error("lines are missing")
			}
		})
	}
}

func TestCompare(t *testing.T) {
	var order []string
	made := func(name, of string, cpu ...time.Duration) Contender {
		k := 0
		return Contender{Name: name, Of: of, Keeps: "nothing", Launch: func(context.Context, bench.Population) (bench.Target, error) {
			order = append(order, name)
			k++
			return fake{cpu: cpu[k-1]}, nil
		}}
	}
	all := []Contender{made("Pharos", Ours, 100, 300, 200), made("A", "A", 900, 900, 900), made("A, tuned", "A", 500, 600, 700), made("B", "B", 100, 100, 100)}
	works := []Work{{Name: "work", Metrics: []Metric{CPU("CPU", map[string]float64{"A": 3}), Rate("rate", nil)},
		Run: func(ctx context.Context, start bench.Launch, _ float64) (bench.Row, error) {
			s, err := start(ctx, bench.Population{})
			if err != nil {
				return bench.Row{}, err
			}
			cpu, err := s.CPU()
			return bench.Row{Events: 1, CPU: cpu * time.Microsecond, Wall: time.Second, Own: 200 * time.Microsecond}, err
		},
		Bare: func(context.Context, string, bench.Row, float64) (bench.Row, error) {
			order = append(order, "bare")
			return bench.Row{Events: 1, CPU: 50 * time.Microsecond, Wall: time.Second}, nil
		}}}
	rs, err := Compare(t.Context(), works, all, Options{Runs: 3})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), strings.TrimSpace(strings.Repeat("Pharos A A, tuned B bare ", 3)); got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	ls := Lines(rs, all)
	if len(ls) != 2 || len(ls[0].Verdicts) != 2 {
		t.Fatalf("lines %+v", ls)
	}
	cpu := ls[0]
	if cpu.Ours != (Figure{200, 100, 300}) || cpu.Load != 0.5 || cpu.Bare == nil || cpu.Bare.Median != 50 {
		t.Errorf("ours %+v", cpu)
	}
	if a, b := cpu.Verdicts[0], cpu.Verdicts[1]; a.By != "A, tuned" || a.Its != (Figure{600, 500, 700}) || a.Times != 3 || !a.Kept() || b.Times != 0.5 || b.Kept() {
		t.Errorf("verdicts %+v", cpu.Verdicts)
	}
	table := Table(ls, all)
	for _, want := range []string{
		"| measurement | Pharos | A | Pharos is better, times; goal | B |",
		"| work: CPU | **200 µs** (100..300) | 600 µs (500..700), tuned | **3.00**; 3: kept | 100 µs | **0.50**; ahead: **not kept** | 50.0 µs; 4× | 50 %; 0.00 |",
		"Pharos: nothing; A: nothing",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	svg := string(Chart("a & b", "today\n\n", ls))
	if strings.Count(svg, "<rect") != 1+4+3 || !strings.Contains(svg, "a &amp; b") || !strings.Contains(svg, ">today<") {
		t.Errorf("chart\n%s", svg)
	}
	// A third of 600 and all of 100 are to be kept; the scale is 600.
	if goal := ls[0].goal(); goal != 100 || !strings.Contains(svg, `<line x1="390.0"`) {
		t.Errorf("the goal is at %v in\n%s", goal, svg)
	}
}

// A peer that gives up costs its own figures only, and its next run has a new server; that ours does is an error.
func TestPeerFails(t *testing.T) {
	launched := map[string]int{}
	breaks := map[string]int{"A": 99, "A, tuned": 1, "B": 99} // how many of their runs fail
	contender := func(name, of string, cpu time.Duration) Contender {
		return Contender{Name: name, Of: of, Launch: func(context.Context, bench.Population) (bench.Target, error) {
			launched[name]++
			return fake{cpu: cpu, breaks: breaks[name] >= launched[name]}, nil
		}}
	}
	all := []Contender{contender("Pharos", Ours, 100), contender("A", "A", 200), contender("A, tuned", "A", 300), contender("B", "B", 400)}
	works := []Work{{Name: "work", Metrics: []Metric{CPU("CPU", nil)}, Shared: func(float64) bench.Population { return bench.Population{} },
		Run: func(ctx context.Context, start bench.Launch, _ float64) (bench.Row, error) {
			s, err := start(ctx, bench.Population{})
			if err != nil {
				return bench.Row{}, err
			}
			f := s.(*bench.Lasting).Target.(fake)
			if f.breaks {
				return bench.Row{}, errors.New("nothing came")
			}
			return bench.Row{Events: 1, CPU: f.cpu * time.Microsecond, Wall: time.Second}, nil
		}}}
	rs, err := Compare(t.Context(), works, all, Options{Runs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if launched["Pharos"] != 1 || launched["A"] != 4 || launched["A, tuned"] != 2 || launched["B"] != 4 {
		t.Errorf("launched %v", launched)
	}
	ls := Lines(rs, all)
	if len(ls) != 1 || len(ls[0].Verdicts) != 1 || ls[0].Verdicts[0].By != "A, tuned" || ls[0].Verdicts[0].Times != 3 {
		t.Errorf("lines %+v", ls)
	}
	said := Failures(rs)
	for _, want := range []string{"A failed in \"work\", 2 times: nothing came.", "B failed in \"work\", 2 times: nothing came."} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if strings.Contains(said, "tuned") {
		t.Errorf("said of one who has done it the second time: %s", said)
	}
	breaks["Pharos"] = 99
	if _, err := Compare(t.Context(), works, all, Options{Runs: 1}); err == nil {
		t.Error("ours failed, and nothing is said")
	}
}

type fake struct {
	cpu    time.Duration
	breaks bool
}

func (f fake) Addr(string) string          { return "" }
func (f fake) CPU() (time.Duration, error) { return f.cpu, nil }
func (f fake) Memory() (int64, error)      { return 0, nil }
func (f fake) Stop() error                 { return nil }

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	readme, chart := filepath.Join(dir, "README.md"), filepath.Join(dir, "peers.svg")
	const marks = "a\n<!-- peers, sip: written by make peers -->\nold\n<!-- end of peers, sip -->\nz\n"
	if err := os.WriteFile(readme, []byte(marks), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(readme, "xmpp", chart, "text", nil); err == nil {
		t.Error("written where no markers are")
	}
	if err := Write(readme, "sip", chart, "text\n", []byte("<svg/>")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b), strings.Replace(marks, "old\n", "\ntext\n\n", 1); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if b, err := os.ReadFile(chart); err != nil || string(b) != "<svg/>" {
		t.Errorf("chart %q, %v", b, err)
	}
}
