//go:build !linux

package xmpp

// canRest: elsewhere streams do not rest.
const canRest = false

type rests struct{}

func (*rests) add(*Stream) bool { return false }
func (*rests) wake(*Stream)     {}
func (*rests) close()           {}
