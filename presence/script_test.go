package presence

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the outcomes into testdata instead of comparing them")

// TestScripts plays testdata/*.txt. A block is command lines, "----", and what
// they lead to, up to an empty line. Each script has one presentity, alice@example.com;
// a bare name is a user of that domain.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := playScript(t, string(text), false)
			if got == string(text) {
				// To move at any time makes no difference.
				if got := playScript(t, got, true); got != string(text) {
					t.Errorf("%s, moved before each command: %s", f, firstDifference(string(text), got))
				}
				return
			}
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s (see -rewrite): %s", f, firstDifference(string(text), got))
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "<end>", "<end>"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n\twant %s\n\tgot  %s", i+1, a, b)
		}
	}
	return "none"
}

func playScript(t *testing.T, text string, moving bool) string {
	s := &script{t: t, p: New(user("alice")), now: epoch, moving: moving}
	var out strings.Builder
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		i++
		if strings.TrimSpace(line) == "" && i == len(lines) {
			break
		}
		out.WriteString(line + "\n")
		if line == "----" {
			out.WriteString(s.said.String())
			s.said.Reset()
			for i < len(lines) && lines[i] != "" {
				i++
			}
			continue
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.command(words(line))
	}
	return out.String()
}

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

type script struct {
	t    *testing.T
	p    *Presentity
	now  time.Time
	said strings.Builder
	last Outcome

	moving bool // before each command
}

func user(s string) Entity {
	u, d, ok := strings.Cut(s, "@")
	if !ok {
		d = "example.com"
	}
	return Entity{u, d}
}

// words splits at blanks outside quotes.
func words(line string) (ws []string) {
	quoted, w := false, ""
	for _, r := range line + " " {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if w != "" {
				ws = append(ws, w)
			}
			w = ""
		default:
			w += string(r)
		}
	}
	return ws
}

// args are the words key=value and bare ones of a command.
type args map[string]string

func parseArgs(ws []string) args {
	a := args{}
	for _, w := range ws {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			v = "yes"
		}
		a[k] = v
	}
	return a
}

func (a args) lasts(t *testing.T) time.Duration {
	if a["for"] == "" {
		return 0
	}
	d, err := time.ParseDuration(a["for"])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var kinds = map[string]SourceKind{"pub": Publication, "ses": Session, "perm": Permanent, "rem": Remote, "ext": Extended}

func sourceID(t *testing.T, s string) SourceID {
	k, key, ok := strings.Cut(s, "/")
	if !ok || kinds[k] == 0 {
		t.Fatalf("not a source: %q", s)
	}
	return SourceID{kinds[k], key}
}

func short(id SourceID) string {
	for n, k := range kinds {
		if k == id.Kind {
			return n + "/" + id.Key
		}
	}
	return "?"
}

func viaOf(s string) Via {
	node, at, ok := strings.Cut(s, "!")
	if !ok {
		node, at = "", s
	}
	e, h, _ := strings.Cut(at, "/")
	return Via{Node: node, Edge: e, Handle: h}
}

// doc makes a document of open, closed, id=, tnote=, activity=, idle, note=, mood=, person.
func (a args) doc() *Document {
	var d Document
	any := false
	if a["open"] != "" || a["closed"] != "" {
		any = true
		t := Tuple{ID: "t1", Basic: Open, Priority: -1}
		if a["closed"] != "" {
			t.Basic = Closed
		}
		if a["id"] != "" {
			t.ID = a["id"]
		}
		if a["tnote"] != "" {
			t.Notes = []Note{{Text: a["tnote"]}}
		}
		if a["tactivity"] != "" {
			t.Rich.Activities = &Values{Names: []string{a["tactivity"]}, ID: a["rid"]}
		}
		d.Tuples = []Tuple{t}
	}
	if a["person"] != "" || a["activity"] != "" || a["idle"] != "" || a["note"] != "" || a["mood"] != "" || a["sphere"] != "" {
		any = true
		p := Person{ID: "p1"}
		if a["activity"] != "" {
			p.Rich.Activities = &Values{Names: strings.Split(a["activity"], ",")}
		}
		if a["mood"] != "" {
			p.Rich.Mood = &Values{Names: []string{a["mood"]}}
		}
		p.Rich.Sphere = a["sphere"]
		if a["idle"] != "" {
			p.Rich.UserInput.State = "idle"
		}
		if a["note"] != "" {
			p.Notes = []Note{{Text: a["note"]}}
		}
		d.Persons = []Person{p}
	}
	if a["dnote"] != "" {
		any = true
		d.Notes = []Note{{Text: a["dnote"]}}
	}
	if !any {
		return nil
	}
	return &d
}

func (s *script) command(ws []string) {
	cmd, ws := ws[0], ws[1:]
	arg := func() string {
		if len(ws) == 0 {
			s.t.Fatalf("%s: argument missing", cmd)
		}
		w := ws[0]
		ws = ws[1:]
		return w
	}
	if s.moving {
		s.move()
	}
	switch cmd {
	case "moves":
		s.move()
	case "depart":
		node := arg()
		s.step(Depart{Node: node, To: parseArgs(ws)["to"]})
	case "reached":
		for _, v := range s.p.Reached() {
			fmt.Fprintf(&s.said, "  at %s %s/%s\n", v.Node, v.Edge, v.Handle)
		}
	case "after":
		d, err := time.ParseDuration(arg())
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "tick":
		s.step(Tick{})
	case "publish":
		in := Publish{}
		if len(ws) > 0 && strings.Contains(ws[0], "/") {
			in.ID = sourceID(s.t, arg())
		}
		a := parseArgs(ws)
		in.IfMatch, in.NewTag, in.Doc, in.Lifetime, in.Package = a["match"], a["tag"], a.doc(), a.lasts(s.t), a["package"]
		in.Native = Payload{Type: "test", Bytes: []byte(a["native"])}
		in.Node, in.Again = a["node"], a["again"] != ""
		for name, at := range map[string]*time.Time{"said": &in.Said, "since": &in.Since} {
			if a[name] == "" {
				continue
			}
			d, err := time.ParseDuration(a[name])
			if err != nil {
				s.t.Fatal(err)
			}
			*at = s.now.Add(-d)
		}
		s.step(in)
	case "retract":
		in := Retract{}
		if len(ws) > 0 && strings.Contains(ws[0], "/") {
			in.ID = sourceID(s.t, arg())
		}
		a := parseArgs(ws)
		in.IfMatch, in.Package, in.Node = a["match"], a["package"], a["node"]
		in.Native.Bytes = []byte(a["words"])
		s.step(in)
	case "direct":
		id, w := sourceID(s.t, arg()), user(arg())
		via := viaOf(arg())
		a := parseArgs(ws)
		s.step(Direct{Source: &Source{ID: id, Node: a["node"]}, Watcher: w, Via: via, Available: a["gone"] == "", Again: a["again"] != ""})
	case "watch":
		id, w, via := arg(), user(arg()), viaOf(arg())
		a := parseArgs(ws)
		s.step(Watch{ID: id, Watcher: w, Via: via, Lifetime: a.lasts(s.t), Fetch: a["fetch"] != "", Durable: a["durable"] != "", Opaque: []byte(a["opaque"]),
			Package: a["package"], Private: a["private"] != ""})
	case "unwatch":
		in := Unwatch{ID: arg()}
		a := parseArgs(ws)
		in.Silent, in.Leaving = a["silent"] != "", a["leaving"] != ""
		for i, n := range reasonNames {
			if n == a["reason"] {
				in.Reason = Reason(i)
			}
		}
		s.step(in)
	case "keep":
		s.step(Keep{ID: arg(), Opaque: []byte(arg())})
	case "policy":
		s.step(SetPolicy{s.policy(ws)})
	case "restore":
		s.restore(ws)
	case "renotify":
		s.step(Renotify{})
	case "remove":
		s.step(Remove{})
	case "touch":
		in := Touch{}
		if len(ws) > 0 {
			in.Package = arg()
		}
		s.step(in)
	case "watchers":
		s.watchers("", s.p.Watchers(s.now))
	case "undo":
		s.step(Undo{s.last.Saves})
	case "decide":
		d := s.p.decide(user(arg()), false, s.p.at(s.now))
		fmt.Fprintf(&s.said, "%s by %s: %s\n", d.Class.Handling, d.Rule, d.Reason)
	case "explain":
		w := user(arg())
		x := s.p.Explain(s.now, w, parseArgs(ws)["package"])
		fmt.Fprintf(&s.said, "%s by %s, %s, policy %d, version %d\n", x.Handling, x.Decision.Rule, x.State, x.Revision, x.Version)
		if x.Line > 0 {
			fmt.Fprintf(&s.said, "line %d, sphere %q, sees %s: %s\n", x.Line, x.Sphere, shownName(x.Decision.Class.Shown), x.Decision.Reason)
		}
		for _, src := range x.Sources {
			fmt.Fprintf(&s.said, "source %s tag=%s\n", short(src.ID), src.Tag)
		}
		for _, sub := range x.Subscriptions {
			fmt.Fprintf(&s.said, "subscription %s %s shown=%s\n", sub.ID, sub.State, viewName(sub.Shown))
		}
		s.view(x.View)
	case "size":
		a, b, c := s.p.Size()
		d := "never"
		if at := s.p.Deadline(); !at.IsZero() {
			d = at.Sub(s.now).String()
		}
		fmt.Fprintf(&s.said, "%d sources, %d subscriptions, %d pending; idle %v; due in %s\n", a, b, c, s.p.Idle(), d)
	default:
		s.t.Fatalf("no command %q", cmd)
	}
}

func (s *script) policy(ws []string) *Policy {
	p := &Policy{Watchers: map[Entity]Grant{}, Domains: map[string]Grant{}}
	handling := map[string]Handling{"block": Block, "confirm": Confirm, "polite": PoliteBlock, "allow": Allow}
	for _, w := range ws {
		k, v, _ := strings.Cut(w, "=")
		h, ok := handling[v]
		switch {
		case k == "rev":
			n, _ := strconv.ParseUint(v, 10, 64)
			p.Revision = n
		case k == "rule":
			p.Rules = append(p.Rules, s.rule(v, handling))
			p.Rules[len(p.Rules)-1].Line = len(p.Rules)
		case k == "waiting":
			p.Waiting = append(p.Waiting, Watcher{ID: "w-" + v, Watcher: user(v), Since: epoch})
		case !ok:
			s.t.Fatalf("policy: %q", w)
		case k == "default":
			p.Default = h
		case strings.HasPrefix(k, "@"):
			p.Domains[k[1:]] = Grant{Handling: h, Rule: "rule-" + k}
		default:
			p.Watchers[user(k)] = Grant{Handling: h, Rule: "rule-" + k}
		}
	}
	return p
}

// rule reads "id who handling", then sphere=a,b from=10m until=1h (from now on) and
// sees= of persons, services, devices and names of attributes; everything without it.
func (s *script) rule(line string, handling map[string]Handling) Rule {
	ws := strings.Fields(line)
	a := parseArgs(ws[3:])
	r := Rule{ID: ws[0], Rank: Named, Handling: handling[ws[2]]}
	if ws[1] != "*" {
		r.Identity = [][]Identity{{{One: map[Entity]struct{}{user(ws[1]): {}}}}}
	}
	if a["sphere"] != "" {
		r.Spheres = strings.Split(a["sphere"], ",")
	}
	at := func(k string) (t time.Time) {
		if a[k] != "" {
			d, err := time.ParseDuration(a[k])
			if err != nil {
				s.t.Fatal(err)
			}
			t = s.now.Add(d)
		}
		return t
	}
	if a["from"]+a["until"] != "" {
		r.Validity = []Span{{at("from"), at("until")}}
	}
	if a["sees"] == "" {
		return r
	}
	r.Shows = &Transform{Attributes: map[string]bool{}}
	for _, w := range strings.Split(a["sees"], ",") {
		switch w {
		case "persons":
			r.Shows.Persons.All = true
		case "services":
			r.Shows.Services.All = true
		case "input":
			r.Shows.UserInput = FullUserInput
		default:
			r.Shows.Attributes[w] = true
		}
	}
	return r
}

func (s *script) restore(ws []string) {
	var in Restore
	kind, ws := ws[0], ws[1:]
	expires := func(a args) (at time.Time) {
		if d := a.lasts(s.t); d != 0 {
			at = s.now.Add(d)
		}
		return at
	}
	switch kind {
	case "source":
		id := sourceID(s.t, ws[0])
		a := parseArgs(ws[1:])
		in.Sources = []*Source{{ID: id, Tag: a["tag"], Doc: a.doc(), Expires: expires(a), Package: a["package"]}}
	case "sub":
		a := parseArgs(ws[3:])
		st := Active
		if a["pending"] != "" {
			st = Pending
		}
		in.Subscriptions = []*Subscription{{ID: ws[0], Watcher: user(ws[1]), Via: viaOf(ws[2]), State: st, Durable: true, Expires: expires(a),
			Package: a["package"], Private: a["private"] != "", Created: s.now}}
	default:
		s.t.Fatalf("restore %q", kind)
	}
	s.step(in)
}

// move has the presentity live elsewhere. The policy comes with it.
func (s *script) move() {
	was := s.p
	s.p = New(was.entity)
	if _, err := s.p.Step(s.now, Assume{was.Export()}); err != nil {
		s.t.Fatal(err)
	}
	if was.policy == nil {
		return
	}
	if d := was.Deadline(); !d.IsZero() && !d.After(s.now) {
		// What is due comes with the next step, as it would have without the move.
		s.p.policy, s.p.conditions = was.policy, was.conditions
		return
	}
	if out, err := s.p.Step(s.now, SetPolicy{was.policy}); err != nil || len(out.Notices)+len(out.Saves) > 0 {
		s.t.Fatal("the same policy decides otherwise: ", err, len(out.Notices), len(out.Saves))
	}
}

func (s *script) step(in Input) {
	before := s.versions()
	out, err := s.p.Step(s.now, in)
	if err != nil {
		switch {
		case errors.Is(err, ErrNoMatch), errors.Is(err, ErrNoSubscription), errors.Is(err, ErrTooMany):
			fmt.Fprintf(&s.said, "error %v\n", err)
		default:
			s.t.Fatal(err)
		}
		return
	}
	s.last = out
	var ok []string
	if out.Tag != "" {
		ok = append(ok, "tag="+out.Tag)
	}
	if out.Lifetime != 0 {
		ok = append(ok, "for="+out.Lifetime.String())
	}
	if out.State != 0 {
		ok = append(ok, out.State.String())
	}
	s.p.eachColumn(func(c *column) {
		if c.version != before[c.pkg] {
			ok = append(ok, fmt.Sprintf("%s#%d", c.pkg, c.version))
		}
	})
	fmt.Fprintf(&s.said, "%s\n", strings.TrimSpace("ok "+strings.Join(ok, " ")))
	for _, sv := range out.Saves {
		kind := "source"
		if sv.Kind == SavedSubscription {
			kind = "subscription"
		}
		switch {
		case sv.Delete:
			fmt.Fprintf(&s.said, "delete %s %s\n", kind, sv.Key)
		case sv.Source != nil:
			fmt.Fprintf(&s.said, "save source %s tag=%s\n", sv.Key, sv.Source.Tag)
		default:
			fmt.Fprintf(&s.said, "save subscription %s %s opaque=%q\n", sv.Key, sv.Subscription.State, sv.Subscription.Opaque)
		}
	}
	for _, c := range out.Adopted {
		fmt.Fprintf(&s.said, "adopted %s at %s %s/%s\n", c.ID, c.Via.Node, c.Via.Edge, c.Via.Handle)
	}
	for _, n := range out.Notices {
		s.notice(n)
	}
	for _, w := range out.Watchers {
		fmt.Fprintf(&s.said, "watcher %s %s %s %s%s\n", w.Sub, w.Watcher.User, w.State, w.Reason, of(w.Package))
	}
}

func viewName(v *View) string {
	if v == nil {
		return "nothing"
	}
	if v.class.Shown != "" {
		return fmt.Sprintf("#%d/%s/%s", v.Version, v.class.Handling, shownName(v.class.Shown))
	}
	return fmt.Sprintf("#%d/%s", v.Version, v.class.Handling)
}

// shownName is the name of a Transform, shorter.
func shownName(name string) string {
	return strings.NewReplacer(`"`, "", "{All:true}", "all").Replace(name)
}

func (s *script) notice(n *Notice) {
	s.said.WriteString("notice ")
	if n.Node != "" {
		s.said.WriteString(n.Node + "!")
	}
	fmt.Fprintf(&s.said, "%s%s %s", n.Edge, of(n.Package), n.State)
	if n.Reason != NoReason {
		fmt.Fprintf(&s.said, ";%s", n.Reason)
	}
	if n.Answer {
		s.said.WriteString(" answer")
	}
	if n.Direct != nil {
		fmt.Fprintf(&s.said, " direct %s available=%v", short(n.Direct.Source.ID), n.Direct.Available)
	}
	s.said.WriteString(" to")
	for _, t := range n.Targets {
		fmt.Fprintf(&s.said, " %s", strings.TrimPrefix(t.Sub+":"+t.Watcher.User, ":"))
		if t.Handle != "" {
			fmt.Fprintf(&s.said, "/%s", t.Handle)
		}
	}
	var prev *View
	if n.Direct == nil {
		prev = n.Targets[0].Shown
		fmt.Fprintf(&s.said, " was %s", viewName(prev))
	}
	s.said.WriteString("\n")
	for _, w := range n.LastWords {
		fmt.Fprintf(&s.said, "  last words of %s: %s\n", short(w.ID), w.Native.Bytes)
	}
	if n.View == nil {
		return
	}
	gone, changed := n.View.Changes(prev)
	fmt.Fprintf(&s.said, "  view %s", viewName(n.View))
	for _, src := range gone {
		fmt.Fprintf(&s.said, " -%s", short(src.ID))
	}
	for _, src := range changed {
		fmt.Fprintf(&s.said, " +%s", short(src.ID))
	}
	s.said.WriteString("\n")
	s.view(n.View)
}

// view writes what a view shows.
func (s *script) view(v *View) {
	if v == nil {
		return
	}
	if v.Package == "" {
		s.said.WriteString(docText(v))
		return
	}
	for _, src := range v.Sources {
		fmt.Fprintf(&s.said, "  source %s %q\n", short(src.ID), src.Native.Bytes)
	}
	s.watchers("", v.Watchers)
	s.watchers("ended ", v.Ended)
}

var eventNames = [...]string{"", "subscribe", "approved", "deactivated", "probation", "rejected", "timeout", "giveup", "noresource"}

func (s *script) watchers(head string, ws []Watcher) {
	for _, w := range ws {
		st := w.State.String()
		if w.Waiting {
			st = "waiting"
		}
		left := "while its session lives"
		if !w.Expires.IsZero() {
			left = w.Expires.Sub(s.now).String()
		}
		fmt.Fprintf(&s.said, "  %s%s %s %s %s since %s for %s\n", head, w.ID, w.Watcher.User, st, eventNames[w.Event], s.now.Sub(w.Since), left)
	}
}

// of names a package where it is not presence.
func of(pkg string) string {
	if pkg == "" {
		return ""
	}
	return " " + pkg
}

func (s *script) versions() map[string]uint64 {
	vs := map[string]uint64{}
	s.p.eachColumn(func(c *column) { vs[c.pkg] = c.version })
	return vs
}

func docText(v *View) string {
	if v == nil {
		return ""
	}
	var b strings.Builder
	notes := func(ns []Note) {
		for _, n := range ns {
			fmt.Fprintf(&b, " %q", n.Text)
		}
	}
	rich := func(r *Rich) {
		if r.Activities != nil {
			fmt.Fprintf(&b, " %s", strings.Join(r.Activities.Names, ","))
		}
		if r.Mood != nil {
			fmt.Fprintf(&b, " mood:%s", strings.Join(r.Mood.Names, ","))
		}
		if r.UserInput.State != "" {
			fmt.Fprintf(&b, " input:%s", r.UserInput.State)
		}
		if r.Sphere != "" {
			fmt.Fprintf(&b, " sphere:%s", r.Sphere)
		}
	}
	for i := range v.Doc.Tuples {
		t := &v.Doc.Tuples[i]
		fmt.Fprintf(&b, "  tuple %s %s", t.ID, map[Basic]string{Open: "open", Closed: "closed", Unstated: "unstated"}[t.Basic])
		rich(&t.Rich)
		notes(t.Notes)
		b.WriteString("\n")
	}
	for i := range v.Doc.Persons {
		p := &v.Doc.Persons[i]
		b.WriteString("  person")
		rich(&p.Rich)
		notes(p.Notes)
		b.WriteString("\n")
	}
	if len(v.Doc.Notes) > 0 {
		b.WriteString("  note")
		notes(v.Doc.Notes)
		b.WriteString("\n")
	}
	return b.String()
}
