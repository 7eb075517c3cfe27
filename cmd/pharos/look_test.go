package main

import (
	"testing"
	"time"

	"pharos/server"
)

// What only the document has, and the version, are no news for who reads along.
func TestSeenText(t *testing.T) {
	s := server.Seen{User: "alice@localhost", Version: 1, Presence: "open", Document: "<presence/>", Sources: []server.SeenSource{
		{Kind: "publication", Key: "desk.1", From: "UDP 192.0.2.1:5060 phone", Summary: "open, on-the-phone"},
		{Kind: "session", Key: "laptop", Summary: "open"},
	}}
	want := "alice@localhost is open\n" +
		"          publication desk.1               open, on-the-phone, from UDP 192.0.2.1:5060 phone\n" +
		"          session     laptop               open\n"
	if got := seenText(&s); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	s.At, s.Version, s.Document = time.Now(), 2, "<presence><tuple/></presence>"
	if got := seenText(&s); got != want {
		t.Errorf("a new version reads\n%s", got)
	}
}
