package cluster

import (
	"crypto/hkdf"
	"crypto/sha256"
)

// ControlKey is what nodes know each other by when they speak SIP with one another
// (package loadcontrol).
func (s *Secret) ControlKey() []byte {
	key, err := hkdf.Expand(sha256.New, s.seal, "pharos load control", sha256.Size) // RFC 5869 §2.3
	if err != nil {
		panic(err) // only for lengths that it cannot have
	}
	return key
}
