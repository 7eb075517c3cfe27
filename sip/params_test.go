package sip

import "testing"

func TestParams(t *testing.T) {
	p := Params(`;a;B=1 ; c = "x;\"y\"" ;d=[::1]:5;a=2`)
	want(t, "valid", p.valid(), true)
	for name, value := range map[string]string{"a": "", "b": "1", "C": `x;"y"`, "d": "[::1]:5"} {
		v, ok := p.Get(name)
		want(t, name, v, value)
		want(t, name+" there", ok, true)
	}
	want(t, "e", p.Has("e"), false)
	n := 0
	for range p.All() {
		n++
	}
	want(t, "all", n, 5)
	want(t, "without", p.Without("A").Without("c"), `;B=1 ;d=[::1]:5`)
	want(t, "empty", Params("").valid(), true)
	for _, s := range []string{";", ";;a", ";a;", ";a=", ";=1", "a", ";a b", `;a="x`, `;a="x"y`, ";a=<x>", ";a=b,c", ";a=b=\"c\""} {
		want(t, s, Params(s).valid(), false)
		for range Params(s).All() { // ends all the same
		}
	}
}

func TestAppendParam(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"lr", "", ";lr"},
		{"expires", "60", ";expires=60"},
		{"received", "2001:db8::1", ";received=2001:db8::1"},
		{"+sip.instance", "<urn:x>", `;+sip.instance="<urn:x>"`},
		{"a", `b"\` + "\r\n", `;a="b\"\\  "`},
	} {
		want(t, c.name, string(AppendParam(nil, c.name, c.value)), c.want)
	}
}
