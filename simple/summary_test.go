package simple

import (
	"testing"

	"pharos/sip"
	"pharos/summary"
)

// A mailbox's lamp: the PBX tells, the user is told; nobody else.
func TestMessageSummary(t *testing.T) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx, alice, bob := w.phone("pbx", "192.0.2.9:5060"), w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		want := func(body string) {
			t.Helper()
			if m := alice.one(); m.Body != body || get(m, sip.HContentType) != summary.Type || get(m, sip.HEvent) != "message-summary" {
				t.Errorf("told %q, want %q", m.Append(nil), body)
			}
		}
		box := alice.watchEvent("message-summary", "alice", 600, "Accept: application/simple-message-summary\r\n")
		want("Messages-Waiting: no\r\n")
		const one = "Messages-Waiting: yes\r\nMessage-Account: sip:*97@pbx.example.com\r\nVoice-Message: 1/0 (0/0)\r\n"
		tag := etag(pbx.publishEvent(200, "message-summary", summary.Type, "alice", "", one))
		want(one)
		fax := "Messages-Waiting: no\r\nFax-Message: 0/4\r\n"
		alice.publishEvent(200, "message-summary", summary.Type, "alice", "", fax)
		want("Messages-Waiting: yes\r\nVoice-Message: 1/0 (0/0)\r\nFax-Message: 0/4\r\n")
		pbx.publishEvent(200, "message-summary", summary.Type, "alice", tag, "Messages-Waiting: no\r\nVoice-Message: 0/1\r\n\r\nTo: <sip:alice@example.com>\r\n")
		want("Messages-Waiting: no\r\nVoice-Message: 0/1\r\nFax-Message: 0/4\r\n")
		box.send(200, "message-summary", 0, "")
		want("Messages-Waiting: no\r\nVoice-Message: 0/1\r\nFax-Message: 0/4\r\n")

		bob.want(403, out{method: "SUBSCRIBE", to: "alice", lines: "Event: message-summary\r\nContact: <" + bob.contact + ">\r\n"})
		bob.publishEvent(403, "message-summary", summary.Type, "alice", "", one)
		pbx.publishEvent(400, "message-summary", summary.Type, "alice", "", "Voice-Message: 1/0\r\n")
		pbx.publishEvent(415, "message-summary", "text/plain", "alice", "", one)
	})
}
