package jabber

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
)

// A user has one picture, which is on the nodes of XEP-0084. The photo of the vCard
// (XEP-0153), its hash in presence, and the status icon that SIP clients keep by
// XCAP are other faces of it (XEP-0398; OMA Presence SIMPLE XDM).

const (
	nsContent = "urn:oma:xml:prs:pres-content"
	// iconPath is the document that we write; SIP clients use others too.
	iconPath   = iconFolder + "index"
	iconFolder = "oma_status-icon/"
)

// avatar is a picture. The zero value is none.
type avatar struct {
	hash string // SHA-1 in lower case hex: the id of XEP-0084, the photo of XEP-0153
	typ  string // media type
	data []byte
}

// newAvatar takes a picture in base64, perhaps with line feeds. False for none.
func newAvatar(typ, text string) (avatar, bool) {
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil || len(data) == 0 {
		return avatar{}, false
	}
	sum := sha1.Sum(data)
	return avatar{hex.EncodeToString(sum[:]), strings.ToLower(strings.TrimSpace(typ)), data}, true
}

func (a *avatar) base64() string { return base64.StdEncoding.EncodeToString(a.data) }

// avatar reads a user's picture; also none where the metadata point elsewhere.
func (e *Edge) avatar(ctx context.Context, u presence.Entity) (avatar, error) {
	meta, err := e.node(ctx, u, nodeAvatar)
	if errors.Is(err, xdm.ErrNotFound) {
		return avatar{}, nil
	}
	if err != nil || meta.last() == nil || meta.Config.Access == accessWhitelist {
		return avatar{}, err
	}
	hash, typ := infoOf(meta.last().Payload)
	if hash == "" {
		return avatar{}, nil
	}
	data, err := e.node(ctx, u, nodeAvatarData)
	if errors.Is(err, xdm.ErrNotFound) {
		return avatar{}, nil
	}
	if err != nil {
		return avatar{}, err
	}
	i := data.find(hash)
	if i < 0 {
		return avatar{}, nil
	}
	el, err := markup.Parse([]byte(data.Items[i].Payload), storedOptions)
	if err != nil {
		return avatar{}, err
	}
	a, ok := newAvatar(typ, el.Text())
	if !ok || !strings.EqualFold(a.hash, hash) {
		return avatar{}, nil // XEP-0398 §4.1
	}
	return a, nil
}

// infoOf picks the picture that is on the data node (XEP-0398 §4.1).
func infoOf(payload string) (hash, typ string) {
	el, err := markup.Parse([]byte(payload), storedOptions)
	if err != nil {
		return "", ""
	}
	for c := range el.Children() {
		if c.Is(nodeAvatar, "info") && c.Attr("url") == "" {
			return c.Attr("id"), c.Attr("type")
		}
	}
	return "", ""
}

// iconOf is the URI of a user's status icon for SIP clients; "" for none.
func (e *Edge) iconOf(u presence.Entity) string {
	if e.c.Icon == nil {
		return ""
	}
	return e.c.Icon(u)
}

// setAvatar publishes a picture for a user, or that there is none. The user's
// nodes are locked.
func (e *Edge) setAvatar(ctx context.Context, u presence.Entity, a avatar, by string) error {
	old, err := e.avatar(ctx, u)
	if err != nil || old.hash == a.hash {
		return err
	}
	meta := nodeItem{ID: newResource(), Publisher: by, At: time.Now(), Payload: "<metadata xmlns='" + nodeAvatar + "'/>"}
	if a.hash != "" {
		// XEP-0084 §3.1: the data come first.
		data := nodeItem{ID: a.hash, Publisher: by, At: meta.At, Payload: "<data xmlns='" + nodeAvatarData + "'>" + a.base64() + "</data>"}
		if _, err := e.publishLocked(ctx, u, nodeAvatarData, data, nil); err != nil {
			return err
		}
		b := markup.AppendAttr([]byte("<metadata xmlns='"+nodeAvatar+"'><info"), "bytes", strconv.Itoa(len(a.data)))
		b = markup.AppendAttr(markup.AppendAttr(b, "id", a.hash), "type", a.typ)
		meta.ID, meta.Payload = a.hash, string(append(b, "/></metadata>"...))
	}
	if _, err = e.publishLocked(ctx, u, nodeAvatar, meta, nil); err != nil || !e.many || a.hash == "" {
		return err
	}
	return e.matchData(ctx, u, a, by)
}

// matchData publishes the data of a picture once more where they are not there: on another
// node another picture may have been set at the same time, so that the data are of one and the
// metadata of the other.
func (e *Edge) matchData(ctx context.Context, u presence.Entity, a avatar, by string) error {
	for range 3 {
		if now, err := e.avatar(ctx, u); err != nil || now.hash != "" {
			return err
		}
		meta, err := e.node(ctx, u, nodeAvatar)
		if err != nil || meta.last() == nil || meta.last().ID != a.hash {
			return err
		}
		data := nodeItem{ID: a.hash, Publisher: by, At: time.Now(), Payload: "<data xmlns='" + nodeAvatarData + "'>" + a.base64() + "</data>"}
		if _, err := e.publishLocked(ctx, u, nodeAvatarData, data, nil); err != nil {
			return err
		}
	}
	return nil
}

// avatarFollows gives the other faces of a user's picture what the nodes say. The
// user's nodes are locked.
func (e *Edge) avatarFollows(ctx context.Context, u presence.Entity) {
	a, err := e.avatar(ctx, u)
	for range 3 {
		if err != nil {
			break
		}
		_, _, err = e.c.Documents.Update(ctx, xdm.Name{AUID: xdm.PresContent, User: u, Path: iconPath}, func(old *xdm.Document) ([]byte, error) {
			if a.hash == "" {
				return nil, nil
			}
			if old != nil {
				if b, ok := readIcon(old.Body); ok && b.hash == a.hash {
					return old.Body, nil // as its client wrote it
				}
			}
			return appendIcon(nil, &a), nil
		})
		if !e.many || err != nil {
			break
		}
		// Another node may have followed another picture meanwhile.
		was := a.hash
		if a, err = e.avatar(ctx, u); err == nil && a.hash == was {
			break
		}
	}
	if err != nil {
		e.log.Error("status icon not written", "entity", u.String(), "err", err)
	}
	e.photoChanged(ctx, u, a.hash)
}

// readIcon reads a document of OMA's presence content; false for what is no picture.
func readIcon(body []byte) (avatar, bool) {
	el, err := markup.Parse(body, markup.Options{MaxBytes: 2 * MaxPEPNode, Document: true})
	if err != nil || !el.Is(nsContent, "content") ||
		!strings.EqualFold(strings.TrimSpace(el.Child(nsContent, "encoding").Text()), "base64") {
		return avatar{}, false
	}
	return newAvatar(el.Child(nsContent, "mime-type").Text(), el.Child(nsContent, "data").Text())
}

func appendIcon(b []byte, a *avatar) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<content xmlns="`+nsContent+`"><mime-type>`...)
	b = append(markup.AppendText(b, a.typ), `</mime-type><encoding>base64</encoding><data>`...)
	return append(append(b, a.base64()...), "</data></content>\n"...)
}

// icon is a status icon that an XCAP client has changed.
type icon struct {
	user presence.Entity
	path string
}

// iconsChanged follows changes of status icons. It does not block; the work is the
// edge's worker's.
func (e *Edge) iconsChanged(c *xdm.Change) {
	if c.Remote {
		return // its own node does it
	}
	for i := range c.Documents {
		d := c.Documents[i].After
		if d == nil {
			d = c.Documents[i].Before
		}
		if d == nil || d.AUID != xdm.PresContent || !strings.HasPrefix(d.Path, iconFolder) {
			continue
		}
		if !e.icons.put(icon{c.User, d.Path}) {
			e.log.Warn("status icon not taken over: too many wait", "entity", c.User.String())
		}
	}
}

// takeIcon makes a status icon the user's picture.
func (e *Edge) takeIcon(ctx context.Context, i icon) {
	release := e.pepLock(i.user)
	defer release()
	d, err := e.c.Documents.Get(ctx, xdm.Name{AUID: xdm.PresContent, User: i.user, Path: i.path})
	if err != nil && !errors.Is(err, xdm.ErrNotFound) {
		e.log.Error("status icon not read", "entity", i.user.String(), "err", err)
		return
	}
	var a avatar
	if err == nil {
		var ok bool
		if a, ok = readIcon(d.Body); !ok {
			return // of a kind that XMPP cannot show
		}
	}
	if err := e.setAvatar(ctx, i.user, a, i.user.String()); err != nil {
		e.log.Warn("status icon not taken over", "entity", i.user.String(), "err", err)
	}
}
