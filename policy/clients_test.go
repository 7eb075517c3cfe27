package policy

import (
	"testing"

	"pharos/markup"
	"pharos/presence"
)

// omaRules are the rules that OMA and RCS clients (and Blink) keep: who is in which
// list, and what of all others (OMA-TS-Presence_SIMPLE_XDM, appendix).
const omaRules = `<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
            xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:op="urn:oma:xml:prs:pres-rules">
  <cr:rule id="wp_prs_allow_own">
    <cr:conditions><cr:identity><cr:one id="sip:alice@example.com"/></cr:identity></cr:conditions>
    <cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions>
    <cr:transformations><pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-all-attributes/></cr:transformations>
  </cr:rule>
  <cr:rule id="wp_prs_grantedcontacts">
    <cr:conditions><ocp:external-list>
      <ocp:entry anc="https://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B@name=%22oma_grantedcontacts%22%5D"/>
    </ocp:external-list></cr:conditions>
    <cr:actions><pr:sub-handling>allow</pr:sub-handling></cr:actions>
    <cr:transformations>
      <pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-persons><pr:all-persons/></pr:provide-persons>
      <op:provide-willingness>true</op:provide-willingness>
    </cr:transformations>
  </cr:rule>
  <cr:rule id="wp_prs_blockedcontacts">
    <cr:conditions><ocp:external-list>
      <ocp:entry anc="https://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B@name=%22oma_blockedcontacts%22%5D"/>
    </ocp:external-list></cr:conditions>
    <cr:actions><pr:sub-handling>block</pr:sub-handling></cr:actions>
  </cr:rule>
  <cr:rule id="wp_prs_unlisted">
    <cr:conditions><ocp:other-identity/></cr:conditions>
    <cr:actions><pr:sub-handling>confirm</pr:sub-handling></cr:actions>
  </cr:rule>
  <cr:rule id="wp_prs_block_anonymous">
    <cr:conditions><ocp:anonymous-request/></cr:conditions>
    <cr:actions><pr:sub-handling>polite-block</pr:sub-handling></cr:actions>
  </cr:rule>
</cr:ruleset>
`

const omaLists = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list name="oma_buddylist"><entry uri="sip:bob@example.com"/><entry uri="tel:+12125551234"/></list>
  <list name="oma_grantedcontacts"><external anchor="https://xcap.example.com/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5B@name=%22oma_buddylist%22%5D"/>
    <entry uri="sip:carol@example.org"/><entry uri="sip:eve@example.net"/></list>
  <list name="oma_blockedcontacts"><entry uri="sip:dave@sub.example.org"/><entry uri="sip:eve@example.net"/></list>
</resource-lists>`

func TestOMADocument(t *testing.T) {
	lists, err := markup.Parse([]byte(omaLists), markup.File)
	if err != nil {
		t.Fatal(err)
	}
	a := anchors{user: alice, docs: map[string]*markup.Element{"index": lists}}
	rs := parsed(t, omaRules, a.members)
	if len(rs.External) != 2 {
		t.Errorf("external lists: %q", rs.External)
	}
	granted := &presence.Transform{Services: presence.Selection{All: true}, Persons: presence.Selection{All: true}, Unknown: map[presence.Unknown]bool{
		{Space: presence.OMASpace, Local: "willingness"}: true, {Space: presence.OMASpace, Local: "overriding-willingness"}: true}}
	for w, want := range map[presence.Entity]presence.Decision{
		bob:   {Class: presence.Class{Handling: presence.Allow, Shown: granted.Name()}, Rule: "wp_prs_grantedcontacts"},
		carol: {Class: presence.Class{Handling: presence.Allow, Shown: granted.Name()}, Rule: "wp_prs_grantedcontacts"},
		dave:  {Class: presence.Class{Handling: presence.Block}, Rule: "wp_prs_blockedcontacts"},
		// In both lists: rules of one rank combine as RFC 4745 says.
		eve:                                      {Class: presence.Class{Handling: presence.Allow, Shown: granted.Name()}, Rule: "wp_prs_grantedcontacts"},
		entity("stranger", "example.com"):        {Class: presence.Class{Handling: presence.Confirm}, Rule: "wp_prs_unlisted"},
		entity("anonymous", "anonymous.invalid"): {Class: presence.Class{Handling: presence.PoliteBlock}, Rule: "wp_prs_block_anonymous"},
		alice:                                    {Class: presence.Class{Handling: presence.Allow}, Rule: presence.RuleSelf},
	} {
		d := presence.Decide(CompileRules(1, presence.Block, rs, nil), alice, w, presence.Circumstances{})
		if d.Class != want.Class || d.Rule != want.Rule {
			t.Errorf("%s: %v by %s, want %v by %s", w, d.Class, d.Rule, want.Class, want.Rule)
		}
	}
	// An XMPP approval beside it counts more than the lists, and a block more than all.
	out := spliced(t, omaRules, Change{Approve: []presence.Entity{dave}, Block: []string{"carol@example.org"}})
	p := CompileRules(1, presence.Block, parsed(t, out, a.members), nil)
	for w, want := range map[presence.Entity]presence.Handling{dave: presence.Allow, carol: presence.Block, bob: presence.Allow} {
		if h, rule := decide(p, w); h != want {
			t.Errorf("%s: %v by %s", w, h, rule)
		}
	}
}

// TestRulePerHandling is how Jitsi writes: one rule for each handling, which
// names its contacts.
func TestRulePerHandling(t *testing.T) {
	rule := func(handling string, who string) string {
		return `<rule id="presence_` + handling + `"><conditions><identity>` + who + `</identity></conditions><actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">` + handling +
			`</sub-handling></actions><transformations><provide-services xmlns="urn:ietf:params:xml:ns:pres-rules"><all-services/></provide-services>
			<provide-persons xmlns="urn:ietf:params:xml:ns:pres-rules"><all-persons/></provide-persons>
			<provide-devices xmlns="urn:ietf:params:xml:ns:pres-rules"><all-devices/></provide-devices>
			<provide-all-attributes xmlns="urn:ietf:params:xml:ns:pres-rules"/></transformations></rule>`
	}
	rs := parsed(t, `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">`+rule("allow", `<one id="sip:bob@example.com"/>`)+
		rule("polite-block", `<one id="sip:carol@example.org"/>`)+rule("block", `<one id="sip:eve@example.net"/>`)+rule("confirm", `<many domain="sub.example.org"/>`)+`</ruleset>`, nil)
	p := CompileRules(1, presence.Confirm, rs, nil)
	for w, want := range map[presence.Entity]presence.Handling{bob: presence.Allow, carol: presence.PoliteBlock, eve: presence.Block, dave: presence.Confirm, entity("x", "example.com"): presence.Confirm} {
		d := presence.Decide(p, alice, w, presence.Circumstances{})
		if d.Class != (presence.Class{Handling: want}) {
			t.Errorf("%s: %+v", w, d)
		}
	}
}
