package store

import (
	"context"
	"errors"
)

// Migrate copies everything from the directory of a stopped process, in which it changes
// nothing, into an empty PostgreSQL database, and compares each row afterwards.
// Errors: ErrLocked when the process runs, ErrOlder when it last was of an older version,
// ErrNotEmpty, ErrDiffers; after each of them the database is as empty as it was.
func Migrate(ctx context.Context, dir, url string, progress func(Progress)) (c Copied, err error) {
	if err := CheckURL(url); err != nil {
		return c, err
	}
	n, err := readDir(ctx, dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.journal.find(ctx); err != nil {
		return c, err
	}
	// It is the same truth that goes on, so nothing is altered.
	c, err = intoPostgres(ctx, url, func(fn func(rowSource) error) error { return fn(n) }, unaltered, progress)
	c.Damaged = len(n.journal.damage)
	return c, err
}

// RestorePostgres is Restore into an empty PostgreSQL database.
func RestorePostgres(ctx context.Context, file, url string, progress func(Progress)) (Copied, error) {
	if err := CheckURL(url); err != nil {
		return Copied{}, err
	}
	if _, err := CheckBackup(ctx, file); err != nil {
		return Copied{}, err
	}
	return intoPostgres(ctx, url, func(fn func(rowSource) error) error { return fromArchive(ctx, file, fn) }, raised, progress)
}
