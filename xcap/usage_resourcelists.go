package xcap

import (
	"net/url"
	"strings"

	"pharos/markup"
	"pharos/roster"
	"pharos/schema"
	"pharos/xdm"
)

// resourceLists is RFC 4826 §3.4. Its document index is the buddy list.
var resourceLists = &Usage{
	AUID: xdm.ResourceLists, Space: roster.ListsSpace, Type: "application/resource-lists+xml",
	Spaces: []string{roster.ListsSpace}, Grammar: listsGrammar,
	Check: func(_ *request, root *markup.Element, _ []byte) error { return checkLists(root) },
}

// listsGrammar is RFC 4826 §3.2 with the uniqueness of §3.4.5.
var listsGrammar = &schema.Grammar{
	Root: &schema.Element{Space: roster.ListsSpace, Local: "resource-lists", Type: &schema.Type{
		Content: schema.Of(listElement).Times(0, schema.Unbounded),
		Unique:  []schema.Unique{{Space: roster.ListsSpace, Local: "list", Attr: "name"}},
	}},
	Closed: []string{roster.ListsSpace},
}

var listElement = &schema.Element{Space: roster.ListsSpace, Local: "list", Type: listType}

// listType is RFC 4826 §3.2's; lists hold lists.
var listType = &schema.Type{
	Attrs:   []schema.Attr{{Local: "name", Type: schema.String}},
	AnyAttr: schema.OtherAttrs(roster.ListsSpace),
	Unique: []schema.Unique{
		{Space: roster.ListsSpace, Local: "list", Attr: "name"},
		{Space: roster.ListsSpace, Local: "entry", Attr: "uri"},
		{Space: roster.ListsSpace, Local: "entry-ref", Attr: "ref"},
		{Space: roster.ListsSpace, Local: "external", Attr: "anchor"},
	},
}

func init() {
	listType.Content = schema.Seq(
		schema.Of(displayName).Times(0, 1),
		schema.OneOf(
			schema.Of(listElement),
			schema.Of(listItem("external", "anchor", false)),
			schema.Of(listItem("entry", "uri", true)),
			schema.Of(listItem("entry-ref", "ref", true)),
		).Times(0, schema.Unbounded),
		schema.Other(roster.ListsSpace),
	)
}

var displayName = &schema.Element{Space: roster.ListsSpace, Local: "display-name", Type: &schema.Type{
	Attrs: []schema.Attr{{Space: markup.XMLSpace, Local: "lang", Type: schema.Language}}, Text: schema.String,
}}

// listItem is an entry, entry-ref or external, which differ in the name of their attribute.
func listItem(local, attr string, required bool) *schema.Element {
	return &schema.Element{Space: roster.ListsSpace, Local: local, Type: &schema.Type{
		Attrs:   []schema.Attr{{Local: attr, Type: schema.AnyURI, Required: required}},
		AnyAttr: schema.OtherAttrs(roster.ListsSpace),
		Content: schema.Seq(schema.Of(displayName).Times(0, 1), schema.Other(roster.ListsSpace)),
	}}
}

// checkLists looks at the references in all lists under e (RFC 4826 §3.4.5): that
// they lead somewhere is not the server's matter.
func checkLists(e *markup.Element) error {
	for c := range e.Children() {
		if c.Space != roster.ListsSpace && c.Local != "list" { // rls-services has a list of its own namespace
			continue
		}
		switch c.Local {
		case "list":
			if err := checkLists(c); err != nil {
				return err
			}
		case "entry-ref":
			if ref := c.Attr("ref"); !relativePath(ref) {
				return conflictf(constraintFailure, "the ref %q must be relative to the XCAP root, without a slash at its beginning", ref)
			}
		case "external":
			if a := c.Attr("anchor"); !absoluteHTTP(a) {
				return conflictf(constraintFailure, "the anchor %q must be a whole http or https URI", a)
			}
		}
	}
	return nil
}

// relativePath tells whether a reference is a relative-path reference (RFC 3986 §4.2).
func relativePath(ref string) bool {
	u, err := url.Parse(ref)
	return err == nil && u.Scheme == "" && u.Host == "" && u.Path != "" && !strings.HasPrefix(ref, "/")
}

func absoluteHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
