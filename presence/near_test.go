package presence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNear(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	bob, carol := user("bob"), user("carol")
	many := func(domain string, except ...Identity) [][]Identity {
		return [][]Identity{{{Domain: domain, Except: except}}}
	}
	barren := [][]Identity{{{One: map[Entity]struct{}{}, Barren: []string{"x/foes"}}}}
	other := [][]Identity{{{Other: true}}}
	for _, c := range []struct {
		name   string
		rules  []Rule
		sphere string
		fails  string
		why    string // of the first
	}{
		{"holds", []Rule{{Identity: one(bob)}}, "", "", ""},
		{"another sphere", []Rule{{Identity: one(bob), Spheres: []string{"home", "pub"}}}, "work", "sphere",
			`its sphere is "home" or "pub", and the user's is "work"`},
		{"no sphere known", []Rule{{Spheres: []string{"home"}}}, "", "sphere",
			`its sphere is "home", and the user's is not known: no device tells one, or they do not agree`},
		{"no sphere named", []Rule{{Spheres: []string{}}}, "home", "sphere", "it is for no sphere at all"},
		{"many spheres", []Rule{{Spheres: strings.Fields("a b c d e f g")}}, "x", "sphere",
			`its sphere is "a" or "b" or "c" or "d" or "e" or others, and the user's is "x"`},
		{"sphere holds", []Rule{{Spheres: []string{"Home"}}}, "home", "", ""},
		{"early", []Rule{{Identity: one(bob), Validity: []Span{{hour(2), hour(3)}, {hour(1), hour(2)}}}}, "", "validity", "it is not valid before 2026-11-22T13:00:00Z"},
		{"late", []Rule{{Identity: one(bob), Validity: []Span{{hour(-3), hour(0)}}}}, "", "validity", "it is not valid since 2026-11-22T12:00:00Z"},
		{"between", []Rule{{Identity: one(bob), Validity: []Span{{hour(-3), hour(-1)}, {hour(4), time.Time{}}}}}, "", "validity",
			"it is not valid from 2026-11-22T11:00:00Z until 2026-11-22T16:00:00Z"},
		{"never valid", []Rule{{Validity: []Span{}}}, "", "validity", "it is valid at no time"},
		{"ends before it begins", []Rule{{Validity: []Span{{hour(2), hour(1)}}}}, "", "validity", "it is valid at no time"},
		{"unknown before the rest", []Rule{{Never: true, Unknown: `<moon> of "urn:x"`, Spheres: []string{"a"}}}, "", "unknown",
			`it has the condition <moon> of "urn:x", which this server does not know`},
		{"excepted", []Rule{{Identity: many("", ones(carol), ones(bob)), Spheres: []string{"a"}}}, "", "except", "an <except> names this watcher"},
		{"domain excepted", []Rule{{Identity: many("", Identity{Domain: bob.Domain})}}, "", "except", `an <except> names its domain, "example.com"`},
		{"another domain, and excepted from it", []Rule{{Identity: many("example.org", ones(bob))}}, "", "identity", ""},
		{"external list", []Rule{{Identity: barren}}, "", "list", `the external list "x/foes" has no members here, or leads nowhere`},
		{"external list of others", []Rule{{Identity: [][]Identity{{{One: ones(carol).One}}}}}, "", "identity", ""},
		{"external list without address", []Rule{{Identity: [][]Identity{{{One: map[Entity]struct{}{}}}}}}, "", "nobody", "its external list names none"},
		{"nobody", []Rule{{Identity: [][]Identity{{}}}}, "", "nobody", "its identity names nobody whom this server could take for a watcher"},
		{"anonymous", []Rule{{Identity: [][]Identity{{{Anonymous: true}}}}}, "", "identity", ""},
		{"the nearest identity of a rule", []Rule{{Identity: [][]Identity{{ones(carol), barren[0][0], many("", ones(bob))[0][0]}}}}, "", "except", "an <except> names this watcher"},
		{"the first group that fails", []Rule{{Identity: [][]Identity{{ones(bob)}, {ones(carol)}}}}, "", "identity", ""},
		{"other identity", []Rule{{Identity: other}, {Identity: one(bob), Rank: Named}}, "", "other-identity",
			"it is for those whom no rule names, and one names this watcher"},
		{"rank", []Rule{{Rank: Unreferenced}, {ID: "n", Line: 7, Identity: one(bob), Rank: Named}}, "", "rank", `rule "n" (line 7) is of a higher rank`},
		{"the nearest first", []Rule{{Identity: [][]Identity{{}}}, {Identity: barren}, {Identity: many("", ones(bob))}, {Identity: one(carol)},
			{Never: true}, {Validity: []Span{}}, {Spheres: []string{"home"}}}, "work",
			"sphere validity unknown except list nobody identity", `its sphere is "home", and the user's is "work"`},
	} {
		p := &Policy{Rules: c.rules, Document: "index"}
		p.Rules[0].Handling, p.Rules[0].Line = Allow, 3
		at := Circumstances{Now: now, Sphere: c.sphere}
		n := p.Near(user("alice"), bob, at)
		var fails []string
		for _, m := range n.Rules {
			fails = append(fails, m.Fails.String())
		}
		for range n.Others {
			fails = append(fails, "identity")
		}
		if got := strings.Join(fails, " "); got != c.fails {
			t.Errorf("%s: %q, want %q", c.name, got, c.fails)
		}
		if len(n.Rules) > 0 {
			does, why, _ := strings.Cut(n.Rules[0].Text, ", but ")
			if why != c.why+"." {
				t.Errorf("%s: %s, want %s", c.name, why, c.why)
			}
			if len(n.Rules) == 1 && does != `Rule "" (index line 3) would allow it` {
				t.Errorf("%s: %s", c.name, does)
			}
		}
	}
}

// Where a grant or the user himself decides the rules have no say; of hundreds ten are told of.
func TestNearBounds(t *testing.T) {
	p := &Policy{Watchers: map[Entity]Grant{user("approved"): {Handling: Allow}, user("asked"): {Handling: Confirm, Asked: true}},
		Domains: map[string]Grant{"bad.example": {Handling: Block}}}
	for i := range 300 {
		p.Rules = append(p.Rules, Rule{ID: fmt.Sprint(i), Line: i, Spheres: []string{"home"}}, Rule{Identity: one(user("carol"))})
	}
	for w, want := range map[Entity]string{
		user("alice"): "0 0 0", user("approved"): "0 0 0", {"x", "bad.example"}: "0 0 0",
		user("asked"): "10 290 300", user("bob"): "10 290 300", user("carol"): "10 290 0",
	} {
		n := p.Near(user("alice"), w, Circumstances{})
		if got := fmt.Sprint(len(n.Rules), n.More, n.Others); got != want {
			t.Errorf("%s: %s, want %s", w, got, want)
		}
		if len(n.Rules) > 0 && (n.Rules[0].Rule != "0" || n.Rules[9].Line != 9) {
			t.Errorf("%s: %+v", w, n.Rules)
		}
	}
	p.Unreadable = "so"
	for _, p := range []*Policy{nil, p, {}} {
		if n := p.Near(user("alice"), user("bob"), Circumstances{}); len(n.Rules)+n.More+n.Others > 0 {
			t.Errorf("%+v", n)
		}
	}
}

// Every rule either matches or is told of once, and the reason is a true one.
func TestNearAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &Policy{}
		bob := user("bob")
		identities := [][][]Identity{nil, one(bob), one(user("carol")), {{{}}}, {{{Except: []Identity{ones(bob)}}}}, {{{Other: true}}}, {{}}, {{ones(bob)}, {{Domain: "example.org"}}}}
		for range rapid.IntRange(0, 6).Draw(t, "rules") {
			r := Rule{ID: fmt.Sprint(len(p.Rules)), Identity: rapid.SampledFrom(identities).Draw(t, "identity"), Rank: Rank(rapid.IntRange(0, 2).Draw(t, "rank")),
				Never: rapid.IntRange(0, 3).Draw(t, "never") == 0}
			if rapid.Bool().Draw(t, "sphere") {
				r.Spheres = []string{rapid.SampledFrom([]string{"home", "work"}).Draw(t, "value")}
			}
			p.Rules = append(p.Rules, r)
		}
		at := Circumstances{Sphere: "home"}
		n, matching := p.Near(user("alice"), bob, at), p.Matching(bob, at)
		if got := len(n.Rules) + n.Others + len(matching); got != len(p.Rules) {
			t.Fatalf("%d of %d rules", got, len(p.Rules))
		}
		ask := asking{p: p, w: bob}
		for _, m := range n.Rules {
			var at int
			if _, err := fmt.Sscan(m.Rule, &at); err != nil {
				t.Fatal(err)
			}
			if holds := ask.holds(&p.Rules[at], Circumstances{Sphere: "home"}); holds != (m.Fails == FailsRank) {
				t.Fatalf("holds: %t, and %s", holds, m.Text)
			}
		}
	})
}

func TestFailureText(t *testing.T) {
	for f := FailsRank; f <= failsIdentity; f++ {
		b, err := json.Marshal(f)
		var back Failure
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back != f {
			t.Errorf("%s: %s, %v", b, back, err)
		}
	}
	if err := new(Failure).UnmarshalText([]byte("moon")); err == nil {
		t.Error("a moon")
	}
}
