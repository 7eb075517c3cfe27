package policy

import (
	"slices"
	"strings"

	"pharos/markup"
	"pharos/presence"
)

var handlings = map[string]presence.Handling{
	"block": presence.Block, "confirm": presence.Confirm, "polite-block": presence.PoliteBlock, "allow": presence.Allow,
}

// actions reads sub-handling (RFC 5025 §3.2.1). A rule without it blocks.
func (r *reader) actions(e *markup.Element, rule *presence.Rule) {
	for c := range e.Children() {
		if !c.Is(PresRulesSpace, "sub-handling") {
			continue
		}
		h, ok := handlings[trimmed(c)]
		if !ok {
			r.fail(c, "<sub-handling> is block, confirm, polite-block or allow")
			return
		}
		rule.Handling = max(rule.Handling, h)
	}
}

var userInputs = map[string]presence.UserInputLevel{
	"false": presence.NoUserInput, "bare": presence.BareUserInput, "thresholds": presence.ThresholdUserInput, "full": presence.FullUserInput,
}

// transformations reads what may be seen (RFC 5025 §3.3).
func (r *reader) transformations(e *markup.Element, t *presence.Transform) {
	for c := range e.Children() {
		switch c.Space {
		case PresRulesSpace:
			r.permission(c, t)
		case OMAPresRulesSpace:
			r.omaPermission(c, t)
		}
		if r.err != nil {
			return
		}
	}
}

func (r *reader) permission(e *markup.Element, t *presence.Transform) {
	switch e.Local {
	case "provide-devices":
		r.selection(e, &t.Devices, "all-devices", map[string]*[]string{
			"class": &t.Devices.Class, "occurrence-id": &t.Devices.OccurrenceID, "deviceID": &t.Devices.DeviceID})
	case "provide-persons":
		r.selection(e, &t.Persons, "all-persons", map[string]*[]string{
			"class": &t.Persons.Class, "occurrence-id": &t.Persons.OccurrenceID})
	case "provide-services":
		r.selection(e, &t.Services, "all-services", map[string]*[]string{
			"class": &t.Services.Class, "occurrence-id": &t.Services.OccurrenceID,
			"service-uri": &t.Services.ServiceURI, "service-uri-scheme": &t.Services.ServiceScheme,
			"service-id": &t.Services.ServiceID})
	case "provide-user-input":
		level, ok := userInputs[trimmed(e)]
		if !ok {
			r.fail(e, "<provide-user-input> is false, bare, thresholds or full")
		}
		t.UserInput = max(t.UserInput, level)
	case "provide-all-attributes":
		// Empty in the schema; some clients write a boolean.
		if trimmed(e) == "" || r.boolean(e) {
			t.AllAttributes = true
		}
	case "provide-unknown-attribute":
		u := presence.Unknown{Space: strings.TrimSpace(e.Attr("ns")), Local: strings.TrimSpace(e.Attr("name"))}
		if u.Local == "" {
			r.fail(e, "<provide-unknown-attribute> without name")
		}
		r.bound(e, &r.selected, len(u.Space)+len(u.Local), MaxSelected, "bytes in transformations")
		if r.boolean(e) {
			r.unknown(t, u)
		}
	default:
		name, _ := strings.CutPrefix(e.Local, "provide-")
		if slices.Contains(presence.Attributes[:], name) && r.boolean(e) {
			if t.Attributes == nil {
				t.Attributes = map[string]bool{}
			}
			t.Attributes[name] = true
		}
	}
}

// selection reads which elements are provided: the values of all, or all.
func (r *reader) selection(e *markup.Element, s *presence.Selection, all string, values map[string]*[]string) {
	for c := range e.Children() {
		if c.Space != PresRulesSpace && !(c.Space == OMAPresRulesSpace && c.Local == "service-id") {
			continue
		}
		if c.Local == all {
			s.All = true
			continue
		}
		v := trimmed(c)
		if to := values[c.Local]; to != nil && v != "" {
			r.bound(c, &r.selected, len(v), MaxSelected, "bytes in transformations")
			*to = append(*to, v)
		}
	}
}

// boolean reads an xs:boolean.
func (r *reader) boolean(e *markup.Element) bool {
	switch trimmed(e) {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	r.fail(e, "<%s> is true or false", e.Local)
	return false
}

func (r *reader) unknown(t *presence.Transform, u presence.Unknown) {
	if t.Unknown == nil {
		t.Unknown = map[presence.Unknown]bool{}
	}
	t.Unknown[u] = true
}

// geopriv is the namespace of locations (RFC 4119 §3).
const geopriv = "urn:ietf:params:xml:ns:pidf:geopriv10"

// omaElements are the elements that OMA's permissions let through
// (OMA-TS-Presence_SIMPLE_XDM).
var omaElements = map[string][]presence.Unknown{
	"provide-willingness":           {{Space: presence.OMASpace, Local: "willingness"}, {Space: presence.OMASpace, Local: "overriding-willingness"}},
	"provide-network-availability":  {{Space: presence.OMASpace, Local: "network-availability"}},
	"provide-session-participation": {{Space: presence.OMASpace, Local: "session-participation"}},
	"provide-registration-state":    {{Space: presence.OMASpace, Local: "registration-state"}},
	"provide-barring-state":         {{Space: presence.OMASpace, Local: "barring-state"}},
	"provide-geopriv":               {{Space: geopriv, Local: "geopriv"}},
}

// omaPermission reads OMA's permissions.
func (r *reader) omaPermission(e *markup.Element, t *presence.Transform) {
	elements := omaElements[e.Local]
	if elements == nil {
		return
	}
	given := trimmed(e) == "full" && e.Local == "provide-geopriv"
	if !given && !r.boolean(e) {
		return
	}
	for _, u := range elements {
		r.unknown(t, u)
	}
}
