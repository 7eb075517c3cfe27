package story

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"pharos/markup"
)

// verify looks, while there is quiet, whether everybody knows what is true.
func (c *crowd) verify() {
	c.mu.Lock()
	c.shaken, c.disturb = c.shaken || c.disturb, false
	c.mu.Unlock()
	rosters := map[string]map[string]string{}
	for _, u := range c.users {
		rosters[u] = c.verifyTalkers(u)
		c.verifyDocuments(u)
	}
	c.verifyPairs(rosters)
	settle(5 * time.Second)
	for _, a := range c.actor {
		if p, ok := a.(*caller); ok {
			p.verify()
		}
	}
}

// same compares tables, key by key.
func same(t interface{ Errorf(string, ...any) }, what string, told, now map[string]string) {
	keys := map[string]bool{}
	for k := range told {
		keys[k] = true
	}
	for k := range now {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if told[k] != now[k] {
			t.Errorf("%s: %s: was told %q, is %q", what, k, told[k], now[k])
		}
	}
}

// verifyTalkers logs in once more, and compares what older sessions show.
func (c *crowd) verifyTalkers(u string) map[string]string {
	check := &talker{crowd: c, user: u, c: c.w.chatters[u+"/check"]}
	type was struct {
		name             string
		shows            bool
		presence, events map[string]string
		roster           map[string]string
		blocks           map[string]bool
	}
	var all []was
	for _, a := range c.actor {
		t, ok := a.(*talker)
		if !ok || t.user != u || !t.online() {
			continue
		}
		t.sees.mu.Lock()
		all = append(all, was{t.c.name, t.shows, maps.Clone(t.sees.presence), maps.Clone(t.sees.events), maps.Clone(t.sees.roster), maps.Clone(t.sees.blocks)})
		t.sees.mu.Unlock()
	}
	check.login(false)
	settle(3 * time.Second)
	now := check.sees
	now.mu.Lock()
	for k := range now.presence {
		if strings.HasSuffix(k, "/check") {
			delete(now.presence, k)
		}
	}
	for _, w := range all {
		same(c.t, w.name+": roster", w.roster, now.roster)
		if !maps.Equal(w.blocks, now.blocks) {
			c.t.Errorf("%s: blocks: was told %v, is %v", w.name, w.blocks, now.blocks)
		}
		if !w.shows {
			continue
		}
		for k := range w.presence {
			if strings.HasSuffix(k, "/check") {
				delete(w.presence, k)
			}
		}
		same(c.t, w.name+": presence", w.presence, now.presence)
		// What is not to be seen any more is not taken back from those who have seen it.
		for k := range w.events {
			if now.events[k] == "" {
				delete(w.events, k)
			}
		}
		same(c.t, w.name+": events", w.events, now.events)
	}
	roster, blocks := maps.Clone(now.roster), maps.Clone(now.blocks)
	now.mu.Unlock()
	if c.rng.IntN(2) == 0 { // else there may be no documents yet
		c.verifyFaces(u, roster, blocks)
	}
	check.c.stanza("presence", "", "unavailable", "")
	check.c.leaveStream()
	settle(2 * time.Second)
	return roster
}

// verifyPairs looks whether the rosters of both say the same of a subscription.
func (c *crowd) verifyPairs(rosters map[string]map[string]string) {
	says := func(u, of, either string) (bool, bool) {
		words, shown := rosters[u][c.w.address(of)]
		return strings.Contains(words, "subscription="+either) || strings.Contains(words, "subscription=both"), shown
	}
	for _, u := range c.users {
		for _, o := range c.users {
			to, _ := says(u, o, "to")
			from, shown := says(o, u, "from")
			if u != o && shown && to && !from { // the other way round it may be a phone that watches
				c.t.Errorf("%s has %q and %s has %q", u, rosters[u][c.w.address(o)], o, rosters[o][c.w.address(u)])
			}
		}
	}
}

func (c *crowd) editor(u string) *editor {
	for _, a := range c.actor {
		if e, ok := a.(*editor); ok && e.user == u {
			return e
		}
	}
	return nil
}

// verifyFaces compares roster and block list with the documents.
func (c *crowd) verifyFaces(u string, roster map[string]string, blocks map[string]bool) {
	e := c.editor(u)
	now := map[string]string{}
	if e.does("gets", "resource-lists/index") == 200 {
		root, err := markup.Parse([]byte(e.body), markup.File)
		if err != nil {
			c.t.Errorf("%s: %v", u, err)
			return
		}
		entries(root, now)
	}
	told := map[string]string{}
	for jid, words := range roster {
		told[jid] = ""
		for _, w := range strings.Split(words, " ") {
			if n, ok := strings.CutPrefix(w, "name="); ok {
				told[jid] = n
			}
		}
	}
	for _, jid := range slices.Sorted(maps.Keys(told)) {
		if _, ok := now[jid]; !ok {
			c.t.Errorf("%s: %s is in the roster and not in the document", u, jid)
		}
	}
	for _, jid := range slices.Sorted(maps.Keys(now)) {
		if n, ok := told[jid]; !ok || n != now[jid] {
			c.t.Errorf("%s: %s is %q in the document and %q in the roster (%v)", u, jid, now[jid], n, ok)
		}
	}
	blocked := map[string]bool{}
	if e.does("gets", "pres-rules/index") == 200 {
		root, err := markup.Parse([]byte(e.body), markup.File)
		if err != nil {
			c.t.Errorf("%s: %v", u, err)
			return
		}
		for r := range root.Children() {
			if strings.HasPrefix(r.Attr("id"), "xmpp-blocked") {
				identities(r, blocked)
			}
		}
	}
	if !maps.Equal(blocked, blocks) {
		c.t.Errorf("%s: the rules block %v, the block list has %v", u, blocked, blocks)
	}
}

// entries finds the addresses, and the first name of each.
func entries(e *markup.Element, found map[string]string) {
	for x := range e.Children() {
		if x.Local == "entry" {
			jid := strings.TrimPrefix(x.Attr("uri"), "sip:")
			if found[jid] == "" {
				found[jid] = ""
				for n := range x.Children() {
					if n.Local == "display-name" {
						found[jid] = n.Text()
					}
				}
			}
		}
		entries(x, found)
	}
}

func identities(e *markup.Element, found map[string]bool) {
	for x := range e.Children() {
		if x.Local == "one" {
			found[strings.TrimPrefix(x.Attr("id"), "sip:")] = true
		}
		identities(x, found)
	}
}

// verifyDocuments looks whether what was answered with success is there.
func (c *crowd) verifyDocuments(u string) {
	for _, a := range c.actor {
		e, ok := a.(*editor)
		if !ok || e.user != u || len(e.kept) == 0 {
			continue
		}
		found := map[string]string{}
		if e.does("gets", "resource-lists/index") == 200 {
			root, err := markup.Parse([]byte(e.body), markup.File)
			if err != nil {
				c.t.Error(err)
				return
			}
			entries(root, found)
		}
		for _, uri := range slices.Sorted(maps.Keys(e.kept)) {
			if _, there := found[strings.TrimPrefix(uri, "sip:")]; there != e.kept[uri] {
				c.t.Errorf("%s: the entry %s: answered that it is there: %v; it is: %v", e.c.name, uri, e.kept[uri], there)
			}
		}
	}
}

// verify fetches what is watched.
func (a *caller) verify() {
	seen := map[string][]string{} // of members, by fetches of their own
	for _, s := range a.subs {
		if s.dead(a.phone) {
			continue
		}
		f := &watching{list: s.list, subscription: &subscription{of: s.of, as: s.as, event: s.event, accept: s.accept, more: s.more}}
		s.mu.Lock()
		words, table := slices.Clone(s.words), maps.Clone(s.table)
		s.mu.Unlock()
		if !a.fetch(f) {
			if a.shaken && a.orphan(s) {
				continue
			}
			a.t.Errorf("%s: watches %s (%s), and a fetch is refused", a.user, s.of, strings.Join(words, " "))
			continue
		}
		if s.table == nil {
			if w, now := state(words), state(f.words); !slices.Equal(w, now) && !(a.shaken && a.orphan(s)) {
				a.t.Errorf("%s: watches %s (%s, %s): was told %q, is %q (%s)", a.user, s.of, s.event, s.callID, w, now, strings.Join(f.words, " "))
				why, err := a.w.nodes[0].server.Why(a.t.Context(), s.as, s.of)
				a.t.Logf("%+v %v", why, err)
			}
			continue
		}
		now := flat(f.table)
		if s.event == "xcap-diff" {
			// The fetch may have had documents generated. Of those that went while the
			// phone was unplugged full state says nothing (RFC 5875 §4.8).
			s.mu.Lock()
			table = maps.Clone(s.table)
			s.mu.Unlock()
			maps.DeleteFunc(table, func(sel string, _ []string) bool { return now[sel] == "" })
		}
		if a.shaken && !maps.Equal(flat(table), now) && a.orphan(s) {
			continue
		}
		for who, v := range flat(table) {
			// Who was refused asks anew by a fetch, and waits for an answer to that.
			if strings.HasSuffix(v, "=terminated:rejected") && strings.HasSuffix(now[who], "=pending") {
				now[who] = v
			}
		}
		same(a.t, a.user+": "+s.event+" of "+s.of, flat(table), now)
		if !s.list {
			continue
		}
		for _, who := range slices.Sorted(maps.Keys(table)) {
			if seen[who] == nil {
				m := &watching{subscription: &subscription{of: a.w.address(who), as: s.as, event: s.event, accept: bodyTypes["presence"]}}
				if a.fetch(m) {
					seen[who] = state(m.words)
				} else {
					seen[who] = []string{"refused"}
				}
			}
			w := member(table[who])
			switch says := strings.Join(table[who], " "); {
			case strings.HasSuffix(says, "=pending"):
				w = nil
			case strings.HasSuffix(says, "=terminated:rejected"):
				w = []string{"refused"}
				if len(seen[who]) == 0 {
					continue // as above
				}
			}
			if !slices.Equal(w, seen[who]) {
				a.t.Errorf("%s: member %s of %s: was told %q, is %q", a.user, who, s.of, w, seen[who])
			}
		}
	}
}

// orphan tells whether a subscription is unknown to the server. It may have ended while the
// phone was unplugged, and the last NOTIFY was still to be sent again when the server
// was killed: then the phone learns of it when it refreshes (RFC 6665 §4.1.2.2).
func (a *caller) orphan(s *watching) bool {
	a.phone.resubscribe(s.subscription, "3600")
	return a.phone.status("SUBSCRIBE") == "481"
}

// fetch asks once (RFC 6665 §4.4.3).
func (a *caller) fetch(f *watching) bool {
	f.each = f.heard
	a.phone.subscribe(f.subscription, "0")
	ok := a.phone.status("SUBSCRIBE") == "200"
	settle(3 * time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	return ok && f.words != nil
}

// state leaves of the words what a document says.
func state(words []string) []string {
	if slices.Contains(words, "pending") {
		return nil // the body says nothing, and a fetch gets none
	}
	var s []string
	for _, w := range words {
		switch {
		case w == "active", w == "pending", w == "terminated", strings.HasPrefix(w, "reason="), strings.HasPrefix(w, "list"), strings.HasPrefix(w, "body="):
		default:
			s = append(s, w)
		}
	}
	sort.Strings(s)
	return s
}

// member is state of a member's words in a list.
func member(words []string) []string {
	var s []string
	for _, w := range words {
		if w, ok := strings.CutPrefix(w, ":"); ok && !strings.HasPrefix(w, "name=") {
			s = append(s, w)
		}
	}
	sort.Strings(s)
	return s
}

func flat(t map[string][]string) map[string]string {
	m := map[string]string{}
	for k, v := range t {
		m[k] = strings.Join(v, " ")
	}
	return m
}
