package watcherinfo

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pharos/presence"
)

// example is RFC 3858 §5.
const example = `<?xml version="1.0"?>
<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="partial">
  <watcher-list resource="sip:professor@example.net" package="presence">
    <watcher status="active" id="8ajksjda7s" duration-subscribed="509" event="approved">sip:userA@example.net</watcher>
    <watcher status="pending" id="hh8juja87s997-ass7" display-name="Mr. Subscriber" event="subscribe">sip:userB@example.org</watcher>
  </watcher-list>
</watcherinfo>`

var exampleInfo = &Info{
	Partial: true, Resource: "sip:professor@example.net", Package: "presence",
	Watchers: []Watcher{
		{ID: "8ajksjda7s", URI: "sip:userA@example.net", Status: "active", Event: "approved", Duration: 509 * time.Second, Began: true},
		{ID: "hh8juja87s997-ass7", URI: "sip:userB@example.org", Status: "pending", Event: "subscribe", Name: "Mr. Subscriber"},
	},
}

func TestExample(t *testing.T) {
	i, err := Parse([]byte(example))
	if err != nil || !reflect.DeepEqual(i, exampleInfo) {
		t.Fatalf("got %+v, %v", i, err)
	}
	if i, err = Parse(Append(nil, exampleInfo)); err != nil || !reflect.DeepEqual(i, exampleInfo) {
		t.Fatalf("came back as %+v, %v", i, err)
	}
}

func TestAppend(t *testing.T) {
	got := string(Append(nil, &Info{Version: 7, Resource: `sip:a&"b@example.com`, Package: "presence", Watchers: []Watcher{
		{ID: "x", URI: "sip:<@example.com", Status: "waiting", Event: "timeout", Expiration: 1999 * time.Millisecond, Expires: true, Began: true},
	}}))
	for _, want := range []string{`version="7" state="full"`, `resource='sip:a&amp;&quot;b@example.com'`,
		`expiration="1" duration-subscribed="0">sip:&lt;@example.com</watcher>`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	in := func(attrs, content string) string {
		return `<watcherinfo xmlns="` + Space + `" ` + attrs + `>` + content + `</watcherinfo>`
	}
	good := `version="0" state="full"`
	list := func(content string) string {
		return `<watcher-list resource="r" package="p">` + content + `</watcher-list>`
	}
	for _, c := range []struct {
		name, doc string
		err       error
	}{
		{"no XML", "x", ErrMalformed},
		{"other root", "<a/>", ErrForeign},
		{"no version", in(`state="full"`, ""), ErrMalformed},
		{"no state", in(`version="1"`, ""), ErrMalformed},
		{"two lists", in(good, list("")+list("")), ErrMalformed},
		{"no id", in(good, list(`<watcher status="active" event="subscribe">sip:a@b</watcher>`)), ErrMalformed},
		{"bad expiration", in(good, list(`<watcher id="a" status="active" event="subscribe" expiration="soon">sip:a@b</watcher>`)), ErrMalformed},
		{"extensions", in(good, `<x xmlns="y"/>`+list(`<x xmlns="y"/>`)), nil},
		{"empty", in(good, ""), nil},
	} {
		if _, err := Parse([]byte(c.doc)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
}

// The words of RFC 3857 §4.7.1 for what the domain knows.
func TestOf(t *testing.T) {
	now := time.Unix(5000, 0)
	for _, c := range []struct {
		w    presence.Watcher
		want Watcher
	}{
		{presence.Watcher{State: presence.Active, Event: presence.EventApproved, Since: now.Add(-time.Minute), Expires: now.Add(time.Hour)},
			Watcher{Status: "active", Event: "approved", Duration: time.Minute, Began: true, Expiration: time.Hour, Expires: true}},
		{presence.Watcher{State: presence.Pending, Event: presence.EventSubscribe}, Watcher{Status: "pending", Event: "subscribe"}},
		{presence.Watcher{State: presence.Pending, Waiting: true, Event: presence.EventTimeout}, Watcher{Status: "waiting", Event: "timeout"}},
		{presence.Watcher{State: presence.Terminated, Event: presence.EventNoResource, Expires: now.Add(time.Hour)}, Watcher{Status: "terminated", Event: "noresource"}},
		{presence.Watcher{State: presence.Active, Expires: now.Add(-time.Second)}, Watcher{Status: "active", Event: "subscribe", Expires: true}},
	} {
		c.want.ID, c.want.URI = "id", "sip:w@example.com"
		if got := Of(&c.w, "id", "sip:w@example.com", now); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.w, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`<watcherinfo xmlns="` + Space + `" version="3" state="full"/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(Append(nil, i))
		if err != nil || len(again.Watchers) != len(i.Watchers) || again.Version != i.Version || again.Partial != i.Partial {
			t.Fatalf("%+v came back as %+v, %v", i, again, err)
		}
	})
}
