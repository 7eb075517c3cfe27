package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// ruleset puts rules into a document whose default namespace is that of common policy.
func ruleset(rules string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
  xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:op="urn:oma:xml:prs:pres-rules">` + rules + `</ruleset>`
}

func parsed(t testing.TB, doc string, members func(string) []presence.Entity) *Rules {
	t.Helper()
	root, err := markup.Parse([]byte(doc), markup.File)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := Parse(root, []byte(doc), members)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The examples of RFC 4745, in which nothing is allowed: the rules are given an
// action, so that it is seen whom they match.
func TestCommonPolicyExamples(t *testing.T) {
	const allow = `<actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations/></rule>`
	for name, c := range map[string]struct {
		rules string
		want  map[string]string // watcher, sphere, time: rule
	}{
		"§7.1.2": {`<rule id="f3g44r1"><conditions><identity>
			<one id="sip:alice@example.com"/><one id="tel:+1-212-555-1234" /><one id="mailto:bob@example.net" />
			</identity></conditions>`, map[string]string{
			"alice@example.com": "f3g44r1", "bob@example.net": "default", "+1-212-555-1234@example.com": "default",
		}},
		"§7.1.3.1": {`<rule id="f3g44r5"><conditions><identity><many/></identity></conditions>`, map[string]string{
			"alice@example.com": "f3g44r5", "anonymous@anonymous.invalid": "default",
		}},
		"§7.1.3.2": {`<rule id="f3g44r1"><conditions><sphere value="work"/><identity><many>
			<except domain="example.com"/><except domain="example.org"/><except id="sip:alice@bad.example.net"/>
			<except id="sip:bob@good.example.net"/><except id="tel:+1-212-555-1234" /><except id="sip:alice@example.com"/>
			</many></identity><validity><from>2003-12-24T17:00:00+01:00</from><until>2003-12-24T19:00:00+01:00</until></validity></conditions>`,
			map[string]string{
				"carol@good.example.net work 2003-12-24T17:00:00+01:00": "f3g44r1",
				"bob@good.example.net work 2003-12-24T17:00:00+01:00":   "default",
				"alice@bad.example.net work 2003-12-24T17:00:00+01:00":  "default",
				"joe@bad.example.net work 2003-12-24T17:00:00+01:00":    "f3g44r1",
				"joe@example.org work 2003-12-24T17:00:00+01:00":        "default",
				"alice@example.com work 2003-12-24T17:00:00+01:00":      "default",
				"joe@sub.example.org work 2003-12-24T17:00:00+01:00":    "f3g44r1",
				"carol@good.example.net home 2003-12-24T17:00:00+01:00": "default",
				"carol@good.example.net work 2003-12-24T19:00:00+01:00": "default",
				"carol@good.example.net work 2003-12-24T16:59:59+01:00": "default",
			}},
		"§7.1.3.3": {`<rule id="f3g44r1"><conditions><identity><many domain="example.com">
			<except id="sip:alice@example.com"/><except id="sip:bob@example.com"/></many></identity></conditions>`, map[string]string{
			"carol@example.com": "f3g44r1", "alice@example.com": "default", "bob@example.com": "default", "carol@example.net": "default",
		}},
		"§7.3": {`<rule id="f3g44r2"><conditions><sphere value="work"/><identity><one id="sip:andrew@example.com"/></identity></conditions>` + allow + `
			<rule id="y6y55r2"><conditions><sphere value="home"/><identity><one id="sip:allison@example.com"/></identity></conditions>` + allow + `
			<rule id="z6y55r2"><conditions><identity><one id="sip:john@doe.example.com"/></identity><sphere value="home work"/></conditions>`, map[string]string{
			"andrew@example.com work": "f3g44r2", "andrew@example.com home": "default",
			"allison@example.com HOME": "y6y55r2", "allison@example.com work": "default", "allison@example.com": "default",
			"john@doe.example.com home": "z6y55r2", "john@doe.example.com work": "z6y55r2", "john@doe.example.com travel": "default",
		}},
		"§7.4": {`<rule id="f3g44r3"><conditions><validity><from>2003-08-15T10:20:00.000-05:00</from>
			<until>2003-09-15T10:20:00.000-05:00</until></validity></conditions>`, map[string]string{
			"joe@example.net x 2003-08-15T15:20:00Z": "f3g44r3", "joe@example.net x 2003-08-15T15:19:59Z": "default",
			"joe@example.net x 2003-09-15T15:19:59Z": "f3g44r3", "joe@example.net x 2003-09-15T15:20:00Z": "default",
		}},
		"§12": {`<rule id="f3g44r1"><conditions><identity><one id="sip:bob@example.com"/></identity><sphere value="work"/>
			<validity><from>2003-12-24T17:00:00+01:00</from><until>2003-12-24T19:00:00+01:00</until></validity></conditions>`, map[string]string{
			"bob@example.com work 2003-12-24T18:00:00+01:00":   "f3g44r1",
			"bob@example.com home 2003-12-24T18:00:00+01:00":   "default",
			"carol@example.com work 2003-12-24T18:00:00+01:00": "default",
			"bob@example.com work 2003-12-24T20:00:00+01:00":   "default",
		}},
	} {
		rs := parsed(t, ruleset(c.rules+allow), nil)
		p := CompileRules(1, presence.Block, rs, nil)
		for who, want := range c.want {
			f := append(strings.Fields(who), "", "2003-01-01T00:00:00Z")
			if len(f) == 5 {
				f = f[:3]
			} else if len(f) == 4 {
				f[2] = "2003-01-01T00:00:00Z"
			}
			user, domain, _ := strings.Cut(f[0], "@")
			d := presence.Decide(p, entity("pt", "example.com"), entity(user, domain), presence.Circumstances{Sphere: f[1], Now: at(t, f[2])})
			if d.Rule != want {
				t.Errorf("RFC 4745 %s: %s: by %s, want %s", name, who, d.Rule, want)
			}
		}
		if rs.Rules[0].Rank != presence.Named {
			t.Errorf("RFC 4745 %s: a rank in a plain document", name)
		}
	}
}

// presRulesExample is RFC 5025 §6.
const presRulesExample = `<?xml version="1.0" encoding="UTF-8"?>
<cr:ruleset xmlns="urn:ietf:params:xml:ns:pres-rules"
 xmlns:pr="urn:ietf:params:xml:ns:pres-rules"
 xmlns:cr="urn:ietf:params:xml:ns:common-policy">
 <cr:rule id="a">
  <cr:conditions>
   <cr:identity>
    <cr:one id="sip:user@example.com"/>
   </cr:identity>
  </cr:conditions>
  <cr:actions>
   <pr:sub-handling>allow</pr:sub-handling>
  </cr:actions>
  <cr:transformations>
   <pr:provide-services>
     <pr:service-uri-scheme>sip</pr:service-uri-scheme>
     <pr:service-uri-scheme>mailto</pr:service-uri-scheme>
   </pr:provide-services>
   <pr:provide-persons>
     <pr:all-persons/>
   </pr:provide-persons>
   <pr:provide-activities>true</pr:provide-activities>
   <pr:provide-user-input>bare</pr:provide-user-input>
    <pr:provide-unknown-attribute
     ns="urn:vendor-specific:foo-namespace"
     name="foo">true</pr:provide-unknown-attribute>
  </cr:transformations>
 </cr:rule>
</cr:ruleset>
`

func TestPresRulesExample(t *testing.T) {
	p := CompileRules(1, presence.Confirm, parsed(t, presRulesExample, nil), nil)
	d := presence.Decide(p, alice, entity("user", "example.com"), presence.Circumstances{})
	want := &presence.Transform{
		Services: presence.Selection{ServiceScheme: []string{"mailto", "sip"}}, Persons: presence.Selection{All: true},
		Attributes: map[string]bool{"activities": true}, UserInput: presence.BareUserInput,
		Unknown: map[presence.Unknown]bool{{Space: "urn:vendor-specific:foo-namespace", Local: "foo"}: true},
	}
	if d.Class != (presence.Class{Handling: presence.Allow, Shown: want.Name()}) {
		t.Errorf("%+v, want to see %s", d, want.Name())
	}
	if d.Reason != `Rule "a" (pres-rules/index line 5) allows it.` {
		t.Errorf("reason: %s", d.Reason)
	}
}

// TestDeviceUnion is RFC 5025 §3.3.1.1: sets of two rules become one.
func TestDeviceUnion(t *testing.T) {
	p := CompileRules(1, presence.Confirm, parsed(t, ruleset(`
		<rule id="a"><actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-devices>
			<pr:deviceID>urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6</pr:deviceID><pr:class>biz</pr:class></pr:provide-devices></transformations></rule>
		<rule id="b"><transformations><pr:provide-devices>
			<pr:class>home</pr:class><pr:class>biz</pr:class></pr:provide-devices></transformations></rule>`), nil), nil)
	want := (&presence.Transform{Devices: presence.Selection{Class: []string{"biz", "home"},
		DeviceID: []string{"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"}}}).Name()
	if d := presence.Decide(p, alice, bob, presence.Circumstances{}); d.Class.Shown != want || d.Rule != "a" {
		t.Errorf("%+v, want %s", d, want)
	}
}

func TestPermissions(t *testing.T) {
	all := `<pr:provide-devices><pr:all-devices/></pr:provide-devices><pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-services><pr:all-services/></pr:provide-services>`
	for in, want := range map[string]string{
		``:                                   `{}`,
		all + `<pr:provide-all-attributes/>`: ``,
		all + `<pr:provide-all-attributes>true</pr:provide-all-attributes>`:                                                           ``,
		all + `<pr:provide-all-attributes>false</pr:provide-all-attributes>`:                                                          `{"Devices":{"All":true},"Persons":{"All":true},"Services":{"All":true}}`,
		all + `<pr:provide-all-attributes/><pr:provide-mood>true</pr:provide-mood>`:                                                   ``,
		`<pr:provide-all-attributes/>`:                                                                                                `{"All":true}`,
		`<pr:provide-mood>1</pr:provide-mood><pr:provide-class>0</pr:provide-class><pr:provide-deviceID> true </pr:provide-deviceID>`: `{"Attributes":["deviceID","mood"]}`,
		`<pr:provide-activities>true</pr:provide-activities><pr:provide-note>true</pr:provide-note><pr:provide-place-is>true</pr:provide-place-is>
		 <pr:provide-place-type>true</pr:provide-place-type><pr:provide-privacy>true</pr:provide-privacy><pr:provide-relationship>true</pr:provide-relationship>
		 <pr:provide-sphere>true</pr:provide-sphere><pr:provide-status-icon>true</pr:provide-status-icon><pr:provide-time-offset>true</pr:provide-time-offset>`: `{"Attributes":["activities","note","place-is","place-type","privacy","relationship","sphere","status-icon","time-offset"]}`,
		`<pr:provide-user-input>false</pr:provide-user-input>`:                                                                                            `{}`,
		`<pr:provide-user-input>bare</pr:provide-user-input>`:                                                                                             `{"UserInput":1}`,
		`<pr:provide-user-input>thresholds</pr:provide-user-input>`:                                                                                       `{"UserInput":2}`,
		`<pr:provide-user-input>full</pr:provide-user-input>`:                                                                                             `{"UserInput":3}`,
		`<pr:provide-persons><pr:class>a</pr:class><pr:occurrence-id>p1</pr:occurrence-id><x xmlns="urn:x"/></pr:provide-persons>`:                        `{"Persons":{"Class":["a"],"OccurrenceID":["p1"]}}`,
		`<pr:provide-services><pr:service-uri>sip:a@b</pr:service-uri><pr:class>c</pr:class><pr:occurrence-id>t</pr:occurrence-id></pr:provide-services>`: `{"Services":{"Class":["c"],"OccurrenceID":["t"],"ServiceURI":["sip:a@b"]}}`,
		`<pr:provide-thing>maybe</pr:provide-thing><x xmlns="urn:x">true</x>`:                                                                             `{}`,
		`<pr:provide-unknown-attribute name="foo" ns="urn:x">false</pr:provide-unknown-attribute>`:                                                        `{}`,
		// OMA.
		`<op:provide-willingness>true</op:provide-willingness>`:                                                                      `{"Unknown":[{"Space":"urn:oma:xml:prs:pidf:oma-pres","Local":"overriding-willingness"},{"Space":"urn:oma:xml:prs:pidf:oma-pres","Local":"willingness"}]}`,
		`<op:provide-geopriv>full</op:provide-geopriv>`:                                                                              `{"Unknown":[{"Space":"urn:ietf:params:xml:ns:pidf:geopriv10","Local":"geopriv"}]}`,
		`<op:provide-geopriv>false</op:provide-geopriv>`:                                                                             `{}`,
		`<op:provide-network-availability>1</op:provide-network-availability>`:                                                       `{"Unknown":[{"Space":"urn:oma:xml:prs:pidf:oma-pres","Local":"network-availability"}]}`,
		`<pr:provide-services><op:service-id>org.openmobilealliance:PoC-session</op:service-id><op:x>y</op:x></pr:provide-services>`: `{"Services":{"ServiceID":["org.openmobilealliance:PoC-session"]}}`,
		`<op:provide-barring-state>true</op:provide-barring-state><op:provide-registration-state>true</op:provide-registration-state><op:provide-session-participation>0</op:provide-session-participation>`: `{"Unknown":[{"Space":"urn:oma:xml:prs:pidf:oma-pres","Local":"barring-state"},{"Space":"urn:oma:xml:prs:pidf:oma-pres","Local":"registration-state"}]}`,
	} {
		rs := parsed(t, ruleset(`<rule id="a"><transformations>`+in+`</transformations></rule>`), nil)
		if got := rs.Rules[0].Shows.Name(); got != want {
			t.Errorf("%s:\n%s, want %s", in, got, want)
		}
	}
}

func TestConditions(t *testing.T) {
	members := func(uri string) []presence.Entity {
		if strings.HasSuffix(uri, "friends") {
			return []presence.Entity{bob, carol}
		}
		return nil
	}
	nobody := entity("anonymous", "anonymous.invalid")
	for _, c := range []struct {
		name, conditions string
		watcher          presence.Entity
		holds            bool
	}{
		{"none", ``, nobody, true},
		{"an unknown one", `<x xmlns="urn:x"/>`, bob, false},
		{"an unknown one of common policy", `<identify><many/></identify>`, bob, false},
		{"an unknown one beside a known one", `<identity><many/></identity><pr:x/>`, bob, false},
		{"an unknown identity", `<identity><x xmlns="urn:x"/></identity>`, bob, false},
		{"an unknown identity beside a known one", `<identity><x xmlns="urn:x"/><one id="sip:bob@example.com"/></identity>`, bob, true},
		{"an empty identity", `<identity/>`, bob, false},
		{"an empty identity, and nobody", `<identity/>`, nobody, true},
		{"sips", `<identity><one id="sips:bob@example.com"/></identity>`, bob, true},
		{"pres", `<identity><one id="pres:bob@example.com"/></identity>`, bob, true},
		{"xmpp", `<identity><one id="xmpp:Bob@Example.com"/></identity>`, bob, true},
		{"im", `<identity><one id="im:bob@example.com"/></identity>`, bob, true},
		{"no scheme", `<identity><one id="bob@example.com"/></identity>`, bob, true},
		{"tel", `<identity><one id="tel:+12125551234"/></identity>`, entity("+12125551234", "example.com"), false},
		{"a display name inside", `<identity><one id="sip:bob@example.com"><x xmlns="urn:x">Bob</x></one></identity>`, bob, true},
		{"a domain in capitals", `<identity><many domain="EXAMPLE.com"/></identity>`, bob, true},
		{"a domain in percents", `<identity><many domain="ex%61mple.com"/></identity>`, bob, true},
		{"an empty domain", `<identity><many domain=""/></identity>`, bob, false},
		{"an unknown exception", `<identity><many><x xmlns="urn:x"/></many></identity>`, bob, false},
		{"an exception by another scheme", `<identity><many><except id="xmpp:bob@example.com"/></many></identity>`, bob, false},
		{"two identities", `<identity><many/></identity><identity><one id="sip:carol@example.org"/></identity>`, bob, false},
		{"two spheres", `<sphere value="a work"/><sphere value="Work b"/>`, bob, true},
		{"two spheres without a common one", `<sphere value="work"/><sphere value="b"/>`, bob, false},
		{"an empty sphere", `<sphere value=""/>`, bob, false},
		{"two validities", `<validity><from>2001-01-01T00:00:00Z</from><until>2003-01-01T00:00:00Z</until></validity>
			<validity><from>2002-01-01T00:00:00</from><until>2004-01-01T00:00:00Z</until></validity>`, bob, true},
		{"two validities apart", `<validity><from>2001-01-01T00:00:00Z</from><until>2002-01-01T00:00:00Z</until></validity>
			<validity><from>2002-01-01T00:00:00Z</from><until>2004-01-01T00:00:00Z</until></validity>`, bob, false},
		{"the second of two pairs", `<validity><from>2001-01-01T00:00:00Z</from><until>2002-01-01T00:00:00Z</until>
			<from>2002-05-01T00:00:00+12:00</from><until>2004-01-01T00:00:00Z</until></validity>`, bob, true},
		{"a list", `<ocp:external-list><ocp:entry anc="x/friends"/></ocp:external-list>`, bob, true},
		{"a list without him", `<ocp:external-list><ocp:entry anc="x/friends"/></ocp:external-list>`, eve, false},
		{"an unknown list", `<ocp:external-list><ocp:entry anc="x/foes"/></ocp:external-list>`, bob, false},
		{"a list inside identity", `<identity><ocp:external-list><ocp:entry anc="x/friends"/></ocp:external-list></identity>`, carol, true},
		{"anonymous", `<ocp:anonymous-request/>`, nobody, true},
		{"not anonymous", `<ocp:anonymous-request/>`, bob, false},
		{"others", `<ocp:other-identity/>`, bob, true},
		{"others who have no identity", `<ocp:other-identity/>`, nobody, false},
		{"unknown of OMA", `<ocp:media-list/>`, bob, false},
	} {
		p := CompileRules(1, presence.Confirm, parsed(t, ruleset(`<rule id="a"><conditions>`+c.conditions+`</conditions></rule>`), members), nil)
		rule := presence.Decide(p, alice, c.watcher, presence.Circumstances{Sphere: "work", Now: at(t, "2002-06-01T00:00:00Z")}).Rule
		if (rule == "a") != c.holds {
			t.Errorf("%s: by %s", c.name, rule)
		}
	}
	rs := parsed(t, ruleset(`<rule id="a"><conditions><ocp:external-list><ocp:entry anc="x"/><ocp:entry anc="y"/><ocp:entry anc="x"/></ocp:external-list></conditions></rule>`), nil)
	if strings.Join(rs.External, " ") != "x y" {
		t.Errorf("external lists: %q", rs.External)
	}
	// What people are told of rules that never hold.
	rs = parsed(t, ruleset(`<rule id="a"><conditions><ocp:external-list><ocp:entry anc="x/foes"/><ocp:entry anc="x/friends"/></ocp:external-list></conditions></rule>
<rule id="b"><conditions><ocp:media-list/><moon xmlns="urn:x"/></conditions></rule>`), members)
	if i := rs.Rules[0].Identity[0][0]; strings.Join(i.Barren, " ") != "x/foes" || len(i.One) == 0 {
		t.Errorf("lists without members: %+v", i)
	}
	if got := rs.Rules[1].Unknown; got != `<media-list> of "urn:oma:xml:xdm:common-policy"` || rs.Rules[0].Unknown != "" {
		t.Errorf("unknown: %s", got)
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"\n<rule/>":                                      "line 4: a rule without id",
		"\n<rule id='a'/>\n\n<rule id='a'/>":             `line 6: two rules have the id "a"`,
		"<rule id='a'>\n<conditionss/></rule>":           "line 4: <conditionss> is not expected here",
		"<rule id='a'><conditions/><conditions/></rule>": "line 3: <conditions> is not expected here",
		"<rule id='a'><actions><pr:sub-handling>yes</pr:sub-handling></actions></rule>":                                                                                   "line 3: <sub-handling> is block, confirm, polite-block or allow",
		"<rule id='a'><conditions><identity><one/></identity></conditions></rule>":                                                                                        "line 3: <one> without id",
		"<rule id='a'><conditions><sphere/></conditions></rule>":                                                                                                          "line 3: <sphere> without value",
		"<rule id='a'><conditions><validity/></conditions></rule>":                                                                                                        "line 3: <validity> has pairs of <from> and <until>",
		"<rule id='a'><conditions><validity><from>2002-01-01T00:00:00Z</from></validity></conditions></rule>":                                                             "line 3: <validity> has pairs of <from> and <until>",
		"<rule id='a'><conditions><validity><until>2002-01-01T00:00:00Z</until></validity></conditions></rule>":                                                           "line 3: <validity> has pairs of <from> and <until>",
		"<rule id='a'><conditions><validity><from>now</from></validity></conditions></rule>":                                                                              "line 3: <from> is no date and time",
		"<rule id='a'><transformations><pr:provide-mood>yes</pr:provide-mood></transformations></rule>":                                                                   "line 3: <provide-mood> is true or false",
		"<rule id='a'><transformations><pr:provide-user-input>true</pr:provide-user-input></transformations></rule>":                                                      "line 3: <provide-user-input> is false, bare, thresholds or full",
		"<rule id='a'><transformations><pr:provide-unknown-attribute ns='x'>true</pr:provide-unknown-attribute></transformations></rule>":                                 "line 3: <provide-unknown-attribute> without name",
		"<rule id='a'><transformations><pr:provide-persons><pr:class>" + strings.Repeat("x", MaxSelected+1) + "</pr:class></pr:provide-persons></transformations></rule>": "line 3: more than 16384 bytes in transformations",
		"<rule id='a'><conditions><sphere value='" + strings.Repeat("x ", MaxSpheres+1) + "'/></conditions></rule>":                                                       "line 3: more than 100 spheres",
		"<rule id='a'><conditions><identity>" + strings.Repeat("<many/>", MaxIdentities+1) + "</identity></conditions></rule>":                                            "line 3: more than 10000 identities",
	} {
		doc := []byte(ruleset(in))
		root, err := markup.Parse(doc, markup.File)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(root, doc, nil)
		var e *Error
		if !errors.As(err, &e) || e.Error() != "policy: "+want {
			t.Errorf("%.200s: %v, want %s", in, err, want)
		}
		if _, err := Splice(doc, Change{Approve: []presence.Entity{bob}}); err == nil {
			t.Errorf("%.200s: spliced", in)
		}
	}
	for _, in := range []string{`<ruleset/>`, `<rules xmlns="urn:ietf:params:xml:ns:common-policy"/>`} {
		root, err := markup.Parse([]byte(in), markup.File)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(root, []byte(in), nil); err == nil || !strings.Contains(err.Error(), "not a <ruleset>") {
			t.Errorf("%s: %v", in, err)
		}
	}
}
