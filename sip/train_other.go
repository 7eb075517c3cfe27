//go:build !linux

package sip

func segmentSize([]byte, uint16) []byte { return nil }

func takesSegments(uintptr) bool { return false }
