// Package balance decides about load: which node a newcomer goes to, which users
// move where, when a standby joins and when a node drains (the paper's load control).
// It is pure: the state of the nodes and the time come in, decisions go out, so that
// the servers and a simulation run the same code.
package balance
