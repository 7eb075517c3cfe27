package xcap

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"pharos/markup"
	"pharos/schema"
	"pharos/xdm"
)

const capsSpace = "urn:ietf:params:xml:ns:xcap-caps"

// caps is what the server can do (RFC 4825 §12): one document in the global tree.
var caps = &Usage{
	AUID: "xcap-caps", Space: capsSpace, Type: "application/xcap-caps+xml", Spaces: []string{capsSpace},
	Grammar: capsGrammar, Global: globalCaps,
	// There must be none in the users' trees (§12.7).
	Generate: func(*request) (xdm.Document, error) {
		return xdm.Document{}, say(http.StatusNotFound, "what the server knows is at ROOT/xcap-caps/global/index")
	},
}

var capsGrammar = &schema.Grammar{Root: &schema.Element{Space: capsSpace, Local: "xcap-caps", Type: &schema.Type{Content: schema.Seq(
	schema.Of(capsList("auids", "auid", schema.String)),
	schema.Of(capsList("extensions", "extension", schema.String)).Times(0, 1),
	schema.Of(capsList("namespaces", "namespace", schema.AnyURI)),
	schema.Other(capsSpace),
)}}}

func capsList(list, item string, t *schema.Simple) *schema.Element {
	return &schema.Element{Space: capsSpace, Local: list, Type: &schema.Type{Content: schema.Of(
		&schema.Element{Space: capsSpace, Local: item, Type: &schema.Type{Text: t}}).Times(0, schema.Unbounded)}}
}

func globalCaps(r *request) (xdm.Document, error) {
	if r.sel.path != xdm.Index {
		return xdm.Document{}, say(http.StatusNotFound, "what the server knows is at ROOT/xcap-caps/global/index")
	}
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<xcap-caps xmlns=\"" + capsSpace + "\">\n  <auids>\n")
	var spaces []string
	for _, name := range r.edge.names {
		b = appendLine(b, "    ", "auid", name)
		for _, s := range r.edge.usages[name].Spaces {
			if !slices.Contains(spaces, s) {
				spaces = append(spaces, s)
			}
		}
	}
	b = append(b, "  </auids>\n  <extensions/>\n  <namespaces>\n"...)
	slices.Sort(spaces)
	for _, s := range append(spaces, ErrorSpace) {
		b = appendLine(b, "    ", "namespace", s)
	}
	return generated(append(b, "  </namespaces>\n</xcap-caps>\n"...)), nil
}

func appendLine(b []byte, indent, name, text string) []byte {
	b = append(append(append(append(b, indent...), '<'), name...), '>')
	b = markup.AppendText(b, text)
	return append(append(append(b, "</"...), name...), ">\n"...)
}

// generated is a document that is made when it is asked for; its entity-tag is a
// digest of it.
func generated(body []byte) xdm.Document {
	sum := sha256.Sum256(body)
	return xdm.Document{Body: body, ETag: hex.EncodeToString(sum[:12])}
}
