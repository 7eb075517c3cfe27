package jabber

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/engine"
	"pharos/markup"
	"pharos/pidf"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// The scripts in testdata tell stories over real streams. A line says who does
// what; an indented block below it is XML.
//
//	users alice bob              accounts (first line)
//	alice/desk logs in           connects, authenticates, binds the resource
//	alice/desk connects          without binding
//	alice/desk is online         logs in, gets the roster, sends presence; what comes is dropped
//	alice/desk sends             the block
//	alice/desk gets              an element that fits the block, among those that came
//	alice/desk gets nothing
//	alice/desk drops             what came so far
//	alice/desk is closed COND    its stream ended, with this error if one is named
//	alice/desk leaves            closes its stream
//	alice/desk vanishes          the connection breaks
//	alice and bob are friends    both subscriptions
//	icon of alice                the status icon that SIP clients get is the block; none: there is none
//	alice puts icon PATH         as an XCAP client does; none: deletes it
//	alice and bob know one another   each watches the other; their rules say what is shown
//	alice rules                  the block is alice's pres-rules document from now on, as if by XCAP
//	wait 5m
//	sip ...                      see sipLine
//	xcap ...                     see xcapLine
//
// A block fits when its attributes (type also when absent) and its children fit,
// in order; children not named must not be there, except with <any/>. The value *
// fits anything, {x} fits anything the first time and then what it was. At the
// end nothing may have come that no line took.
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
			lines := parseScript(string(text))
			users := strings.Fields(strings.TrimPrefix(lines[0].text, "users "))
			inWorlds(t, users, func(t *testing.T, w *world) {
				s := script{world: w, vars: map[string]string{}, file: f}
				for _, l := range lines[1:] {
					s.line(l)
					if t.Failed() {
						return
					}
				}
				settle()
				for _, c := range w.clients {
					if p := c.pending(); p != "" && !strings.HasPrefix(p, "\n\t(") {
						t.Errorf("%s: %s also got:%s", f, c.name, p)
					}
				}
			})
		})
	}
}

type scriptLine struct {
	n           int
	text, block string
}

func parseScript(text string) []scriptLine {
	var out []scriptLine
	for i, l := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(l, "#") || strings.TrimSpace(l) == "":
		case strings.HasPrefix(l, "\t"):
			out[len(out)-1].block += strings.TrimSpace(l)
		default:
			out = append(out, scriptLine{n: i + 1, text: l})
		}
	}
	return out
}

type script struct {
	*world
	vars map[string]string
	file string
	n    int
}

func (s *script) errorf(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%s:%d: %s", s.file, s.n, fmt.Sprintf(format, args...))
}

func (s *script) line(l scriptLine) {
	s.n = l.n
	who, what, _ := strings.Cut(l.text, " ")
	user, resource, _ := strings.Cut(who, "/")
	c := s.clients[who]
	switch {
	case who == "wait":
		d, err := time.ParseDuration(what)
		if err != nil {
			s.errorf("%v", err)
		}
		time.Sleep(d)
	case who == "xcap":
		s.xcapLine(what, l)
	case who == "sip":
		s.sipLine(strings.Fields(what), l)
	case who == "icon": // of alice
		settle()
		s.iconIs(strings.TrimPrefix(what, "of "), l.block)
	case strings.HasPrefix(what, "puts icon "):
		s.putIcon(who, strings.TrimPrefix(what, "puts icon "), l.block)
	case what == "rules":
		_, _, err := s.documents.Update(s.ctx, xdm.Name{AUID: xdm.PresRules, User: entity(who), Path: xdm.Index},
			func(*xdm.Document) ([]byte, error) { return []byte(l.block), nil })
		if err != nil {
			s.errorf("%v", err)
		}
		settle()
	case strings.Contains(what, "know one another"):
		s.acquaint(who, strings.Fields(l.text)[2])
	case strings.Contains(what, "are friends"):
		f := strings.Fields(l.text)
		s.befriend(f[0], f[2])
	case what == "connects":
		s.dial(who, user)
	case what == "logs in":
		s.login(user, resource)
	case what == "is online":
		c := s.login(user, resource)
		c.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
		settle()
		c.drop()
	case c == nil:
		s.errorf("nobody is called %s", who)
	case what == "sends":
		c.send(s.fill(l.block))
	case what == "gets":
		settle()
		want, err := markup.Parse([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"+l.block+"</stream:stream>"), markup.Options{})
		if err != nil {
			s.errorf("%v", err)
			return
		}
		for w := range want.Children() {
			if c.take(func(el *markup.Element) bool { return s.fits(w, el) }) == nil {
				s.errorf("%s did not get\n\t%s\nbut:%s", who, w.Source(), c.pending())
			}
		}
	case what == "gets nothing":
		settle()
		if p := c.pending(); p != "" {
			s.errorf("%s got:%s", who, p)
		}
	case what == "drops":
		settle()
		c.drop()
	case strings.HasPrefix(what, "is closed"):
		settle()
		cond := strings.TrimSpace(strings.TrimPrefix(what, "is closed"))
		if cond != "" && c.take(func(el *markup.Element) bool {
			return el.Local == "error" && el.Child("urn:ietf:params:xml:ns:xmpp-streams", cond) != nil
		}) == nil {
			s.errorf("%s did not get the stream error %s but:%s", who, cond, c.pending())
		}
		c.mu.Lock()
		if c.err == nil {
			s.errorf("%s is not closed", who)
		}
		c.mu.Unlock()
		c.conn.Close()
	case what == "leaves":
		c.send("</stream:stream>")
		settle()
		c.conn.Close()
	case what == "vanishes":
		c.conn.Close()
		settle()
	default:
		s.errorf("what is %q?", l.text)
	}
}

func (s *script) fill(text string) string {
	for k, v := range s.vars {
		text = strings.ReplaceAll(text, "{"+k+"}", v)
	}
	return text
}

func (s *script) fits(want, got *markup.Element) bool {
	saved := map[string]string{}
	for k, v := range s.vars {
		saved[k] = v
	}
	if s.fitsIn(want, got) {
		return true
	}
	s.vars = saved
	return false
}

func (s *script) fitsIn(want, got *markup.Element) bool {
	if want.Local != got.Local || want.Space != got.Space {
		return false
	}
	if _, ok := want.LookupAttr("", "type"); !ok && got.Attr("type") != "" && want.Space == nsClient {
		return false
	}
	for _, a := range want.Attrs {
		v, ok := got.LookupAttr(a.Space, a.Local)
		if !ok || !s.fitsValue(a.Value, v) {
			return false
		}
	}
	kids, any := slices.Collect(got.Children()), false
	for w := range want.Children() {
		any = any || w.Local == "any"
	}
	for w := range want.Children() {
		if w.Local == "any" {
			continue
		}
		i := slices.IndexFunc(kids, func(k *markup.Element) bool { return s.fitsIn(w, k) })
		if i < 0 || i > 0 && !any {
			return false
		}
		kids = slices.Delete(kids, i, i+1)
	}
	if len(kids) > 0 && !any {
		return false
	}
	text := strings.TrimSpace(want.Text())
	return text == "" && (strings.TrimSpace(got.Text()) == "" || any) || s.fitsValue(text, strings.TrimSpace(got.Text()))
}

func (s *script) fitsValue(want, got string) bool {
	if want == "*" {
		return true
	}
	if strings.HasPrefix(want, "{") && strings.HasSuffix(want, "}") {
		name := want[1 : len(want)-1]
		if v, ok := s.vars[name]; ok {
			return v == got
		}
		s.vars[name] = got
		return true
	}
	return s.fill(want) == got
}

// acquaint has both watch one another, without a word of approval.
func (w *world) acquaint(a, b string) {
	w.t.Helper()
	for _, p := range [][2]string{{a, b}, {b, a}} {
		_, err := w.store.UpdateItem(w.ctx, entity(p[0]), entity(p[1]), func(it *store.Item) bool {
			it.To, it.Visible = true, true
			return true
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// befriend subscribes both to one another.
func (w *world) befriend(a, b string) {
	w.t.Helper()
	for _, p := range [][2]string{{a, b}, {b, a}} {
		_, err := w.store.UpdateItem(w.ctx, entity(p[0]), entity(p[1]), func(it *store.Item) bool {
			it.To, it.From, it.Visible = true, true, true
			return true
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.engine.PolicyChanged(entity(p[0]))
		if w.among != nil {
			w.among.each(func(w *world) { w.engine.PolicyHeard(entity(p[0])) })
		}
	}
}

// sipLine is what the stand-in for the SIP edge does.
//
//	sip alice publishes KEY open|closed [activity] [note...]
//	sip alice writes-of KEY      publishes the block: children of a PIDF <presence/>
//	sip alice unpublishes KEY
//	sip carol watches alice
//	sip carol sees alice active|pending|rejected [open|closed] [activity] [note...]
//	sip carol reads alice        the last that carol was told holds the block
//	sip carol reads-not alice    or does not
//	sip is told nothing
//	sip alice registers
//	sip alice writes bob text...
//	sip alice got text...
func (s *script) sipLine(f []string, l scriptLine) {
	if f[0] == "is" { // told nothing
		f = append([]string{""}, f...)
	}
	who, verb, args := entity(f[0]), f[1], f[2:]
	step := func(to presence.Entity, in presence.Input) {
		if _, err := s.engine.Step(s.ctx, to, in); err != nil {
			s.errorf("%v", err)
		}
	}
	switch verb {
	case "publishes":
		doc := &presence.Document{}
		t := presence.Tuple{ID: "t1", Basic: presence.Open, Priority: -1}
		if args[1] == "closed" {
			t.Basic = presence.Closed
		}
		doc.Tuples = []presence.Tuple{t}
		if len(args) > 2 && args[2] != "-" {
			doc.Persons = []presence.Person{{ID: "p1", Rich: presence.Rich{Activities: &presence.Values{Names: []string{args[2]}}}}}
		}
		if len(args) > 3 {
			doc.Tuples[0].Notes = []presence.Note{{Text: strings.Join(args[3:], " ")}}
		}
		step(who, presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: args[0]}, NewTag: "tag", Doc: doc,
			Native: presence.Payload{Type: "application/pidf+xml", Bytes: []byte(l.text)}, Lifetime: time.Hour})
	case "writes-of":
		text := "<presence xmlns='" + pidf.Space + "' xmlns:dm='" + pidf.DataModel + "' xmlns:r='" + pidf.RPID + "' entity='sip:" + f[0] + "@localhost'>" + l.block + "</presence>"
		doc, _, err := pidf.Parse([]byte(text))
		if err != nil {
			s.errorf("%v", err)
			return
		}
		step(who, presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: args[0]}, NewTag: "tag", Doc: doc,
			Native: presence.Payload{Type: pidf.Type, Bytes: []byte(text)}, Lifetime: time.Hour})
	case "reads", "reads-not":
		settle()
		s.sipReads(f[0], entity(args[0]), verb == "reads", l.block)
	case "unpublishes":
		step(who, presence.Retract{ID: presence.SourceID{Kind: presence.Publication, Key: args[0]}})
	case "watches":
		step(entity(args[0]), presence.Watch{ID: "sip-" + f[0], Watcher: who, Via: presence.Via{Edge: "sip", Handle: f[0]}, Lifetime: time.Hour})
	case "sees":
		settle()
		s.sipSees(f[0], args)
	case "is":
		settle()
		s.sip.mu.Lock()
		for _, n := range s.sip.notices {
			s.errorf("sip was told %v of %v", n.State, n.Presentity)
		}
		s.sip.mu.Unlock()
	case "registers":
		s.sip.mu.Lock()
		if s.sip.registered == nil {
			s.sip.registered = map[presence.Entity]bool{}
		}
		s.sip.registered[who] = true
		s.sip.mu.Unlock()
	case "writes":
		_, err := s.engine.Send(context.Background(), &engine.Message{From: who, To: entity(args[0]), Body: strings.Join(args[1:], " "),
			Thread: "call-id", Subject: "s", Edge: "sip", Sent: time.Now()})
		if err != nil {
			s.errorf("%v", err)
		}
	case "got":
		settle()
		s.sip.mu.Lock()
		defer s.sip.mu.Unlock()
		for i, m := range s.sip.messages {
			if m.To == who && m.Body == strings.Join(args, " ") {
				s.sip.messages = slices.Delete(s.sip.messages, i, i+1)
				return
			}
		}
		s.errorf("sip %s did not get it", f[0])
	default:
		s.errorf("what is %q?", l.text)
	}
}

// iconIs compares the status icon. Lines of a block are joined without a break.
func (s *script) iconIs(user, want string) {
	d, err := s.documents.Get(s.ctx, xdm.Name{AUID: xdm.PresContent, User: entity(user), Path: iconPath})
	if err != nil && !(want == "" && errors.Is(err, xdm.ErrNotFound)) {
		s.errorf("%v", err)
	}
	if got := strings.ReplaceAll(string(d.Body), "\n", ""); got != want {
		s.errorf("the icon is %s", got)
	}
}

func (s *script) putIcon(user, path, body string) {
	_, _, err := s.documents.Update(s.ctx, xdm.Name{AUID: xdm.PresContent, User: entity(user), Path: path}, func(*xdm.Document) ([]byte, error) {
		if body == "" {
			return nil, nil
		}
		return []byte(body), nil
	})
	if err != nil {
		s.errorf("%v", err)
	}
}

// sipReads looks into the last document that a watcher was sent; the notices are taken.
func (s *script) sipReads(watcher string, of presence.Entity, want bool, text string) {
	s.sip.mu.Lock()
	defer s.sip.mu.Unlock()
	var last *presence.Notice
	for _, n := range s.sip.notices {
		if n.Presentity == of && n.Targets[0].Handle == watcher {
			last = n
		}
	}
	if last == nil || last.View == nil || last.View.Doc == nil {
		s.errorf("sip %s was sent no document", watcher)
		return
	}
	s.sip.notices = slices.DeleteFunc(s.sip.notices, func(n *presence.Notice) bool { return n.Presentity == of && n.Targets[0].Handle == watcher })
	doc := string(pidf.Append(nil, "sip:"+of.String(), last.View.Doc))
	if strings.Contains(doc, text) != want {
		s.errorf("sip %s was sent\n%s", watcher, doc)
	}
}

func (s *script) sipSees(watcher string, args []string) {
	s.sip.mu.Lock()
	defer s.sip.mu.Unlock()
	var seen []string
	for i, n := range s.sip.notices {
		if n.Presentity != entity(args[0]) || n.Targets[0].Handle != watcher {
			continue
		}
		got := describeNotice(n)
		if strings.HasPrefix(got+" ", strings.Join(args[1:], " ")+" ") {
			s.sip.notices = slices.Delete(s.sip.notices, i, i+1)
			return
		}
		seen = append(seen, got)
	}
	s.errorf("sip %s was told %q", watcher, seen)
}

func describeNotice(n *presence.Notice) string {
	state := [...]string{presence.Active: "active", presence.Pending: "pending", presence.Terminated: "terminated"}[n.State]
	if n.State == presence.Terminated && n.Reason == presence.Rejected {
		state = "rejected"
	}
	if n.View == nil || n.View.Doc == nil {
		return state
	}
	basic, act, note := "closed", "-", ""
	for _, t := range n.View.Doc.Tuples {
		if t.Basic == presence.Open {
			basic = "open"
		}
	}
	for _, p := range n.View.Doc.Persons {
		if p.Rich.Activities != nil {
			act = strings.Join(p.Rich.Activities.Names, ",")
		}
		for _, x := range p.Notes {
			note = x.Text
		}
	}
	return strings.TrimSpace(strings.Join([]string{state, basic, act, note}, " "))
}

func plain(user string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00secret"))
}
