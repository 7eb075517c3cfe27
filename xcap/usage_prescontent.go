package xcap

import (
	"encoding/base64"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/schema"
	"pharos/xdm"
)

const contentSpace = "urn:oma:xml:prs:pres-content"

// presContent is OMA's presence content (OMA Presence SIMPLE XDM §5.3): the status
// icon oma_status-icon/NAME, and other files.
var presContent = &Usage{
	AUID: xdm.PresContent, Space: contentSpace, Type: "application/vnd.oma.pres-content+xml",
	Spaces: []string{contentSpace}, Grammar: contentGrammar,
	Directory: func(dir string) bool { return dir == "" || !strings.Contains(dir, "/") },
	Check:     checkContent, Reads: readsContent,
}

// contentGrammar takes the elements in any order: clients differ.
var contentGrammar = &schema.Grammar{
	Root: contentElement("content", &schema.Type{AnyAttr: schema.OtherAttrs(contentSpace), Content: schema.AllOf(
		schema.Of(contentElement("mime-type", text(schema.Token))).Times(0, 1),
		schema.Of(contentElement("encoding", text(schema.Token))).Times(0, 1),
		schema.Of(contentElement("description", &schema.Type{Text: schema.String, Attrs: []schema.Attr{
			{Space: markup.XMLSpace, Local: "lang", Type: schema.Language}}})).Times(0, schema.Unbounded),
		schema.Of(contentElement("data", text(schema.String))),
		schema.Other(contentSpace),
	)}),
	Closed: []string{contentSpace},
}

func contentElement(local string, t *schema.Type) *schema.Element {
	return &schema.Element{Space: contentSpace, Local: local, Type: t}
}

// iconDirectory holds status icons, which are pictures.
const iconDirectory = "oma_status-icon/"

// checkContent wants what watchers can show: data in base64, and of an icon a
// picture.
func checkContent(r *request, root *markup.Element, _ []byte) error {
	encoding := strings.ToLower(strings.TrimSpace(root.Child(contentSpace, "encoding").Text()))
	data := strings.Join(strings.Fields(root.Child(contentSpace, "data").Text()), "")
	if encoding == "base64" {
		if _, err := base64.StdEncoding.DecodeString(data); err != nil {
			return conflictf(constraintFailure, "the data are not base64")
		}
	}
	if !strings.HasPrefix(r.sel.path, iconDirectory) {
		return nil
	}
	if encoding != "base64" {
		return conflictf(constraintFailure, "the encoding of a status icon must be base64")
	}
	switch mime := strings.ToLower(strings.TrimSpace(root.Child(contentSpace, "mime-type").Text())); mime {
	case "image/png", "image/jpeg", "image/jpg", "image/gif":
	default:
		return conflictf(constraintFailure, "a status icon must be image/png, image/jpeg or image/gif, not %q", mime)
	}
	if data == "" {
		return conflictf(constraintFailure, "the status icon has no data")
	}
	return nil
}

// readsContent lets those read an icon to whom the user shows the status icon
// (RFC 5025 §3.3.2.11), since their presence document points here.
func readsContent(r *request) (bool, error) {
	if r.edge.Engine == nil || r.who.user.User == "" || !strings.HasPrefix(r.sel.path, iconDirectory) {
		return false, nil
	}
	x, err := r.edge.Engine.Explain(r.Context(), r.sel.user, r.who.user)
	if err == nil && x.Decision.Class.Handling == presence.PoliteBlock {
		// RFC 5025 §3.2.1: as if there were none; "forbidden" would tell him.
		return false, xdm.ErrNotFound
	}
	if err != nil || x.Decision.Class.Handling != presence.Allow {
		return false, err
	}
	t := new(presence.Policy).Transform(x.Decision.Class.Shown) // a name says itself what it permits
	return t == nil || t.AllAttributes || t.Attributes["status-icon"], nil
}

// userProfile is kept as it is (OMA-TS-XDM_UserProfile).
var userProfile = &Usage{
	AUID: "org.openmobilealliance.user-profile", Space: "urn:oma:xml:xdm:user-profile", Type: "application/vnd.oma.user-profile+xml",
}
