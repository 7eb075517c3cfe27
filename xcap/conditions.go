package xcap

import (
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"pharos/xdm"
)

// conditions looks at the conditional header fields (RFC 4825 §7.11, §8.2.6; RFC
// 9110 §13.2.2). The entity-tag of every resource within a document is that of
// the document, also for one that is to be inserted; d is nil when there is no document.
func (r *request) conditions(d *xdm.Document) error {
	failed := say(http.StatusPreconditionFailed, "the document has changed: fetch it again, it has another entity-tag now")
	if d == nil {
		failed.text = "there is no such document, and so none with this entity-tag"
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if tags, ok := r.tags("If-Match"); ok {
		// Weak tags never match here (RFC 9110 §13.1.1); ours are all strong.
		if d == nil || !matches(tags, d.ETag, false) {
			return failed
		}
	} else if t, ok := r.time("If-Unmodified-Since"); ok && (d == nil || seconds(d.Modified).After(t)) {
		return failed
	}
	if tags, ok := r.tags("If-None-Match"); ok {
		if d == nil || !matches(tags, d.ETag, true) {
			return nil
		}
		if read {
			return &failure{status: http.StatusNotModified}
		}
		failed.text = "If-None-Match: the document is there with this entity-tag; all that is in it shares it (RFC 4825 §8.2.6)"
		return failed
	}
	if t, ok := r.time("If-Modified-Since"); ok && read && d != nil && !seconds(d.Modified).After(t) {
		return &failure{status: http.StatusNotModified}
	}
	return nil
}

// tags reads a list of entity-tags. Some clients forget the quotes.
func (r *request) tags(field string) ([]string, bool) {
	lines := r.Header[textproto.CanonicalMIMEHeaderKey(field)]
	if len(lines) == 0 {
		return nil, false
	}
	var tags []string
	s := strings.Join(lines, ",")
	for s != "" {
		s = strings.TrimLeft(s, " \t,")
		weak := strings.HasPrefix(s, "W/")
		v := strings.TrimPrefix(s, "W/")
		if v == "" {
			break
		}
		var tag string
		if v[0] == '"' {
			end := strings.IndexByte(v[1:], '"')
			if end < 0 {
				break
			}
			tag, s = v[1:1+end], v[end+2:]
		} else {
			tag, s, _ = strings.Cut(v, ",")
			tag = strings.TrimSpace(tag)
			if tag == "*" {
				tag = anyTag
			}
		}
		if weak {
			tag = weakMark + tag
		}
		tags = append(tags, tag)
	}
	return tags, true
}

// What no entity-tag holds marks the ones that are not plain.
const (
	anyTag   = "\x00*"
	weakMark = "\x00W"
)

func matches(tags []string, etag string, weakly bool) bool {
	for _, t := range tags {
		if weakly {
			t = strings.TrimPrefix(t, weakMark)
		}
		if t == anyTag || t == etag {
			return true
		}
	}
	return false
}

// time reads a date; one that cannot be read is ignored (RFC 9110 §13.1.3).
func (r *request) time(field string) (time.Time, bool) {
	v := r.Header.Get(field)
	if v == "" {
		return time.Time{}, false
	}
	t, err := http.ParseTime(v)
	return t, err == nil
}

// seconds is a time as HTTP can say it.
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }
