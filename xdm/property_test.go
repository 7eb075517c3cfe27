package xdm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pharos/policy"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

// faces is a user who is changed from both sides, and what must be true of what
// she has.
type faces struct {
	*rapid.T
	d    *Documents
	u    presence.Entity
	last uint64            // version of the roster
	tags map[string]uint64 // of each document, by AUID
	body map[string]string
	told []*Change

	keep map[string][]string // by AUID, what others wrote and must stay
	mark bool                // bob's entry has an attribute of another's
}

var (
	contacts = []presence.Entity{bob, carol, {User: "dave", Domain: "example.com"}, {User: "a;x=1+b", Domain: "example.com"},
		{User: "müller", Domain: "bücher.example"}, {Domain: "gateway.example"}, {User: "v6", Domain: "[::1]"}}
	groupNames = []string{"Friends", "Work", "Work::Close", "Keep", roster.Ungrouped, " odd ", "a::", "&<>\"'", ""}
	names      = []string{"", "Bob", "two\nlines", "&<>\"'", "  ", "Zoë"}
)

const (
	listsTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<!-- of another client -->
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x">
  <list name="Keep" x:color="red"><entry uri="tel:+1234"/><external anchor="http://example.com/x"/>%s
    <!--entries--></list>
  <!--lists-->
  <x:more>kept</x:more>
</resource-lists>`
	rulesTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<!-- of another client -->
<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns="urn:ietf:params:xml:ns:pres-rules" xmlns:x="urn:x">
  <cr:rule id="org"><cr:conditions><cr:identity><cr:many domain="example.org"/></cr:identity></cr:conditions><cr:actions><sub-handling>%s</sub-handling></cr:actions><cr:transformations><provide-services><all-services/></provide-services></cr:transformations></cr:rule>
%s  <!--rules-->
</cr:ruleset>`
)

func (f *faces) contact() presence.Entity { return rapid.SampledFrom(contacts).Draw(f.T, "contact") }

func (f *faces) row(contact presence.Entity, theirs bool, fn func(*store.Item)) {
	cs := []ItemChange{{Theirs: theirs, ItemChange: store.ItemChange{User: f.u, Contact: contact, Change: func(it *store.Item) bool { fn(it); return true }}}}
	if err := f.d.UpdateItems(context.Background(), cs); err != nil {
		f.Fatal(err)
	}
}

// xcap is a client that changes a document; what it makes of none is "".
func (f *faces) xcap(auid string, fn func(old string) string) {
	_, _, err := f.d.Update(context.Background(), Name{auid, f.u, Index}, func(old *Document) ([]byte, error) {
		was := ""
		if old != nil {
			was = string(old.Body)
		}
		now := fn(was)
		if now == "" {
			return nil, nil
		}
		return []byte(now), nil
	})
	if err != nil {
		f.Fatal(err)
	}
}

func element(contact presence.Entity, name, attrs string) string {
	e := `<entry uri="` + strings.ReplaceAll(strings.ReplaceAll(roster.URIOf(contact), "&", "&amp;"), `"`, "&quot;") + `"` + attrs
	if name == "" {
		return e + "/>"
	}
	return e + "><display-name>" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(name) + "</display-name></entry>"
}

// entryOf finds the first entry of a contact.
func entryOf(contact presence.Entity) *regexp.Regexp {
	return regexp.MustCompile(`<entry uri="` + regexp.QuoteMeta(roster.URIOf(contact)) + `"([^>]*/>|(?s:.*?)</entry>)`)
}

func (f *faces) step() {
	c := f.contact()
	name, group := rapid.SampledFrom(names), rapid.SampledFrom(groupNames)
	switch rapid.IntRange(0, 24).Draw(f.T, "step") {
	case 0, 1, 2: // roster set
		n, groups := name.Draw(f.T, "name"), rapid.SliceOfNDistinct(group, 0, 3, func(s string) string { return s }).Draw(f.T, "groups")
		groups = slices.DeleteFunc(groups, func(g string) bool { return g == "" })
		f.row(c, false, func(it *store.Item) { it.Visible, it.Removed, it.Name, it.Groups = true, false, n, groups })
	case 3: // roster remove
		f.row(c, false, func(it *store.Item) { *it = store.Item{Removed: it.Visible} })
		f.mark = f.mark && c != bob
	case 4: // approved
		f.row(c, false, func(it *store.Item) { it.From, it.Visible, it.PendingIn, it.Removed = true, true, false, false })
	case 5: // approved in advance
		f.row(c, false, func(it *store.Item) { it.Approved, it.Visible, it.Removed = true, true, false })
	case 6: // taken back
		f.row(c, false, func(it *store.Item) { it.From, it.Approved = false, false })
	case 7: // the contact goes
		f.row(c, true, func(it *store.Item) { it.From = false })
	case 8: // the contact asks
		f.row(c, true, func(it *store.Item) { it.PendingIn = it.PendingIn || !it.From && !it.Approved; it.Removed = false })
	case 9:
		f.row(c, false, func(it *store.Item) { it.To, it.Visible, it.Removed = !it.To, true, false })
	case 10:
		add := []string{c.String(), rapid.SampledFrom([]string{"spam.example", "a@b.example/phone", "example.org"}).Draw(f.T, "also")}
		if err := f.d.SetBlocks(context.Background(), f.u, add, nil, rapid.Bool().Draw(f.T, "all")); err != nil {
			f.Fatal(err)
		}
	case 11:
		if err := f.d.SetBlocks(context.Background(), f.u, nil, []string{c.String(), "example.org"}, false); err != nil {
			f.Fatal(err)
		}
	case 12:
		auid := rapid.SampledFrom([]string{ResourceLists, PresRules, RLSServices}).Draw(f.T, "of")
		if _, err := f.d.Get(context.Background(), Name{auid, f.u, Index}); err != nil && !errors.Is(err, ErrNotFound) {
			f.Fatal(err)
		}
	case 13: // a whole list
		f.mark = rapid.Bool().Draw(f.T, "marked")
		entries := ""
		if f.mark {
			entries = element(bob, "", ` x:id="7"`)
		}
		for _, e := range rapid.SliceOfNDistinct(rapid.SampledFrom(contacts), 0, 3, func(e presence.Entity) presence.Entity { return e }).Draw(f.T, "entries") {
			if expressible(e) && e != bob {
				entries += element(e, name.Draw(f.T, "name"), "")
			}
		}
		f.xcap(ResourceLists, func(string) string { return fmt.Sprintf(listsTemplate, entries) })
		f.keep[ResourceLists] = []string{"<!-- of another client -->", `x:color="red"`, "tel:+1234", "http://example.com/x", "<x:more>kept</x:more>"}
	case 14, 15: // an entry more
		f.xcap(ResourceLists, func(old string) string {
			if !expressible(c) || entryOf(c).MatchString(old) {
				return old
			}
			return strings.Replace(old, "<!--entries-->", element(c, name.Draw(f.T, "name"), "")+"<!--entries-->", 1)
		})
	case 16: // an entry less
		f.xcap(ResourceLists, func(old string) string {
			if at := entryOf(c).FindStringIndex(old); at != nil {
				f.mark = f.mark && c != bob
				return old[:at[0]] + old[at[1]:]
			}
			return old
		})
	case 17: // renamed
		f.xcap(ResourceLists, func(old string) string {
			at := entryOf(c).FindStringIndex(old)
			if at == nil || c == bob {
				return old
			}
			return old[:at[0]] + element(c, name.Draw(f.T, "name"), "") + old[at[1]:]
		})
	case 18: // a list more
		f.xcap(ResourceLists, func(old string) string {
			if strings.Contains(old, `name="New"`) || entryOf(c).MatchString(old) || !expressible(c) {
				return old
			}
			return strings.Replace(old, "<!--lists-->", `<list name="New">`+element(c, "", "")+`</list><!--lists-->`, 1)
		})
	case 19: // and less
		f.xcap(ResourceLists, func(old string) string {
			at := regexp.MustCompile(`(?s)<list name="New">.*?</list>`).FindStringIndex(old)
			if at == nil || strings.Contains(old[at[0]:at[1]], "bob") {
				return old
			}
			return old[:at[0]] + old[at[1]:]
		})
	case 20: // all gone
		auid := rapid.SampledFrom([]string{ResourceLists, PresRules}).Draw(f.T, "of")
		f.xcap(auid, func(string) string { return "" })
		delete(f.keep, auid)
		f.mark = f.mark && auid != ResourceLists
	case 21: // rules of another client
		h := rapid.SampledFrom([]string{"allow", "confirm", "block", "polite-block"}).Draw(f.T, "handling")
		reserved := ""
		if rapid.Bool().Draw(f.T, "reserved") && expressible(c) && c.User != "" {
			reserved = `  <cr:rule id="xmpp-approved"><cr:conditions><cr:identity><cr:one id="` + strings.ReplaceAll(roster.URIOf(c), "&", "&amp;") +
				`"/></cr:identity></cr:conditions><cr:actions><sub-handling>allow</sub-handling></cr:actions>` +
				`<cr:transformations><provide-devices><all-devices/></provide-devices><provide-persons><all-persons/></provide-persons><provide-services><all-services/></provide-services><provide-all-attributes/></cr:transformations></cr:rule>` + "\n"
		}
		f.xcap(PresRules, func(string) string { return fmt.Sprintf(rulesTemplate, h, reserved) })
		f.keep[PresRules] = []string{"<!-- of another client -->", `<cr:rule id="org"><cr:conditions><cr:identity><cr:many domain="example.org"/>`, "<provide-services><all-services/></provide-services></cr:transformations></cr:rule>"}
	case 22, 23: // somebody is taken out of a reserved rule
		f.xcap(PresRules, func(old string) string {
			at := regexp.MustCompile(`<(cr:)?one id="` + regexp.QuoteMeta(roster.URIOf(c)) + `"/>`).FindStringIndex(old)
			if at == nil {
				return old
			}
			return old[:at[0]] + old[at[1]:]
		})
	case 24: // a rule more
		f.xcap(PresRules, func(old string) string {
			if strings.Contains(old, `id="dave"`) {
				return old
			}
			return strings.Replace(old, "<!--rules-->", `<cr:rule id="dave"><cr:conditions><cr:identity><cr:one id="sip:dave@example.com"/></cr:identity></cr:conditions><cr:actions><sub-handling>allow</sub-handling></cr:actions><cr:transformations/></cr:rule><!--rules-->`, 1)
		})
	}
}

// settle is what the XMPP edge does when the rules have changed.
func (f *faces) settle() {
	rs, items := f.rules()
	if rs == nil {
		return
	}
	p := policy.CompileRules(1, presence.Confirm, rs, items)
	for _, it := range items {
		if it.From && presence.Decide(p, f.u, it.Contact, presence.Circumstances{}).Class.Handling == presence.Confirm {
			f.row(it.Contact, true, func(it *store.Item) { it.From, it.Approved = false, false })
		}
	}
}

func (f *faces) rules() (*policy.Rules, []store.Item) {
	items, _, err := f.d.c.Store.Roster(context.Background(), f.u)
	if err != nil {
		f.Fatal(err)
	}
	doc, err := f.d.c.Store.Document(context.Background(), f.u, PresRules, Index)
	if err != nil {
		return nil, items
	}
	rs, err := readRules(doc.Body)
	if err != nil {
		f.Fatalf("%v in\n%s", err, doc.Body)
	}
	return rs, items
}

// check holds the two faces against one another.
func (f *faces) check() {
	ctx := context.Background()
	checkLists(f, f.d, f.u)
	checkRules(f, f.d, f.u)
	f.checkPolicy()
	_, version, err := f.d.c.Store.Roster(ctx, f.u)
	if err != nil || version < f.last {
		f.Fatalf("roster version %d after %d, %v", version, f.last, err)
	}
	for _, auid := range []string{ResourceLists, PresRules} {
		doc, err := f.d.c.Store.Document(ctx, f.u, auid, Index)
		if err != nil {
			delete(f.tags, auid)
			continue
		}
		tag, err := strconv.ParseUint(etag(doc.Version), 36, 64)
		switch was, known := f.tags[auid]; {
		case err != nil || tag > version:
			f.Fatalf("entity-tag %q of roster version %d", etag(doc.Version), version)
		case known && string(doc.Body) == f.body[auid] && tag != was:
			f.Fatalf("%s: entity-tag %d after %d, but nothing has changed", auid, tag, was)
		case (!known || string(doc.Body) != f.body[auid]) && tag <= f.last:
			f.Fatalf("%s: entity-tag %d of a change after version %d", auid, tag, f.last)
		}
		f.tags[auid], f.body[auid] = tag, string(doc.Body)
		for _, k := range f.keep[auid] {
			if !strings.Contains(string(doc.Body), k) {
				f.Fatalf("%q is lost in\n%s", k, doc.Body)
			}
		}
		if auid == ResourceLists && f.mark && !strings.Contains(string(doc.Body), `x:id="7"`) {
			f.Fatalf("what another wrote into bob's entry is lost in\n%s", doc.Body)
		}
	}
	f.last = version
	// What listeners were told leads from each version to the next.
	for _, c := range f.told {
		if c.User != f.u {
			f.Fatalf("told of %v", c.User)
		}
		for _, r := range c.Items {
			if r.Before.Contact != r.After.Contact || r.After.Version > c.Version {
				f.Fatalf("told of a row %+v in version %d", r, c.Version)
			}
		}
		for _, x := range c.Documents {
			if x.Before == nil && x.After == nil || x.Before != nil && x.After != nil && x.Before.ETag == x.After.ETag {
				f.Fatalf("told of a document that has not changed: %+v", x)
			}
		}
	}
	f.told = nil
}

// checkPolicy: where no rule of others speaks, approvals and block list decide
// as the reserved rules do.
func (f *faces) checkPolicy() {
	rs, items := f.rules()
	if rs == nil {
		return
	}
	blocks, err := f.d.c.Store.Blocks(context.Background(), f.u)
	if err != nil {
		f.Fatal(err)
	}
	byRules := policy.CompileRules(1, presence.Confirm, rs, items)
	byRows := policy.Compile(1, presence.Confirm, items, blocks)
	others := &presence.Policy{Default: presence.Confirm, Rules: rs.Rules}
	for _, w := range append(slices.Clone(contacts), presence.Entity{User: "x", Domain: "spam.example"}, presence.Entity{User: "nobody", Domain: "example.com"}) {
		if d := presence.Decide(others, f.u, w, presence.Circumstances{}); d.Rule != presence.RuleDefault || !expressible(w) {
			continue
		}
		a := presence.Decide(byRules, f.u, w, presence.Circumstances{}).Class.Handling
		b := presence.Decide(byRows, f.u, w, presence.Circumstances{}).Class.Handling
		if a != b && !(slices.Contains(rs.Cancelled, w) && a == presence.Confirm) {
			f.Fatalf("%s: %v by the rules, %v by the rows", w, a, b)
		}
	}
}

// Any interleaving of what XMPP and XCAP do leaves both faces equal, what others
// wrote in place, and entity-tags and versions rising together.
func TestFaces(t *testing.T) {
	d := open(t, Limits{})
	users := 0
	var told []*Change
	d.Listen(func(c *Change) { told = append(told, c) })
	rapid.Check(t, func(rt *rapid.T) {
		users++
		told = nil
		f := &faces{T: rt, d: d, u: presence.Entity{User: fmt.Sprint("user", users), Domain: "example.com"},
			tags: map[string]uint64{}, body: map[string]string{}, keep: map[string][]string{}}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			f.step()
			f.settle()
			f.told, told = told, nil
			if f.check(); f.Failed() {
				return
			}
		}
	})
}
