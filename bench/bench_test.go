package bench

import (
	"context"
	"testing"

	"pharos/store/postgrestest"
)

// Every measurement runs, in a short form, so that none can rot. Nothing is
// said about speed here.
func TestMeasurementsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts server processes")
	}
	bin, err := BuildIn(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	each := func(r Row) {
		rows++
		if r.Events == 0 {
			t.Errorf("%s: nothing was measured", r.Name)
		}
	}
	if err := SIP(context.Background(), Pharos(bin), 0.01, false, nil, each); err != nil {
		t.Error(err)
	}
	if err := XMPP(context.Background(), Pharos(bin), 0.01, false, each); err != nil {
		t.Error(err)
	}
	if err := Documents(context.Background(), bin, 0.01, each); err != nil {
		t.Error(err)
	}
	if rows != 15 {
		t.Errorf("%d rows, want 15", rows)
	}
}

// The same for several nodes; with -short in half a minute.
func TestClusterMeasurementsRun(t *testing.T) {
	bin, err := BuildIn(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	parts := ClusterMeasures()
	if testing.Short() {
		parts = []string{"latency", "fanout", "move", "takeover"}
	}
	for _, part := range parts {
		t.Run(part, func(t *testing.T) {
			findings := 0
			err := Cluster(t.Context(), bin, part, 0.01, func(f Finding) {
				findings++
				t.Log(f)
				if f.Events == 0 || f.Result == "" {
					t.Errorf("%s: nothing was measured", f.Name)
				}
			})
			if postgrestest.MaySkip(err) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
			if findings == 0 {
				t.Error("nothing was measured")
			}
		})
	}
}

func TestSplitOne(t *testing.T) {
	for in, want := range map[string]int{
		"<a/>":                                 4,
		"<a><b/></a><c/>":                      11,
		"<a x='>'>text</a>":                    17,
		"<a><b>":                               0,
		"<stream:stream to='x'><y/>":           22,
		"<?xml version='1.0'?><stream:stream>": 36,
		"<message from=\"a\"><body>x</body>":   0,
	} {
		if got := splitOne([]byte(in)); got != want {
			t.Errorf("%s: %d, want %d", in, got, want)
		}
	}
}
