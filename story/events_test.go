package story

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"

	"pharos/markup"
	"pharos/pidf"
	"pharos/sip"
)

// bodyTypes of PUBLISH and NOTIFY, by event package.
var bodyTypes = map[string]string{
	"presence":        pidf.Type,
	"presence.winfo":  "application/watcherinfo+xml",
	"dialog":          "application/dialog-info+xml",
	"message-summary": "application/simple-message-summary",
	"xcap-diff":       "application/xcap-diff+xml",
}

const (
	typeLists = "application/resource-lists+xml"
	typeRLMI  = "application/rlmi+xml"
)

// wanted reads the words of "subscribes WHOM": event=, accept=, as=, list (a
// named list: RFC 4662), more= (a header line), document= and type= (the body).
func (w *world) wanted(p *phone, a *args) (*subscription, error) {
	s := &subscription{as: w.address(a.get("as", p.user)), event: a.get("event", "presence")}
	pkg, _, _ := strings.Cut(s.event, ";")
	s.accept = bodyTypes[pkg]
	list := a.flag("list")
	if list {
		s.accept += ", " + typeRLMI + ", multipart/related"
		s.more = "Supported: eventlist\r\n"
	}
	s.accept = a.get("accept", s.accept)
	if v := a.get("more", ""); v != "" {
		s.more += v + "\r\n"
	}
	if name := a.get("document", ""); name != "" {
		var err error
		if s.body, err = w.document(name); err != nil {
			return nil, err
		}
		s.bodyType = a.get("type", typeLists)
		if list && s.bodyType == typeLists { // RFC 5367 §4
			s.more += "Require: recipient-list-subscribe\r\nContent-Disposition: recipient-list\r\n"
		}
	}
	s.of = w.address(a.next())
	return s, nil
}

func (w *world) document(name string) (string, error) {
	d, ok := w.documents[name]
	if !ok {
		return "", fmt.Errorf("no document %q", name)
	}
	return d, nil
}

// eventWords says what a body of an event package shows.
func eventWords(w *world, ct sip.MediaType, text string) []string {
	if ct.Is("multipart/related") {
		return listWords(w, ct, text)
	}
	words := []string{"type=" + ct.String()}
	if !strings.HasSuffix(ct.Subtype, "xml") {
		for _, l := range strings.Split(strings.TrimSpace(text), "\r\n") {
			words = append(words, strings.ReplaceAll(l, ": ", "="))
		}
		return words
	}
	root, err := markup.Parse([]byte(text), markup.Options{Document: true})
	if err != nil {
		return append(words, "bad-body", err.Error())
	}
	if root.Local == "watcherinfo" {
		return append(words, watcherWords(w, root)...)
	}
	return append(words, xmlWords(root)...)
}

// watcherWords are state=, version=, and WHO:STATUS:EVENT for each watcher (RFC 3858).
func watcherWords(w *world, root *markup.Element) []string {
	words := []string{"state=" + root.Attr("state"), "version=" + root.Attr("version")}
	for l := range root.Children() {
		for c := range l.Children() {
			uri := strings.TrimPrefix(strings.TrimSpace(c.Text()), "sip:")
			words = append(words, "watcher="+w.short(uri)+":"+c.Attr("status")+":"+c.Attr("event"))
		}
	}
	return words
}

// xmlWords says what any document has: name@attribute=value, and name=text for
// elements that hold only text.
func xmlWords(e *markup.Element) []string {
	var words []string
	for _, a := range e.Attrs {
		words = append(words, e.Local+"@"+a.Local+"="+a.Value)
	}
	leaf := true
	for c := range e.Children() {
		leaf = false
		words = append(words, xmlWords(c)...)
	}
	if t := strings.TrimSpace(e.Text()); leaf && t != "" {
		words = append(words, e.Local+"="+t)
	} else if leaf {
		words = append(words, e.Local)
	}
	return words
}

// listWords are full or partial, version=, and for each resource WHO=STATE with
// what its own part shows: bob=active:open (RFC 4662 §5).
func listWords(w *world, ct sip.MediaType, text string) []string {
	_, params, err := mime.ParseMediaType(ct.String() + string(ct.Params))
	if err != nil {
		return []string{"bad-type", err.Error()}
	}
	words := []string{"list"}
	parts := map[string]string{}
	types := map[string]sip.MediaType{}
	var root *markup.Element
	for r := multipart.NewReader(strings.NewReader(text), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return append(words, "bad-body", err.Error())
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return append(words, "bad-body", err.Error())
		}
		cid := strings.Trim(p.Header.Get("Content-ID"), "<>")
		if _, twice := parts[cid]; twice || cid == "" {
			words = append(words, "bad-cid")
		}
		kind, sub, _ := strings.Cut(strings.SplitN(p.Header.Get("Content-Type"), ";", 2)[0], "/")
		parts[cid], types[cid] = string(b), sip.MediaType{Type: kind, Subtype: sub}
		if root == nil {
			if start := strings.Trim(params["start"], "<>"); start != "" && start != cid {
				words = append(words, "start-is-not-first")
			}
			if root, err = markup.Parse(b, markup.Options{Document: true}); err != nil {
				return append(words, "bad-body", err.Error())
			}
		}
	}
	if root == nil || root.Local != "list" {
		return append(words, "no-rlmi")
	}
	words = append(words, "fullState="+root.Attr("fullState"), "version="+root.Attr("version"))
	for r := range root.Children() {
		if r.Local != "resource" {
			continue
		}
		who := w.short(strings.TrimPrefix(r.Attr("uri"), "sip:"))
		n := 0
		for i := range r.Children() {
			if i.Local == "name" {
				words = append(words, who+":name="+i.Text())
				continue
			}
			n++
			shown := i.Attr("state")
			if reason := i.Attr("reason"); reason != "" {
				shown += ":" + reason
			}
			if cid := i.Attr("cid"); cid != "" {
				b, ok := parts[cid]
				if !ok {
					words = append(words, "cid-without-part")
				}
				got := body(w, types[cid], b)
				shown += ":" + got[len(got)-1]
				for _, g := range got {
					words = append(words, who+":"+g)
				}
			}
			words = append(words, who+"="+shown)
		}
		if n == 0 {
			words = append(words, who+"=none")
		}
	}
	slices.Sort(words[3:])
	return words
}
