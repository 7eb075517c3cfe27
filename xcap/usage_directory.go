package xcap

import (
	"strconv"
	"time"

	"pharos/markup"
	"pharos/schema"
	"pharos/xdm"
)

const directorySpace = "urn:oma:xml:xdm:xcap-directory"

// directory lists what documents a user has (OMA XDM §6.7.2): directory.xml, made
// when it is asked for.
var directory = &Usage{
	AUID: "org.openmobilealliance.xcap-directory", Space: directorySpace, Type: "application/vnd.oma.xcap-directory+xml",
	Spaces: []string{directorySpace}, Grammar: directoryGrammar, Generate: generateDirectory,
}

var directoryGrammar = &schema.Grammar{Root: directoryElement("xcap-directory", &schema.Type{
	Content: schema.Of(directoryElement("folder", &schema.Type{
		Attrs: []schema.Attr{{Local: "auid", Type: schema.String, Required: true}},
		Content: schema.OneOf(
			schema.Of(directoryElement("entry", &schema.Type{AnyAttr: schema.OtherAttrs(directorySpace), Attrs: []schema.Attr{
				{Local: "uri", Type: schema.AnyURI, Required: true}, {Local: "etag", Type: schema.String, Required: true},
				{Local: "last-modified", Type: schema.DateTime}, {Local: "size", Type: schema.Integer(0, 1<<40)}}})).Times(0, schema.Unbounded),
			schema.Of(directoryElement("error-code", text(schema.String))),
		),
	})).Times(0, schema.Unbounded),
})}

func directoryElement(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: directorySpace, Local: local, Type: t}
}

func generateDirectory(r *request) (xdm.Document, error) {
	if r.sel.path != "directory.xml" && r.sel.path != "directory" {
		return xdm.Document{}, xdm.ErrNotFound
	}
	all, err := r.edge.Documents.List(r.Context(), r.sel.user, "")
	if err != nil {
		return xdm.Document{}, err
	}
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<xcap-directory xmlns=\"" + directorySpace + "\">\n")
	open := ""
	for i := range all {
		d := &all[i]
		if u := r.edge.usages[d.AUID]; u == nil || u.Generate != nil {
			continue // kept for others than XCAP clients
		}
		if d.AUID != open {
			if open != "" {
				b = append(b, "  </folder>\n"...)
			}
			open = d.AUID
			b = append(markup.AppendAttr(append(b, "  <folder"...), "auid", open), ">\n"...)
		}
		b = append(b, "    <entry"...)
		b = markup.AppendAttr(b, "uri", r.root()+"/"+d.AUID+"/users/sip:"+escape(r.sel.user.String())+"/"+escape(d.Path))
		b = markup.AppendAttr(b, "etag", d.ETag)
		b = markup.AppendAttr(b, "last-modified", d.Modified.UTC().Format(time.RFC3339))
		b = markup.AppendAttr(b, "size", strconv.Itoa(d.Size))
		b = append(b, "/>\n"...)
	}
	if open != "" {
		b = append(b, "  </folder>\n"...)
	}
	return generated(append(b, "</xcap-directory>\n"...)), nil
}
