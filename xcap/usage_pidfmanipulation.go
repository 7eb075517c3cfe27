package xcap

import (
	"strings"

	"pharos/markup"
	"pharos/pidf"
	"pharos/schema"
	"pharos/xdm"
)

const (
	pidfSpace  = "urn:ietf:params:xml:ns:pidf"
	modelSpace = "urn:ietf:params:xml:ns:pidf:data-model"
)

// manipulation is RFC 4827: presence that stays without a device to publish it.
var manipulation = &Usage{
	AUID: xdm.Manipulation, Space: pidfSpace, Type: "application/pidf+xml",
	Spaces: []string{pidfSpace, modelSpace}, Grammar: pidfGrammar,
	Only: xdm.Index, // §9
	Check: func(_ *request, _ *markup.Element, body []byte) error {
		// What cannot be composed is of no use.
		if _, _, err := pidf.Parse(body); err != nil {
			return conflictf(constraintFailure, "%s", strings.TrimPrefix(err.Error(), "pidf: "))
		}
		return nil
	},
}

// pidfGrammar is RFC 3863 §4.4 with the persons and devices of RFC 4479. RPID's
// elements and other extensions are accepted as they are.
var pidfGrammar = &schema.Grammar{
	Root: pidfElement("presence", &schema.Type{
		Attrs: []schema.Attr{{Local: "entity", Type: schema.AnyURI, Required: true}},
		Content: schema.Seq(
			schema.Of(pidfElement("tuple", tupleType)).Times(0, schema.Unbounded),
			schema.Of(noteElement(pidfSpace)).Times(0, schema.Unbounded),
			schema.Other(pidfSpace),
		),
	}),
	Extra: []*schema.Element{
		{Space: modelSpace, Local: "deviceID", Type: text(schema.AnyURI)},
		{Space: modelSpace, Local: "person", Type: modelType()},
		{Space: modelSpace, Local: "device", Type: modelType(
			schema.Of(&schema.Element{Space: modelSpace, Local: "deviceID", Type: text(schema.AnyURI)}))},
	},
	Closed: []string{pidfSpace},
}

func pidfElement(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: pidfSpace, Local: local, Type: t}
}

func noteElement(space string) *schema.Element {
	return &schema.Element{Space: space, Local: "note", Type: &schema.Type{
		Text: schema.String, Attrs: []schema.Attr{{Space: markup.XMLSpace, Local: "lang", Type: schema.Language}}}}
}

var tupleType = &schema.Type{
	Attrs: []schema.Attr{{Local: "id", Type: schema.ID, Required: true}},
	Content: schema.Seq(
		schema.Of(pidfElement("status", &schema.Type{Content: schema.Seq(
			schema.Of(pidfElement("basic", text(schema.Enum("open", "closed")))).Times(0, 1),
			schema.Other(pidfSpace),
		)})),
		schema.Other(pidfSpace),
		schema.Of(pidfElement("contact", &schema.Type{Text: schema.AnyURI, Attrs: []schema.Attr{
			{Local: "priority", Type: schema.Pattern("a number from 0 to 1 with at most three decimals", `0(\.[0-9]{0,3})?|1(\.0{0,3})?`)}}})).Times(0, 1),
		schema.Of(noteElement(pidfSpace)).Times(0, schema.Unbounded),
		schema.Of(pidfElement("timestamp", text(schema.DateTime))).Times(0, 1),
	),
}

// modelType is a person or device (RFC 4479 §3.4).
func modelType(middle ...*schema.Particle) *schema.Type {
	items := []*schema.Particle{schema.Other(modelSpace)}
	items = append(items, middle...)
	items = append(items,
		schema.Of(noteElement(modelSpace)).Times(0, schema.Unbounded),
		schema.Of(&schema.Element{Space: modelSpace, Local: "timestamp", Type: text(schema.DateTime)}).Times(0, 1))
	return &schema.Type{Attrs: []schema.Attr{{Local: "id", Type: schema.ID, Required: true}}, Content: schema.Seq(items...)}
}
