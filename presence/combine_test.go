package presence

import (
	"fmt"
	"testing"
	"time"
)

func ones(es ...Entity) Identity {
	i := Identity{One: map[Entity]struct{}{}}
	for _, e := range es {
		i.One[e] = struct{}{}
	}
	return i
}

func one(es ...Entity) [][]Identity { return [][]Identity{{ones(es...)}} }

// TestCombiningExample is RFC 4745 §10.3, with X as provide-mood, Y as
// sub-handling (3, 5, 10, 12 in its order) and Z as user input ('-' bare, 'o'
// thresholds, '+' full).
func TestCombiningExample(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a1, a2, a3 := at("2003-12-24T17:00:00+01:00"), at("2003-12-24T21:00:00+01:00"), at("2003-12-24T23:30:00+01:00")
	b1, b2 := at("2003-12-22T17:00:00+01:00"), at("2003-12-23T17:00:00+01:00")
	row := func(id, who, sphere string, from, until time.Time, x bool, y Handling, z UserInputLevel) Rule {
		return Rule{ID: id, Identity: one(user(who)), Spheres: []string{sphere}, Validity: []Span{{from, until}}, Rank: Named,
			Handling: y, Shows: &Transform{Attributes: map[string]bool{"mood": x}, UserInput: z}}
	}
	p := &Policy{Default: Block, Rules: []Rule{
		row("1", "bob", "home", a1, a2, true, PoliteBlock, ThresholdUserInput),
		row("2", "alice", "work", a1, a2, false, Confirm, FullUserInput),
		row("3", "bob", "work", a1, a2, true, Block, BareUserInput),
		row("4", "tom", "work", a1, a2, true, Confirm, FullUserInput),
		row("5", "bob", "work", a1, a3, false, Allow, ThresholdUserInput),
		row("6", "bob", "work", b1, b2, false, PoliteBlock, BareUserInput),
	}}
	d := Decide(p, user("pt"), user("bob"), Circumstances{Now: at("2003-12-24T17:15:00+01:00"), Sphere: "work"})
	want := &Transform{Attributes: map[string]bool{"mood": true}, UserInput: ThresholdUserInput}
	if d.Class != (Class{Allow, want.Name()}) || d.Rule != "5" {
		t.Errorf("%+v, want %s by 5", d, want.Name())
	}
	got := p.Transform(d.Class.Shown)
	if !got.Attributes["mood"] || got.UserInput != ThresholdUserInput || got.AllAttributes {
		t.Errorf("%+v", got)
	}
	if m := p.Matching(user("bob"), Circumstances{Now: at("2003-12-24T17:15:00+01:00"), Sphere: "work"}); fmt.Sprint(m) !=
		`[Rule "3" (line 0) blocks it. Rule "5" (line 0) allows it.]` {
		t.Errorf("matching: %s", m)
	}
	// What begins and ends when.
	for _, c := range []struct{ now, next time.Time }{
		{b1.Add(-time.Second), b1}, {b1, b2}, {b2, a1}, {a1, a2}, {a2, a3}, {a3.Add(-1), a3}, {a3, time.Time{}},
	} {
		if next := p.Change(c.now); !next.Equal(c.next) {
			t.Errorf("after %s: %s, want %s", c.now, next, c.next)
		}
	}
	if !p.UsesSphere() {
		t.Error("a sphere is not used")
	}
}

func TestRules(t *testing.T) {
	now := time.Unix(1e9, 0)
	everybody := [][]Identity{{{}}}
	other := [][]Identity{{{Other: true}}}
	nobody := Entity{User: "anonymous", Domain: "anonymous.invalid"}
	org := Entity{"joe", "example.org"}
	bob, carol := user("bob"), user("carol")
	few := &Transform{Persons: Selection{All: true}}
	for _, c := range []struct {
		name    string
		rules   []Rule
		watcher Entity
		at      Circumstances
		want    string
	}{
		{"one", []Rule{{ID: "a", Identity: one(bob, org), Handling: Allow}}, org, Circumstances{}, "allow by a"},
		{"one other", []Rule{{ID: "a", Identity: one(bob), Handling: Allow}}, carol, Circumstances{}, "confirm by default"},
		{"two elements in one identity", []Rule{{ID: "a", Identity: [][]Identity{{ones(bob), {Domain: "example.org"}}}, Handling: Allow}}, org, Circumstances{}, "allow by a"},
		{"two identities, one holds", []Rule{{ID: "a", Identity: [][]Identity{{ones(bob)}, {{Domain: "example.org"}}}, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"two identities, both hold", []Rule{{ID: "a", Identity: [][]Identity{{{}}, {ones(bob)}}, Handling: Allow}}, bob, Circumstances{}, "allow by a"},
		{"many", []Rule{{ID: "a", Identity: everybody, Handling: PoliteBlock}}, org, Circumstances{}, "polite-block by a"},
		{"many is nobody without identity", []Rule{{ID: "a", Identity: everybody, Handling: Allow}}, nobody, Circumstances{}, "confirm by default"},
		{"domain", []Rule{{ID: "a", Identity: [][]Identity{{{Domain: "example.org"}}}, Handling: Allow}}, org, Circumstances{}, "allow by a"},
		{"other domain", []Rule{{ID: "a", Identity: [][]Identity{{{Domain: "example.org"}}}, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"except id", []Rule{{ID: "a", Identity: [][]Identity{{{Except: []Identity{ones(bob)}}}}, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"except other id", []Rule{{ID: "a", Identity: [][]Identity{{{Except: []Identity{ones(bob)}}}}, Handling: Allow}}, carol, Circumstances{}, "allow by a"},
		{"except domain", []Rule{{ID: "a", Identity: [][]Identity{{{Except: []Identity{{Domain: "example.org"}}}}}, Handling: Allow}}, org, Circumstances{}, "confirm by default"},
		{"no conditions", []Rule{{ID: "a", Handling: Allow}}, nobody, Circumstances{}, "allow by a"},
		{"unknown condition", []Rule{{ID: "a", Never: true, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"sphere", []Rule{{ID: "a", Spheres: []string{"home", "work"}, Handling: Allow}}, bob, Circumstances{Sphere: "Work"}, "allow by a"},
		{"other sphere", []Rule{{ID: "a", Spheres: []string{"home"}, Handling: Allow}}, bob, Circumstances{Sphere: "work"}, "confirm by default"},
		{"undefined sphere", []Rule{{ID: "a", Spheres: []string{""}, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"contradicting spheres", []Rule{{ID: "a", Spheres: []string{}, Handling: Allow}}, bob, Circumstances{Sphere: "work"}, "confirm by default"},
		{"valid from now on", []Rule{{ID: "a", Validity: []Span{{From: now, Until: now.Add(1)}}, Handling: Allow}}, bob, Circumstances{Now: now}, "allow by a"},
		{"valid until now", []Rule{{ID: "a", Validity: []Span{{From: now.Add(-1), Until: now}}, Handling: Allow}}, bob, Circumstances{Now: now}, "confirm by default"},
		{"the second span", []Rule{{ID: "a", Validity: []Span{{now.Add(-9), now.Add(-8)}, {now, now.Add(1)}}, Handling: Allow}}, bob, Circumstances{Now: now}, "allow by a"},
		{"a block does not deny", []Rule{{ID: "a", Identity: one(bob), Handling: Block}, {ID: "b", Identity: everybody, Handling: Confirm}}, bob, Circumstances{}, "confirm by b"},
		{"permissions of a rule that blocks count", []Rule{{ID: "a", Identity: one(bob), Handling: Block}, {ID: "b", Identity: one(bob), Handling: Allow, Shows: few}}, bob, Circumstances{}, "allow by b"},
		{"the first of equals decides", []Rule{{ID: "a", Handling: Allow}, {ID: "b", Identity: one(bob), Handling: Allow}}, bob, Circumstances{}, "allow by a"},
		{"a handling of a newer version", []Rule{{ID: "a", Handling: Allow + 1}}, bob, Circumstances{}, "block by a"},
		// OMA.
		{"named before others", []Rule{{ID: "a", Identity: one(bob), Rank: Named}, {ID: "b", Identity: other, Handling: Allow}}, bob, Circumstances{}, "block by a"},
		{"others", []Rule{{ID: "a", Identity: one(bob), Rank: Named}, {ID: "b", Identity: other, Handling: Allow}}, carol, Circumstances{}, "allow by b"},
		{"others have an identity", []Rule{{ID: "b", Identity: other, Handling: Allow}}, nobody, Circumstances{}, "confirm by default"},
		{"named where the rule does not hold now", []Rule{{ID: "a", Identity: one(bob), Spheres: []string{"x"}, Rank: Named}, {ID: "b", Identity: other, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
		{"named before listed", []Rule{{ID: "l", Identity: one(bob), Rank: Listed, Handling: Allow}, {ID: "n", Identity: one(bob), Rank: Named, Handling: PoliteBlock}}, bob, Circumstances{}, "polite-block by n"},
		{"listed before unreferenced", []Rule{{ID: "u", Handling: Allow}, {ID: "l", Identity: one(bob), Rank: Listed, Handling: Confirm}}, bob, Circumstances{}, "confirm by l"},
		{"without identity", []Rule{{ID: "u", Identity: [][]Identity{{{Anonymous: true}}}, Rank: Named, Handling: PoliteBlock}}, nobody, Circumstances{}, "polite-block by u"},
		{"with identity", []Rule{{ID: "u", Identity: [][]Identity{{{Anonymous: true}}}, Rank: Named, Handling: Allow}}, bob, Circumstances{}, "confirm by default"},
	} {
		p := &Policy{Default: Confirm, Rules: c.rules}
		d := Decide(p, user("alice"), c.watcher, c.at)
		if got := fmt.Sprintf("%s by %s", d.Class.Handling, d.Rule); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if d.Class.Shown != "" {
			t.Errorf("%s: shown %q", c.name, d.Class.Shown)
		}
	}
}

// What XMPP clients write and the document go together.
func TestGrantsAndRules(t *testing.T) {
	few := &Transform{Persons: Selection{All: true}}
	p := &Policy{Default: Confirm, Document: "pres-rules/index",
		Watchers: map[Entity]Grant{
			user("approved"): {Handling: Allow, Rule: "xmpp-approved"}, user("blocked"): {Handling: Block, Rule: "xmpp-blocked"},
			user("cancelled"): {Handling: Confirm, Rule: "xmpp-cancelled"}, user("asked"): {Handling: Confirm, Asked: true, Rule: "roster"},
			user("stranger"): {Handling: Confirm, Asked: true, Rule: "roster"},
		},
		Domains: map[string]Grant{"bad.example": {Handling: Block, Rule: "xmpp-blocked"}},
		Rules: []Rule{
			{ID: "friends", Line: 14, Handling: Allow, Shows: few, Identity: [][]Identity{{
				ones(user("approved"), user("blocked"), user("cancelled"), user("asked"), Entity{"x", "bad.example"})}}},
			{ID: "sees", Line: 20, Identity: one(user("sees")), Handling: PoliteBlock},
		},
	}
	for w, want := range map[Entity]Decision{
		user("alice"):        {Class{Allow, ""}, RuleSelf, "Everybody may watch himself."},
		user("approved"):     {Class{Allow, ""}, "xmpp-approved", "A rule for this watcher allows it."},
		user("blocked"):      {Class{Block, ""}, "xmpp-blocked", "A rule for this watcher blocks it."},
		user("cancelled"):    {Class{Confirm, ""}, "xmpp-cancelled", "A rule for this watcher has the user asked first."},
		{"x", "bad.example"}: {Class{Block, ""}, "xmpp-blocked", "A rule for the watcher's domain blocks it."},
		user("asked"):        {Class{Allow, few.Name()}, "friends", `Rule "friends" (pres-rules/index line 14) allows it.`},
		user("stranger"):     {Class{Confirm, ""}, "roster", "A rule for this watcher has the user asked first."},
		user("sees"):         {Class{PoliteBlock, ""}, "sees", `Rule "sees" (pres-rules/index line 20) shows it a closed state.`},
		user("other"):        {Class{Confirm, ""}, RuleDefault, "No rule holds for this watcher; the user is asked first."},
	} {
		if d := Decide(p, user("alice"), w, Circumstances{}); d != want {
			t.Errorf("%s: %+v\nwant %+v", w, d, want)
		}
	}
	if p.UsesSphere() || !p.Change(time.Now()).IsZero() {
		t.Error("a sphere or validity where there is none")
	}
	p = &Policy{Default: Allow, Unreadable: "The rules cannot be read.", Watchers: map[Entity]Grant{user("bob"): {Handling: Allow}}}
	if d := Decide(p, user("alice"), user("bob"), Circumstances{}); d != (Decision{Class{Block, ""}, RuleUnreadable, "The rules cannot be read."}) {
		t.Errorf("unreadable: %+v", d)
	}
	if d := Decide(p, user("alice"), user("alice"), Circumstances{}); d.Class.Handling != Allow {
		t.Errorf("unreadable, oneself: %+v", d)
	}
}

// BenchmarkDecide: grants only, and 100 rules with 1,000 identities.
func BenchmarkDecide(b *testing.B) {
	p := &Policy{Default: Confirm, Watchers: map[Entity]Grant{}}
	for i := range 1000 {
		p.Watchers[user(fmt.Sprint("w", i))] = Grant{Handling: Allow, Rule: "xmpp-approved"}
	}
	alice, w, stranger := user("alice"), user("w500"), user("stranger")
	b.Run("grant", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Decide(p, alice, w, Circumstances{})
		}
	})
	b.Run("default", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Decide(p, alice, stranger, Circumstances{})
		}
	})
	r := &Policy{Default: Confirm}
	for i := range 100 {
		rule := Rule{ID: fmt.Sprint("r", i), Handling: Handling(i % 4), Rank: Named, Shows: &Transform{UserInput: UserInputLevel(i % 3)}}
		id := ones()
		for j := range 10 {
			id.One[user(fmt.Sprint("w", i*10+j))] = struct{}{}
			id.One[user(fmt.Sprint("w", (i*10+j+500)%1000))] = struct{}{} // each is in two rules
		}
		rule.Identity = [][]Identity{{id}}
		if i%10 == 0 { // and ten must be looked at always
			rule.Identity[0] = append(rule.Identity[0], Identity{Except: []Identity{{Domain: "example.com"}}})
			rule.Spheres = []string{"work"}
		}
		r.Rules = append(r.Rules, rule)
	}
	u := &Policy{Rules: []Rule{ // what is shown is a union that no rule is alone
		{ID: "a", Identity: one(w), Handling: Allow, Shows: &Transform{UserInput: BareUserInput}},
		{ID: "b", Identity: one(w), Handling: Allow, Shows: &Transform{Attributes: map[string]bool{"mood": true}}},
		{ID: "c", Identity: one(w), Handling: Block, Shows: &Transform{Services: Selection{ServiceScheme: []string{"sip"}}}},
	}}
	b.Run("union", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Decide(u, alice, w, Circumstances{})
		}
	})
	for name, who := range map[string]Entity{"rules": w, "rules/stranger": stranger} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(r, alice, who, Circumstances{Sphere: "work"})
			}
		})
	}
}
