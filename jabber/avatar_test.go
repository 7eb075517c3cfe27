package jabber

import (
	"strings"
	"testing"

	"pharos/markup"
)

func TestNewAvatar(t *testing.T) {
	for _, c := range []struct{ text, hash string }{
		{"YWJj", "a9993e364706816aba3e25717850c26c9cd0d89d"}, // FIPS 180's "abc"
		{" YW\n Jj\r\n", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"", ""}, {"YWJ", ""}, {"<>", ""},
	} {
		if a, ok := newAvatar(" image/PNG ", c.text); ok != (c.hash != "") || a.hash != c.hash || ok && a.typ != "image/png" {
			t.Errorf("%q: %+v", c.text, a)
		}
	}
}

// XEP-0398 §4.1: of several formats the one that is not somewhere else.
func TestInfoOf(t *testing.T) {
	hash, typ := infoOf("<metadata xmlns='" + nodeAvatar + "'><info id='1' type='image/gif' url='http://x/'/><info id='2' type='image/png'/></metadata>")
	if hash != "2" || typ != "image/png" {
		t.Error(hash, typ)
	}
	if hash, _ := infoOf("<metadata xmlns='" + nodeAvatar + "'/>"); hash != "" {
		t.Error(hash)
	}
}

func FuzzReadIcon(f *testing.F) {
	a, _ := newAvatar("image/png", "YWJj")
	f.Add(appendIcon(nil, &a))
	f.Add([]byte("<content xmlns='" + nsContent + "'><encoding>base64</encoding></content>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := readIcon(b)
		if !ok {
			return
		}
		if again, ok := readIcon(appendIcon(nil, &a)); !ok || again.hash != a.hash || strings.TrimSpace(again.typ) != strings.TrimSpace(a.typ) {
			t.Errorf("%+v became %+v", a, again)
		}
	})
}

// Whatever a client's presence holds, what it becomes with a hash is a presence with
// that hash once.
func FuzzWithPhoto(f *testing.F) {
	f.Add("<show>away</show><x xmlns='vcard-temp:x:update'><photo>x</photo></x>")
	f.Add("text<x xmlns='vcard-temp:x:update'/><x xmlns='vcard-temp:x:update'/>")
	f.Fuzz(func(t *testing.T, content string) {
		read := func(b []byte) (*markup.Element, error) {
			return markup.ParseIn(append(append([]byte("<presence>"), b...), "</presence>"...), []markup.Decl{{Space: nsClient}}, markup.Options{})
		}
		el, err := read([]byte(content))
		if err != nil {
			return
		}
		got, err := read(withPhoto(nativeOf(el, ""), "abc").Bytes)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for c := range got.Children() {
			if c.Is(nsPhoto, "x") {
				n++
			}
		}
		if n != 1 || got.Child(nsPhoto, "x").Child(nsPhoto, "photo").Text() != "abc" {
			t.Errorf("%q", content)
		}
	})
}
