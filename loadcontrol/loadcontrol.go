// Package loadcontrol is the edge between servers over SIP: INVITE has a standby
// join, SUBSCRIBE and NOTIFY carry the extended presence document between the
// servers and to operators.
package loadcontrol
