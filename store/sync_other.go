//go:build !linux

package store

func (f osFile) Sync() error { return f.File.Sync() }
