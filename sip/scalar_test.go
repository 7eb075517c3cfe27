package sip

import (
	"strings"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for _, c := range []struct {
		v   string
		sec uint32
		err error
	}{
		{"0", 0, nil}, {"600", 600, nil}, {"4294967295", 1<<32 - 1, nil}, {"4294967296", 1<<32 - 1, nil},
		{"99999999999999999999999999", 1<<32 - 1, nil}, {"", 0, ErrHeader}, {"-1", 0, ErrHeader}, {"1.5", 0, ErrHeader}, {"1 2", 0, ErrHeader},
	} {
		sec, ok, err := parsed(t, "Expires: "+c.v).Seconds(HExpires)
		want(t, c.v, ok && sec == c.sec && err == c.err, true)
	}
	_, ok, err := parsed(t).Seconds(HExpires)
	want(t, "absent", !ok && err == nil, true)
}

func TestRetryAfter(t *testing.T) {
	for v, sec := range map[string]uint32{
		"18": 18, "18000;duration=3600": 18000, "120 (I'm in a meeting)": 120, "5(x)": 5, "949302838503028349304023988": 1<<32 - 1,
	} {
		got, ok, err := parsed(t, "Retry-After: "+v).RetryAfter()
		want(t, v, ok && err == nil && got == sec, true)
	}
	_, ok, err := parsed(t, "Retry-After: soon").RetryAfter()
	want(t, "malformed", ok && err == ErrHeader, true)
	_, ok, err = parsed(t).RetryAfter()
	want(t, "absent", !ok && err == nil, true)
}

func TestDate(t *testing.T) {
	at := time.Date(2010, 11, 13, 23, 29, 0, 0, time.UTC)
	line := string(AppendDate(nil, at.In(time.FixedZone("x", 3600))))
	want(t, "written", line, "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n")
	got, ok, err := parsed(t, strings.TrimSpace(line)).Date()
	want(t, "read", ok && err == nil && got.Equal(at), true)
	for _, v := range []string{"Sat, 13 Nov 2010 23:29:00 UTC", "2010-11-13T23:29:00Z", ""} {
		_, ok, err = parsed(t, "Date: "+v).Date()
		want(t, v, ok && err == ErrHeader, true)
	}
	_, ok, _ = parsed(t).Date()
	want(t, "absent", ok, false)
}

func TestTokens(t *testing.T) {
	m := parsed(t, "Supported: gruu, , EventList", "k: path", "Allow: INVITE, notify", "Require: a, b,c")
	want(t, "eventlist", m.HasToken(HSupported, "eventlist"), true)
	want(t, "path", m.HasToken(HSupported, "path"), true)
	want(t, "outbound", m.HasToken(HSupported, "outbound"), false)
	want(t, "values", strings.Join(m.Values(HSupported), "|"), "gruu|EventList|path")
	want(t, "INVITE", m.HasMethod("INVITE"), true)
	want(t, "NOTIFY", m.HasMethod("NOTIFY"), false)
	want(t, "unknown", parsed(t).HasMethod("NOTIFY"), true)
	want(t, "unsupported", strings.Join(m.Unsupported(HRequire, "B"), "|"), "a|c")
	want(t, "all supported", m.Unsupported(HRequire, "a", "b", "c") == nil, true)
}
