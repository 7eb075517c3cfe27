// Package client is what the programs that look for breaches of the service have in common as its clients: SIP requests over UDP with
// their answers, digest, XCAP, and XMPP up to the roster. What is said, and what is believed of what is told, is theirs. The load
// generators, which count every octet and microsecond, have clients of their own.
package client
