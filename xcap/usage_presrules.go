package xcap

import (
	"slices"
	"strings"

	"pharos/markup"
	"pharos/policy"
	"pharos/schema"
	"pharos/xdm"
)

// Namespaces of presence rules.
const (
	policySpace    = "urn:ietf:params:xml:ns:common-policy" // RFC 4745
	presRulesSpace = "urn:ietf:params:xml:ns:pres-rules"    // RFC 5025
	omaPolicySpace = "urn:oma:xml:xdm:common-policy"        // OMA XDM: conditions
	omaRulesSpace  = "urn:oma:xml:prs:pres-rules"           // OMA Presence SIMPLE: permissions
)

// presRules is RFC 5025 §9. There is one document, whatever a client calls it:
// rules in a second one that were kept but not followed would deceive the user.
var presRules = &Usage{
	AUID: xdm.PresRules, Space: presRulesSpace, Type: "application/auth-policy+xml",
	Spaces:  []string{policySpace, presRulesSpace, omaPolicySpace, omaRulesSpace},
	Grammar: rulesGrammar, Only: xdm.Index, Name: rulesName, Check: checkRules,
}

// omaPresRules is OMA's name of the same document (OMA Presence SIMPLE XDM §5.1).
var omaPresRules = &Usage{
	AUID: xdm.OMAPresRules, Space: policySpace, Type: "application/auth-policy+xml",
	Grammar: rulesGrammar, Only: xdm.Index, Name: rulesName, Check: checkRules,
}

// rulesName maps the names in use: Jitsi says presrules, OMA pres-rules.
func rulesName(n xdm.Name) xdm.Name {
	n.AUID = xdm.PresRules
	if slices.Contains([]string{xdm.OMAPath, "presrules"}, strings.TrimSuffix(n.Path, ".xml")) || n.Path == "index.xml" {
		n.Path = xdm.Index
	}
	return n
}

// checkRules has the rules read by those who will follow them.
func checkRules(r *request, root *markup.Element, body []byte) error {
	if _, err := policy.Parse(root, body, nil); err != nil {
		return conflictf(constraintFailure, "%s", strings.TrimPrefix(err.Error(), "policy: "))
	}
	return r.ownLists(root)
}

// ownLists wants external lists to be the user's own: whose members the rules
// would speak of else, the user could not know.
func (r *request) ownLists(e *markup.Element) error {
	for c := range e.Children() {
		if c.Is(omaPolicySpace, "external-list") {
			for entry := range c.Children() {
				anc := entry.Attr("anc")
				s, err := r.reference(anc)
				if err != nil || s.auid != xdm.ResourceLists || s.global || s.user != r.sel.user {
					return conflictf(constraintFailure, "the external list %q is none of your own", anc)
				}
			}
		}
		if err := r.ownLists(c); err != nil {
			return err
		}
	}
	return nil
}

// rulesGrammar is RFC 4745 §13, RFC 5025 §7 and OMA's extensions. Namespaces that
// nobody knows are accepted wherever these allow others.
var rulesGrammar = &schema.Grammar{
	Root: policyElement("ruleset", &schema.Type{Content: schema.Of(policyElement("rule", &schema.Type{
		Attrs: []schema.Attr{{Local: "id", Type: schema.ID, Required: true}},
		Content: schema.Seq(
			schema.Of(policyElement("conditions", conditionsType)).Times(0, 1),
			schema.Of(policyElement("actions", extensible)).Times(0, 1),
			schema.Of(policyElement("transformations", extensible)).Times(0, 1),
		),
	})).Times(0, schema.Unbounded)}),
	Extra:  slices.Concat(permissions(), omaConditions, omaPermissions),
	Closed: []string{policySpace, presRulesSpace},
}

func policyElement(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: policySpace, Local: local, Type: t}
}

var extensible = &schema.Type{Content: schema.Other(policySpace)}

// conditionsType is a choice without end, which may be empty as its items are.
var conditionsType = &schema.Type{Content: schema.OneOf(
	schema.Of(policyElement("identity", &schema.Type{Content: schema.OneOf(
		schema.Of(policyElement("one", &schema.Type{
			Attrs:   []schema.Attr{{Local: "id", Type: schema.AnyURI, Required: true}},
			Content: schema.Other(policySpace).Times(0, 1),
		})),
		schema.Of(policyElement("many", &schema.Type{
			Attrs: []schema.Attr{{Local: "domain", Type: schema.String}},
			Content: schema.OneOf(
				schema.Of(policyElement("except", &schema.Type{
					Attrs: []schema.Attr{{Local: "domain", Type: schema.String}, {Local: "id", Type: schema.AnyURI}}})),
				schema.Other(policySpace),
			).Times(0, schema.Unbounded),
		})),
		schema.Other(policySpace).Times(1, 1),
	).Times(1, schema.Unbounded)})),
	schema.Of(policyElement("sphere", &schema.Type{Attrs: []schema.Attr{{Local: "value", Type: schema.String, Required: true}}})),
	schema.Of(policyElement("validity", &schema.Type{Content: schema.Seq(
		schema.Of(policyElement("from", &schema.Type{Text: schema.DateTime})),
		schema.Of(policyElement("until", &schema.Type{Text: schema.DateTime})),
	).Times(1, schema.Unbounded)})),
	schema.Other(policySpace),
).Times(0, schema.Unbounded)}

func rule(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: presRulesSpace, Local: local, Type: t}
}

func text(t *schema.Simple) *schema.Type { return &schema.Type{Text: t} }

// permissions are the actions and transformations of RFC 5025 §7.
func permissions() []*schema.Element {
	class, occurrence := rule("class", text(schema.Token)), rule("occurrence-id", text(schema.Token))
	list := []*schema.Element{
		rule("sub-handling", text(schema.Enum("block", "confirm", "polite-block", "allow"))),
		provide("services", rule("service-uri", text(schema.AnyURI)), rule("service-uri-scheme", text(schema.Token)), occurrence, class),
		provide("devices", rule("deviceID", text(schema.AnyURI)), occurrence, class),
		provide("persons", occurrence, class),
		rule("provide-user-input", text(schema.Enum("false", "bare", "thresholds", "full"))),
		rule("provide-unknown-attribute", &schema.Type{Text: schema.Boolean, Attrs: []schema.Attr{
			{Local: "name", Type: schema.String, Required: true}, {Local: "ns", Type: schema.String, Required: true}}}),
		rule("provide-all-attributes", &schema.Type{}),
		// Global as well by the schema.
		class, occurrence, rule("service-uri", text(schema.AnyURI)), rule("service-uri-scheme", text(schema.Token)), rule("deviceID", text(schema.AnyURI)),
	}
	for _, what := range []string{"activities", "class", "deviceID", "mood", "place-is", "place-type", "privacy", "relationship",
		"status-icon", "sphere", "time-offset", "note"} {
		list = append(list, rule("provide-"+what, text(schema.Boolean)))
	}
	return list
}

// provide is provide-services, -devices or -persons: all, or those that one of the
// elements names.
func provide(what string, by ...*schema.Element) *schema.Element {
	items := []*schema.Particle{}
	for _, e := range by {
		items = append(items, schema.Of(e))
	}
	items = append(items, schema.Other(presRulesSpace).Times(1, 1))
	return rule("provide-"+what, &schema.Type{Content: schema.OneOf(
		schema.Of(rule("all-"+what, &schema.Type{})),
		schema.OneOf(items...).Times(0, schema.Unbounded),
	)})
}

// omaConditions are those of OMA XDM's common policy (OMA-TS-XDM_Core §6.6.2).
var omaConditions = []*schema.Element{
	{Space: omaPolicySpace, Local: "other-identity", Type: &schema.Type{}},
	{Space: omaPolicySpace, Local: "anonymous-request", Type: &schema.Type{}},
	{Space: omaPolicySpace, Local: "external-list", Type: &schema.Type{Content: schema.Of(&schema.Element{
		Space: omaPolicySpace, Local: "entry", Type: &schema.Type{
			Attrs: []schema.Attr{{Local: "anc", Type: schema.AnyURI, Required: true}}, AnyAttr: schema.OtherAttrs(omaPolicySpace),
			Content: schema.Other(omaPolicySpace)},
	}).Times(0, schema.Unbounded)}},
}

// omaPermissions are booleans of OMA Presence SIMPLE; the others of that namespace
// are accepted as they are.
var omaPermissions = func() (list []*schema.Element) {
	for _, what := range []string{"willingness", "network-availability", "session-participation", "registration-state", "barring-state"} {
		list = append(list, &schema.Element{Space: omaRulesSpace, Local: "provide-" + what, Type: text(schema.Boolean)})
	}
	return list
}()
