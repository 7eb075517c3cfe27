//go:build race

package interop

// Tests under the race detector build the server with it too.
const raceDetector = true
