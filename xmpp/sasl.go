package xmpp

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net"
	"strings"
	"unicode/utf8"

	"pharos/markup"
)

// Authenticator decides logins. Both calls may block (database).
type Authenticator interface {
	// Plain checks a password. ErrNotAuthorized when it is wrong or the user unknown.
	Plain(ctx context.Context, remote net.Addr, local, domain, password string) error
	// Scram returns the stored keys for mechanism SCRAM-SHA-1 or SCRAM-SHA-256.
	// For an unknown user it returns stable fake keys, so that users cannot be probed.
	Scram(ctx context.Context, remote net.Addr, local, domain, mechanism string) (ScramKeys, error)
	// Failed and Succeeded count for throttling.
	Failed(remote net.Addr, local, domain string)
	Succeeded(remote net.Addr, local, domain string)
}

// ScramKeys are what RFC 5802 §5.1 lets a server keep.
type ScramKeys struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// Errors that an Authenticator may return (or wrap), each answered with the
// SASL error of its name (RFC 6120 §6.5). Any other error, and so a throttled or
// a failing one, is answered with temporary-auth-failure.
var (
	ErrNotAuthorized      = errors.New("xmpp: not authorized")
	ErrAccountDisabled    = errors.New("xmpp: account disabled")
	ErrCredentialsExpired = errors.New("xmpp: credentials expired")
	ErrMechanismTooWeak   = errors.New("xmpp: mechanism too weak")
)

// saslError is a condition of RFC 6120 §6.5.
type saslError string

func (e saslError) Error() string { return "xmpp: SASL " + string(e) }

const (
	aborted              saslError = "aborted"
	accountDisabled      saslError = "account-disabled"
	credentialsExpired   saslError = "credentials-expired"
	encryptionRequired   saslError = "encryption-required"
	incorrectEncoding    saslError = "incorrect-encoding"
	invalidAuthzid       saslError = "invalid-authzid"
	invalidMechanism     saslError = "invalid-mechanism"
	malformedRequest     saslError = "malformed-request"
	mechanismTooWeak     saslError = "mechanism-too-weak"
	notAuthorized        saslError = "not-authorized"
	temporaryAuthFailure saslError = "temporary-auth-failure"
)

// errBinding is a failure that tells nothing of a password: what the client
// thinks of channel binding does not fit. It is not counted for throttling.
var errBinding = fmt.Errorf("%w: channel binding", notAuthorized)

// saslErrorFor maps what an Authenticator returned.
func saslErrorFor(err error) saslError {
	var e saslError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrNotAuthorized):
		return notAuthorized
	case errors.Is(err, ErrAccountDisabled):
		return accountDisabled
	case errors.Is(err, ErrCredentialsExpired):
		return credentialsExpired
	case errors.Is(err, ErrMechanismTooWeak):
		return mechanismTooWeak
	}
	return temporaryAuthFailure
}

// mechanism is one that we offer; hash is nil for PLAIN.
type mechanism struct {
	name string
	base string // without -PLUS
	plus bool
	hash func() hash.Hash
}

// mechanisms in the order of our preference.
var mechanisms = []mechanism{
	{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", true, sha256.New},
	{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", true, sha1.New},
	{"SCRAM-SHA-256", "SCRAM-SHA-256", false, sha256.New},
	{"SCRAM-SHA-1", "SCRAM-SHA-1", false, sha1.New},
	{"PLAIN", "PLAIN", false, nil},
}

// exchange is the server's side of one mechanism. step takes what the client sent;
// it returns what is sent back, with success when done is set.
type exchange interface {
	step(ctx context.Context, in []byte) (out []byte, done bool, err error)
	user() string // the localpart, once it is known
}

// authenticate runs one SASL exchange that began with auth. done after success;
// err ends the stream; neither means that the client may try again.
func (n *negotiation) authenticate(ctx context.Context, s *Stream, auth *markup.Element) (done bool, err error) {
	x, m, problem := s.exchange(auth.Attr("mechanism"))
	if problem != "" {
		return false, n.fail(s, problem)
	}
	in, problem := initial(auth.Text())
	for problem == "" {
		out, finished, err := []byte(nil), false, error(nil)
		if in != nil {
			out, finished, err = x.step(ctx, in)
		}
		if err != nil {
			problem = saslErrorFor(err)
			if problem == notAuthorized && !errors.Is(err, errBinding) {
				s.a.Auth.Failed(s.remote, x.user(), s.domain)
			}
			if problem == temporaryAuthFailure {
				s.a.log().Warn("authentication is not possible", "remote", s.remote, "error", err)
			}
			break
		}
		if finished {
			return true, s.succeed(x, m, out)
		}
		if err := s.writeNow(s.saslElement("challenge", out)); err != nil {
			return false, err
		}
		tree, err := s.wire.tree()
		if err != nil {
			return false, err
		}
		switch el := tree.Root(); {
		case el.Is(NSSASL, "response"):
			in, problem = decode(el.Text())
		case el.Is(NSSASL, "abort"):
			problem = aborted
		case el.Space == NSSASL:
			problem = malformedRequest
		default:
			err = &StreamError{Condition: "not-authorized"}
		}
		tree.Release()
		if err != nil {
			return false, err
		}
	}
	return false, n.fail(s, problem)
}

// exchange begins the mechanism of that name, if it is on offer.
func (s *Stream) exchange(name string) (exchange, *mechanism, saslError) {
	if !s.encrypted() && s.mode != Insecure {
		return nil, nil, encryptionRequired // RFC 6120 §6.5.4
	}
	types, bindings := s.bindings()
	for i := range mechanisms {
		m := &mechanisms[i]
		switch {
		case m.name != name || m.plus && types == nil:
			continue
		case m.hash == nil:
			return &plain{s: s}, m, ""
		}
		return &scram{s: s, m: m, bindings: bindings}, m, ""
	}
	return nil, nil, invalidMechanism // §6.5.7, also when it names none
}

// succeed ends an exchange well.
func (s *Stream) succeed(x exchange, m *mechanism, out []byte) error {
	user := JID{Local: strings.Clone(x.user()), Domain: s.domain}
	s.a.Auth.Succeeded(s.remote, user.Local, user.Domain)
	if err := s.writeNow(s.saslElement("success", out)); err != nil {
		s.broken = true
		return err
	}
	s.user, s.mechanism = user, m.name
	s.a.authenticated(s)
	return nil
}

// fail answers a failed attempt; the error is that there were too many (RFC 6120 §6.4.5).
func (n *negotiation) fail(s *Stream, e saslError) error {
	b := []byte("<failure xmlns='" + NSSASL + "'><" + string(e) + "/></failure>")
	if err := s.writeNow(s.wire.appendElement(nil, string(b))); err != nil {
		s.broken = true
		return err
	}
	if n.failures++; n.failures >= s.a.limits.MaxAuthTries {
		return &StreamError{Condition: "policy-violation", Text: "too many failed attempts to authenticate"}
	}
	return nil
}

// saslElement writes <challenge/> or <success/>. Nothing at all is an empty
// element; data of no length cannot come from our mechanisms.
func (s *Stream) saslElement(name string, data []byte) []byte {
	b := []byte("<" + name + " xmlns='" + NSSASL + "'")
	if data == nil {
		b = append(b, "/>"...)
	} else {
		b = base64.StdEncoding.AppendEncode(append(b, '>'), data)
		b = append(b, "</"+name+">"...)
	}
	return s.wire.appendElement(nil, string(b))
}

// initial reads the initial response: nil for none, empty for "=" (RFC 6120 §6.4.2).
func initial(text string) ([]byte, saslError) {
	switch text {
	case "":
		return nil, ""
	case "=":
		return []byte{}, ""
	}
	return decode(text)
}

// decode reads base64, which has neither line ends nor blanks here (RFC 6120 §6.5.5).
func decode(text string) ([]byte, saslError) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, incorrectEncoding
	}
	if b == nil {
		b = []byte{}
	}
	return b, ""
}

// plain is RFC 4616.
type plain struct {
	s     *Stream
	local string
}

func (p *plain) user() string { return p.local }

func (p *plain) step(ctx context.Context, in []byte) ([]byte, bool, error) {
	parts := bytes.Split(in, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(in) {
		return nil, false, malformedRequest
	}
	var err error
	if p.local, err = p.s.localOf(string(parts[1])); err != nil {
		return nil, false, err
	}
	if err := p.s.checkAuthzid(string(parts[0]), p.local); err != nil {
		return nil, false, err
	}
	return nil, true, p.s.a.Auth.Plain(ctx, p.s.remote, p.local, p.s.domain, string(parts[2]))
}

// localOf makes a localpart of an authentication identity. That is the
// localpart itself (RFC 6120 §6.3.8); some clients give the whole address.
func (s *Stream) localOf(authcid string) (string, error) {
	if i := strings.LastIndexByte(authcid, '@'); i >= 0 {
		if domain, err := PrepDomain(authcid[i+1:]); err == nil && domain == s.domain {
			authcid = authcid[:i]
		}
	}
	local, err := PrepLocal(authcid)
	if err != nil {
		return "", notAuthorized // no such user can be
	}
	return local, nil
}

// checkAuthzid allows acting as oneself only (RFC 6120 §6.3.8, §6.5.6).
func (s *Stream) checkAuthzid(authzid, local string) error {
	if authzid == "" {
		return nil
	}
	if j, err := ParseJID(authzid); err != nil || j != (JID{Local: local, Domain: s.domain}) {
		return invalidAuthzid
	}
	return nil
}
