package client

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pharos/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a socket with who answers its requests.
func served(t *testing.T, request func(m *sip.Message, from netip.AddrPort) []byte) *Socket {
	t.Helper()
	s, err := Listen(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() { s.Serve(request, func(err error) { t.Error(err) }) })
	t.Cleanup(func() {
		s.Close()
		ended.Wait()
	})
	return s
}

func options(contact string) string {
	return Request{Method: "OPTIONS", URI: "sip:bob@example.com", From: "alice@example.com", Tag: "a", To: "<sip:bob@example.com>", CallID: ID(), CSeq: 7, Contact: contact}.String() +
		"Content-Length: 0\r\n\r\n"
}

func TestAsk(t *testing.T) {
	var mu sync.Mutex
	var branches []string
	server := served(t, func(m *sip.Message, _ netip.AddrPort) []byte {
		mu.Lock()
		defer mu.Unlock()
		if branches = append(branches, m.Via().Branch); len(branches) == 1 {
			return nil // lost
		}
		if n, _ := m.MaxForwards(); n != 70 {
			t.Errorf("Max-Forwards %d", n)
		}
		return Answer(m, 202)
	})
	client := served(t, nil)
	m, err := client.Ask(t.Context(), netip.MustParseAddrPort(server.Local()), options(client.Local()), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if m.Status != 202 || m.CSeq() != 7 || m.From().Tag() != "a" {
		t.Errorf("answer %d to %d of %s", m.Status, m.CSeq(), m.From())
	}
	mu.Lock()
	defer mu.Unlock()
	if len(branches) < 2 || branches[0] != branches[1] {
		t.Errorf("sent again with other branches: %q", branches)
	}
}

func TestAskInVain(t *testing.T) {
	server := served(t, func(*sip.Message, netip.AddrPort) []byte { return nil })
	client := served(t, nil)
	to := netip.MustParseAddrPort(server.Local())
	if _, err := client.Ask(t.Context(), to, options(client.Local()), 30*time.Millisecond); !errors.Is(err, ErrUnanswered) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := client.Ask(ctx, to, options(client.Local()), time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if len(client.pending) != 0 {
		t.Errorf("%d wait for ever", len(client.pending))
	}
}

// TestRequest: what phones send can be read.
func TestRequest(t *testing.T) {
	body := PIDF("alice@example.com", "here")
	text := Request{Method: "PUBLISH", URI: "sip:alice@example.com", From: "alice@example.com", Tag: "x1", To: "<sip:alice@example.com>;tag=y2", CallID: "c", CSeq: 3, Contact: "127.0.0.1:5070"}.String()
	head, rest, _ := strings.Cut(text, "\r\n")
	m, err := sip.Parse([]byte(head + "\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n" + rest + "Content-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, ok, err := m.Contact()
	if m.Method != "PUBLISH" || m.From().Tag() != "x1" || m.To().Tag() != "y2" || m.CallID() != "c" || m.CSeq() != 3 || err != nil || !ok || c.URI != "sip:alice@127.0.0.1:5070" {
		t.Errorf("%+v, Contact %v", m, c)
	}
	if !strings.Contains(body, `entity="sip:alice@example.com"`) || !strings.Contains(body, "<note>here</note>") {
		t.Error(body)
	}
}

func TestTarget(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:192.0.2.1":                      "192.0.2.1:5060",
		"sip:alice@192.0.2.1:5080;x=y":       "192.0.2.1:5080",
		"sip:alice@ps.example.com":           "",
		"alice":                              "",
		"sip:192.0.2.1;transport=udp;node=1": "192.0.2.1:5060",
	} {
		got := Target(uri)
		if want == "" && got.IsValid() || want != "" && got.String() != want {
			t.Errorf("%s leads to %v", uri, got)
		}
	}
}
