package account

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
)

// Keys of another server let the user in by PLAIN, which completes them.
func TestScramOnlyAccountIsCompletedByPlain(t *testing.T) {
	ctx := context.Background()
	st := storetest.Open(t)
	u := presence.Entity{User: "juliet", Domain: "localhost"}
	whole, err := Derive(u, "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []store.Account{FromScram(u, whole.Sha1, store.Scram{}), FromScram(u, store.Scram{}, whole.Sha256)} {
		if keys.MD5 == whole.MD5 || len(keys.Sha1.StoredKey) != 20 || len(keys.Sha256.StoredKey) != 32 {
			t.Fatalf("%+v", keys)
		}
		if err := st.PutAccounts(ctx, []store.Account{keys}); err != nil {
			t.Fatal(err)
		}
		a := New(st, []string{"localhost"})
		remote := netip.MustParseAddr("192.0.2.1")
		if err := a.Plain(ctx, remote, u, "wrong"); !errors.Is(err, ErrNotAuthorized) {
			t.Errorf("wrong password: %v", err)
		}
		if have, err := st.Account(ctx, u); err != nil || have.MD5 != keys.MD5 {
			t.Errorf("a wrong password changed the account: %v", err)
		}
		if err := a.Plain(ctx, remote, u, "secret"); err != nil {
			t.Errorf("right password: %v", err)
		}
		if have, err := st.Account(ctx, u); err != nil || have.MD5 != whole.MD5 || have.SHA256 != whole.SHA256 {
			t.Errorf("not completed: %v", err)
		}
		if err := a.Plain(ctx, remote, u, "secret"); err != nil {
			t.Errorf("after that: %v", err)
		}
	}
}

// The digest key of another SIP server lets phones in at once, and a chat client
// by PLAIN, which completes the account.
func TestDigestOnlyAccountIsCompletedByPlain(t *testing.T) {
	ctx := context.Background()
	st := storetest.Open(t)
	u := presence.Entity{User: "juliet", Domain: "localhost"}
	whole, err := Derive(u, "secret")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := FromDigest(u, strings.ToUpper(whole.MD5), "", "")
	if err != nil || keys.MD5 != whole.MD5 || keys.SHA256 == whole.SHA256 {
		t.Fatalf("%+v, %v", keys, err)
	}
	if err := st.PutAccounts(ctx, []store.Account{keys}); err != nil {
		t.Fatal(err)
	}
	a := New(st, []string{"localhost"})
	remote := netip.MustParseAddr("192.0.2.1")
	if err := a.Plain(ctx, remote, u, "wrong"); !errors.Is(err, ErrNotAuthorized) {
		t.Errorf("wrong password: %v", err)
	}
	if err := a.Plain(ctx, remote, u, "secret"); err != nil {
		t.Errorf("right password: %v", err)
	}
	if have, err := st.Account(ctx, u); err != nil || have.SHA256 != whole.SHA256 || len(have.Logins) != len(whole.Logins) {
		t.Errorf("not completed: %v", err)
	}
	for _, bad := range [][3]string{{"xyz", "", ""}, {whole.MD5 + "00", "", ""}, {whole.MD5, "12", ""}} {
		if _, err := FromDigest(u, bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
