package sip

import "time"

// The timer values of RFC 3261 §17.1.1.1 (table 4). They are not configurable:
// both ends of a transaction compute with them.
const (
	timerT1 = 500 * time.Millisecond // round-trip estimate
	timerT2 = 4 * time.Second        // longest interval between retransmissions
	timerT4 = 5 * time.Second        // longest life of a message in the network

	timerF = 64 * timerT1 // a client gives up (also B, H, J, L, M)
)

// Limits bounds what strangers can make us hold. A zero field means its
// default; each field documents it.
type Limits struct {
	// Unanswered is the number of requests taken and not yet answered; above it
	// new requests get 503 with Retry-After, statelessly. Default 20,000.
	Unanswered int
	// Kept is the room, in octets, for final responses that are kept to answer
	// retransmissions (RFC 3261 §17.2.2, timer J); above it the oldest are
	// forgotten before their 32 seconds are over. Default 64 MiB.
	Kept int
	// Outstanding is the number of requests of ours without a final response;
	// above it Request fails with ErrOverload. Default 200,000.
	Outstanding int

	// Connections is the number of stream and WebSocket connections, both ways.
	// Above it new ones are closed at once. Default 100,000.
	Connections int
	// ConnectionsPerAddress bounds those that come from one IPv4 address or
	// one IPv6 /64. Default 256.
	ConnectionsPerAddress int
	// Dials is the number of connections that we are opening at one time; above
	// it a request fails over or gets ErrTransport. Default 256.
	Dials int
	// Lookups is the number of DNS resolutions at one time; above it a request
	// waits for none but fails with ErrOverload. Default 1,024.
	Lookups int

	// Handshake is the time for a TLS or WebSocket handshake. Default 10 s.
	Handshake time.Duration
	// FirstMessage is the time in which an accepted connection has to show its
	// first whole message or keep-alive. Default 30 s.
	FirstMessage time.Duration
	// Message is the time from the first octet of a message to its last.
	// Default 30 s.
	Message time.Duration
	// Idle is the time without any octet received after which a connection is
	// closed. Longer than the longest usual Expires, since a watcher without
	// keep-alive may be silent that long. Default 2 h.
	Idle time.Duration
	// Write is the time in which queued octets have to leave. Default 20 s.
	Write time.Duration
	// Dial is the time for opening a connection, TLS included. Default 5 s:
	// well below timer F, so that the next target of RFC 3263 has its turn.
	Dial time.Duration

	// Queue is the number of octets waiting to be sent on one connection; the
	// connection of a reader too slow for it is closed. Default 512 KiB.
	Queue int
	// MessageSize is the largest message taken, in octets; above it 513.
	// Default and maximum: MaxMessage.
	MessageSize int
}

func (l Limits) withDefaults() Limits {
	number := func(p *int, def int) {
		if *p <= 0 {
			*p = def
		}
	}
	duration := func(p *time.Duration, def time.Duration) {
		if *p <= 0 {
			*p = def
		}
	}
	number(&l.Unanswered, 20_000)
	number(&l.Kept, 64<<20)
	number(&l.Outstanding, 200_000)
	number(&l.Connections, 100_000)
	number(&l.ConnectionsPerAddress, 256)
	number(&l.Dials, 256)
	number(&l.Lookups, 1024)
	number(&l.Queue, 512<<10)
	number(&l.MessageSize, MaxMessage)
	l.MessageSize = min(l.MessageSize, MaxMessage)
	duration(&l.Handshake, 10*time.Second)
	duration(&l.FirstMessage, 30*time.Second)
	duration(&l.Message, 30*time.Second)
	duration(&l.Idle, 2*time.Hour)
	duration(&l.Write, 20*time.Second)
	duration(&l.Dial, 5*time.Second)
	return l
}
