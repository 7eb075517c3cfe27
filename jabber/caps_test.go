package jabber

import (
	"fmt"
	"testing"

	"pharos/markup"
)

func info(t testing.TB, text string) *markup.Element {
	t.Helper()
	el, err := markup.Parse([]byte("<query xmlns='"+nsInfo+"'>"+text+"</query>"), markup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return el
}

// TestVerify: the examples of XEP-0115 §5.2 and §5.3, and what §5.4 says of
// ill-formed answers.
func TestVerify(t *testing.T) {
	const (
		simple = "<identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/caps'/>" +
			"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/disco#info'/>" +
			"<feature var='http://jabber.org/protocol/muc'/>"
		form = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>" +
			"<field var='ip_version'><value>ipv4</value><value>ipv6</value></field><field var='os'><value>Mac</value></field>" +
			"<field var='os_version'><value>10.5.1</value></field><field var='software'><value>Psi</value></field>" +
			"<field var='software_version'><value>0.11</value></field></x>"
		complex = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/><identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>" +
			"<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>" +
			"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>" + form
	)
	for _, c := range []struct {
		name, text, hash, ver string
		want                  bool
	}{
		{"simple", simple, "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", true},
		{"complex", complex, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", true},
		{"another ver", simple, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", false},
		{"another hash", simple, "sha-256", "QgayPKawpkPSDYmwT/WM94uAlu0=", false},
		{"a hash that we do not know", simple, "md2", "QgayPKawpkPSDYmwT/WM94uAlu0=", false},
		{"an identity twice", simple + "<identity category='client' type='pc' name='Exodus 0.9.1'/>", "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", false},
		{"a feature twice", simple + "<feature var='http://jabber.org/protocol/muc'/>", "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", false},
		{"a form twice", complex + form, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w=", false},
		{"a form without a type is passed over", simple + "<x xmlns='jabber:x:data'><field var='a'><value>b</value></field></x>",
			"sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0=", true},
	} {
		if got := verify(info(t, c.text), capsKey{c.hash, c.ver}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestCapabilityOf(t *testing.T) {
	c := capabilityOf(info(t, "<feature var='a+notify'/><feature var='b'/><feature var='+notify'/>"))
	if !c.wants("a") || c.wants("b") || c.wants("") {
		t.Error(c.notify)
	}
	many := ""
	for i := range MaxNotify + 10 {
		many += fmt.Sprintf("<feature var='n%d+notify'/>", i)
	}
	if n := len(capabilityOf(info(t, many)).notify); n != MaxNotify {
		t.Error(n)
	}
}

// The cache is bounded, and keeps what is used.
func TestCapsCache(t *testing.T) {
	var cc capsCache
	used := &capability{}
	cc.put(capsKey{"h", "used"}, used)
	for i := range 3 * MaxCaps {
		cc.put(capsKey{"h", fmt.Sprint(i)}, &capability{})
		if cc.get(capsKey{"h", "used"}) != used {
			t.Fatalf("forgotten after %d", i)
		}
		if n := len(cc.young) + len(cc.old); n > MaxCaps+1 {
			t.Fatalf("%d are kept", n)
		}
	}
	if cc.get(capsKey{"h", "0"}) != nil {
		t.Error("an old one is still there")
	}
}

func FuzzVerification(f *testing.F) {
	f.Add("<identity category='client' type='pc'/><feature var='x+notify'/><x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>y</value></field></x>")
	f.Add("<x xmlns='jabber:x:data'><field/></x>")
	f.Fuzz(func(t *testing.T, text string) {
		el, err := markup.Parse([]byte("<query xmlns='"+nsInfo+"'>"+text+"</query>"), markup.Options{})
		if err != nil {
			return
		}
		a, ok := verification(el)
		if b, ok2 := verification(el); a != b || ok != ok2 {
			t.Error("the same is not the same")
		}
		if n := len(capabilityOf(el).notify); n > MaxNotify {
			t.Errorf("%d nodes", n)
		}
	})
}
