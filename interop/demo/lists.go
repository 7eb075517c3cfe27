package main

import (
	"fmt"
	"strings"

	"pharos/interop"
)

// lists is the second act: one buddy list and one word on who may see whom, with
// XCAP, SIP and XMPP as its faces.
func (c *cast) lists(s *story) error {
	sipp, slix, bare, curl := c.versions["sipp"], c.versions["slixmpp"], c.versions["baresip"], c.versions["curl"]
	var (
		dora                      *interop.Client
		winfo, watcher, all, lamp *interop.Sipp
		frank                     *interop.Baresip
		err                       error
	)
	defer func() {
		for _, p := range []interface{ Stop() }{dora, winfo, watcher, all, lamp, frank} {
			stop(p)
		}
	}()
	list := "/resource-lists/users/sip:" + c.dora.Address() + "/index"
	rules := "/pres-rules/users/sip:" + c.dora.Address() + "/index"

	return s.play(
		// One list.
		act("dora", slix, "logs in to chat", func() error {
			dora, err = c.server.Slixmpp(c.dora, "desk", "pep")
			return err
		}),
		act("dora", curl, "PUTs a buddy list with erik, as her phone would", c.xcap(c.dora, "PUT", list, "application/resource-lists+xml", fmt.Sprintf(buddies, c.erik.Address()))),
		sees("dora", slix, "it in her roster", func() (string, error) {
			e, err := dora.Event(patience, interop.Fields{"event": "roster", "jid": c.erik.Address(), "name": "Erik"})
			return fmt.Sprintf("%v “%v”, group %v", e["jid"], e["name"], e["groups"]), err
		}),
		act("dora", slix, "adds frank in chat", asks(&dora, "roster set", interop.Fields{"jid": c.frank.Address(), "name": "Frank", "groups": []string{"Friends"}})),
		sees("dora", curl, "him in the document", func() (string, error) {
			return c.server.Curl(c.dora, "GET", list+"/~~/resource-lists/list%5b@name=%22Friends%22%5d/entry%5b2%5d", "", "")
		}),

		// Who may see: asked from SIP, answered by a document.
		act("dora", sipp, "watches who watches her (presence.winfo)", func() error {
			winfo, err = c.server.Sipp("watch", c.dora, "udp", interop.Keys{"to": c.dora.Address(), "event": "presence.winfo",
				"accept": "application/watcherinfo+xml"})
			return err
		}),
		sees("dora", sipp, "her own chat client", func() (string, error) { return watching(winfo, "active", c.dora) }),
		act("erik", sipp, "subscribes to dora with his phone", func() error {
			watcher, err = c.server.Sipp("watch", c.erik, "udp", interop.Keys{"to": c.dora.Address()})
			return err
		}),
		sees("erik", sipp, "that he has to wait", func() (string, error) { return state(watcher, "pending") }),
		sees("dora", sipp, "him wait", func() (string, error) { return watching(winfo, "pending", c.erik) }),
		act("frank", bare, "starts his softphone, which subscribes to dora", func() error {
			frank, err = c.server.Baresip(c.frank, "tcp", c.dora)
			return err
		}),
		sees("dora", sipp, "him wait, too", func() (string, error) { return watching(winfo, "pending", c.frank) }),
		act("dora", curl, "PUTs rules: erik and frank may see her", c.xcap(c.dora, "PUT", rules, "application/auth-policy+xml", fmt.Sprintf(ruleset, c.erik.Address(), c.frank.Address()))),
		sees("erik", sipp, "the subscription go on", func() (string, error) { return state(watcher, "active") }),
		sees("dora", sipp, "him let in", func() (string, error) { return watching(winfo, "active", c.erik) }),
		sees("frank", bare, "dora", func() (string, error) { return "Online", frank.Shows(patience, c.dora, "Online") }),
		act("dora", curl, "PUTs one element of the rules: frank gets “polite-block”", c.xcap(c.dora, "PUT", rules+politely, "application/xcap-el+xml", "<sub-handling>polite-block</sub-handling>")),
		sees("frank", bare, "dora", func() (string, error) { return "Offline", frank.Shows(patience, c.dora, "Offline") }),

		// Moods, lists and lamps.
		act("dora", slix, "sets her mood: “happy, sunshine”", asks(&dora, "mood", interop.Fields{"value": "happy", "text": "sunshine"})),
		sees("erik", sipp, "it in the NOTIFY, as RPID", func() (string, error) { return found(watcher, `<rpid:mood[^>]*>.*?</rpid:mood>`) }),
		act("erik", sipp, "subscribes to a list of three with one SUBSCRIBE", func() error {
			all, err = c.server.Sipp("list", c.erik, "tcp", interop.Keys{"member": c.dora.Address()})
			return err
		}),
		sees("erik", sipp, "all of it", func() (string, error) { return resources(all, "true") }),
		act("dora", slix, "sets “away, tea”", does(&dora, "presence", interop.Fields{"show": "away", "status": "tea"})),
		sees("erik", sipp, "only the change", func() (string, error) { return resources(all, "false") }),
		sees("erik", sipp, "it there", func() (string, error) { return found(all, `<(?:dm:)?note[^>]*>tea</(?:dm:)?note>`) }),
		act("erik", sipp, "has a lamp for dora's line (dialog)", func() error {
			lamp, err = c.server.Sipp("watch", c.erik, "udp", interop.Keys{"to": c.dora.Address(), "event": "dialog",
				"accept": "application/dialog-info+xml"})
			if err != nil {
				return err
			}
			_, err = lamp.Message(patience, `<dialog-info [^>]*>`)
			return err
		}),
		act("dora", sipp, "is called: her PBX publishes the call", func() error {
			call, err := c.server.Sipp("call", c.dora, "udp", nil)
			if err != nil {
				return err
			}
			defer call.Stop()
			return call.Done(patience)
		}),
		sees("erik", sipp, "the lamp", func() (string, error) { return lit(lamp, "early", "confirmed", "terminated") }),
		act("dora", curl, "DELETEs erik from the list", c.xcap(c.dora, "DELETE", list+"/~~/resource-lists/list/entry%5b@uri=%22sip:"+c.erik.Address()+"%22%5d", "", "")),
		sees("dora", slix, "him go from her roster", func() (string, error) {
			e, err := dora.Event(patience, interop.Fields{"event": "roster", "jid": c.erik.Address(), "subscription": "remove"})
			return fmt.Sprintf("%v, %v", e["jid"], e["subscription"]), err
		}),
		quiet(func() error { return dora.Quit() }),
		quiet(func() error { return frank.Quit() }),
	)
}

// buddies is a list with one entry.
const buddies = `<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="Friends">
    <entry uri="sip:%s"><display-name>Erik</display-name></entry>
  </list>
</resource-lists>
`

// politely is the handling of the second rule.
const politely = "/~~/cr:ruleset/cr:rule%5b@id=%22frank%22%5d/cr:actions/sub-handling?xmlns(cr=urn:ietf:params:xml:ns:common-policy)"

// ruleset lets one watcher see all, and another whether the user is there.
const ruleset = `<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns="urn:ietf:params:xml:ns:pres-rules">
  <cr:rule id="friends">
    <cr:conditions><cr:identity><cr:one id="sip:%s"/></cr:identity></cr:conditions>
    <cr:actions><sub-handling>allow</sub-handling></cr:actions>
    <cr:transformations>
      <provide-services><all-services/></provide-services>
      <provide-persons><all-persons/></provide-persons>
      <provide-devices><all-devices/></provide-devices>
      <provide-all-attributes/>
    </cr:transformations>
  </cr:rule>
  <cr:rule id="frank">
    <cr:conditions><cr:identity><cr:one id="sip:%s"/></cr:identity></cr:conditions>
    <cr:actions><sub-handling>allow</sub-handling></cr:actions>
    <cr:transformations><provide-services><all-services/></provide-services></cr:transformations>
  </cr:rule>
</cr:ruleset>
`

// xcap does one request with curl.
func (c *cast) xcap(who interop.User, method, path, contentType, body string) func() error {
	return func() error {
		_, err := c.server.Curl(who, method, path, contentType, body)
		return err
	}
}

// asks has a chat client, which a scene before has started, do something, and waits until the server has answered.
func asks(who **interop.Client, what string, with interop.Fields) func() error {
	return func() error {
		_, err := (*who).Ask(what, with)
		return err
	}
}

// lit waits for dialog's states, one after the other.
func lit(w *interop.Sipp, states ...string) (string, error) {
	for _, st := range states {
		if _, err := w.Message(patience, `<state>`+st+`</state>`); err != nil {
			return "", err
		}
	}
	return strings.Join(states, ", "), nil
}

// found waits for a text in the messages, and shows it.
func found(w *interop.Sipp, pattern string) (string, error) {
	m, err := w.Message(patience, pattern)
	return strings.Join(strings.Fields(strings.Join(m, "")), " "), err
}

// watching waits until winfo says that the watcher has this status.
func watching(w *interop.Sipp, status string, who interop.User) (string, error) {
	m, err := w.Message(patience, `<watcher [^>]*(status='`+status+`')[^>]*(event='[^']*')[^>]*>(sip:`+who.Address()+`)</watcher>`)
	if err != nil {
		return "", err
	}
	return m[3] + " " + m[1] + " " + m[2], nil
}

// resources waits for a NOTIFY of a list and tells how full it is and how many of
// the list's resources it speaks of.
func resources(w *interop.Sipp, full string) (string, error) {
	m, err := w.Message(patience, `(?s)<list [^>]*(version="\d+")[^>]*(fullState="`+full+`").*?</list>`)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s, resources: %d", m[1], m[2], strings.Count(m[0], "<resource ")), nil
}
