// Package faults hurts a service of three nodes and looks at how long anybody was told
// anything but the truth. The nodes are real processes in network namespaces of their
// own, on a real PostgreSQL; an oracle publishes and watches through real SIP and XMPP
// connections to all of them. It needs root, for the namespaces, and nothing but
// loopback and its own virtual links is touched.
package faults
