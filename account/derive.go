package account

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"pharos/presence"
	"pharos/store"
)

// Iterations of SCRAM's Hi(): the least that RFC 7677 §4 allows. More would cost
// clients time and gain nothing while the digest keys, one hash each, lie beside.
const Iterations = 4096

const saltSize = 16

// Credentials are a user with a password. User may be spelled with capitals: the
// account is that of the folded name, and SIP clients may use either spelling.
type Credentials struct {
	User     presence.Entity
	Password string
}

// Derive makes an account from a password (RFC 7616, RFC 5802); about 2 ms of
// CPU. ErrPassword.
func Derive(u presence.Entity, password string) (store.Account, error) {
	password, err := preparePassword(password)
	if err != nil {
		return store.Account{}, err
	}
	spelled := u.User
	u.User, u.Domain = strings.ToLower(u.User), strings.ToLower(u.Domain)
	a := store.Account{User: u, Created: time.Now()}
	own := login(u.User, u.Domain, password)
	a.MD5, a.SHA256, a.SHA512256 = hex.EncodeToString(own.MD5[:]), hex.EncodeToString(own.SHA256[:]), hex.EncodeToString(own.SHA512256[:])
	for _, name := range spellings(u, spelled) {
		a.Logins = append(a.Logins, login(name, u.Domain, password))
	}
	if a.Sha1, err = scram(sha1.New, password); err != nil {
		return store.Account{}, err
	}
	if a.Sha256, err = scram(sha256.New, password); err != nil {
		return store.Account{}, err
	}
	return a, nil
}

// DeriveAll derives on all processors; the accounts are in the order of list. The
// first error ends it, naming the user.
func DeriveAll(ctx context.Context, list []Credentials) ([]store.Account, error) {
	accounts := make([]store.Account, len(list))
	var next atomic.Int64
	var once sync.Once
	var failed error
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range min(runtime.GOMAXPROCS(0), len(list)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				a, err := Derive(list[i].User, list[i].Password)
				if err != nil {
					once.Do(func() { failed = fmt.Errorf("%s: %w", list[i].User, err) })
					cancel()
					return
				}
				accounts[i] = a
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return accounts, nil
}

// spellings are the names, other than the plain folded one, that users type for
// the same account. A digest is over the name as typed, so each needs its keys.
func spellings(u presence.Entity, spelled string) []string {
	var list []string
	add := func(name string) {
		if name == u.User {
			return
		}
		for _, have := range list {
			if have == name {
				return
			}
		}
		list = append(list, name)
	}
	capital := u.User
	if r, n := utf8.DecodeRuneInString(u.User); n > 0 {
		capital = string(unicode.ToUpper(r)) + u.User[n:] // as telephones' keyboards begin a word
	}
	for _, name := range []string{u.User, capital, strings.ToUpper(u.User), spelled} {
		add(name)
		add(name + "@" + u.Domain)
	}
	return list
}

// login makes the HA1s for one spelling (RFC 7616 §3.4.2).
func login(username, realm, password string) store.Login {
	s := []byte(username + ":" + realm + ":" + password)
	return store.Login{Username: username, MD5: md5.Sum(s), SHA256: sha256.Sum256(s), SHA512256: sha512.Sum512_256(s)}
}

// scram makes the keys of RFC 5802 §3.
func scram(h func() hash.Hash, password string) (store.Scram, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	salted, err := pbkdf2.Key(h, password, salt, Iterations, h().Size())
	if err != nil {
		return store.Scram{}, fmt.Errorf("account: %w", err)
	}
	mac := func(label string) []byte {
		m := hmac.New(h, salted)
		m.Write([]byte(label))
		return m.Sum(nil)
	}
	stored := h()
	stored.Write(mac("Client Key"))
	return store.Scram{Salt: salt, Iterations: Iterations, StoredKey: stored.Sum(nil), ServerKey: mac("Server Key")}, nil
}

// preparePassword applies OpaqueString (RFC 8265 §4.2), as SCRAM and PLAIN ask
// (RFC 7677 §2 by way of RFC 7613). For ASCII it changes nothing.
func preparePassword(password string) (string, error) {
	prepared, err := precis.OpaqueString.String(password)
	if err != nil || prepared == "" || !utf8.ValidString(password) {
		return "", ErrPassword
	}
	return prepared, nil
}
