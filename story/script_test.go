package story

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// script is one parsed story.
type script struct {
	name   string
	about  string // its first comment
	actors []actorLine
	policy string        // [policy] default
	nodes  int           // servers that it needs; 0: any number will do
	lease  time.Duration // of several servers; 0: as usual
	blocks []block

	documents map[string]string // by name; see testdata/README.md
}

// actorLine is "alice.pad xmpp": a device of a user, and the world it is in.
type actorLine struct{ name, world string }

var worlds = []string{"sip", "sip+tcp", "sips", "xmpp", "xcap"}

// block is what is done, and what everybody then gets; who gets something that
// is not written here breaks the story.
type block struct {
	actions  []line
	expected []line
	anyOrder bool
}

// line is one line, split into words; quotes hold a word together.
type line struct {
	number int
	text   string
	words  []string
}

func (l line) String() string { return fmt.Sprintf("line %d: %s", l.number, l.text) }

// parseScript reads a story; testdata/README.md has the grammar.
func parseScript(name, text string) (*script, error) {
	s := &script{name: name, policy: "confirm", lease: longLease, documents: map[string]string{}}
	var cur *block
	var inside string // the document being read
	for i, raw := range strings.Split(text, "\n") {
		l := line{number: i + 1, text: strings.TrimSpace(raw)}
		if inside != "" {
			if raw == "end" {
				inside = ""
			} else {
				s.documents[inside] += strings.TrimPrefix(raw, "\t") + "\n"
			}
			continue
		}
		if strings.HasPrefix(l.text, "#") {
			if s.about == "" {
				s.about = strings.TrimSpace(l.text[1:])
			}
			continue
		}
		if l.text == "" {
			continue
		}
		var err error
		if l.words, err = split(l.text); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, l.number, err)
		}
		indented := raw[0] == '\t' || raw[0] == ' '
		switch {
		case indented && cur == nil:
			return nil, fmt.Errorf("%s:%d: an expectation before any action", name, l.number)
		case indented && l.text == "any order":
			cur.anyOrder = true
		case indented:
			if !strings.HasSuffix(l.words[0], ":") || len(l.words) < 2 {
				return nil, fmt.Errorf("%s:%d: want 'actor: words'", name, l.number)
			}
			cur.expected = append(cur.expected, l)
		case l.words[0] == "actors":
			for w := l.words[1:]; len(w) > 0; w = w[2:] {
				if len(w) == 1 || !slices.Contains(worlds, w[1]) {
					return nil, fmt.Errorf("%s:%d: want 'actors NAME %s ...'", name, l.number, strings.Join(worlds, "|"))
				}
				s.actors = append(s.actors, actorLine{w[0], w[1]})
			}
		case l.words[0] == "document" && len(l.words) == 2:
			inside = l.words[1]
			s.documents[inside] = ""
		case l.words[0] == "policy" && len(l.words) == 2:
			s.policy = l.words[1]
		case l.words[0] == "servers" && len(l.words) == 2 && cur == nil:
			if s.nodes, err = strconv.Atoi(l.words[1]); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, l.number, err)
			}
			s.lease = 0
		default:
			if cur == nil || len(cur.expected) > 0 || cur.anyOrder {
				s.blocks = append(s.blocks, block{})
				cur = &s.blocks[len(s.blocks)-1]
			}
			cur.actions = append(cur.actions, l)
		}
	}
	if inside != "" {
		return nil, fmt.Errorf("%s: document %s has no end", name, inside)
	}
	if s.about == "" || len(s.actors) == 0 || len(s.blocks) == 0 {
		return nil, fmt.Errorf("%s: a story needs a comment with its point, actors, and something that happens", name)
	}
	return s, nil
}

// split cuts at blanks; "…" holds blanks together and is left out.
func split(s string) ([]string, error) {
	var words []string
	var w strings.Builder
	quoted, any := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case !quoted && (r == ' ' || r == '\t'):
			if any {
				words = append(words, w.String())
				w.Reset()
				any = false
			}
		default:
			w.WriteRune(r)
			any = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote without end in %q", s)
	}
	if any {
		words = append(words, w.String())
	}
	return words, nil
}

// event is what an actor got, as words.
type event struct {
	words []string
	quiet bool // need not be written down: an answer that says yes, a roster push
	last  bool // a NOTIFY while the servers of one service stop one after the other: see world.stopped
	raw   string
}

func (e event) String() string { return strings.Join(e.words, " ") }

// has tells whether the event has all wanted words; "!word" must not begin any.
func (e event) has(wanted []string) bool {
	for _, w := range wanted {
		not, negated := strings.CutPrefix(w, "!")
		found := false
		for _, got := range e.words {
			found = found || got == w || negated && strings.HasPrefix(got, not)
		}
		if found == negated {
			return false
		}
	}
	return true
}

// wanted are the words of an expectation; perhaps: it need not come; also: it may come
// together with the one before.
func (l line) wanted() (words []string, perhaps, also bool) {
	words = l.words[1:]
	for len(words) > 0 && (words[0] == "perhaps" || words[0] == "also") {
		perhaps, also = perhaps || words[0] == "perhaps", also || words[0] == "also"
		words = words[1:]
	}
	return words, perhaps, also
}

// breaches are words for what a peer must not do, whatever else it says.
var breaches = []string{"wrong-event", "cseq-not-higher", "other-tag", "stray", "no-contact", "no-state", "malformed", "bad-body", "bad-type", "bad-cid",
	"no-rlmi", "start-is-not-first", "cid-without-part", "wrong-to"}

// breach is the first of them that is not wanted; "" for none.
func (e event) breach(wanted []string) string {
	for _, w := range e.words {
		w, _, _ = strings.Cut(w, "=")
		if slices.Contains(breaches, w) && !slices.Contains(wanted, w) {
			return w
		}
	}
	return ""
}

// match compares what one actor got in a block with what is written, and returns
// what is wrong.
func match(actor string, got []event, want []line, anyOrder bool) []string {
	var wrong []string
	used := make([]bool, len(want))
	next := 0
	for _, e := range got {
		hit := -1
		for i := next; i < len(want); i++ {
			words, perhaps, _ := want[i].wanted()
			if !used[i] && e.has(words) {
				hit = i
				break
			}
			if !anyOrder && !perhaps {
				break
			}
		}
		switch {
		case hit >= 0:
			used[hit] = true
			for i := hit + 1; i < len(want); i++ {
				words, _, also := want[i].wanted()
				if !also || !e.has(words) {
					break
				}
				used[i] = true
			}
			if b := e.breach(want[hit].words); b != "" {
				wrong = append(wrong, fmt.Sprintf("%s got what nobody may send, %s: %s", actor, b, e))
			}
			for next < len(want) && (used[next] || !anyOrder && next < hit) {
				next++
			}
		case !e.quiet:
			wrong = append(wrong, fmt.Sprintf("%s got unexpectedly: %s", actor, e))
		}
	}
	for i, u := range used {
		if _, perhaps, _ := want[i].wanted(); !u && !perhaps {
			wrong = append(wrong, fmt.Sprintf("%s never got (%s)", actor, want[i]))
		}
	}
	return wrong
}
