package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestTransient(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("store: %w", ErrFenced), true},
		{errors.Join(errors.New("x"), ErrBusy), true},
		{context.DeadlineExceeded, true},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		{fmt.Errorf("store: %w", &pgconn.PgError{Code: "57P01"}), true}, // admin shutdown
		{&pgconn.PgError{Code: "53300"}, true},                          // too many connections
		{&pgconn.PgError{Code: "23505"}, false},                         // unique violation
		{ErrNotFound, false},
		{ErrFull, false},
		{errors.New("disk"), false},
		{nil, false},
	} {
		if got := Transient(c.err); got != c.want {
			t.Errorf("%v: %t", c.err, got)
		}
	}
}
