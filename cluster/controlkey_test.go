package cluster

import (
	"bytes"
	"testing"
)

func TestControlKey(t *testing.T) {
	key := func(text string) []byte {
		s, err := NewSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(s.ControlKey(), s.seal) {
			t.Error("the key of the load control is that of the bus")
		}
		return s.ControlKey()
	}
	a, b := key("a secret of all nodes"), key("another secret of all")
	if len(a) != 32 || bytes.Equal(a, b) || !bytes.Equal(a, key("a secret of all nodes")) {
		t.Errorf("%x, %x", a, b)
	}
}
