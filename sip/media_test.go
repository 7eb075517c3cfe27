package sip

import "testing"

func TestContentType(t *testing.T) {
	m := parsed(t, `c: Application/PIDF+xml ; charset="UTF-8"`)
	ct, ok, err := m.ContentType()
	want(t, "ok", ok && err == nil, true)
	want(t, "is", ct.Is("application/pidf+xml"), true)
	want(t, "is not", ct.Is("application/pidf"), false)
	v, _ := ct.Params.Get("charset")
	want(t, "charset", v, "UTF-8")
	_, ok, err = parsed(t).ContentType()
	want(t, "absent", !ok && err == nil, true)
	for _, s := range []string{"x", "x/", "/y", "x y/z", "x/y;", "x/y, x/z", ""} {
		_, ok, err = parsed(t, "Content-Type: "+s).ContentType()
		want(t, s, ok && err == ErrHeader, true)
	}
}

func TestAcceptable(t *testing.T) {
	m := parsed(t, "Accept: application/pidf+xml;q=0.3, application/*;q=0.5", "Accept: text/html;level=1, */*;q=0.1, nonsense, audio/*;q=0")
	for media, q := range map[string]int{
		"application/pidf+xml": 300, "application/xpidf+xml": 500, "text/html": 1000, "text/plain": 100, "audio/basic": 0, "applicationx/y": 100,
	} {
		got, present := m.Acceptable(media)
		want(t, media, got, q)
		want(t, "present", present, true)
	}
	ranges, present := m.Accept()
	want(t, "ranges", len(ranges), 5)
	want(t, "present", present, true)
	q, present := parsed(t).Acceptable("a/b")
	want(t, "absent", q == 0 && !present, true)
	q, present = parsed(t, "Accept:").Acceptable("a/b")
	want(t, "empty", q == 0 && present, true)
}

func TestAccepts(t *testing.T) {
	m := parsed(t, "Accept: Application/PIDF+xml;q=0.3, application/*", "Accept: nonsense, text/html;level=1")
	for media, named := range map[string]bool{"application/pidf+xml": true, "text/html": true, "application/xpidf+xml": false, "nonsense": false} {
		want(t, media, m.Accepts(media), named)
	}
	want(t, "absent", parsed(t).Accepts("a/b"), false)
}
