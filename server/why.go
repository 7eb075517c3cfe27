package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pharos/presence"
	"pharos/simple"
	"pharos/store"
)

// Why explains a presence relation, from account to last answer.
type Why struct {
	Watcher    string `json:"watcher"`
	Presentity string `json:"presentity"`
	Answer     string `json:"answer"` // one sentence
	Steps      []Step `json:"steps"`

	Near presence.Near `json:"near,omitzero"` // rules that do not hold; they are among the steps, too
}

// Step is one link of the chain. OK false is where to look.
type Step struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

func (w *Why) add(what string, ok bool, format string, args ...any) {
	w.Steps = append(w.Steps, Step{what, ok, fmt.Sprintf(format, args...)})
}

// Why walks from the accounts to the last NOTIFY's answer.
func (s *Server) Why(ctx context.Context, watcher, presentity string) (Why, error) {
	bob, err := s.admin.Address(watcher)
	if err != nil {
		return Why{}, err
	}
	alice, err := s.admin.Address(presentity)
	if err != nil {
		if simple.IsBuddies(presentity) {
			err = errors.New("a list is explained by its members: name one of them")
		}
		return Why{}, err
	}
	w := Why{Watcher: bob.String(), Presentity: alice.String()}
	for _, u := range []presence.Entity{bob, alice} {
		switch _, err := s.store.Account(ctx, u); {
		case errors.Is(err, store.ErrNotFound):
			w.add("account", false, "%s has no account here; if it is a list for phones, ask about a member", u)
			w.Answer = fmt.Sprintf("%s does not exist on this server.", u)
			return w, nil
		case err != nil:
			return w, err
		}
		w.add("account", true, "%s has an account", u)
	}
	if err := s.whyRosters(ctx, &w, bob, alice); err != nil {
		return w, err
	}
	x, err := s.engine.Explain(ctx, alice, bob)
	if err != nil {
		return w, err
	}
	s.whyPolicy(&w, x)
	s.whyNear(&w, x)
	s.whySources(&w, x)
	s.whySubscriptions(ctx, &w, x)
	w.Answer = conclusion(x)
	for _, pkg := range simple.Packages() {
		x, err := s.engine.ExplainPackage(ctx, alice, bob, pkg)
		if err != nil {
			return w, err
		}
		s.whyPackage(ctx, &w, pkg, x)
	}
	return w, nil
}

// whyPackage is about another event package, where there is something to say of it.
func (s *Server) whyPackage(ctx context.Context, w *Why, pkg string, x presence.Explanation) {
	for _, src := range x.Sources {
		w.add(pkg, true, "%s", sourceText(src, ""))
	}
	for _, sub := range x.Subscriptions {
		s.whySubscription(ctx, w, pkg, x, sub)
	}
}

func (s *Server) whyRosters(ctx context.Context, w *Why, bob, alice presence.Entity) error {
	for _, p := range [][2]presence.Entity{{bob, alice}, {alice, bob}} {
		items, version, err := s.store.Roster(ctx, p[0])
		if err != nil {
			return err
		}
		found := false
		for _, it := range items {
			if it.Contact == p[1] && !it.Removed {
				found = true
				w.add("list", true, "%s has %s in the buddy list: %s (version %d)", p[0], p[1], itemState(it), version)
			}
		}
		if !found {
			w.add("list", true, "%s does not have %s in the buddy list", p[0], p[1])
		}
	}
	return nil
}

func itemState(it store.Item) string {
	out := "subscription none"
	switch {
	case it.To && it.From:
		out = "subscription both"
	case it.To:
		out = "subscription to"
	case it.From:
		out = "subscription from"
	}
	if it.Ask {
		out += ", asked and not answered"
	}
	if it.PendingIn {
		out += ", asks to see this user and waits for the answer"
	}
	if it.Approved {
		out += ", approved in advance"
	}
	return out
}

func (s *Server) whyPolicy(w *Why, x presence.Explanation) {
	w.add("policy", x.Decision.Class.Handling == presence.Allow, "%s, by rule %q: %s", x.Handling, x.Decision.Rule, x.Decision.Reason)
	if len(x.Matching) > 1 {
		w.add("policy", true, "these rules match and combine: %s", strings.Join(x.Matching, " "))
	}
	if hidden := x.Decision.Class.Hides(); hidden != nil && x.Decision.Class.Handling == presence.Allow {
		w.add("filter", true, "of the presence this watcher is not shown: %s", strings.Join(hidden, "; "))
	}
	if x.Sphere != "" {
		w.add("sphere", true, "rules look at the sphere, which is %q now", x.Sphere)
	}
}

// whyNear is about the rules that do not hold. Where to look is those that would
// show more than the watcher is shown now.
func (s *Server) whyNear(w *Why, x presence.Explanation) {
	w.Near = x.Near()
	for _, m := range w.Near.Rules {
		w.add("rule", m.Handling <= x.Decision.Class.Handling, "%s", m.Text)
	}
	if n := w.Near.More; n > 0 {
		w.add("rule", true, "%d more do not hold", n)
	}
	if n := w.Near.Others; n > 0 {
		w.add("rule", true, "%d for other watchers", n)
	}
}

func (s *Server) whySources(w *Why, x presence.Explanation) {
	if len(x.Sources) == 0 {
		w.add("presence", false, "%s has no publication and no session: offline", x.Presentity)
	}
	for _, src := range x.Sources {
		says := summary(src.Doc)
		if says != "" { // moods, names and pictures are not in the summary
			says = ": " + says
		}
		w.add("presence", true, "%s", sourceText(src, says))
	}
	if x.View != nil {
		w.add("view", true, "version %d, as this watcher may see it: %s", x.View.Version, summary(x.View.Doc))
	}
}

func sourceText(src *presence.Source, says string) string {
	text := fmt.Sprintf("%s %q, %s old%s", src.ID.Kind.String(), src.ID.Key, time.Since(src.Updated).Round(time.Second), says)
	if src.From != "" {
		text += ", from " + src.From
	}
	if !src.Expires.IsZero() {
		text += fmt.Sprintf(", expires in %s", time.Until(src.Expires).Round(time.Second))
	}
	return text
}

var states = map[presence.State]string{presence.Active: "active", presence.Pending: "pending", presence.Terminated: "terminated"}

func (s *Server) whySubscriptions(ctx context.Context, w *Why, x presence.Explanation) {
	if len(x.Subscriptions) == 0 {
		w.add("subscription", false, "%s has no living subscription to %s: no session or phone of %[1]s watches now", x.Watcher, x.Presentity)
	}
	for _, sub := range x.Subscriptions {
		s.whySubscription(ctx, w, "subscription", x, sub)
	}
}

func (s *Server) whySubscription(ctx context.Context, w *Why, what string, x presence.Explanation, sub presence.Subscription) {
	text := fmt.Sprintf("%s over %s since %s", states[sub.State], sub.Via.Edge, sub.Created.UTC().Format(time.RFC3339))
	if !sub.Expires.IsZero() {
		text += fmt.Sprintf(", expires in %s", time.Until(sub.Expires).Round(time.Second))
	}
	w.add(what, sub.State == presence.Active, "%s", text)
	if t := s.lastTold(ctx, x.Presentity, sub); t.Known {
		w.add("last word", t.OK, "%s", t.Text)
	}
}

func conclusion(x presence.Explanation) string {
	switch h := x.Decision.Class.Handling; {
	case x.Decision.Rule == presence.RuleUnreadable:
		return fmt.Sprintf("The rules of %s cannot be read, so that nobody else sees anything.", x.Presentity)
	case h == presence.Block && x.Decision.Rule == presence.RuleDefault:
		return fmt.Sprintf("No rule of %s holds for %s, and such watchers are blocked here.", x.Presentity, x.Watcher)
	case h == presence.Block:
		return fmt.Sprintf("%s has blocked %s.", x.Presentity, x.Watcher)
	case h == presence.Confirm && x.Decision.Rule == presence.RuleDefault && len(x.Subscriptions) == 0:
		return fmt.Sprintf("%s has not asked to see %s, or was refused: no request is open.", x.Watcher, x.Presentity)
	case h == presence.Confirm:
		return fmt.Sprintf("%s waits for the word of %s, who has neither approved nor refused.", x.Watcher, x.Presentity)
	case h == presence.PoliteBlock:
		return fmt.Sprintf("%s is shown as offline to %s, by politeness.", x.Presentity, x.Watcher)
	case len(x.Subscriptions) == 0:
		return fmt.Sprintf("%s may see %s, but nothing of %[1]s watches at this time.", x.Watcher, x.Presentity)
	case len(x.Sources) == 0:
		return fmt.Sprintf("%s watches %s, who is offline.", x.Watcher, x.Presentity)
	}
	if x.Decision.Class.Shown != "" {
		return fmt.Sprintf("%s sees a part of the presence of %s.", x.Watcher, x.Presentity)
	}
	return fmt.Sprintf("%s sees the presence of %s.", x.Watcher, x.Presentity)
}
