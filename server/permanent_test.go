package server

import (
	"testing"

	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

const away = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@localhost"><tuple id="t"><status><basic>closed</basic></status><note>on holiday</note></tuple></presence>`

// Permanent presence is there while its document is, and after a restart.
func TestPermanent(t *testing.T) {
	alice := presence.Entity{User: "alice", Domain: "localhost"}
	n := xdm.Name{AUID: xdm.Manipulation, User: alice, Path: xdm.Index}
	ctx := t.Context()
	has := func(s *Server, want string) {
		t.Helper()
		x, err := s.engine.Explain(ctx, alice, alice)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, src := range x.Sources {
			if src.ID.Kind == presence.Permanent {
				got += string(src.Native.Bytes)
			}
		}
		if got != want {
			t.Errorf("permanent presence %q, want %q", got, want)
		}
	}
	write := func(s *Server, n xdm.Name, body []byte) {
		t.Helper()
		if _, _, err := s.docs.Update(ctx, n, func(*xdm.Document) ([]byte, error) { return body, nil }); err != nil {
			t.Fatal(err)
		}
	}
	s := run(t, nil)
	write(s, n, []byte(away))
	has(s, away)
	other := n
	other.Path = "other"
	write(s, other, []byte(away))
	has(s, away)
	write(s, n, []byte("<damaged"))
	has(s, "")
	write(s, n, []byte(away))
	write(s, n, nil)
	has(s, "")

	// A process that died between the document and the presentity.
	data := t.TempDir()
	st, err := store.Open(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	err = st.Transact(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDocument(alice, n.AUID, n.Path, []byte(away))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	restart := func(then func(*Server)) {
		t.Helper()
		s, end := start(t, Options{Config: s.Config, Data: data})
		defer end()
		then(s)
	}
	restart(func(s *Server) { has(s, away) })
	restart(func(s *Server) { has(s, away); write(s, n, nil); has(s, "") })
	restart(func(s *Server) { has(s, "") })
	// And the other way: the presentity has what the document has not.
	restart(func(s *Server) { s.setPermanent(ctx, alice, []byte(away)); has(s, away) })
	restart(func(s *Server) { has(s, "") })
}
