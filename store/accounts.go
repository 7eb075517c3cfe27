package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"pharos/fields"
	"pharos/presence"
)

// Scram holds the keys of RFC 5802 for one hash.
type Scram struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// Account is a user with derived keys only; the password is never stored.
type Account struct {
	User                   presence.Entity
	MD5, SHA256, SHA512256 string // HA1 in hex, realm = domain (RFC 7616 §3.4.2)
	Sha1, Sha256           Scram
	Created                time.Time // kept when the account is replaced

	// Logins are the digest keys for other spellings of the user name, since a
	// client hashes the name as its user typed it: user@domain, capitals.
	Logins []Login
}

// Login holds the digest keys (HA1) for one spelling of the user name.
type Login struct {
	Username  string
	MD5       [16]byte
	SHA256    [32]byte
	SHA512256 [32]byte
}

// Account reads one account; ErrNotFound.
func (s *Store) Account(ctx context.Context, u presence.Entity) (Account, error) {
	if err := ctx.Err(); err != nil {
		return Account{}, err
	}
	a, err := again(s.reader, func() (Account, error) { return scanAccount(s.reads.account.QueryRow(u.Domain, u.User)) })
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, ErrNotFound
	}
	return a, err
}

// PutAccounts inserts or replaces, all or nothing.
func (s *Store) PutAccounts(ctx context.Context, as []Account) error {
	return s.do(ctx, func(q *statements) error {
		for i := range as {
			a := &as[i]
			digests, err := encodeDigests(a)
			if err != nil {
				return refuse(i, err)
			}
			created := a.Created
			if created.IsZero() {
				created = time.Now()
			}
			if _, err := q.putAccount.Exec(a.User.Domain, a.User.User, digests,
				encodeScram(&a.Sha1), encodeScram(&a.Sha256), unix(created)); err != nil {
				return err
			}
		}
		return nil
	})
}

// refuse makes a refusal of what is found before anything was written, and
// otherwise an error that rolls back.
func refuse(written int, err error) error {
	if written == 0 {
		return refusal{err}
	}
	return err
}

// RemoveAccount removes the user and all that belongs to it: roster, blocks,
// documents, messages, saved presence and subscriptions to it. What others have said of the
// user stays. ErrNotFound when there is no such account. A running engine must
// be told by the caller.
func (s *Store) RemoveAccount(ctx context.Context, u presence.Entity) error {
	err := s.do(ctx, func(q *statements) error {
		if err := s.hold(q, u); err != nil {
			return err
		}
		r, err := q.dropAccount.Exec(u.Domain, u.User)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			return refusal{ErrNotFound}
		}
		for _, st := range []*sql.Stmt{q.dropRoster, q.dropBlocks, q.dropDocuments, q.noDocuments, q.dropMails} {
			if _, err := st.Exec(u.Domain, u.User); err != nil {
				return err
			}
		}
		q.after(u, func() { s.cache.drop(u) })
		_, err = q.bump.Exec(u.Domain, u.User)
		return err
	}, u)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	s.forget(u, func(err error) { done <- err })
	return <-done
}

// Accounts lists users in order, from after (exclusive), at most n.
func (s *Store) Accounts(ctx context.Context, after presence.Entity, n int) ([]Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return again(s.reader, func() ([]Account, error) { return s.readAccounts(after, n) })
}

func (s *Store) readAccounts(after presence.Entity, n int) ([]Account, error) {
	rows, err := s.reads.accounts.Query(after.Domain, after.User, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

type scannable interface{ Scan(dest ...any) error }

func scanAccount(row scannable) (Account, error) {
	var a Account
	var digests, sha1, sha256 []byte
	var created int64
	if err := row.Scan(&a.User.Domain, &a.User.User, &digests, &sha1, &sha256, &created); err != nil {
		return Account{}, err
	}
	err := errors.Join(decodeDigests(digests, &a), decodeScram(sha1, &a.Sha1), decodeScram(sha256, &a.Sha256))
	if err != nil {
		return Account{}, fmt.Errorf("store: account %s: %w", a.User, err)
	}
	a.Created = fromUnix(created)
	return a, nil
}

// loginBytes is the least that a login takes in the digests of an account.
const loginBytes = 1 + 16 + 32 + 32

// The digests of an account: version, the three HA1s, then the logins.
func encodeDigests(a *Account) ([]byte, error) {
	b := append(make([]byte, 0, 2+80+len(a.Logins)*110), codeVersion)
	for _, h := range []struct {
		hex  string
		size int
	}{{a.MD5, 16}, {a.SHA256, 32}, {a.SHA512256, 32}} {
		raw, err := hex.DecodeString(h.hex)
		if err != nil || len(raw) != h.size {
			return nil, fmt.Errorf("store: account %s: malformed HA1", a.User)
		}
		b = append(b, raw...)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Logins)))
	for i := range a.Logins {
		l := &a.Logins[i]
		b = fields.AppendText(b, l.Username)
		b = append(b, l.MD5[:]...)
		b = append(b, l.SHA256[:]...)
		b = append(b, l.SHA512256[:]...)
	}
	return b, nil
}

func decodeDigests(b []byte, a *Account) error {
	d := newDecoder(b)
	d.version()
	a.MD5, a.SHA256, a.SHA512256 = hex.EncodeToString(d.Take(16)), hex.EncodeToString(d.Take(32)), hex.EncodeToString(d.Take(32))
	n := d.Uint()
	if n > 0 && n <= uint64(d.Len()/loginBytes) { // else it is found out below
		a.Logins = make([]Login, 0, n)
	}
	for i := uint64(0); i < n && d.OK(); i++ {
		l := Login{Username: d.Text()}
		copy(l.MD5[:], d.Take(16))
		copy(l.SHA256[:], d.Take(32))
		copy(l.SHA512256[:], d.Take(32))
		a.Logins = append(a.Logins, l)
	}
	return d.err()
}

func encodeScram(s *Scram) []byte {
	b := binary.AppendUvarint([]byte{codeVersion}, uint64(s.Iterations))
	b = fields.AppendBytes(b, s.Salt)
	b = fields.AppendBytes(b, s.StoredKey)
	return fields.AppendBytes(b, s.ServerKey)
}

func decodeScram(b []byte, s *Scram) error {
	d := newDecoder(b)
	d.version()
	s.Iterations = int(d.Uint())
	s.Salt, s.StoredKey, s.ServerKey = d.copied(), d.copied(), d.copied()
	return d.err()
}
