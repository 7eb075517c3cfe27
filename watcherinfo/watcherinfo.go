// Package watcherinfo writes and reads watcher information documents (RFC 3858).
package watcherinfo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// Type is the media type of the document, Space its namespace (RFC 3858 §8).
const (
	Type  = "application/watcherinfo+xml"
	Space = "urn:ietf:params:xml:ns:watcherinfo"
)

// Bounds on a document that is read.
const (
	MaxBytes = 1 << 20 // octets
	MaxNodes = 1 << 15 // elements and texts
)

// Errors. They come wrapped with what is wrong.
var (
	ErrMalformed = errors.New("watcherinfo: malformed document")
	ErrForeign   = errors.New("watcherinfo: not a watcherinfo document")
)

// Info is a document about one resource.
type Info struct {
	Version  uint32
	Partial  bool   // only the watchers that have changed
	Resource string // URI
	Package  string // event package that they watch
	Watchers []Watcher
}

// Watcher is one watcher element.
type Watcher struct {
	ID     string // a token (RFC 3858 §3)
	URI    string
	Status string // pending, active, waiting, terminated
	Event  string // subscribe, approved, deactivated, probation, rejected, timeout, giveup, noresource

	Name       string        // display-name; "" when absent
	Expiration time.Duration // until the subscription ends; counts if Expires
	Duration   time.Duration // since it began; counts if Began

	Expires, Began bool
}

// Append writes a document. Times are rounded down to seconds.
func Append(dst []byte, i *Info) []byte {
	dst = append(dst, `<?xml version="1.0"?>`+"\n"+`<watcherinfo xmlns="`+Space+`" version="`...)
	dst = strconv.AppendUint(dst, uint64(i.Version), 10)
	if i.Partial {
		dst = append(dst, `" state="partial">`...)
	} else {
		dst = append(dst, `" state="full">`...)
	}
	dst = append(dst, "\n<watcher-list"...)
	dst = markup.AppendAttr(dst, "resource", i.Resource)
	dst = markup.AppendAttr(dst, "package", i.Package)
	dst = append(dst, '>', '\n')
	for n := range i.Watchers {
		dst = i.Watchers[n].append(dst)
	}
	return append(dst, "</watcher-list>\n</watcherinfo>\n"...)
}

func (w *Watcher) append(dst []byte) []byte {
	dst = append(dst, "<watcher"...)
	dst = markup.AppendAttr(dst, "id", w.ID)
	dst = markup.AppendAttr(dst, "status", w.Status)
	dst = markup.AppendAttr(dst, "event", w.Event)
	if w.Name != "" {
		dst = markup.AppendAttr(dst, "display-name", w.Name)
	}
	if w.Expires {
		dst = appendSeconds(dst, ` expiration="`, w.Expiration)
	}
	if w.Began {
		dst = appendSeconds(dst, ` duration-subscribed="`, w.Duration)
	}
	dst = append(dst, '>')
	dst = markup.AppendText(dst, w.URI)
	return append(dst, "</watcher>\n"...)
}

func appendSeconds(dst []byte, name string, d time.Duration) []byte {
	dst = append(dst, name...)
	dst = strconv.AppendInt(dst, int64(max(0, d)/time.Second), 10)
	return append(dst, '"')
}

// Parse reads a document with one watcher-list, as Append writes it; elements and
// attributes of other namespaces are ignored (RFC 3858 §3). The error is one of
// the above.
func Parse(b []byte) (*Info, error) {
	root, err := markup.Parse(b, markup.Options{MaxBytes: MaxBytes, MaxNodes: MaxNodes, MaxDepth: 8, Document: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !root.Is(Space, "watcherinfo") {
		return nil, fmt.Errorf("%w: the root element is <%s> of %q", ErrForeign, root.Local, root.Space)
	}
	i := &Info{}
	version, err := strconv.ParseUint(strings.TrimSpace(root.Attr("version")), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: version: %w", ErrMalformed, err)
	}
	i.Version = uint32(version)
	switch root.Attr("state") {
	case "full":
	case "partial":
		i.Partial = true
	default:
		return nil, fmt.Errorf("%w: state %q is neither full nor partial", ErrMalformed, root.Attr("state"))
	}
	lists := 0
	for l := range root.Children() {
		if !l.Is(Space, "watcher-list") {
			continue
		}
		if lists++; lists > 1 {
			return nil, fmt.Errorf("%w: more than one watcher-list", ErrMalformed)
		}
		i.Resource, i.Package = l.Attr("resource"), l.Attr("package")
		for e := range l.Children() {
			if !e.Is(Space, "watcher") {
				continue
			}
			w, err := read(e)
			if err != nil {
				return nil, err
			}
			i.Watchers = append(i.Watchers, w)
		}
	}
	return i, nil
}

func read(e *markup.Element) (w Watcher, err error) {
	w = Watcher{ID: e.Attr("id"), URI: strings.TrimSpace(e.Text()), Status: e.Attr("status"), Event: e.Attr("event"),
		Name: e.Attr("display-name")}
	if w.ID == "" || w.Status == "" || w.Event == "" { // RFC 3858 §3: mandatory
		return w, fmt.Errorf("%w: a watcher without id, status or event", ErrMalformed)
	}
	for _, a := range [...]struct {
		name string
		to   *time.Duration
		has  *bool
	}{{"expiration", &w.Expiration, &w.Expires}, {"duration-subscribed", &w.Duration, &w.Began}} {
		if v := e.Attr(a.name); v != "" {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return w, fmt.Errorf("%w: %s: %w", ErrMalformed, a.name, err)
			}
			*a.to, *a.has = time.Duration(n)*time.Second, true
		}
	}
	return w, nil
}

// Of makes the element of a watcher as the domain knows him. id is his, as a
// token; uri his address.
func Of(w *presence.Watcher, id, uri string, now time.Time) Watcher {
	o := Watcher{ID: id, URI: uri, Status: status(w), Event: event(w.Event)}
	if !w.Expires.IsZero() && w.State != presence.Terminated {
		o.Expiration, o.Expires = max(0, w.Expires.Sub(now)), true
	}
	if !w.Since.IsZero() {
		o.Duration, o.Began = max(0, now.Sub(w.Since)), true
	}
	return o
}

// status is the word of RFC 3857 §4.7.1.
func status(w *presence.Watcher) string {
	if w.Waiting {
		return "waiting"
	}
	return w.State.String()
}

var events = [...]string{
	presence.EventSubscribe: "subscribe", presence.EventApproved: "approved", presence.EventDeactivated: "deactivated",
	presence.EventProbation: "probation", presence.EventRejected: "rejected", presence.EventTimeout: "timeout",
	presence.EventGiveup: "giveup", presence.EventNoResource: "noresource",
}

func event(e presence.WatcherEvent) string {
	if int(e) < len(events) && events[e] != "" {
		return events[e]
	}
	return "subscribe"
}
