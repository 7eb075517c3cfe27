// Package xmpp is the XMPP wire for the server side of client connections:
// addresses, streams, TLS and SASL negotiation, stanza errors, WebSocket
// framing (RFC 6120, RFC 7395). It knows nothing of presence or rosters.
package xmpp
