// Package interop drives programs that others wrote (sipp, baresip, Linphone,
// slixmpp, profanity, mcabber, node clients, a browser) against the real
// server, run as a child process on free loopback ports. Its tests and the
// story of interop/demo share the drivers.
//
// Nothing here sleeps: what a program prints goes into a Transcript, in which
// the next thing to happen is waited for with a deadline. A program that is
// missing skips its tests with a message, unless PHAROS_INTEROP=require.
package interop
