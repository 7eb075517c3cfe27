// Package dialoginfo reads and writes dialog information documents (RFC 4235
// §4), and makes one out of those that several publishers have sent.
package dialoginfo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pharos/markup"
)

// Type is the media type of the document, Space its namespace (RFC 4235 §8.2, §8.3).
const (
	Type  = "application/dialog-info+xml"
	Space = "urn:ietf:params:xml:ns:dialog-info"
)

// Bounds on one document.
const (
	MaxBytes   = 64 << 10 // octets
	MaxDepth   = 16       // elements within one another
	MaxNodes   = 4096     // elements and texts
	MaxDialogs = 64       // dialogs; beyond it the document is refused
)

// Errors. They come wrapped with what is wrong and where.
var (
	ErrMalformed = errors.New("dialoginfo: malformed document")
	ErrForeign   = errors.New("dialoginfo: not a dialog-info document")
	ErrTooBig    = errors.New("dialoginfo: the document is too big")
)

// State of a dialog, in the order of the state machine of RFC 4235 §3.7.1.
type State uint8

const (
	Trying State = iota + 1
	Proceeding
	Early
	Confirmed
	Terminated
)

var states = [...]string{"", "trying", "proceeding", "early", "confirmed", "terminated"}

// String is the word of RFC 4235 §4.1.2.
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return ""
}

// Info is a document.
type Info struct {
	Version uint32 // 0 when it has none
	Partial bool   // only the dialogs that have changed
	Entity  string // as written; "" when it has none
	Dialogs []Dialog
}

// Dialog is one dialog element. It is a value: what is read is not changed.
type Dialog struct {
	ID                          string
	CallID, LocalTag, RemoteTag string
	Direction                   string // initiator, recipient, or ""
	State                       State
	Event, Code                 string // of the state, as written
	RemoteTarget                string // URI of the remote target, "" when it is not told
	Sessions                    bool   // has session descriptions

	xml string // the element, standing alone in the document's namespace
}

// Virtual stands for all calls of a user, of whom no more may be told than that he
// is in one (RFC 4235 §3.7.2).
var Virtual = Dialog{ID: "virtual", State: Confirmed, xml: `<dialog id="virtual"><state>confirmed</state></dialog>`}

// XML is the element as it was read, standing alone where Space is the default
// namespace.
func (d *Dialog) XML() string { return d.xml }

// Parse reads a document. The error is one of the above. What the document
// lacks that watchers do not need (version, entity) it may lack.
func Parse(b []byte) (*Info, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d octets", ErrTooBig, MaxBytes)
	}
	root, err := markup.Parse(b, markup.Options{MaxBytes: MaxBytes, MaxDepth: MaxDepth, MaxNodes: MaxNodes, Document: true})
	if err != nil {
		if s := (*markup.SyntaxError)(nil); errors.As(err, &s) && s.Kind == markup.TooBig {
			return nil, fmt.Errorf("%w: %s", ErrTooBig, s.Reason)
		}
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !root.Is(Space, "dialog-info") {
		return nil, fmt.Errorf("%w: the root element is not <dialog-info> of %s", ErrForeign, Space)
	}
	info := &Info{Entity: strings.TrimSpace(root.Attr("entity"))}
	if v := strings.TrimSpace(root.Attr("version")); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: version %q is not a number of 32 bits", ErrMalformed, v)
		}
		info.Version = uint32(n)
	}
	switch v := strings.TrimSpace(root.Attr("state")); v {
	case "full", "":
	case "partial":
		info.Partial = true
	default:
		return nil, fmt.Errorf("%w: state %q is neither full nor partial", ErrMalformed, v)
	}
	for e := range root.Children() {
		if !e.Is(Space, "dialog") {
			continue // extensions of the document say nothing of a dialog
		}
		if len(info.Dialogs) == MaxDialogs {
			return nil, fmt.Errorf("%w: more than %d dialogs", ErrTooBig, MaxDialogs)
		}
		d, err := readDialog(e)
		if err != nil {
			return nil, err
		}
		info.Dialogs = append(info.Dialogs, d)
	}
	return info, nil
}

func readDialog(e *markup.Element) (d Dialog, err error) {
	d = Dialog{
		ID: e.Attr("id"), CallID: e.Attr("call-id"), LocalTag: e.Attr("local-tag"), RemoteTag: e.Attr("remote-tag"),
		Direction: e.Attr("direction"),
	}
	if d.ID == "" { // RFC 4235 §4.1.1: the one attribute that must be there
		return d, fmt.Errorf("%w: a dialog without an id, at byte %d", ErrMalformed, e.Start)
	}
	st := e.Child(Space, "state")
	word := strings.TrimSpace(st.Text())
	for i := range states {
		if word == states[i] {
			d.State = State(i)
		}
	}
	if st == nil || d.State == 0 {
		return d, fmt.Errorf("%w: dialog %q without a state that RFC 4235 knows, at byte %d", ErrMalformed, d.ID, e.Start)
	}
	d.Event, d.Code = st.Attr("event"), st.Attr("code")
	remote := e.Child(Space, "remote")
	d.RemoteTarget = strings.TrimSpace(remote.Child(Space, "target").Attr("uri"))
	for _, side := range [...]*markup.Element{remote, e.Child(Space, "local")} {
		d.Sessions = d.Sessions || side.Child(Space, "session-description") != nil
	}
	d.xml = string(e.Append(nil, Space))
	return d, nil
}

// edited is a dialog's element after change has been asked for changes of it.
func (d *Dialog) edited(change func(x *markup.Edit, e *markup.Element)) Dialog {
	c := *d
	root, err := markup.ParseIn([]byte(d.xml), []markup.Decl{{Space: Space}}, markup.Options{MaxBytes: 2 * MaxBytes})
	if err != nil {
		return c // cannot be: it was written from a tree
	}
	x := markup.NewEdit(root)
	change(x, root)
	if b, err := x.Bytes(); err == nil {
		c.xml = string(b)
	}
	return c
}

// WithID is the dialog under another id.
func (d *Dialog) WithID(id string) Dialog {
	c := d.edited(func(x *markup.Edit, e *markup.Element) { x.SetAttr(e, "id", id) })
	c.ID = id
	return c
}

// WithoutSessions is the dialog without its session descriptions.
func (d *Dialog) WithoutSessions() Dialog {
	if !d.Sessions {
		return *d
	}
	c := d.edited(func(x *markup.Edit, e *markup.Element) {
		for side := range e.Children() {
			for s := range side.Children() {
				if s.Is(Space, "session-description") && side.Space == Space {
					x.Remove(s)
				}
			}
		}
	})
	c.Sessions = false
	return c
}

// Head and Tail are what stands round the dialogs in a document. The head holds
// all that differs between watchers.
func Head(dst []byte, version uint32, entity string) []byte {
	dst = append(dst, `<?xml version="1.0"?>`+"\n"+`<dialog-info xmlns="`+Space+`" version="`...)
	dst = strconv.AppendUint(dst, uint64(version), 10)
	dst = append(dst, `" state="full"`...)
	dst = markup.AppendAttr(dst, "entity", entity)
	return append(dst, '>', '\n')
}

// Tail ends a document.
const Tail = "</dialog-info>\n"

// Bytes writes the document, as a full one.
func (i *Info) Bytes() []byte {
	return append(Append(Head(nil, i.Version, i.Entity), i.Dialogs), Tail...)
}

// Append writes dialogs as they stand between Head and Tail.
func Append(dst []byte, ds []Dialog) []byte {
	for i := range ds {
		dst = append(dst, ds[i].xml...)
		dst = append(dst, '\n')
	}
	return dst
}
