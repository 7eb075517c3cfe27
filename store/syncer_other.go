//go:build linux && !amd64 && !arm64

package store

// syncer is for systems whose calls we know.
type syncer struct{}

func borrowSyncer() *syncer { return nil }

func (*syncer) giveBack() {}

func (*syncer) sync(int) (begun bool, err error) { return false, nil }
