// Package sip is the SIP wire: messages, transports, transactions and dialogs
// of RFC 3261 and its extensions. It knows nothing of presence.
//
// A received message is copied once into a string; every value handed out is a
// substring of it, so nothing here owns or reuses a caller's buffer.
package sip
