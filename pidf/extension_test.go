package pidf

import (
	"reflect"
	"testing"

	"pharos/presence"
)

func parsed(t *testing.T, name string) *presence.Document {
	t.Helper()
	d, _, err := Parse(load(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// RFC 4482 §4
func TestContacts(t *testing.T) {
	d := parsed(t, "rfc/4482-4.xml")
	want := ContactInfo{
		Card: "http://example.com/~alice/card.vcd", DisplayName: "Alice Lewis", Homepage: "http://example.com/~alice",
		Icon: "http://example.com/me.png", Map: "http://example.com/gml/alice.gml", Sound: "http://example.com/whoosh.wav",
	}
	if got := Contacts(d.Persons[0].Extra); got != want {
		t.Errorf("%+v", got)
	}
	if got := Contacts(want.Fragments()); got != want {
		t.Errorf("written and read: %+v", got)
	}
	odd := ContactInfo{DisplayName: `A & <B> "C"`}
	if got := Contacts(odd.Fragments()); got != odd {
		t.Errorf("escaping: %+v", got)
	}
	if got := Contacts(nil); got != (ContactInfo{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// RFC 5196 §4
func TestCapabilities(t *testing.T) {
	d := parsed(t, "rfc/5196-4.xml")
	c := ServiceCaps(d.Tuples[0].Extra)
	for _, x := range []struct {
		capability, value string
		want              bool
	}{
		{"audio", "true", true}, {"video", "true", false}, {"methods", "MESSAGE", true}, {"methods", "REFER", false},
		{"schemes", "sips", true}, {"duplex", "full", true},
	} {
		if got := c.Supports(x.capability, x.value); got != x.want {
			t.Errorf("%s %s: %v", x.capability, x.value, got)
		}
	}
	if !DeviceCaps(d.Devices[0].Extra).Supports("mobility", "mobile") {
		t.Error("device is not mobile")
	}
	if ServiceCaps(nil) != nil {
		t.Error("capabilities of nothing")
	}
}

// RFC 4481 §4
func TestTimedStatuses(t *testing.T) {
	d := parsed(t, "rfc/4481-4.xml")
	want := []TimedStatus{{Basic: presence.Closed, From: at("2005-08-15T10:20:00-05:00"), Until: at("2005-08-22T19:30:00-05:00")}}
	if got := TimedStatuses(d.Tuples[0].Extra); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	d, _, err := Parse([]byte(doc(`<tuple id='a'><status/><t:timed-status xmlns:t='` + Timed + `'><t:basic>open</t:basic></t:timed-status></tuple>`)))
	if err != nil {
		t.Fatal(err)
	}
	if got := TimedStatuses(d.Tuples[0].Extra); got != nil {
		t.Errorf("without a start: %+v", got)
	}
}
