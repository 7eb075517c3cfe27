package xmpp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scram is the server's side of RFC 5802 and RFC 7677.
type scram struct {
	s        *Stream
	m        *mechanism
	bindings map[string][]byte // by channel binding type

	local       string
	keys        ScramKeys
	gs2         string // the header, to be repeated in the client's last message
	binding     []byte
	nonce       string
	authMessage string // as far as it is known
}

func (x *scram) user() string { return x.local }

func (x *scram) step(ctx context.Context, in []byte) ([]byte, bool, error) {
	if !utf8.Valid(in) {
		return nil, false, malformedRequest
	}
	if x.nonce == "" {
		out, err := x.first(ctx, string(in))
		return out, false, err
	}
	out, err := x.final(string(in))
	return out, true, err
}

// first reads client-first-message and writes server-first-message (RFC 5802 §7).
func (x *scram) first(ctx context.Context, in string) ([]byte, error) {
	flag, rest, ok1 := strings.Cut(in, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return nil, malformedRequest
	}
	x.gs2 = in[:len(in)-len(bare)]
	if err := x.channel(flag); err != nil {
		return nil, err
	}
	// A reserved m= names an extension that must be understood: none is.
	name, rest, ok := strings.Cut(bare, ",")
	nonce, _, _ := strings.Cut(rest, ",")
	if !ok || !strings.HasPrefix(name, "n=") || !strings.HasPrefix(nonce, "r=") || !printable(nonce[2:]) {
		return nil, malformedRequest
	}
	authcid, ok := saslName(name[2:])
	if !ok {
		return nil, malformedRequest
	}
	var err error
	if x.local, err = x.s.localOf(authcid); err != nil {
		return nil, err
	}
	if authzid != "" {
		name, ok := saslName(strings.TrimPrefix(authzid, "a="))
		if !ok || !strings.HasPrefix(authzid, "a=") {
			return nil, malformedRequest
		}
		if err := x.s.checkAuthzid(name, x.local); err != nil {
			return nil, err
		}
	}
	x.keys, err = x.s.a.Auth.Scram(ctx, x.s.remote, x.local, x.s.domain, x.m.base)
	if err != nil {
		return nil, err
	}
	if n := x.m.hash().Size(); len(x.keys.StoredKey) != n || len(x.keys.ServerKey) != n || x.keys.Iterations <= 0 {
		return nil, errors.New("xmpp: stored SCRAM keys are unusable")
	}
	x.nonce = nonce[2:] + rand.Text()
	out := "r=" + x.nonce + ",s=" + base64.StdEncoding.EncodeToString(x.keys.Salt) + ",i=" + strconv.Itoa(x.keys.Iterations)
	x.authMessage = bare + "," + out
	return []byte(out), nil
}

// channel judges the channel binding flag (RFC 5802 §6).
func (x *scram) channel(flag string) error {
	kind, bound := strings.CutPrefix(flag, "p=")
	switch {
	case flag != "n" && flag != "y" && !bound, bound != x.m.plus:
		return malformedRequest
	case flag == "y" && len(x.bindings) > 0:
		// We offered binding and the client has not seen it: somebody
		// between us has removed it.
		return errBinding
	case bound:
		if x.binding = x.bindings[kind]; x.binding == nil {
			return errBinding // unsupported-channel-binding-type
		}
	}
	return nil
}

// final reads client-final-message and writes server-final-message.
func (x *scram) final(in string) ([]byte, error) {
	i := strings.LastIndex(in, ",p=")
	if i < 0 {
		return nil, malformedRequest
	}
	without, proof := in[:i], in[i+3:]
	channel, rest, ok := strings.Cut(without, ",")
	nonce, _, _ := strings.Cut(rest, ",")
	if !ok || !strings.HasPrefix(channel, "c=") || !strings.HasPrefix(nonce, "r=") {
		return nil, malformedRequest
	}
	bound, problem := decode(channel[2:])
	given, problem2 := decode(proof)
	if problem != "" || problem2 != "" {
		return nil, malformedRequest
	}
	x.authMessage += "," + without
	clientKey := x.mac(x.keys.StoredKey)
	if len(given) != len(clientKey) {
		return nil, malformedRequest
	}
	for i := range clientKey {
		clientKey[i] ^= given[i]
	}
	h := x.m.hash()
	h.Write(clientKey)
	ok = subtle.ConstantTimeCompare(h.Sum(nil), x.keys.StoredKey) == 1
	same := subtle.ConstantTimeCompare(bound, append([]byte(x.gs2), x.binding...)) == 1
	if !ok || !same || nonce[2:] != x.nonce {
		return nil, notAuthorized
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(x.mac(x.keys.ServerKey))), nil
}

func (x *scram) mac(key []byte) []byte {
	h := hmac.New(x.m.hash, key)
	h.Write([]byte(x.authMessage))
	return h.Sum(nil)
}

// saslName undoes the escapes of saslname; ok is false for others, and for none at all.
func saslName(s string) (name string, ok bool) {
	plain := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s)
	escapes := strings.Count(s, "=2C") + strings.Count(s, "=3D")
	return plain, s != "" && strings.Count(s, "=") == escapes && !strings.ContainsRune(s, 0)
}

// printable is the set of a nonce: printable ASCII without comma.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7E || s[i] == ',' {
			return false
		}
	}
	return s != ""
}
