package xcap

import (
	"strings"
	"testing"

	"pharos/markup"
	"pharos/schema"
)

// Rule by rule, what the published schemas take and what they refuse. %s stands for
// the namespace declarations of the root.
func TestGrammars(t *testing.T) {
	lists := `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:o="urn:o">%s</resource-lists>`
	list := strings.Replace(lists, "%s", `<list name="l">%s</list>`, 1)
	services := `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists" xmlns:o="urn:o">%s</rls-services>`
	service := strings.Replace(services, "%s", `<service uri="sip:a@b">%s</service>`, 1)
	ruleset := `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:oc="urn:oma:xml:xdm:common-policy" xmlns:o="urn:o">%s</ruleset>`
	one := strings.Replace(ruleset, "%s", `<rule id="r">%s</rule>`, 1)
	conditions := strings.Replace(one, "%s", "<conditions>%s</conditions>", 1)
	actions := strings.Replace(one, "%s", "<actions>%s</actions>", 1)
	transformations := strings.Replace(one, "%s", "<transformations>%s</transformations>", 1)
	presence := `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:o="urn:o" entity="sip:a@b">%s</presence>`
	tuple := strings.Replace(presence, "%s", `<tuple id="t">%s</tuple>`, 1)
	for _, c := range []struct {
		g          *schema.Grammar
		frame      string
		good, evil []string
	}{
		{listsGrammar, lists, []string{"", "<list/>", "<list/><list name='a'/>", "<!-- c --><list o:x='y'/>"},
			[]string{"<entry uri='a'/>", "text", "<o:list/>", "<list id='a'/>", "<resource-lists/>"}},
		{listsGrammar, list, []string{
			"", "<display-name>N</display-name>", "<display-name xml:lang='de'/>", "<list><list><list/></list></list>",
			"<display-name/><entry uri='sip:a@b'/><list/><entry-ref ref='a'/><external anchor='http://a'/><entry uri='tel:1'/><o:x/><o:y/>",
			"<entry uri='sip:a@b' o:c='d'><display-name/><o:x><o:y/></o:x></entry>", "<external/>"},
			[]string{"<entry/>", "<entry-ref/>", "<entry uri='%'/>", "<display-name/><display-name/>", "<entry uri='a'/><display-name/>", "<o:x/><entry uri='a'/>",
				"<entry uri='a'><entry uri='b'/></entry>", "<entry uri='a'>text</entry>", "<entry uri='a'><o:x/><display-name/></entry>",
				"<display-name><b/></display-name>", "<display-name lang='de'/>", "<entry uri='a' name='b'/>", "<unknown/>"}},
		{servicesGrammar, services, []string{"", "<service uri='sip:a@b'><list/></service>"}, []string{"<service><list/></service>", "<list/>", "<service uri='sip:a@b'/>"}},
		{servicesGrammar, service, []string{"<list><rl:entry uri='a'/><rl:list/></list>", "<resource-list>http://x/y</resource-list><packages/>",
			"<list/><packages><package>presence</package><o:x/><package>dialog</package></packages><o:y/>"},
			[]string{"", "<list/><resource-list>x</resource-list>", "<rl:list/>", "<list><entry uri='a'/></list>", "<packages/><list/>", "<list/><packages/><packages/>",
				"<list/><packages><o:x/></packages>", "<resource-list>%</resource-list>", "<list><rl:entry/></list>"}},
		{rulesGrammar, ruleset, []string{"", "<rule id='a'/>", "<rule id='a'/><rule id='b'/>"}, []string{"<rule/>", "<rule id='1'/>", "<rule id='a'/><rule id='a'/>", "<o:rule id='a'/>", "<x/>"}},
		{rulesGrammar, one, []string{"", "<conditions/>", "<conditions/><actions/><transformations/>", "<transformations/>"},
			[]string{"<actions/><conditions/>", "<actions/><actions/>", "<o:x/>", "text"}},
		{rulesGrammar, conditions, []string{
			"<identity><one id='sip:a@b'/></identity>", "<identity><one id='sip:a@b'><o:x/></one><many/></identity>",
			"<identity><many domain='d'><except id='sip:a@b'/><except domain='e'/><o:x/></many></identity>", "<identity><o:x/></identity>",
			"<sphere value='work'/>", "<validity><from>2003-12-24T17:00:00Z</from><until>2003-12-24T19:00:00Z</until><from>2004-12-24T17:00:00Z</from><until>2004-12-24T19:00:00Z</until></validity>",
			"<o:x/><sphere value='a'/><sphere value='b'/>", "<oc:other-identity/>", "<oc:anonymous-request/>", "<oc:external-list><oc:entry anc='http://a'/></oc:external-list>"},
			[]string{"<identity/>", "<identity><one/></identity>", "<identity><one id='a'><o:x/><o:y/></one></identity>", "<identity><except/></identity>", "<sphere/>",
				"<validity/>", "<validity><from>2003-12-24T17:00:00Z</from></validity>", "<validity><until>2003-12-24T17:00:00Z</until><from>2003-12-24T17:00:00Z</from></validity>",
				"<validity><from>yesterday</from><until>2003-12-24T17:00:00Z</until></validity>", "<x/>", "<oc:external-list><oc:entry/></oc:external-list>", "<oc:other-identity>x</oc:other-identity>"}},
		{rulesGrammar, actions, []string{"<pr:sub-handling>polite-block</pr:sub-handling>", "<pr:sub-handling> allow </pr:sub-handling><o:x/>"},
			[]string{"<pr:sub-handling/>", "<pr:sub-handling>deny</pr:sub-handling>", "<sub-handling>allow</sub-handling>", "<pr:unknown/>"}},
		{rulesGrammar, transformations, []string{
			"<pr:provide-services><pr:all-services/></pr:provide-services>", "<pr:provide-services/>",
			"<pr:provide-services><pr:service-uri>sip:a@b</pr:service-uri><pr:service-uri-scheme>sip</pr:service-uri-scheme><pr:occurrence-id>o</pr:occurrence-id><pr:class>c</pr:class><o:x/></pr:provide-services>",
			"<pr:provide-devices><pr:deviceID>urn:x</pr:deviceID><pr:class>c</pr:class></pr:provide-devices>", "<pr:provide-persons><pr:class>c</pr:class></pr:provide-persons>",
			"<pr:provide-note>true</pr:provide-note><pr:provide-mood>0</pr:provide-mood>", "<pr:provide-user-input>thresholds</pr:provide-user-input>", "<pr:provide-all-attributes/>",
			"<pr:provide-unknown-attribute name='a' ns='urn:a'>true</pr:provide-unknown-attribute>", "<o:provide-x>true</o:provide-x>"},
			[]string{"<pr:provide-services><pr:all-services/><pr:class>c</pr:class></pr:provide-services>", "<pr:provide-services><pr:all-persons/></pr:provide-services>",
				"<pr:provide-devices><pr:service-uri>a</pr:service-uri></pr:provide-devices>", "<pr:provide-persons><pr:deviceID>a</pr:deviceID></pr:provide-persons>",
				"<pr:provide-note>yes</pr:provide-note>", "<pr:provide-user-input>true</pr:provide-user-input>", "<pr:provide-all-attributes>x</pr:provide-all-attributes>",
				"<pr:provide-unknown-attribute ns='a'>true</pr:provide-unknown-attribute>", "<pr:provide-everything/>"}},
		{pidfGrammar, presence, []string{"", "<note xml:lang='en'>n</note><o:x/>", "<tuple id='a'><status/></tuple><tuple id='b'><status/></tuple><note/>",
			"<dm:person id='p'><o:x/><dm:note>n</dm:note><dm:timestamp>2003-12-24T17:00:00Z</dm:timestamp></dm:person><dm:device id='d'><dm:deviceID>urn:x</dm:deviceID></dm:device>"},
			[]string{"<tuple><status/></tuple>", "<tuple id='a'/>", "<note/><tuple id='a'><status/></tuple>", "<tuple id='a'><status/></tuple><tuple id='a'><status/></tuple>",
				"<dm:device id='d'/>", "<dm:person/>", "<dm:person id='p'><dm:timestamp>x</dm:timestamp></dm:person>", "<o:x/><note/>", "text"}},
		{pidfGrammar, tuple, []string{"<status><basic>open</basic><o:x/></status><o:y/><contact priority='0.8'>sip:a@b</contact><note/><note/><timestamp>2003-12-24T17:00:00Z</timestamp>",
			"<status/><contact>tel:1</contact>"},
			[]string{"<status><basic>away</basic></status>", "<status/><status/>", "<contact>a</contact><status/>", "<status/><contact priority='1.5'>a</contact>",
				"<status/><timestamp>2003-12-24T17:00:00Z</timestamp><note/>", "<status/><contact>a</contact><o:x/>"}},
	} {
		try := func(inner string) error {
			doc := strings.Replace(c.frame, "%s", inner, 1)
			root, err := markup.Parse([]byte(doc), markup.File)
			if err != nil {
				t.Fatalf("%s: %v", doc, err)
			}
			return c.g.Check(root, []byte(doc))
		}
		for _, s := range c.good {
			if err := try(s); err != nil {
				t.Errorf("%s in %s: %v", s, c.frame, err)
			}
		}
		for _, s := range c.evil {
			if try(s) == nil {
				t.Errorf("%s in %s is taken", s, c.frame)
			}
		}
	}
}

// What the server makes itself is right by its own grammars.
func TestGeneratedDocuments(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	if w := h.do("bill@example.com", "PUT", billsList, listsType, noLists); w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	for target, u := range map[string]*Usage{
		"/xcap-caps/global/index": caps, "/rls-services/global/index": rlsServices,
		"/org.openmobilealliance.xcap-directory/users/sip:bill@example.com/directory.xml": directory,
	} {
		as := "bill@example.com"
		if u == rlsServices {
			as = ""
		}
		w := h.do(as, "GET", target, "", "")
		if w.Code != 200 || w.Header().Get("Content-Type") != u.Type {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
			continue
		}
		root, err := markup.Parse(w.Body.Bytes(), markup.File)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if err := u.Grammar.Check(root, w.Body.Bytes()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// The table of usages and xcap-caps say the same, and each usage says what it needs to.
func TestUsages(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	body := h.do("bill@example.com", "GET", "/xcap-caps/global/index", "", "").Body.String()
	for _, u := range usages {
		if !strings.Contains(body, "<auid>"+u.AUID+"</auid>") {
			t.Errorf("%s is not in xcap-caps", u.AUID)
		}
		for _, s := range u.Spaces {
			if !strings.Contains(body, "<namespace>"+s+"</namespace>") {
				t.Errorf("%s is not in xcap-caps", s)
			}
		}
		if u.Type == "" || u.Space == "" {
			t.Errorf("%s: no type or no namespace", u.AUID)
		}
	}
}
