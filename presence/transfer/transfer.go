// Package transfer writes the values of package presence as bytes and reads them
// back, for the way from one node to another: inputs, outcomes, notices and whole
// presentities. It is a codec: pure, bounded, versioned.
//
// A notice brings its view whole. The Mirror on the watcher's node makes of it the
// View that the edge compares with what it has told: unchanged sources are the
// same pointers again.
package transfer
