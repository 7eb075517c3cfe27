package presence

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// drawTransform draws a set of permissions that fits drawDocument.
func drawTransform(t *rapid.T, what string) *Transform {
	some := func(name string, of ...string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(of), 0, 2).Draw(t, what+" "+name)
	}
	yes := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, what+" "+name) == 0 }
	s := &Transform{Attributes: map[string]bool{}, Unknown: map[Unknown]bool{},
		AllAttributes: yes("all"), UserInput: UserInputLevel(rapid.IntRange(0, 3).Draw(t, what+" input")),
		Devices:  Selection{All: yes("devices"), Class: some("device class", "work", "home"), OccurrenceID: some("device id", "d1"), DeviceID: some("device", "URN:uuid:AB")},
		Persons:  Selection{All: yes("persons"), Class: some("person class", "work", "home"), OccurrenceID: some("person id", "p1")},
		Services: Selection{All: yes("services"), Class: some("service class", "work", "home"), OccurrenceID: some("tuple id", "t1"), ServiceURI: some("uri", "sip:a@EXAMPLE.com"), ServiceScheme: some("scheme", "sip", "mailto")},
	}
	for _, a := range Attributes {
		s.Attributes[a] = rapid.Bool().Draw(t, what+" "+a)
	}
	for _, u := range []Unknown{{"urn:x", "foo"}, {"urn:x", "bar"}, {"urn:ietf:params:xml:ns:pidf:rpid", "mood"}} {
		s.Unknown[u] = rapid.Bool().Draw(t, what+" "+u.Local)
	}
	return s
}

func TestTransformNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTransform(t, "a"), drawTransform(t, "b")
		name := a.Name()
		if back := named(name); name != "" && back.Name() != name {
			t.Fatalf("%s is read as %s", name, back.Name())
		}
		// However it is written.
		w := *a
		w.Devices.Class = append([]string{}, append(a.Devices.Class, a.Devices.Class...)...)
		w.Attributes = maps.Clone(a.Attributes)
		w.Attributes["nothing known"] = true
		if w.AllAttributes {
			w.UserInput, w.Unknown = BareUserInput, nil
		}
		if w.Name() != name {
			t.Fatalf("%s and %s", w.Name(), name)
		}
		ab, ba := a.Union(b), b.Union(a)
		if ab.Name() != ba.Name() || a.Union(a).Name() != name || ab.Union(a).Name() != ab.Name() {
			t.Fatalf("%s and %s make %s or %s", name, b.Name(), ab.Name(), ba.Name())
		}
	})
	everything := &Transform{Devices: Selection{All: true}, Persons: Selection{All: true, Class: []string{"x"}}, Services: Selection{All: true}, AllAttributes: true}
	var none *Transform
	if everything.Name() != "" || none.Name() != "" || (&Transform{}).Union(none) != nil {
		t.Error("everything has a name")
	}
	for _, bad := range []string{"{", "null", "[]", `{"UserInput":"x"}`} {
		if n := named(bad).Name(); n != "{}" {
			t.Errorf("%s permits %s", bad, n)
		}
	}
}

func TestHides(t *testing.T) {
	all := Selection{All: true}
	attributes := map[string]bool{}
	for _, a := range Attributes {
		attributes[a] = a != "mood"
	}
	for _, c := range []struct {
		h    Handling
		t    *Transform
		want string
	}{
		{Allow, nil, ""},
		{Allow, &Transform{Services: all, Persons: all, AllAttributes: true}, "all devices"},
		{Allow, &Transform{Services: Selection{ServiceScheme: []string{"sip"}, ServiceURI: []string{"x:y"}}, Persons: Selection{Class: []string{"work"}}, Devices: all, AllAttributes: true},
			"services other than x:y, scheme sip; persons other than class work"},
		{Allow, &Transform{Services: all, Persons: all, Devices: all, Attributes: attributes, UserInput: ThresholdUserInput, Unknown: map[Unknown]bool{{"urn:x", "foo"}: true}},
			"mood; last-input of user-input; extensions other than foo"},
		{Allow, &Transform{}, "all services; all persons; all devices; " + strings.Join(Attributes[:], "; ") + "; user-input; extensions"},
		{PoliteBlock, nil, "everything: to it the user is not available"},
		{Confirm, nil, "everything"},
	} {
		if got := strings.Join(Class{c.h, c.t.Name()}.Hides(), "; "); got != c.want {
			t.Errorf("%s hides %s\nwant %s", c.t.Name(), got, c.want)
		}
	}
}

// A policy knows the Transform of every class that it decides, and of others, and
// remembers no more than so many.
func TestPolicyTransforms(t *testing.T) {
	p := &Policy{}
	for i := range 12 { // each watcher is in its own set of rules
		w := ones()
		for k := range 1 << 12 {
			if k&(1<<i) != 0 {
				w.One[user(fmt.Sprint("w", k))] = struct{}{}
			}
		}
		p.Rules = append(p.Rules, Rule{ID: fmt.Sprint(i), Identity: [][]Identity{{w}}, Handling: Allow,
			Shows: &Transform{Persons: Selection{Class: []string{fmt.Sprint(i)}}}})
	}
	if p.Transform("") != nil {
		t.Error("everything is something")
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for k := g; k < 1<<12; k += 3 {
				d := Decide(p, user("alice"), user(fmt.Sprint("w", k)), Circumstances{})
				if k == 0 {
					continue
				}
				tr := p.Transform(d.Class.Shown)
				for i := range 12 {
					if (strings.Contains(" "+strings.Join(tr.Persons.Class, " ")+" ", fmt.Sprint(" ", i, " "))) != (k&(1<<i) != 0) {
						t.Errorf("w%d sees %v", k, tr.Persons.Class)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if len(p.made.unions) > maxMade || len(p.made.byName) > maxMade {
		t.Errorf("%d unions, %d transforms", len(p.made.unions), len(p.made.byName))
	}
}
