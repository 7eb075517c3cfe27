// Package story tells what the server does, in text: scripts of SIP and XMPP
// clients that speak real bytes to one running server. testdata/*.txt are the
// stories; testdata/README.md is their grammar.
//
// A story runs in a testing/synctest bubble: the server with its store, edges and
// wires is the real one, the network is in memory, and time is virtual, so that
// "after 30m" takes no time and everything that happens is seen, silence included.
package story
