package xcap

import (
	"slices"
	"strconv"
	"strings"

	"pharos/presence"
	"pharos/roster"
	"pharos/schema"
	"pharos/xdm"
)

const watchersSpace = "http://openxcap.org/ns/watchers"

// watchers lists who watches the user or has asked to, in the format of
// OpenXCAP; made when it is asked for.
var watchers = &Usage{
	AUID: "org.openxcap.watchers", Space: watchersSpace, Type: "application/xml",
	Spaces: []string{watchersSpace}, Grammar: watchersGrammar, Generate: generateWatchers,
}

var watchersGrammar = &schema.Grammar{Root: watchersElement("watchers", &schema.Type{
	Content: schema.Of(watchersElement("watcher", &schema.Type{Content: schema.AllOf(
		schema.Of(watchersElement("id", text(schema.String))),
		schema.Of(watchersElement("online", text(schema.Boolean))),
		schema.Of(watchersElement("status", text(schema.Enum("allow", "confirm", "deny", "unknown")))),
	)})).Times(0, schema.Unbounded),
})}

func watchersElement(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: watchersSpace, Local: local, Type: t}
}

// generateWatchers says of each watcher whether it has a subscription now, and what
// the user has answered.
func generateWatchers(r *request) (xdm.Document, error) {
	if r.sel.path != xdm.Index || r.edge.Engine == nil {
		return xdm.Document{}, xdm.ErrNotFound
	}
	list, err := r.edge.Engine.Watchers(r.Context(), r.sel.user)
	if err != nil {
		return xdm.Document{}, err
	}
	type line struct {
		online bool
		state  presence.State
	}
	lines := map[string]line{}
	var ids []string
	for _, w := range list {
		id := roster.URIOf(w.Watcher)
		l, seen := lines[id]
		if !seen {
			ids = append(ids, id)
			l.state = w.State
		}
		l.online = l.online || !w.Waiting && w.State != presence.Terminated
		if w.State == presence.Active {
			l.state = w.State
		}
		lines[id] = l
	}
	slices.SortFunc(ids, strings.Compare)
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<watchers xmlns=\"" + watchersSpace + "\">\n")
	for _, id := range ids {
		l := lines[id]
		b = append(b, "  <watcher>\n"...)
		b = appendLine(b, "    ", "id", strings.TrimPrefix(id, "sip:"))
		b = appendLine(b, "    ", "online", strconv.FormatBool(l.online))
		b = appendLine(b, "    ", "status", watcherStatus(l.state))
		b = append(b, "  </watcher>\n"...)
	}
	return generated(append(b, "</watchers>\n"...)), nil
}

func watcherStatus(s presence.State) string {
	switch s {
	case presence.Active:
		return "allow"
	case presence.Pending:
		return "confirm"
	case presence.Terminated:
		return "deny"
	}
	return "unknown"
}
