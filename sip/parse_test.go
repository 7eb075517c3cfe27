package sip

import "testing"

const subscribe = "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 192.0.2.17:5060;rport;branch=z9hG4bKPj3e2f2b0c9a7d4a5f8f5d;alias\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: \"Alice\" <sip:alice@example.com>;tag=8d6a1f2f7c5b4f0a\r\n" +
	"To: <sip:bob@example.com>\r\n" +
	"Contact: <sip:alice@192.0.2.17:5060;ob>\r\n" +
	"Call-ID: 5e3f0c4fa9b14d0e8a1f7e0c1ad9f2b3\r\n" +
	"CSeq: 21764 SUBSCRIBE\r\n" +
	"Event: presence\r\n" +
	"Expires: 600\r\n" +
	"Supported: replaces, 100rel, timer, norefersub, trickle-ice\r\n" +
	"Accept: application/pidf+xml, application/xpidf+xml\r\n" +
	"Allow-Events: presence, dialog, message-summary, refer\r\n" +
	"User-Agent: PJSUA/v2.17-dev Linux\r\n" +
	"Content-Length:  0\r\n\r\n"

func BenchmarkParseSubscribe(b *testing.B) {
	msg := []byte(subscribe)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(msg); err != nil {
			b.Fatal(err)
		}
	}
}
